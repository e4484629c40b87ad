"""The objects of one rollout's routes: their places, and their state in the caches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

from canarycore_kubernetes.api.kinds import SERVICE
from canarycore_kubernetes.api.ownership import APEX_SERVICE, ROUTE, ROUTE_PART, SIDE_SERVICE
from canarycore_kubernetes.api.snapshots import Snapshot
from canarycore_runtime.mesh import Ref
from canarycore_runtime.workloads.pod_split import ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canarycore import RouteRefusal, Routes
    from canarycore_kubernetes.api.cache import Cache
    from canarycore_kubernetes.api.ownership import Owner, Role
    from canarycore_kubernetes.workloads.facts import PodFacts, Port
    from canarycore_runtime.mesh import Json, Kind, Mesh, ObjectsByRef, RenderContext

    RouteCache: TypeAlias = "Cache[Snapshot] | WorkloadSnapshots"


@frozen(eq=False)
class WorkloadSnapshots:
    """Deployments as routing objects of a mesh that scales them: the part that their cache has."""

    kind: Kind
    _cache: Cache[PodFacts]

    async def ready(self) -> WorkloadSnapshots:
        """Wait until the cache is current. Raise WorldError."""
        await self._cache.ready()
        return self

    def get(self, namespace: str, name: str) -> Snapshot | None:
        """Return an object; None if it does not exist."""
        return self._snapshot(namespace, name, self._cache.get(namespace, name))

    def look(self, namespace: str, name: str, key: str) -> Snapshot | None:
        """Like `get`, and wake the rollout `key` when the object next changes."""
        return self._snapshot(namespace, name, self._cache.look(namespace, name, key))

    def version(self, namespace: str, name: str) -> str:
        """Return the resourceVersion of an object in the cache."""
        return self._cache.version(namespace, name)

    def _snapshot(self, namespace: str, name: str, facts: PodFacts | None) -> Snapshot | None:
        if facts is None:
            return None
        annotations = {} if facts.split is None else {ANNOTATION: str(facts.split)}
        metadata = {"name": name, "namespace": namespace, "uid": facts.template.uid, "annotations": annotations}
        body = {
            "apiVersion": self.kind.api_version,
            "kind": self.kind.kind,
            "metadata": metadata,
            "spec": {
                "replicas": facts.desired,
                "template": {"metadata": {"labels": dict(facts.template.labels)}},
            },
            "status": {"replicas": facts.total, "availableReplicas": facts.ready},
        }
        return Snapshot(json.dumps(body, separators=(",", ":")), ownership=facts.ownership)


@frozen(kw_only=True, eq=False)
class RouteView:
    """The places of one rollout's routing objects. It changes only with the manifest and with the label of the pods."""

    context: RenderContext

    mesh: Mesh

    places: tuple[tuple[Ref, RouteCache], ...]
    """Each object, and the cache of its kind: first the Services, then the mesh's objects."""


@frozen(kw_only=True, eq=False)
class RouteObjects:
    """The state of one rollout's routing objects at one moment."""

    view: RouteView

    uid: str
    """The uid of the Canary."""

    ports: tuple[Port, ...]
    """The ports of the target's containers."""

    snapshots: tuple[Snapshot | None, ...]
    """The object in each place of the view; None where there is none."""

    @property
    def context(self) -> RenderContext:
        return self.view.context

    @property
    def mesh(self) -> Mesh:
        return self.view.mesh

    @property
    def by_ref(self) -> Mapping[Ref, Snapshot]:
        """The objects that exist."""
        pairs = zip(self.view.places, self.snapshots, strict=True)
        return {ref: snapshot for (ref, _), snapshot in pairs if snapshot is not None}

    @property
    def mesh_objects(self) -> ObjectsByRef:
        """The bodies of the existing objects that the mesh renders or reads."""
        by_ref = self.by_ref
        return {ref: by_ref[ref].body for ref in self.mesh.refs(self.context) if ref in by_ref}

    @property
    def has_pods(self) -> bool:
        """Whether the target has pods that Services select by a label."""
        return bool(self.context.pods.label)

    def read_routes(self) -> Routes | None:
        """Return the routes that the mesh reads from the objects; None where it reads none."""
        return self.mesh.routes(self.context, self.mesh_objects)

    def refusal(self) -> RouteRefusal | None:
        """Return why the mesh's controller does not route by the objects as they are now; None if it does."""
        return self.mesh.refusal(self.context, self.mesh_objects)

    def has_in_force(self, routes: Routes) -> bool:
        """Check whether requests take these routes."""
        return self.read_routes() == routes and self.refusal() is None

    def is_same(self, other: RouteObjects) -> bool:
        """Check whether both are the same state of the same view."""
        return self.view is other.view and self.snapshots == other.snapshots and self.ports == other.ports

    def original(self, ref: Ref) -> Json | None:
        """Return an object as it was before the takeover, if the mesh can tell it from the object itself."""
        snapshot = self.by_ref.get(ref)
        return None if snapshot is None else self.mesh.original(self.context, ref, snapshot.body)

    def ref_of(self, body: Json) -> Ref:
        """Return the place of an object that the mesh has rendered."""
        refs = {(ref.kind.kind, ref.name): ref for ref in self.mesh.refs(self.context)}
        return refs[body["kind"], body["metadata"]["name"]]

    def role_of(self, ref: Ref) -> Role:
        """Return the part that the object in a place plays for the Canary."""
        if ref.kind == SERVICE:
            return APEX_SERVICE if ref.name == self.context.apex else SIDE_SERVICE
        return ROUTE if self.mesh.is_route(self.context, ref) else ROUTE_PART


@frozen(kw_only=True, eq=False)
class ObjectChange:
    """A difference between an object and its required state."""

    ref: Ref

    owner: Owner

    before: Snapshot | None
    """The object; None where it does not exist."""

    rendered: Json
    """The fields that the rollout requires."""

    patch: Json
    """The merge patch of `before`; the whole object where there is none."""


def service_refs(context: RenderContext) -> tuple[Ref, ...]:
    """Return the places of a rollout's Services; none where the target has no pods of its own."""
    names = (context.canary_service, context.primary, context.apex) if context.pods.label else ()
    return tuple(service_ref(context, name) for name in names)


def service_ref(context: RenderContext, name: str) -> Ref:
    """Return the place of a Service in the Canary's namespace."""
    return Ref(kind=SERVICE, namespace=context.namespace, name=name)
