"""What a mesh is to us: its routing objects as plain data.

A mesh module does no I/O. It renders the objects that send requests where `Routes` says, and reads `Routes` back from
the objects that are there. Who reads and writes them (the Kubernetes adapter) is no concern of a mesh, so a module is a
few pure functions, and can be tested without a cluster.

    class Linkerd(Mesh):
        queries = {CheckKind.SUCCESS_RATE: "…"}
        def looks_at(self, asked): return (Ref(kind=HTTP_ROUTE, namespace=asked.namespace, name=asked.apex),)
        def render(self, asked, routes, found): return ({"apiVersion": …},)
        def routes(self, asked, found): return Routes(weight=…)

Objects that somebody else made are taken over where they stand: the writer notes what it replaces, and gives it back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

from canarycore import CheckKind
from canarycore.errors import CanaryError, Refused, WorldError
from canarycore.manifest import dump
from canarycore.text import escape_controls

if TYPE_CHECKING:
    from canarycore import Rollout, Routes
    from canarycore.manifest import Canary

Json = dict[str, Any]

Queries = Mapping[CheckKind, str]
"""PromQL of the built-in checks, with the variables of templates."""

GITOPS_OPT_OUT = {
    "helm.toolkit.fluxcd.io/driftDetection": "disabled",
    "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
}
"""Annotations that keep GitOps tools from setting back what a rollout changes."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""What kubectl notes on the objects it applies: the object, as JSON. A copy of such an object was not applied by it."""


@frozen(cache_hash=True)
class Kind:
    """A kind of the API, and where its objects are found."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = field(default=True, eq=False)

    @property
    def api_version(self) -> str:
        """As objects name it: `apps/v1`, `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        """Of the collection (of all namespaces, if none is given), or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{inside}/{self.plural}" + (f"/{name}" if name else "")


@frozen(kw_only=True, cache_hash=True)
class Ref:
    """One object. The namespace of what has none is empty."""

    kind: Kind
    namespace: str
    name: str


ObjectsByRef = Mapping[Ref, Json]
"""The objects that exist, of those that a mesh looks at. They are not to be changed."""


@frozen(kw_only=True, eq=False)
class RenderContext:
    """What is to be routed. The names are Flagger's: apex `podinfo`, `podinfo-primary`, `podinfo-canary`.

    pods: the label, and its value, by which a Service finds the target's pods; empty where the target has no pods of
    its own (Services). ingress_prefix, ingress_class: the controller's options of these names.
    """

    canary: Canary
    rollout: Rollout
    pods: tuple[str, str] = ("", "")
    ingress_prefix: str = "nginx.ingress.kubernetes.io"
    ingress_class: str = ""

    @property
    def namespace(self) -> str:
        return self.canary.namespace

    @property
    def apex(self) -> str:
        """The Service that users call: `spec.service.name`, or the target's name."""
        service = self.canary.spec.service
        return (service.name if service is not None else "") or self.canary.spec.target_ref.name

    @property
    def primary(self) -> str:
        return f"{self.apex}-primary"

    @property
    def canary_service(self) -> str:
        return f"{self.apex}-canary"

    @property
    def primary_pods(self) -> tuple[str, str]:
        """The same as `pods`, of the primary's."""
        label, value = self.pods
        return label, f"{value}-primary"

    @property
    def service(self) -> Json:
        """`spec.service` as JSON, without what is empty. Not to be changed."""
        section: Json = _spec(self).get("service", {})
        return section

    @property
    def port(self) -> int:
        """`spec.service.port`. Raises Refused where the manifest has no service section, which the API admits."""
        service = self.canary.spec.service
        if service is None or service.port is None:
            raise Refused(
                f"canary {self.rollout.full_name}, spec.service: found nothing, expected the section with a port: "
                "without it no traffic can be routed. Add service: {port: ...}."
            )
        return service.port

    @property
    def match(self) -> list[Json]:
        """The analysis's `match` as JSON. Not to be changed."""
        spec = _spec(self)
        entries: list[Json] = (spec.get("analysis") or spec.get("canaryAnalysis") or {}).get("match", [])
        return entries

    @property
    def query_variables(self) -> dict[str, str]:
        """The variables that the rollout's queries may name."""
        spec = self.canary.spec
        return query_variables(
            self.rollout,
            service=self.apex,
            ingress=spec.ingress_ref.name if spec.ingress_ref else "",
            route=spec.route_ref.name if spec.route_ref else "",
        )


def query_variables(rollout: Rollout, *, service: str = "", ingress: str = "", route: str = "") -> dict[str, str]:
    """Return the variables that a rollout's queries may name, besides `interval` and `variables` of their check.

    service, ingress, route: the names of these objects; the target's name by default.
    """
    target = rollout.target.name
    return {
        "name": rollout.name,
        "namespace": rollout.namespace,
        "target": target,
        "service": service or target,
        "ingress": ingress or target,
        "route": route or target,
    }


@lru_cache(maxsize=32)
def _spec(asked: RenderContext) -> Json:
    """The manifest's spec as JSON. A mesh reads it often while it renders; the next rollout's takes its room."""
    spec: Json = dump(asked.canary)["spec"]
    return spec


class Mesh(Protocol):
    """One mesh or ingress. Each is an entry point of `canarycore.meshes`, under the names that manifests give it."""

    queries: Queries
    """The built-in metrics' queries, as Go templates."""

    milliseconds: float = 1.0
    """What the answer to the query of request-duration counts: so many milliseconds are its unit."""

    before_pods: frozenset[Kind] = frozenset()
    """Kinds of which the objects must be there before the pods are, as they make the pods members of the mesh."""

    statuses: frozenset[Kind] = frozenset()
    """Kinds of which the status is read too; of all others it is left out."""

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        """The objects that it renders or reads."""

    def is_route(self, asked: RenderContext, ref: Ref) -> bool:
        """Tell whether an object is the route that users call, which may have been there before.

        It is taken over where it stands. Each other object that is rendered must be made for this Canary: one that
        somebody else made under its name is left alone, and the rollout waits.
        """
        return ref.name == asked.apex

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        """The objects that must be there for `routes`, in the order in which they are written.

        Each holds only fields that are ours (applied server-side, others keep theirs), with apiVersion, kind,
        metadata.name and metadata.namespace; the writer adds the owner reference and the field manager. Lists of
        custom resources are replaced whole, so whatever of others stands in `found` inside such a list is repeated.
        Fields that the API server would fill in inside a list are given, or they look like somebody's change.
        Raises Refused when something that must be there is missing (an ingress to copy), or cannot be expressed.
        """

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        """Where requests go now; None where an object is missing or does not split at all."""

    def query_variables(self, asked: RenderContext, found: ObjectsByRef) -> Mapping[str, str]:
        """Return the variables that its queries may name, with their values for this rollout."""
        del found
        return asked.query_variables


class GuardedMesh(Mesh):
    """A mesh whose faults end as errors that name the objects: a last resort, as a mesh may be anybody's code."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self.queries: Queries = mesh.queries
        self.milliseconds: float = mesh.milliseconds
        self.before_pods: frozenset[Kind] = mesh.before_pods
        self.statuses: frozenset[Kind] = mesh.statuses

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        with _naming(asked, ()):
            return self._mesh.refs(asked)

    def is_route(self, asked: RenderContext, ref: Ref) -> bool:
        with _naming(asked, (ref,)):
            return self._mesh.is_route(asked, ref)

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        with _naming(asked, found):
            return self._mesh.render(asked, routes, found)

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        with _naming(asked, found):
            return self._mesh.routes(asked, found)

    def query_variables(self, asked: RenderContext, found: ObjectsByRef) -> Mapping[str, str]:
        with _naming(asked, found):
            return self._mesh.query_variables(asked, found)


@contextmanager
def _naming(asked: RenderContext, found: Iterable[Ref]) -> Iterator[None]:
    """Raise WorldError for an exception that no mesh may raise."""
    try:
        yield
    except CanaryError:
        raise
    except Exception as error:
        names = ", ".join(f"{ref.kind.kind} {ref.name}.{ref.namespace}" for ref in found) or "its manifest"
        _log.error("the mesh %s failed", asked.rollout.provider, exc_info=error)
        raise WorldError(
            f"canary {asked.rollout.full_name}: found what the mesh {asked.rollout.provider} cannot read in {names} "
            f"({escape_controls(f'{type(error).__name__}: {error}', _LONGEST_REASON)}), expected objects of the form "
            "that the mesh's API has. Correct them, or report this as a fault of the mesh's adapter."
        ) from error


_LONGEST_REASON = 200
"""Characters that an error repeats of an exception."""

_log = logging.getLogger("canarycore.mesh")
