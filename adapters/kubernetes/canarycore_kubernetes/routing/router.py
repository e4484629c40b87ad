"""The port Router on a cluster: the Services and the routing objects of a rollout, whatever its mesh.

    router = MeshRouter(cluster, canaries, ReadingOptions(labels=options.selector_labels))

What is observed comes from caches and costs no request; as long as nothing has changed it is not even read again. The
mesh says what the objects must be for some routes, and what routes the objects are; here they are compared, and only
what differs is written. So an advance is one write, and a change that somebody else made to an object of ours makes the
routes unknown until the next `set_routes` has put it right.

Order, whatever the routes: the sides' Services first, so that nothing leads to a Service that is not there; then the
apex, then what splits. `prepare` comes before the primary runs: it makes the sides' Services, and with some meshes what
makes pods members. The apex and the split wait for `set_routes`, as by then the primary's pods answer.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore import Routes
from canarycore.errors import Conflict, Refused, UnknownProvider, WorldError
from canarycore_kubernetes.api.cache import UnreadableError
from canarycore_kubernetes.api.client import UNBORN
from canarycore_kubernetes.api.kinds import SERVICE
from canarycore_kubernetes.api.merge_patch import merge_patch
from canarycore_kubernetes.api.metadata import owner_reference
from canarycore_kubernetes.api.ownership import (
    APEX_SERVICE,
    ROUTE,
    ROUTE_PART,
    SIDE_SERVICE,
    ForeignObject,
    ForeignObjectError,
    NameConflictError,
    Owner,
)
from canarycore_kubernetes.api.snapshots import snapshot_view
from canarycore_kubernetes.routing.services import fitted, only_selector, services
from canarycore_kubernetes.routing.takeover import NOTE, give_back, is_made, merge_owned, original_spec
from canarycore_kubernetes.workloads.facts import ReadingOptions, pod_views
from canarycore_runtime.mesh import GuardedMesh, Ref, RenderContext
from canarycore_runtime.registry import installed, load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canarycore import Rollout
    from canarycore.manifest import Canary
    from canarycore_kubernetes.api.cache import Cache
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.api.ownership import Role
    from canarycore_kubernetes.api.snapshots import Snapshot
    from canarycore_kubernetes.resources.canaries import Canaries
    from canarycore_kubernetes.resources.claims import Claims
    from canarycore_kubernetes.resources.events import EventNotifier
    from canarycore_kubernetes.workloads.facts import Port
    from canarycore_runtime.mesh import Json, Mesh, ObjectsByRef

_log = logging.getLogger("canarycore.kubernetes")

_DEFAULT_READING = ReadingOptions()


@frozen(kw_only=True, eq=False)
class RouteView:
    """Where one rollout's routes are looked for. It stays the same as long as its manifest and its pods' label do."""

    asked: RenderContext
    mesh: Mesh
    places: tuple[tuple[Ref, Cache[Snapshot]], ...]


@frozen(kw_only=True, eq=False)
class RouteObjects:
    """What there is of one rollout's routes.

    uid: the Canary's. ports: of the target's containers. seen: what is in each place, None where nothing is.
    """

    sight: RouteView
    uid: str
    ports: tuple[Port, ...]
    seen: tuple[Snapshot | None, ...]

    @property
    def asked(self) -> RenderContext:
        return self.sight.asked

    @property
    def mesh(self) -> Mesh:
        return self.sight.mesh

    @property
    def held(self) -> Mapping[Ref, Snapshot]:
        """What there is, by where it is."""
        places = zip(self.sight.places, self.seen, strict=True)
        return {ref: snapshot for (ref, _), snapshot in places if snapshot is not None}

    @property
    def found(self) -> ObjectsByRef:
        """The objects as the mesh wants them: those that it looks at."""
        held = self.held
        return {ref: held[ref].body for ref in self.mesh.refs(self.asked) if ref in held}

    @property
    def has_pods(self) -> bool:
        """Whether the target has pods, which Services find by a label."""
        return bool(self.asked.pods[0])


@frozen(kw_only=True, eq=False)
class ObjectChange:
    """An object that is not as it is to be.

    before: None where it does not exist. rendered: what is ours of it. patch: from `before`; the whole object where
    there is none.
    """

    ref: Ref
    owner: Owner
    before: Snapshot | None
    rendered: Json
    patch: Json


class MeshRouter:
    """Routes requests between primary and canary by the mesh that each Canary names.

    reading: how Deployments and DaemonSets are read, for the label and the ports of their pods; the workloads have the
    same. mesh_cluster: the cluster of the routing objects, if it is not the workloads' own. ingress_prefix,
    ingress_class: the controller's options --ingress-annotations-prefix and --ingress-class. events: records warnings
    about unreadable objects. claims: finds Canaries that need the same names.
    """

    def __init__(
        self,
        cluster: Cluster,
        canaries: Canaries,
        reading: ReadingOptions = _DEFAULT_READING,
        *,
        mesh_cluster: Cluster | None = None,
        ingress_prefix: str = "nginx.ingress.kubernetes.io",
        ingress_class: str = "",
        events: EventNotifier | None = None,
        claims: Claims | None = None,
    ) -> None:
        self._cluster = cluster
        self._events = events
        self._canaries = canaries
        self._views = {kind.kind: view for kind, view in pod_views(reading).items()}
        self._mesh_cluster = mesh_cluster or cluster
        self._claims = claims
        self._options = {"ingress_prefix": ingress_prefix, "ingress_class": ingress_class}
        self._meshes: dict[str, Mesh] = {}
        self._sights: dict[str, RouteView] = {}
        self._seen: dict[str, tuple[RouteObjects, Routes | None]] = {}
        self._settled: dict[str, tuple[object, ...]] = {}
        self._unlike: dict[Ref, tuple[Json, Snapshot]] = {}
        self._many = _MANY

    # the port ---------------------------------------------------------------------------------------------------

    async def observe(self, rollout: Rollout) -> Routes | None:
        """The routes; None where an object is missing, or is not what it must be for them."""
        try:
            scene = await self._scene(rollout)
        except UnreadableError as error:
            await self._warn(rollout, error)
            raise
        if scene is None:
            return None
        key = _key(rollout)
        known = self._seen.get(key)
        if known is not None and known[0].sight is scene.sight and _are(known[0], scene):
            return known[1]
        routes = self._read(scene)
        self._seen[key] = (scene, routes)
        return routes

    async def _warn(self, rollout: Rollout, error: UnreadableError) -> None:
        if self._events is not None:
            with suppress(WorldError):  # a failed warning must not hide the error itself
                await self._events.warn(rollout, str(error))

    async def set_routes(self, rollout: Rollout, routes: Routes) -> None:
        """Write what differs. Raises Refused where the mesh cannot route so, or an object of the owner's is missing."""
        scene = await self._entered(rollout)
        changes = tuple(self._changes(scene, routes))  # what is refused is refused before anything is written
        written = {change.ref: await self._write(scene, change) for change in changes}
        if None in written.values():
            return
        places = zip(scene.sight.places, scene.seen, strict=True)
        after = evolve(scene, seen=tuple(written.get(ref, before) for (ref, _), before in places))
        if scene.mesh.routes(scene.asked, after.found) == routes:  # all was compared, and need not be again
            self._seen[_key(rollout)] = (after, routes)

    async def prepare(self, rollout: Rollout) -> None:
        """Make what must be there before the primary's pods are. Nothing is routed by it."""
        scene = await self._entered(rollout)
        early = scene.mesh.before_pods
        sides = {scene.asked.primary, scene.asked.canary_service}
        for change in tuple(self._changes(scene, Routes(), with_mesh=bool(early))):
            if change.ref.kind in early or (change.ref.kind == SERVICE and change.ref.name in sides):
                await self._write(scene, change)

    async def restore(self, rollout: Rollout) -> None:
        """The apex leads to the target's pods, then what we made goes, and what was taken over is as it was."""
        scene = await self._scene(rollout)
        if scene is None or await self._objection(scene):
            return
        await self._give_apex_back(scene)
        held, found = scene.held, scene.found
        splits = scene.mesh.routes(scene.asked, found) is not None
        for ref in found:
            if self._foreign(scene, ref, held[ref]):
                continue
            if is_made(held[ref], self._owner(scene, ref)):
                await self._delete(scene, ref, held[ref])
            elif _is_taken_over(held[ref], splits=splits):
                await self._give_back(scene, ref)

    async def foreign_objects(self, rollout: Rollout) -> tuple[ForeignObject, ...]:
        """Return the foreign objects under the names that the routes need, all of them."""
        scene = await self._whole_scene(rollout)
        held, refs = scene.held, list(_services_of(scene.asked))
        with suppress(Refused):  # setting routes says why
            rendered = scene.mesh.render(scene.asked, Routes(), scene.found)
            refs += [_ref_of(scene, body) for body in rendered]
        return tuple(one for ref in refs if ref in held for one in self._foreign(scene, ref, held[ref]))

    # what others ask --------------------------------------------------------------------------------------------

    def mesh(self, provider: str) -> Mesh:
        """The mesh of that name. Raises UnknownProvider, which names those that are installed."""
        if provider not in self._meshes:
            self._meshes[provider] = GuardedMesh(load("meshes", _known(provider))())
        return self._meshes[provider]

    def query_variables(self, rollout: Rollout) -> Mapping[str, str]:
        """Return the variables that the rollout's queries may name. Raise WorldError when its Canary is gone."""
        mesh, canary = self.mesh(rollout.provider), self._canaries.require(rollout).manifest
        asked = RenderContext(canary=canary, rollout=rollout, pods=("", ""), **self._options)
        held = {ref: self._cache(mesh, ref).get(ref.namespace, ref.name) for ref in mesh.refs(asked)}
        objects = {ref: snapshot.body for ref, snapshot in held.items() if snapshot is not None}
        return mesh.query_variables(asked, objects)

    # what there is ----------------------------------------------------------------------------------------------

    async def _whole_scene(self, rollout: Rollout) -> RouteObjects:
        """The scene, or the reason why there is none."""
        scene = await self._scene(rollout)
        if scene is None:
            target = rollout.target
            raise Refused(
                f"{target.kind.lower()} {rollout.target_name} is missing, or its selector has none of the selector "
                "labels: there is nothing to route to. Create it, or name the label with --selector-labels."
            )
        return scene

    async def _entered(self, rollout: Rollout) -> RouteObjects:
        """Return the scene, to be changed. Raises NameConflictError where another Canary has it."""
        scene = await self._whole_scene(rollout)
        objection = await self._objection(scene)
        if objection:
            raise NameConflictError(self._beside(scene), objection)
        return scene

    async def _objection(self, scene: RouteObjects) -> str:
        """Return why the rollout must not touch what is there; empty where it may.

        A Canary that has made the primary's Service is the one that has the others too.
        """
        side = scene.held.get(_service(scene.asked, scene.asked.primary))
        if self._claims is None or (side is not None and is_made(side, self._beside(scene))):
            return ""
        return await self._claims.objection(scene.asked.rollout)

    async def _scene(self, rollout: Rollout) -> RouteObjects | None:
        """What the caches hold; None where the target is missing, or nothing tells its pods."""
        key, held = _key(rollout), self._canaries.require(rollout)
        pods: tuple[str, str] = ("", "")
        ports: tuple[Port, ...] = ()
        if rollout.target.kind in self._views:
            targets = await self._cluster.cache(self._views[rollout.target.kind]).ready()
            facts = targets.look(rollout.namespace, rollout.target.name, key)
            if facts is None or not facts.written.label[0]:
                return None
            pods, ports = facts.written.label, facts.written.ports
        sight = self._sight(rollout, held.manifest, pods)
        seen = [(await cache.ready()).look(ref.namespace, ref.name, key) for ref, cache in sight.places]
        return RouteObjects(sight=sight, uid=held.uid, ports=ports, seen=tuple(seen))

    def _mesh_of(self, rollout: Rollout) -> Mesh:
        try:
            return self.mesh(rollout.provider)
        except UnknownProvider as error:
            raise Refused(f"canary {rollout.full_name}, spec.provider: {error}") from error

    def _sight(self, rollout: Rollout, canary: Canary, pods: tuple[str, str]) -> RouteView:
        key = _key(rollout)
        known = self._sights.get(key)
        if known is not None:
            asked = known.asked
            if asked.canary is canary and asked.rollout is rollout and asked.pods == pods:
                return known
        mesh, asked = self._mesh_of(rollout), RenderContext(canary=canary, rollout=rollout, pods=pods, **self._options)
        refs = (*_services_of(asked), *mesh.refs(asked))
        places = tuple((ref, self._cache(mesh, ref)) for ref in refs)
        self._forget_the_gone()
        sight = self._sights[key] = RouteView(asked=asked, mesh=mesh, places=places)
        return sight

    def _forget_the_gone(self) -> None:
        """Nobody tells when a Canary is gone; so it is asked each time that twice as many are remembered."""
        if len(self._sights) < self._many:
            return
        self._sights = {key: sight for key, sight in self._sights.items() if self._is_there(sight.asked.rollout)}
        self._seen = {key: seen for key, seen in self._seen.items() if key in self._sights}
        self._settled = {key: settled for key, settled in self._settled.items() if key in self._sights}
        self._many = max(_MANY, 2 * len(self._sights))

    def _is_there(self, rollout: Rollout) -> bool:
        try:
            self._canaries.require(rollout)
        except WorldError:
            return False
        return True

    def _cache(self, mesh: Mesh, ref: Ref) -> Cache[Snapshot]:
        return self._cluster_of(ref).cache(snapshot_view(ref.kind, status=ref.kind in mesh.statuses))

    def _cluster_of(self, ref: Ref) -> Cluster:
        return self._cluster if ref.kind.group in _OF_THE_WORKLOADS else self._mesh_cluster

    def _owner(self, scene: RouteObjects, ref: Ref) -> Owner:
        """Whose an object is. What is in no namespace, or in another cluster, cannot refer to the Canary."""
        within = ref.kind.namespaced and self._cluster_of(ref) is self._cluster
        owner = self._beside(scene)
        return owner if within else evolve(owner, reference=None)

    def _beside(self, scene: RouteObjects) -> Owner:
        """Return the Canary, as the owner of what is beside it."""
        name = scene.asked.canary.name
        return Owner(namespace=scene.asked.namespace, name=name, reference=owner_reference(name, scene.uid))

    def _foreign(self, scene: RouteObjects, ref: Ref, found: Snapshot) -> tuple[ForeignObject, ...]:
        """Return the object if it is foreign, or nothing."""
        owner, role = self._owner(scene, ref), _role_of(scene, ref)
        if not ref.kind.namespaced and not found.ownership.annotated_owner:
            splits = scene.mesh.routes(scene.asked, {ref: found.body}) is not None
            return () if splits else (ForeignObject(kind=ref.kind, name=ref.name, role=role, objection=_OF_ALL),)
        return () if is_made(found, owner) else owner.find_foreign(ref.kind, ref.name, found.ownership, role)

    # what is to be ----------------------------------------------------------------------------------------------

    def _read(self, scene: RouteObjects) -> Routes | None:
        """The routes, if all objects are what they must be for them."""
        routes = scene.mesh.routes(scene.asked, scene.found)
        if routes is None:
            return None
        try:
            return None if any(True for _ in self._changes(scene, routes)) else routes
        except Refused:  # setting routes says why
            return None

    def _changes(self, scene: RouteObjects, routes: Routes, *, with_mesh: bool = True) -> Iterator[ObjectChange]:
        """What differs, in the order in which it is written."""
        held = scene.held
        if scene.has_pods:
            yield from self._service_changes(scene, held)
        if not with_mesh:
            return
        found = scene.found
        rendered = scene.mesh.render(scene.asked, routes, found)
        taken = scene.mesh.routes(scene.asked, found) is not None
        for body in rendered:
            ref = _ref_of(scene, body)
            yield from self._change(scene, ref, held.get(ref), body, taken=taken)

    def _service_changes(self, scene: RouteObjects, held: Mapping[Ref, Snapshot]) -> list[ObjectChange]:
        """What differs of the Services, which do not depend on the routes: once they are right they stay so."""
        key, seen = _key(scene.asked.rollout), scene.seen[: len(_services_of(scene.asked))]
        facts = scene.sight, scene.uid, scene.ports, seen
        if self._settled.get(key) == facts:
            return []
        wanted_ones = services(scene.asked, scene.ports)
        changes = [change for service in wanted_ones for change in self._service_change(scene, held, service)]
        if not changes:
            self._settled[key] = facts
        return changes

    def _service_change(
        self, scene: RouteObjects, held: Mapping[Ref, Snapshot], service: Json
    ) -> Iterator[ObjectChange]:
        ref = _service(scene.asked, service["metadata"]["name"])
        before = held.get(ref)
        if before is None:
            yield from self._change(scene, ref, None, service, taken=False)
            return
        found = before.body
        if ref.name == scene.asked.apex and not is_made(before, self._owner(scene, ref)):
            rendered = only_selector(service)
        else:
            rendered = fitted(service, found, scene.asked)
        # a selector that follows from the target needs no note
        taken = found["spec"].get("selector") in (service["spec"]["selector"], dict([scene.asked.pods]))
        yield from self._change(scene, ref, before, rendered, taken=taken)

    def _change(
        self, scene: RouteObjects, ref: Ref, before: Snapshot | None, rendered: Json, *, taken: bool
    ) -> Iterator[ObjectChange]:
        owner = self._owner(scene, ref)
        foreign = () if before is None else self._foreign(scene, ref, before)
        if foreign:
            raise ForeignObjectError(owner, foreign)
        if before is not None and self._unlike.get(ref) == (rendered, before):
            return
        after = merge_owned(before, rendered, owner, taken=taken)
        patch = after if before is None else merge_patch(before.body, after)
        if patch:
            yield ObjectChange(ref=ref, owner=owner, before=before, rendered=rendered, patch=patch)

    # what is done -----------------------------------------------------------------------------------------------

    async def _write(self, scene: RouteObjects, change: ObjectChange) -> Snapshot | None:
        """What is held of it then; None where that is not what was wanted, or is not known."""
        ref, cluster = change.ref, self._cluster_of(change.ref)
        if change.before is None:  # applied, so that what the server adds by itself is not noted as ours
            metadata = change.patch["metadata"] | {"resourceVersion": UNBORN}
            await cluster.apply(change.patch | {"metadata": metadata}, force=False)
        else:
            await self._merge(scene, ref, change.before, change.patch)
        written = self._cache(scene.mesh, ref).get(ref.namespace, ref.name)
        if written is None:
            return None
        left = merge_patch(written.body, merge_owned(written, change.rendered, change.owner, taken=True))
        if left:
            self._unlike[ref] = (change.rendered, written)
            self._seen.pop(_key(scene.asked.rollout), None)  # what is held may be the same, and means something else
            _log.warning("%s %s.%s: the server made something else of %s", ref.kind.kind, ref.name, ref.namespace, left)
            return None
        self._unlike.pop(ref, None)
        return written

    async def _merge(self, scene: RouteObjects, ref: Ref, before: Snapshot, patch: Json) -> None:
        """Change the object, if it is still the one that was looked at."""
        metadata = patch.get("metadata", {}) | {"resourceVersion": self._version(scene, ref, before)}
        await self._cluster_of(ref).merge(ref.kind, ref.namespace, ref.name, patch | {"metadata": metadata})

    async def _delete(self, scene: RouteObjects, ref: Ref, before: Snapshot) -> None:
        """Delete the object, if it is still the one that was looked at."""
        version, uid = self._version(scene, ref, before), before.body["metadata"]["uid"]
        await self._cluster_of(ref).delete(ref.kind, ref.namespace, ref.name, uid=uid, version=version)

    def _version(self, scene: RouteObjects, ref: Ref, before: Snapshot) -> str:
        """Return the version of the object that was looked at. Raises Conflict where it has changed since."""
        cache = self._cache(scene.mesh, ref)
        if cache.get(ref.namespace, ref.name) != before:
            raise Conflict(f"{ref.kind.kind} {ref.name} has changed since it was looked at: looking again")
        return cache.version(ref.namespace, ref.name)

    async def _give_apex_back(self, scene: RouteObjects) -> None:
        """The apex leads to the target's pods: those that its owner named, if he made it."""
        if not scene.has_pods:
            return
        *_, service = services(scene.asked, scene.ports)
        ref = _service(scene.asked, scene.asked.apex)
        held = scene.held.get(ref)
        if held is None or held.body["spec"].get("selector") != service["spec"]["selector"]:
            return
        body = held.body
        if self._foreign(scene, ref, held):
            return
        selector = dict([scene.asked.pods])
        if is_made(held, self._owner(scene, ref)):
            after = body | {"spec": body["spec"] | {"selector": selector}}
        else:
            after = give_back(held, only_selector(service))
            after["spec"]["selector"] = original_spec(body).get("selector", selector)
        await self._merge(scene, ref, held, merge_patch(body, after))

    async def _give_back(self, scene: RouteObjects, ref: Ref) -> None:
        """What was taken over is as it was; what was only read (an ingress that was copied) has nothing of ours."""
        held = scene.held[ref]
        for body in scene.mesh.render(scene.asked, Routes(), scene.found):
            if (body["kind"], body["metadata"]["name"]) == (ref.kind.kind, ref.name):
                patch = merge_patch(held.body, give_back(held, body))
                if patch:
                    await self._merge(scene, ref, held, patch)


_OF_ALL = "is in no namespace, and does not split between this Canary's sides"
"""Why an object is foreign that any namespace's Canary could name."""

_MANY = 100
"""So many rollouts are remembered without asking whether all of them are still there."""

_OF_THE_WORKLOADS = ("", "networking.k8s.io", "serving.knative.dev")
"""API groups of what is always where the workloads are: Services, Ingresses, Knative's targets."""


def _services_of(asked: RenderContext) -> tuple[Ref, ...]:
    names = (asked.canary_service, asked.primary, asked.apex) if asked.pods[0] else ()
    return tuple(_service(asked, name) for name in names)


def _service(asked: RenderContext, name: str) -> Ref:
    return Ref(kind=SERVICE, namespace=asked.namespace, name=name)


def _ref_of(scene: RouteObjects, body: Json) -> Ref:
    """Return where a rendered object is."""
    refs = {(ref.kind.kind, ref.name): ref for ref in scene.mesh.refs(scene.asked)}
    return refs[body["kind"], body["metadata"]["name"]]


def _role_of(scene: RouteObjects, ref: Ref) -> Role:
    if ref.kind == SERVICE:
        return APEX_SERVICE if ref.name == scene.asked.apex else SIDE_SERVICE
    return ROUTE if scene.mesh.is_route(scene.asked, ref) else ROUTE_PART


def _is_taken_over(held: Snapshot, *, splits: bool) -> bool:
    """Tell whether somebody else's object has something of ours. splits: whether there are routes."""
    return NOTE in (held.body["metadata"].get("annotations") or {}) or (splits and bool(held.owned_fields))


def _are(one: RouteObjects, other: RouteObjects) -> bool:
    """Whether both show the same."""
    return one.seen == other.seen and one.ports == other.ports


def _key(rollout: Rollout) -> str:
    return f"{rollout.namespace}/{rollout.name}"


def _known(provider: str) -> str:
    """The installed mesh that a provider's name begins with: `smi:v1alpha1` of `smi:v1alpha1:istio`."""
    names, name = installed("meshes"), provider
    while name and name not in names:
        name = name.rpartition(":")[0]
    return name or provider
