"""The port Mesh: the routing objects of one mesh or ingress, as plain data.

A mesh does no I/O. It renders the objects that route requests as `Routes` says, and it reads `Routes` back from the
objects of a cluster. The Kubernetes adapter does the reading and writing, so a mesh is a few pure functions, and tests
need no cluster.

    class Linkerd(Mesh):
        queries = {CheckKind.SUCCESS_RATE: "…"}
        def refs(self, context): return (Ref(kind=HTTP_ROUTE, namespace=context.namespace, name=context.apex),)
        def render(self, context, routes, objects): return ({"apiVersion": …},)
        def routes(self, context, objects): return Routes(weight=…)

The writer takes over an object that exists already: it records the values that it replaces, and restores them later.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

from canarycore import DRAIN, CheckKind, Strategy
from canarycore.bounds import LABEL
from canarycore.errors import CanaryError, Refused, WorldError
from canarycore.manifest import Service
from canarycore.text import compose_name, escape_controls

if TYPE_CHECKING:
    from canarycore import Rollout, RouteRefusal, Routes
    from canarycore.manifest import Canary
    from canarycore.traffic import Match

Json = dict[str, Any]

Queries = Mapping[CheckKind, str]
"""The PromQL of each built-in check, as a Go template."""

GITOPS_OPT_OUT = {
    "helm.toolkit.fluxcd.io/driftDetection": "disabled",
    "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
}
"""Annotations that keep GitOps tools from reverting the changes of a rollout."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which kubectl stores the object that it applied. kubectl did not apply our copy of an object, so
copies leave it out."""


@frozen(cache_hash=True)
class Kind:
    """A kind of the Kubernetes API, and the path of its objects."""

    group: str
    """Empty for the core group."""
    version: str
    kind: str
    plural: str
    namespaced: bool = field(default=True, eq=False)

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects, such as `apps/v1` or `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the path of one object, or of a collection. An empty namespace means all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{inside}/{self.plural}" + (f"/{name}" if name else "")


@frozen(kw_only=True, cache_hash=True)
class Ref:
    """A reference to one object."""

    kind: Kind
    namespace: str
    """Empty where the kind has no namespace."""
    name: str


ObjectsByRef = Mapping[Ref, Json]
"""The objects that a mesh refers to and that exist. A mesh must not change them."""


@frozen(kw_only=True)
class PodSelectors:
    """The labels that select each side's pods. A target without pods of its own (a Service) has none."""

    label: str = ""
    """The label whose values tell the sides apart."""
    canary: Mapping[str, str] = field(factory=dict)
    """The labels and values that select the target's pods."""
    primary: Mapping[str, str] = field(factory=dict)
    """The labels and values that select the primary's pods."""

    @classmethod
    def by_label(cls, label: str, value: str) -> PodSelectors:
        """Return selectors by one label alone: the target's value of it, and the primary's."""
        return cls(label=label, canary={label: value}, primary={label: compose_name(value, "-primary", LABEL.most)})


@frozen(kw_only=True, eq=False)
class RenderContext:
    """The typed input of a mesh. The names are Flagger's: apex `podinfo`, `podinfo-primary`, `podinfo-canary`."""

    canary: Canary
    rollout: Rollout
    pods: PodSelectors = PodSelectors()
    """The labels that select each side's pods."""
    ingress_prefix: str = "nginx.ingress.kubernetes.io"
    """The controller's option `--ingress-annotations-prefix`."""
    ingress_class: str = ""
    """The controller's option `--ingress-class`."""

    @property
    def namespace(self) -> str:
        return self.canary.namespace

    @property
    def apex(self) -> str:
        """The name of the Service that users call: `spec.service.name`, or the target's name."""
        return self.service.name or self.canary.spec.target_ref.name

    @property
    def primary(self) -> str:
        return f"{self.apex}-primary"

    @property
    def canary_service(self) -> str:
        return f"{self.apex}-canary"

    @property
    def service(self) -> Service:
        """`spec.service`. A manifest without this section, which the API admits, has an empty one."""
        return self.canary.spec.service or _NO_SERVICE

    @property
    def port(self) -> int:
        """`spec.service.port`. Raises Refused where the manifest has no service section."""
        if self.service.port is None:
            raise Refused(
                f"canary {self.rollout.full_name}, spec.service: found nothing, expected the section with a port: "
                "without it no traffic can be routed. Add service: {port: ...}."
            )
        return self.service.port

    @property
    def match(self) -> tuple[Match, ...]:
        """The alternatives of the analysis's `match`."""
        return self.rollout.match

    def match_on(self, routes: Routes) -> tuple[Match, ...]:
        """Return the conditions that have a rule of their own while `routes` are in force: the analysis's, or a step's.

        A step has some only while its routes send matching requests to the canary.
        """
        return self.rollout.match_on(routes)

    @property
    def matches_beside_weight(self) -> bool:
        """Whether matching requests go to the canary while the weight divides the others: an A/B test, or steps."""
        ladder = self.rollout.ladder
        return ladder.has_matches or (bool(self.match) and ladder.strategy is Strategy.AB)

    @property
    def match_path(self) -> str:
        """The path of the conditions in the manifest."""
        steps = "" if self.match or not self.rollout.ladder.has_matches else "steps[]."
        return f"{self.canary.analysis_path}.{steps}match"

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


_NO_SERVICE = Service()


class Mesh(Protocol):
    """One mesh or ingress. Each is an entry point of `canarycore.meshes`, named as manifests name the provider."""

    queries: Queries
    """The queries of the built-in metrics, as Go templates."""

    milliseconds: float = 1.0
    """The unit of the query of request-duration, in milliseconds."""

    proxy_delay: float = DRAIN
    """Seconds until all proxies follow new routes, at the latest, with the mesh's default settings. Pods keep running
    for this time after their traffic is taken away (`analysis.drain` overrides it)."""

    before_pods: frozenset[Kind] = frozenset()
    """Kinds whose objects must exist before the pods, because these objects make pods members of the mesh."""

    statuses: frozenset[Kind] = frozenset()
    """Kinds whose status the mesh reads. The objects of all other kinds come without a status."""

    shared: frozenset[Kind] = frozenset()
    """Kinds whose objects are their owner's, with some fields of ours, even where the owner wrote a value before. The
    writer records no replaced value: `release` says what stays when the Canary goes."""

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        """Return the objects that the mesh renders or reads."""

    def is_route(self, context: RenderContext, ref: Ref) -> bool:
        """Check whether an object is the route that users call, which may have existed before the Canary.

        The writer takes over such an object. Every other rendered object must be made for this Canary: the writer
        leaves a foreign object of the same name alone, and the rollout waits.
        """
        return ref.name == context.apex

    def has_services(self, context: RenderContext) -> bool:
        """Check whether the writer makes the Services of the target's pods; users call the apex."""
        del context
        return True

    def apex_pods(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> Mapping[str, str]:
        """Return the labels of the pods that the apex Service selects, for `routes`. It is written before the objects.

        By default it selects the primary's pods for all routes, and the objects split.
        """
        del routes, objects
        return context.pods.primary

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        """Return the objects that must exist for `routes`, in the order in which to write them.

        Each has apiVersion, kind, metadata.name and metadata.namespace, and only fields that are ours: the writer
        applies it server-side, so other fields keep their values. The writer adds the owner reference and the field
        manager. An API server replaces a list of a custom resource as a whole, so repeat the items of other owners
        from `objects`. Write out the defaults that the API server would add within a list, or they look like a foreign
        change. Raises Refused where an object of the owner is missing (an Ingress to copy), or where the mesh cannot
        express the routes.
        """

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        """Return the present routes, or None where an object is missing or does not split."""

    def original(self, context: RenderContext, ref: Ref, body: Json) -> Json | None:
        """Return an object of the owner as it was before the takeover, in the form of `render`.

        A mesh that can tell it from the object itself may leave the object out of some renderings: then the writer
        gives it back. None where the object has nothing of ours, or where only a note of the writer tells the original.
        """
        del context, ref, body
        return None

    def release(self, context: RenderContext, body: Json) -> Json:
        """Return an object of a `shared` kind as it stays without this Canary, whose apex leads to the target again."""
        del context
        return body

    def refusal(self, context: RenderContext, objects: ObjectsByRef) -> RouteRefusal | None:
        """Return why the controller of the routing objects does not route by them as they are now; None if it does.

        A mesh whose controller reports no verdict returns None.
        """
        del context, objects
        return None

    def refusals(self, context: RenderContext, objects: ObjectsByRef) -> tuple[str, ...]:
        """Return a sentence about each part of the mesh that refuses the present objects, such as a gateway."""
        del context, objects
        return ()

    def features(self, context: RenderContext, body: Json) -> Mapping[str, str]:
        """Return the optional features of the API that an object uses, each with the manifest's field that asks for it.

        The writer adds none that a gateway's class lists as missing.
        """
        del context, body
        return {}

    def gateways(self, context: RenderContext) -> tuple[Ref, ...]:
        """Return the gateways that must have the features."""
        del context
        return ()

    def query_variables(self, context: RenderContext, objects: ObjectsByRef) -> Mapping[str, str]:
        """Return the variables that the mesh's queries may name, with their values for this rollout."""
        del objects
        return context.query_variables


class GuardedMesh(Mesh):
    """A mesh whose faults become errors that name its objects. It guards against third-party meshes."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self.queries: Queries = mesh.queries
        self.milliseconds: float = mesh.milliseconds
        self.proxy_delay: float = mesh.proxy_delay
        self.before_pods: frozenset[Kind] = mesh.before_pods
        self.statuses: frozenset[Kind] = mesh.statuses
        self.shared: frozenset[Kind] = mesh.shared

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        with _name_objects(context, ()):
            return self._mesh.refs(context)

    def is_route(self, context: RenderContext, ref: Ref) -> bool:
        with _name_objects(context, (ref,)):
            return self._mesh.is_route(context, ref)

    def has_services(self, context: RenderContext) -> bool:
        with _name_objects(context, ()):
            return self._mesh.has_services(context)

    def apex_pods(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> Mapping[str, str]:
        with _name_objects(context, objects):
            return self._mesh.apex_pods(context, routes, objects)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        with _name_objects(context, objects):
            return self._mesh.render(context, routes, objects)

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        with _name_objects(context, objects):
            return self._mesh.routes(context, objects)

    def original(self, context: RenderContext, ref: Ref, body: Json) -> Json | None:
        with _name_objects(context, (ref,)):
            return self._mesh.original(context, ref, body)

    def release(self, context: RenderContext, body: Json) -> Json:
        with _name_objects(context, ()):
            return self._mesh.release(context, body)

    def refusal(self, context: RenderContext, objects: ObjectsByRef) -> RouteRefusal | None:
        with _name_objects(context, objects):
            return self._mesh.refusal(context, objects)

    def refusals(self, context: RenderContext, objects: ObjectsByRef) -> tuple[str, ...]:
        with _name_objects(context, objects):
            return self._mesh.refusals(context, objects)

    def features(self, context: RenderContext, body: Json) -> Mapping[str, str]:
        with _name_objects(context, ()):
            return self._mesh.features(context, body)

    def gateways(self, context: RenderContext) -> tuple[Ref, ...]:
        with _name_objects(context, ()):
            return self._mesh.gateways(context)

    def query_variables(self, context: RenderContext, objects: ObjectsByRef) -> Mapping[str, str]:
        with _name_objects(context, objects):
            return self._mesh.query_variables(context, objects)


@contextmanager
def _name_objects(context: RenderContext, refs: Iterable[Ref]) -> Iterator[None]:
    """Turn an exception that no mesh may raise into a WorldError that names the objects."""
    try:
        yield
    except CanaryError:
        raise
    except Exception as error:
        names = ", ".join(f"{ref.kind.kind} {ref.name}.{ref.namespace}" for ref in refs) or "its manifest"
        _log.error("the mesh %s failed", context.rollout.provider, exc_info=error)
        raise WorldError(
            f"canary {context.rollout.full_name}: found data in {names} that the mesh {context.rollout.provider} "
            f"cannot read ({escape_controls(f'{type(error).__name__}: {error}', _LONGEST_REASON)}), expected objects "
            "of the form that the mesh's API defines. Correct them, or report a fault of the mesh's adapter."
        ) from error


_LONGEST_REASON = 200
"""Characters of an exception's text that an error repeats."""

_log = logging.getLogger("canarycore.mesh")
