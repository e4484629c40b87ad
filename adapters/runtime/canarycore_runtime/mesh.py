"""What a mesh is to us: its routing objects as plain data.

A mesh module does no I/O. It renders the objects that send requests where `Routes` says, reads `Routes` back from the
objects that are there, and says how they are given back. Who reads and writes them (the Kubernetes adapter) is no
concern of a mesh, so a module is a few pure functions, and can be tested without a cluster.

    class Linkerd:
        queries = {CheckKind.SUCCESS_RATE: "…"}
        def looks_at(self, asked): return (Ref(kind=HTTP_ROUTE, namespace=asked.namespace, name=asked.apex),)
        def render(self, asked, routes, found): return ({"apiVersion": …},)
        def routes(self, asked, found): return Routes(weight=…)
        def restore(self, asked, found): return ()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from canarycore import CheckKind, Rollout, Routes
    from canarycore.manifest import Canary

Json = dict[str, Any]


@frozen
class Kind:
    """A kind of the API, and where its objects are found."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        """As objects name it: `apps/v1`, `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        """Of the collection (of all namespaces, if none is given), or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{inside}/{self.plural}" + (f"/{name}" if name else "")


@frozen(kw_only=True)
class Ref:
    """One object."""

    kind: Kind
    namespace: str
    name: str


Found = Mapping[Ref, Json]
"""The objects that exist, of those that a mesh looks at. They are not to be changed."""


@frozen(kw_only=True)
class Asked:
    """What is to be routed. The names are Flagger's: apex `podinfo`, `podinfo-primary`, `podinfo-canary`."""

    canary: Canary
    rollout: Rollout

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


class Mesh(Protocol):
    """One mesh or ingress. Each is an entry point of `canarycore.meshes`, under the names that manifests give it."""

    queries: Mapping[CheckKind, str]
    """The built-in metrics' queries, as Go templates."""

    def looks_at(self, asked: Asked) -> tuple[Ref, ...]:
        """The objects that it renders or reads."""

    def render(self, asked: Asked, routes: Routes, found: Found) -> tuple[Json, ...]:
        """The objects that must be there for `routes`, in the order in which they are written.

        Each holds only fields that are ours (applied server-side, others keep theirs), with apiVersion, kind,
        metadata.name and metadata.namespace; the writer adds the owner reference and the field manager. Lists of
        custom resources are replaced whole, so whatever of others stands in `found` inside such a list is repeated.
        Raises Refused when something that must be there is missing (an ingress to copy).
        """

    def routes(self, asked: Asked, found: Found) -> Routes | None:
        """Where requests go now; None where an object is missing or does not split at all."""

    def restore(self, asked: Asked, found: Found) -> tuple[Json, ...]:
        """The objects to write back where they were taken over. Those that we made go with their owner."""
