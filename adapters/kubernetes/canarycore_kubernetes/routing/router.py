"""The port Router on a cluster: the Services and the routing objects of a rollout, whatever its mesh.

    router = MeshRouter(cluster, canaries, ReadingOptions(labels=options.selector_labels))

Observations come from caches and cost no request. As long as no object changes, the router does not even read the
objects again. The mesh renders the objects for given routes, and reads the routes from given objects. The router
compares the two and writes only the differences. So an advance is one write. If somebody else changes one of our
fields, the routes are unknown until the next `set_routes` has repaired the object.

Writes have one order for all routes: first the sides' Services, so that nothing leads to a missing Service, then the
apex, then the objects that split. `prepare` comes before the primary runs. It creates the sides' Services and, with
some meshes, the objects that make pods members of the mesh. The apex and the split wait for `set_routes`: by then the
primary's pods answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import evolve

from canarycore import RouteRefusal, Routes, Strategy
from canarycore.errors import Conflict, Refused, UnknownProvider, WorldError
from canarycore.foreign import get_mapping, get_text, get_texts
from canarycore_kubernetes.api.cache import UnreadableError
from canarycore_kubernetes.api.client import UNUSED_VERSION
from canarycore_kubernetes.api.kinds import SCALED_OBJECT, SERVICE
from canarycore_kubernetes.api.merge_patch import merge_patch
from canarycore_kubernetes.api.metadata import PRIMARY_SUFFIX, get_annotation, owner_reference, primary_name
from canarycore_kubernetes.api.ownership import (
    SCALER_COPY,
    BlockedError,
    ForeignObject,
    ForeignObjectError,
    NameConflictError,
    Owner,
    ownership_of,
)
from canarycore_kubernetes.api.snapshots import snapshot_view
from canarycore_kubernetes.resources.refusals import ROUTES, WRITERS
from canarycore_kubernetes.routing.features import find_unsupported, format_refusal, new_features, routes_of_rungs
from canarycore_kubernetes.routing.leftovers import LAST_STAGE, SCALERS, WORKLOADS, Leftovers, needed_refs, stage_of
from canarycore_kubernetes.routing.objects import (
    ObjectChange,
    RouteObjects,
    RouteView,
    WorkloadSnapshots,
    service_ref,
    service_refs,
)
from canarycore_kubernetes.routing.reversions import Reversions, describe
from canarycore_kubernetes.routing.services import fit_to_service, only_selector, services
from canarycore_kubernetes.routing.takeover import NOTE, give_back, is_made, merge_owned, original_spec, release
from canarycore_kubernetes.scaling.autoscalers import PAUSED, RESUME, primary_scaler
from canarycore_kubernetes.selection.selectors import existing_selectors, selects, tells_apart
from canarycore_kubernetes.telemetry.troubles import ROUTES_CHANGED_BACK, ROUTES_REFUSED, classify
from canarycore_kubernetes.workloads.base import OwnedObjects
from canarycore_kubernetes.workloads.facts import ReadingOptions, pod_views
from canarycore_runtime.mesh import GuardedMesh, PodSelectors, Ref, RenderContext
from canarycore_runtime.registry import installed, load_mesh

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canarycore import Rollout
    from canarycore.manifest import Canary
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.api.snapshots import Snapshot
    from canarycore_kubernetes.resources.canaries import Canaries, ValidCanary
    from canarycore_kubernetes.resources.claims import Claims
    from canarycore_kubernetes.resources.events import EventNotifier
    from canarycore_kubernetes.resources.refusals import BlockedRollouts
    from canarycore_kubernetes.routing.objects import RouteCache
    from canarycore_kubernetes.telemetry.troubles import TroubleReason
    from canarycore_kubernetes.workloads.facts import Port, WrittenTemplate
    from canarycore_runtime.mesh import Json, Kind, Mesh

_log = logging.getLogger("canarycore.kubernetes")

_DEFAULT_READING = ReadingOptions()


class MeshRouter:
    """The router of a cluster's Canaries: each names its mesh.

    reading: how Deployments and DaemonSets are read, for the label and the ports of their pods; the workloads have the
    same. mesh_cluster: the cluster of the routing objects, if it is not the workloads' own. ingress_prefix,
    ingress_class: the controller's options --ingress-annotations-prefix and --ingress-class. events: records warnings
    about unreadable objects. claims: finds Canaries that need the same names. refusals: reports routes
    that their controller refuses.
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
        refusals: BlockedRollouts | None = None,
    ) -> None:
        self._cluster = cluster
        self._events = events
        self._canaries = canaries
        self._pod_views = {kind.kind: view for kind, view in pod_views(reading).items()}
        self._labels = reading.labels
        self._clock = reading.clock
        self._mesh_cluster = mesh_cluster or cluster
        self._claims = claims
        self._refusals = refusals
        self._refused_since: dict[str, float] = {}
        self._unsupported: dict[str, tuple[Rollout, RouteRefusal]] = {}
        self._diverted: dict[str, int | None] = {}
        self._options = {"ingress_prefix": ingress_prefix, "ingress_class": ingress_class}
        self._meshes: dict[str, Mesh] = {}
        self._views: dict[str, RouteView] = {}
        self._observed: dict[str, tuple[RouteObjects, Routes | RouteRefusal | None]] = {}
        self._matching_services: dict[str, tuple[object, ...]] = {}
        self._altered_by_server: dict[Ref, tuple[Json, Snapshot]] = {}
        self._sweep_size = _SMALLEST_SWEEP
        self._leftovers = Leftovers()
        self._reversions = Reversions()

    # the port ---------------------------------------------------------------------------------------------------

    async def observe(self, rollout: Rollout) -> Routes | RouteRefusal | None:
        """Return the routes; None where an object is missing or differs from its required state.

        Return a RouteRefusal while the mesh's controller has not accepted the objects as they are now, or routes of a
        former manifest still lead requests, or the cluster refuses to show them.
        """
        key = _key(rollout)
        if self._refusals is not None:
            self._refusals.note(key, self._reversions.text(key), WRITERS, ROUTES_CHANGED_BACK)
        try:
            routes = await self._observe(rollout)
        except Refused as error:
            trouble = classify(error)
            return self._report_refusal(rollout, RouteRefusal(trouble.text), trouble.reason)
        before, refusal = self._unsupported.get(key, (None, None))
        if before is rollout and refusal is not None:
            routes = refusal
        if isinstance(routes, RouteRefusal):
            return self._report_refusal(rollout, routes)
        self._refused_since.pop(key, None)
        self._note(key, "")
        if routes is not None:
            self._record_weight(rollout, routes)
        return routes

    def _record_weight(self, rollout: Rollout, routes: Routes) -> None:
        is_rungs = routes.weight == self._canaries.require(rollout).status.rung.weight
        self._diverted[_key(rollout)] = None if is_rungs else routes.weight

    def diverted(self, key: str, known: int | None) -> int | None:
        """Return the canary's weight while a failover makes it another one than the rung's; None if there is none.

        known: the answer if this process has not seen the routes yet.
        """
        return self._diverted.get(key, known)

    def _report_refusal(
        self, rollout: Rollout, refusal: RouteRefusal, reason: TroubleReason = ROUTES_REFUSED
    ) -> RouteRefusal:
        """Report a refusal, and return it with its time. A verdict that is only missing is reported a while later."""
        key, now = _key(rollout), time.time()
        first = self._refused_since.setdefault(key, now)
        due = first + (_VERDICT_PATIENCE + rollout.drain if refusal.is_pending else 0.0)
        if now < due:
            asyncio.get_running_loop().call_later(due - now, self._cluster.wake, key)
        text = str(refusal) if reason is ROUTES_REFUSED else refusal.reason
        self._note(key, text if now >= due else "", reason)
        return evolve(refusal, since=first if refusal.since is None else min(refusal.since, first))

    def _note(self, key: str, text: str, reason: TroubleReason = ROUTES_REFUSED) -> None:
        if self._refusals is not None:
            self._refusals.note(key, text, ROUTES, reason)

    async def _observe(self, rollout: Rollout) -> Routes | RouteRefusal | None:
        try:
            objects = await self._find_objects(rollout)
        except UnreadableError as error:
            await self._warn(rollout, str(error))
            raise
        if objects is None:
            return None
        if objects.mesh.statuses:
            for text in objects.mesh.refusals(objects.context, objects.mesh_objects):
                await self._warn(rollout, text)
        key = _key(rollout)
        if self._leftovers.is_due(key):
            return None  # set_routes removes them
        last = self._observed.get(key)
        routes = last[1] if last is not None and last[0].is_same(objects) else self._read_routes(objects)
        self._observed[key] = (objects, routes)
        if isinstance(routes, Routes) and self._leftovers.has_routes(key):
            return RouteRefusal(_FORMER_ROUTES, is_pending=True, routes=routes)
        return routes

    async def _warn(self, rollout: Rollout, text: str) -> None:
        if self._events is not None:
            with suppress(WorldError):  # a failed warning must not hide the routes or the error itself
                await self._events.warn(rollout, text)

    async def set_routes(self, rollout: Rollout, routes: Routes) -> None:
        """Write the differences to these routes.

        Raise Refused where the mesh cannot express them, or an object of the owner's is missing.
        """
        objects = await self._claim_objects(rollout)
        await self._demand_features(objects, routes)
        await self._demand_own_pods(objects, routes)
        changes = tuple(self._changes(objects, routes))  # a refusal comes before the first write
        if self._leftovers.of(_key(rollout)):
            await self._remove_leftovers(objects, is_in_place=not changes and objects.has_in_force(routes))
        written = {change.ref: await self._write(objects, change) for change in changes}
        self._record_weight(rollout, routes)
        if None in written.values():
            return
        pairs = zip(objects.view.places, objects.snapshots, strict=True)
        after = evolve(objects, snapshots=tuple(written.get(ref, before) for (ref, _), before in pairs))
        if after.has_in_force(routes):  # all objects are compared: the next observation need not repeat it
            self._observed[_key(rollout)] = (after, routes)

    async def prepare(self, rollout: Rollout) -> None:
        """Create the objects that must exist before the primary's pods. No request takes another way by it."""
        objects = await self._claim_objects(rollout)
        await self._demand_features(objects, *routes_of_rungs(rollout))  # a refusal comes before the start
        if rollout.ladder.strategy is Strategy.WEIGHTS:
            await self._demand_own_pods(objects, Routes(weight=50))  # a refusal comes before the start
        await self._leave_former_target(objects)
        context, early = objects.context, objects.mesh.before_pods
        sides = {context.primary, context.canary_service}
        for change in tuple(self._changes(objects, Routes(), with_mesh=bool(early), is_early=True)):
            if change.ref.kind in early or (change.ref.kind == SERVICE and change.ref.name in sides):
                await self._write(objects, change)

    async def _demand_features(self, objects: RouteObjects, *routes: Routes) -> None:
        """Raise BlockedError where a gateway lacks a feature of these routes. Observations report it until they change.

        No read precedes a write that needs no further feature.
        """
        context, mesh = objects.context, objects.mesh
        needed = new_features(mesh, context, routes, objects.mesh_objects)
        problems = await find_unsupported(self._mesh_cluster.get, mesh, context, needed)
        if problems:
            text = format_refusal(context, problems)
            self._unsupported[_key(context.rollout)] = (context.rollout, RouteRefusal(text))
            raise BlockedError(text)
        self._unsupported.pop(_key(context.rollout), None)

    async def _demand_own_pods(self, objects: RouteObjects, routes: Routes) -> None:
        """Raise BlockedError where the apex would select the pods of another workload, by labels of both sides."""
        context, pods = objects.context, objects.context.pods
        selector = objects.mesh.apex_pods(context, routes, objects.mesh_objects) if objects.has_pods else pods.primary
        if selector in (pods.primary, pods.canary):
            return
        target = context.rollout.target.name
        for kind, view in self._pod_views.items():
            for (namespace, name), facts in (await self._cluster.cache(view).ready()).all():
                is_ours = kind == context.rollout.target.kind and name in (target, primary_name(target))
                if namespace == context.namespace and not is_ours and selects(selector, facts.template.labels):
                    labels = ", ".join(f"{key}={text}" for key, text in sorted(selector.items()))
                    raise BlockedError(
                        f"canary {context.rollout.full_name}, spec.targetRef: found the {kind} {name}, whose pods have "
                        f"the labels {labels} too, expected a label that only the pods of {target} and its primary "
                        "have: the Service would lead to the other pods. Add one to the target's pod template."
                    )

    async def restore(self, rollout: Rollout) -> None:
        """Lead the apex to the target's pods, delete the objects that we made, and give back those taken over."""
        objects = await self._find_objects(rollout)
        if objects is None or await self._objection(objects):
            return
        self._reversions.forget(_key(rollout))
        await self._give_apex_back(objects)
        by_ref, splits = objects.by_ref, objects.read_routes() is not None
        for ref in objects.mesh_objects:
            snapshot = by_ref[ref]
            if ref in service_refs(objects.context) or self._find_foreign(objects, ref, snapshot):
                continue
            is_shared, original = ref.kind in objects.mesh.shared, objects.original(ref)
            if not is_shared and original is None and is_made(snapshot, self._owner(objects, ref)):
                await self._delete(objects, ref, snapshot)
            elif _is_taken_over(objects, ref, splits=splits):
                await self._give_back(objects, ref)
        for ref in self._leftovers.of(_key(rollout)):
            await self._remove_leftover(objects, ref)

    async def foreign_objects(self, rollout: Rollout) -> tuple[ForeignObject, ...]:
        """Return all foreign objects under the names that the routes need."""
        objects = await self._require_objects(rollout)
        refs = list(service_refs(objects.context))
        with suppress(Refused):  # set_routes raises it with its reason
            rendered = objects.mesh.render(objects.context, Routes(), objects.mesh_objects)
            refs += [objects.ref_of(body) for body in rendered]
        by_ref = objects.by_ref
        return tuple(
            foreign for ref in refs if ref in by_ref for foreign in self._find_foreign(objects, ref, by_ref[ref])
        )

    # for the metric sources ---------------------------------------------------------------------------------------

    def mesh(self, provider: str) -> Mesh:
        """Return the mesh of that name. Raise UnknownProvider, which lists the installed ones."""
        if provider not in self._meshes:
            self._meshes[provider] = GuardedMesh(load_mesh(provider))
        return self._meshes[provider]

    def query_variables(self, rollout: Rollout) -> Mapping[str, str]:
        """Return the variables that the rollout's queries may name. Raise WorldError when its Canary is gone."""
        mesh, canary = self.mesh(rollout.provider), self._canaries.require(rollout).manifest
        context = RenderContext(canary=canary, rollout=rollout, pods=_NO_PODS, **self._options)
        snapshots = {ref: self._cache(mesh, ref).get(ref.namespace, ref.name) for ref in mesh.refs(context)}
        bodies = {ref: snapshot.body for ref, snapshot in snapshots.items() if snapshot is not None}
        return mesh.query_variables(context, bodies)

    # finding the objects ------------------------------------------------------------------------------------------

    async def _find_objects(self, rollout: Rollout) -> RouteObjects | None:
        """Return the objects as the caches have them; None where the target or the label of its pods is missing."""
        key, canary = _key(rollout), self._canaries.require(rollout)
        pods = _NO_PODS
        ports: tuple[Port, ...] = ()
        if rollout.target.kind in self._pod_views:
            template, pods = await self._find_pods(rollout, canary)
            if template is None:
                return None
            ports = template.ports
            pods = pods if self._has_services(rollout, canary.manifest) else _NO_PODS
        view = self._view(rollout, canary.manifest, pods)
        snapshots = [(await cache.ready()).look(ref.namespace, ref.name, key) for ref, cache in view.places]
        return RouteObjects(view=view, uid=canary.uid, ports=ports, snapshots=tuple(snapshots))

    def _has_services(self, rollout: Rollout, canary: Canary) -> bool:
        """Return whether users reach the target by Services."""
        if canary.spec.service is not None:
            return True
        context = RenderContext(canary=canary, rollout=rollout, pods=_NO_PODS, **self._options)
        return self._mesh_of(rollout).has_services(context)

    async def _find_pods(self, rollout: Rollout, canary: ValidCanary) -> tuple[WrittenTemplate | None, PodSelectors]:
        """Return the target's template and the selectors of both sides; None where there is nothing to route to.

        An existing primary keeps the selector of its creation. While the target is missing, or does not fit the
        primary, the canary's Service keeps its selector too, so that requests can still be taken away from it.
        """
        place, key = (rollout.namespace, rollout.target.name), _key(rollout)
        workloads = await self._cluster.cache(self._pod_views[rollout.target.kind]).ready()
        target = workloads.look(*place, key)
        primary = workloads.look(place[0], primary_name(place[1]), key)
        owner = Owner(namespace=rollout.namespace, name=canary.manifest.name, reference=None)
        if primary is None or not primary.template.selector or not owner.owns(primary.ownership):
            has_label = target is not None and target.template.pods.label
            return (target.template, target.template.pods) if target is not None and has_label else (None, _NO_PODS)
        own, labels = primary.template.selector, self._labels
        if target is not None and (canary.is_deleted or tells_apart(target.template.selector, own)):
            if target.template.pods.primary == own:
                return target.template, target.template.pods
            return target.template, existing_selectors(target.template.selector, own, labels)
        if canary.is_deleted:
            return None, _NO_PODS
        context = RenderContext(canary=canary.manifest, rollout=rollout)
        services = await self._cluster.cache(snapshot_view(SERVICE)).ready()
        side = services.look(rollout.namespace, context.canary_service, key)
        before = {} if side is None else get_texts(side.body, "spec", "selector")
        if not before or not tells_apart(before, own):
            return None, _NO_PODS
        return primary.template, existing_selectors(before, own, labels)

    async def _require_objects(self, rollout: Rollout) -> RouteObjects:
        """Return the objects. Raise Refused where the target or the label of its pods is missing."""
        objects = await self._find_objects(rollout)
        if objects is None:
            target = rollout.target
            raise Refused(
                f"{target.kind.lower()} {rollout.target_name} is missing, or its selector has none of the selector "
                "labels: there is nothing to route to. Create it, or name the label with --selector-labels."
            )
        return objects

    async def _claim_objects(self, rollout: Rollout) -> RouteObjects:
        """Return the objects in order to change them. Raise NameConflictError where another Canary has them."""
        objects = await self._require_objects(rollout)
        objection = await self._objection(objects)
        if objection:
            raise NameConflictError(self._local_owner(objects), objection)
        return objects

    async def _objection(self, objects: RouteObjects) -> str:
        """Return why the rollout must not change the objects; empty where it may.

        The Canary that has made the primary's Service has the other objects too.
        """
        side = objects.by_ref.get(service_ref(objects.context, objects.context.primary))
        if self._claims is None or (side is not None and is_made(side, self._local_owner(objects))):
            return ""
        return await self._claims.objection(objects.context.rollout)

    def _view(self, rollout: Rollout, canary: Canary, pods: PodSelectors) -> RouteView:
        """Return the view of a rollout: the last one, unless the manifest or the labels of the pods have changed."""
        key = _key(rollout)
        last = self._views.get(key)
        if last is not None:
            context = last.context
            if context.canary is canary and context.rollout is rollout and context.pods == pods:
                return last
        mesh = self._mesh_of(rollout)
        context = RenderContext(canary=canary, rollout=rollout, pods=pods, **self._options)
        refs = dict.fromkeys((*service_refs(context), *mesh.refs(context)))
        places = tuple((ref, self._cache(mesh, ref)) for ref in refs)
        self._forget_deleted_rollouts()
        view = self._views[key] = RouteView(context=context, mesh=mesh, places=places)
        if last is not None:
            self._leftovers.replace(key, last, view)
        else:
            self._leftovers.keep(key, needed_refs(view))
        return view

    def _mesh_of(self, rollout: Rollout) -> Mesh:
        try:
            return self.mesh(rollout.provider)
        except UnknownProvider as error:
            raise Refused(f"canary {rollout.full_name}, spec.provider: {error}") from error

    def _forget_deleted_rollouts(self) -> None:
        """Remove the views of deleted Canaries, each time that the number of views has doubled."""
        if len(self._views) < self._sweep_size:
            return
        self._views = {key: view for key, view in self._views.items() if self._exists(view.context.rollout)}
        self._observed = {key: last for key, last in self._observed.items() if key in self._views}
        self._diverted = {key: last for key, last in self._diverted.items() if key in self._views}
        self._unsupported = {key: last for key, last in self._unsupported.items() if key in self._views}
        self._refused_since = {key: since for key, since in self._refused_since.items() if key in self._views}
        self._matching_services = {key: last for key, last in self._matching_services.items() if key in self._views}
        self._reversions.keep(self._views)
        self._sweep_size = max(_SMALLEST_SWEEP, 2 * len(self._views))

    def _exists(self, rollout: Rollout) -> bool:
        try:
            self._canaries.require(rollout)
        except WorldError:
            return False
        return True

    def _cache(self, mesh: Mesh, ref: Ref) -> RouteCache:
        if ref.kind in WORKLOADS.values():
            return WorkloadSnapshots(ref.kind, self._cluster.cache(self._pod_views[ref.kind.kind]))
        return self._cluster_of(ref).cache(snapshot_view(ref.kind, status=ref.kind in mesh.statuses))

    def _cluster_of(self, ref: Ref) -> Cluster:
        return self._cluster if ref.kind.group in _WORKLOAD_GROUPS else self._mesh_cluster

    # leftovers ----------------------------------------------------------------------------------------------------

    def leftovers(self, rollout: Rollout) -> frozenset[Ref]:
        """Return the objects that the rollout's manifest no longer needs and that are still to be removed."""
        return self._leftovers.of(_key(rollout))

    async def find_leftovers(self) -> None:
        """List all objects that Canaries own, as another process may have seen a manifest with other parts.

        Those that a Canary still needs are no leftovers: each view takes its own out.
        """
        views, self._views = self._views, {}
        kinds = {SERVICE, *SCALERS.values(), *WORKLOADS.values()}
        for name in installed("meshes"):
            await asyncio.sleep(0)  # many Canaries take their time: probes are answered meanwhile
            kinds.update(self._kinds_of(name, views))
        for view in views.values():
            await asyncio.sleep(0)
            kinds.update(ref.kind for ref in needed_refs(view))
        for kind in sorted(kinds, key=str):
            with suppress(WorldError):  # the server lacks the kind: none of ours is there
                await self._list_owned(kind)
        for view in views.values():
            await asyncio.sleep(0)
            self._view(view.context.rollout, view.context.canary, view.context.pods)

    def _kinds_of(self, provider: str, views: Mapping[str, RouteView]) -> Iterator[Kind]:
        """Yield the kinds of a mesh's objects, by the example of any Canary, and those whose status it reads."""
        for view in views.values():
            with suppress(Refused, WorldError):
                mesh, rollout = self.mesh(provider), evolve(view.context.rollout, provider=provider)
                yield from mesh.statuses
                yield from (ref.kind for ref in mesh.refs(evolve(view.context, rollout=rollout)))
                return

    async def _list_owned(self, kind: Kind) -> None:
        """Record the objects of a kind that a Canary owns and that have a name which we compose."""
        cluster = self._cluster_of(Ref(kind=kind, namespace="", name=""))
        namespace = cluster.namespace if kind.namespaced else ""
        if not await cluster.client.may("list", kind, namespace):
            return  # a mesh that the role does not have: none of ours is there
        async for page in cluster.client.list(kind, namespace, metadata_only=True):
            for body in page["items"]:
                place, ownership = body["metadata"].get("namespace", ""), ownership_of(body)
                ref = Ref(kind=kind, namespace=place, name=body["metadata"]["name"])
                if stage_of(ref) == LAST_STAGE and not ref.name.endswith(PRIMARY_SUFFIX):
                    continue  # a workload or an autoscaler that we did not copy
                for name in ownership.canaries if place else ():
                    self._leftovers.add(f"{place}/{name}", [ref])
                if place and not ownership.canaries and ownership.annotated_owner:
                    self._leftovers.add(ownership.annotated_owner, [ref])

    async def _leave_former_target(self, objects: RouteObjects) -> None:
        """Take the canary's traffic from the former target, whose pods may go at any time, to its primary."""
        key, target = _key(objects.context.rollout), objects.context.rollout.target
        view = self._leftovers.former_target_view(key, target)
        if view is None or not await self._has_ready_primary(view.context.rollout):
            return
        snapshots = [(await cache.ready()).get(ref.namespace, ref.name) for ref, cache in view.places]
        former = evolve(objects, view=view, snapshots=tuple(snapshots))
        routes = former.read_routes()
        if routes is None or not routes.is_exposed:
            return
        for change in tuple(self._changes(former, Routes())):
            if change.ref.kind != SERVICE and change.before is not None:
                await self._write(former, change)

    async def _remove_leftovers(self, objects: RouteObjects, *, is_in_place: bool) -> None:
        """Remove the next stage of leftovers, if the routes are in force and the proxies have had time to follow."""
        key, rollout = _key(objects.context.rollout), objects.context.rollout
        if not is_in_place:
            self._leftovers.restart(key)
            return
        if self._leftovers.is_waiting_over(key):
            for ref in self._leftovers.next_stage(key):
                if await self._remove_leftover(objects, ref):
                    self._leftovers.keep(key, [ref])
        if self._leftovers.of(key):
            self._leftovers.wait(key, rollout.drain)
            asyncio.get_running_loop().call_later(rollout.drain + _WAKE_MARGIN, self._cluster.wake, key)

    async def _remove_leftover(self, objects: RouteObjects, ref: Ref) -> bool:
        """Delete an object if the Canary owns it, or give a route back. Return whether nothing is left to do.

        A Service of somebody else's that was the apex still leads to the primary: its target may have no pods.
        """
        cluster, owner = self._cluster_of(ref), self._owner(objects, ref)
        body = await cluster.find(ref.kind, ref.namespace, ref.name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return True
        if not owner.owns(ownership_of(body)):
            return await self._give_leftover_back(objects, ref)
        if ref.kind in WORKLOADS.values() and not await self._has_ready_primary(objects.context.rollout):
            return False
        metadata = body["metadata"]
        try:
            if ref.kind in SCALERS.values():
                await self._replace_scaler(objects, ref)
            await cluster.delete(
                ref.kind, ref.namespace, ref.name, uid=metadata["uid"], version=metadata["resourceVersion"]
            )
        except Conflict:
            return False
        except WorldError as error:
            _log.warning("%s %s.%s is no longer needed, but stays: %s", ref.kind.kind, ref.name, ref.namespace, error)
        return True

    async def _give_leftover_back(self, objects: RouteObjects, ref: Ref) -> bool:
        """Give a route back that the Canary took over before. Return whether nothing is left to do."""
        view = self._leftovers.former_view(_key(objects.context.rollout), ref)
        if view is None or ref.kind == SERVICE:
            return True
        snapshots = [(await cache.ready()).get(place.namespace, place.name) for place, cache in view.places]
        former = evolve(objects, view=view, snapshots=tuple(snapshots))
        snapshot = former.by_ref.get(ref)
        if snapshot is None or not _is_taken_over(former, ref, splits=former.read_routes() is not None):
            return True
        try:
            await self._give_back(former, ref)
        except Conflict:
            return False
        except WorldError as error:
            _log.warning("%s %s.%s is no longer needed, but stays: %s", ref.kind.kind, ref.name, ref.namespace, error)
        return True

    async def _has_ready_primary(self, rollout: Rollout) -> bool:
        """Return whether the primary of a rollout's target has available pods."""
        view = self._pod_views.get(rollout.target.kind)
        if view is None:
            return True
        facts = (await self._cluster.cache(view).ready()).get(rollout.namespace, primary_name(rollout.target.name))
        return facts is not None and facts.ready > 0

    async def _replace_scaler(self, objects: RouteObjects, ref: Ref) -> None:
        """Copy the autoscaler that the Canary names now, so that the primary has one at every moment.

        Raise WorldError where there is none to copy: then the former copy stays.
        """
        reference, context = objects.context.canary.spec.autoscaler_ref, objects.context
        if reference is not None and reference.kind in SCALERS:
            original = await self._cluster.require(SCALERS[reference.kind], context.namespace, reference.name)
            owned = OwnedObjects(cluster=self._cluster, owner=self._local_owner(objects))
            await owned.ensure(primary_scaler(original, context.canary, owned.reference), SCALER_COPY)
        if ref.kind == SCALED_OBJECT:
            await self._resume_original(objects, ref)

    async def _resume_original(self, objects: RouteObjects, ref: Ref) -> None:
        """Resume the ScaledObject whose copy goes, if it still scales the target: nobody else would."""
        name = ref.name.removesuffix(PRIMARY_SUFFIX)
        body = await self._cluster.get(ref.kind, ref.namespace, name)
        if body is None or get_annotation(body, PAUSED) != "0":
            return
        if get_text(body, "spec", "scaleTargetRef", "name") == objects.context.rollout.target.name:
            await self._cluster.merge(ref.kind, ref.namespace, name, RESUME)

    # owners -------------------------------------------------------------------------------------------------------

    def _owner(self, objects: RouteObjects, ref: Ref) -> Owner:
        """Return the Canary as an object's owner. Objects without a namespace, or elsewhere, cannot refer to it."""
        is_local = ref.kind.namespaced and self._cluster_of(ref) is self._cluster
        owner = self._local_owner(objects)
        return owner if is_local else evolve(owner, reference=None)

    def _local_owner(self, objects: RouteObjects) -> Owner:
        """Return the Canary as the owner of objects in its namespace."""
        name = objects.context.canary.name
        reference = owner_reference(name, objects.uid)
        return Owner(namespace=objects.context.namespace, name=name, reference=reference)

    def _find_foreign(self, objects: RouteObjects, ref: Ref, snapshot: Snapshot) -> tuple[ForeignObject, ...]:
        """Return the object if it is foreign, or nothing."""
        owner, role = self._owner(objects, ref), objects.role_of(ref)
        if ref.kind in WORKLOADS.values():
            return ()  # the workload port judges the sides
        if not ref.kind.namespaced and not snapshot.ownership.annotated_owner:
            splits = objects.mesh.routes(objects.context, {ref: snapshot.body}) is not None
            return () if splits else (ForeignObject(kind=ref.kind, name=ref.name, role=role, objection=_UNSPLIT),)
        return () if is_made(snapshot, owner) else owner.find_foreign(ref.kind, ref.name, snapshot.ownership, role)

    # comparing ----------------------------------------------------------------------------------------------------

    def _read_routes(self, objects: RouteObjects) -> Routes | RouteRefusal | None:
        """Return the routes if all objects are in the state that these routes require, and accepted as they are."""
        routes = objects.read_routes()
        if routes is None:
            return None
        try:
            if any(True for _ in self._changes(objects, routes)):
                return None
        except Refused:  # set_routes raises it with its reason
            return None
        refusal = objects.refusal()
        return routes if refusal is None else evolve(refusal, routes=routes)

    def _changes(
        self, objects: RouteObjects, routes: Routes, *, with_mesh: bool = True, is_early: bool = False
    ) -> Iterator[ObjectChange]:
        """Yield the changes that lead to these routes, in the order of their writes.

        is_early: the primary does not run yet, so Services that exist keep their selectors.
        """
        by_ref, bodies = objects.by_ref, objects.mesh_objects
        if objects.has_pods:
            apex_pods = objects.mesh.apex_pods(objects.context, routes, bodies)
            yield from self._service_changes(objects, by_ref, apex_pods, is_early=is_early)
        if not with_mesh:
            return
        rendered = objects.mesh.render(objects.context, routes, bodies)
        is_taken_over = objects.mesh.routes(objects.context, bodies) is not None
        refs = [objects.ref_of(body) for body in rendered]
        for ref, body in zip(refs, rendered, strict=True):
            tells_original = objects.mesh.original(objects.context, ref, body) is not None  # it needs no note
            before = by_ref.get(ref)
            yield from self._change(objects, ref, before, body, is_taken_over=is_taken_over or tells_original)
        for ref in bodies:
            yield from self._return_of(objects, ref) if ref not in refs else ()

    def _return_of(self, objects: RouteObjects, ref: Ref) -> Iterator[ObjectChange]:
        """Yield the change that gives an object back that these routes leave to its owner; nothing if it has none."""
        original = objects.original(ref)
        if original is None:
            return
        before, owner = objects.by_ref[ref], self._owner(objects, ref)
        if self._find_foreign(objects, ref, before):
            return
        patch = merge_patch(before.body, give_back(before, original, original["spec"]))
        if patch:
            rendered = {"metadata": {}, "spec": original["spec"]}
            yield ObjectChange(ref=ref, owner=owner, before=before, rendered=rendered, patch=patch)

    def _service_changes(
        self, objects: RouteObjects, by_ref: Mapping[Ref, Snapshot], apex_pods: Mapping[str, str], *, is_early: bool
    ) -> list[ObjectChange]:
        """Return the changes of the Services.

        Services depend on the routes by `apex_pods` alone: those that match are not compared again until they change.
        """
        context = objects.context
        key, snapshots = _key(context.rollout), objects.snapshots[: len(service_refs(context))]
        inputs = objects.view, objects.uid, objects.ports, snapshots, apex_pods
        if self._matching_services.get(key) == inputs:
            return []
        apex = by_ref.get(service_ref(context, context.apex))
        is_foreign = apex is not None and not is_made(apex, self._owner(objects, service_ref(context, context.apex)))
        required: tuple[Json, ...] = services(
            context, objects.ports, apex.body if apex is not None and is_foreign else None, apex_pods
        )
        if is_early:
            required = tuple(
                _keep_selector(service, by_ref.get(_service_ref(context, service))) for service in required
            )
        changes = [change for service in required for change in self._service_change(objects, by_ref, service)]
        if not changes and not is_early:
            self._matching_services[key] = inputs
        return changes

    def _service_change(
        self, objects: RouteObjects, by_ref: Mapping[Ref, Snapshot], service: Json
    ) -> Iterator[ObjectChange]:
        context = objects.context
        ref = _service_ref(context, service)
        before = by_ref.get(ref)
        if before is None:
            yield from self._change(objects, ref, None, service, is_taken_over=False)
            return
        body = before.body
        if ref.name == context.apex and not is_made(before, self._owner(objects, ref)):
            rendered = only_selector(service)
        else:
            rendered = fit_to_service(service, body, context)
        # a selector that follows from the target needs no note
        selector = body["spec"].get("selector")
        follows = selector in (service["spec"]["selector"], dict(context.pods.canary))
        is_known = follows or (ref.name == context.apex and selector in self._apex_selectors(objects))
        yield from self._change(objects, ref, before, rendered, is_taken_over=is_known)

    def _change(
        self, objects: RouteObjects, ref: Ref, before: Snapshot | None, rendered: Json, *, is_taken_over: bool
    ) -> Iterator[ObjectChange]:
        """Yield the change of one object, or nothing. Raise ForeignObjectError."""
        owner = self._owner(objects, ref)
        foreign = () if before is None else self._find_foreign(objects, ref, before)
        if foreign:
            raise ForeignObjectError(owner, foreign)
        if before is not None and self._altered_by_server.get(ref) == (rendered, before):
            return
        is_shared = ref.kind in objects.mesh.shared
        after = merge_owned(before, rendered, owner, is_taken_over=is_taken_over, is_shared=is_shared)
        patch = after if before is None else merge_patch(before.body, after)
        if patch:
            yield ObjectChange(ref=ref, owner=owner, before=before, rendered=rendered, patch=patch)

    # writing ------------------------------------------------------------------------------------------------------

    async def _write(self, objects: RouteObjects, change: ObjectChange) -> Snapshot | None:
        """Make a change. Return the object; None where the server altered it, or the cache does not have it."""
        ref, cluster, key = change.ref, self._cluster_of(change.ref), _key(objects.context.rollout)
        report = await self._report_repair(key, change)
        if change.before is None:  # applied, so that the server's own additions do not count as our fields
            metadata = change.patch["metadata"] | {"resourceVersion": UNUSED_VERSION}
            await cluster.apply(change.patch | {"metadata": metadata}, force=False)
        else:
            await self._merge(objects, ref, change.before, change.patch)
        written = self._cache(objects.mesh, ref).get(ref.namespace, ref.name)
        if written is None:
            return None
        is_shared = ref.kind in objects.mesh.shared
        after = merge_owned(written, change.rendered, change.owner, is_taken_over=True, is_shared=is_shared)
        rest = merge_patch(written.body, after)
        if rest:
            self._altered_by_server[ref] = (change.rendered, written)
            self._observed.pop(key, None)  # its objects may be equal, but are now accepted
            self._reversions.forget(key, ref)
            _log.warning("%s %s.%s: the API server altered %s", ref.kind.kind, ref.name, ref.namespace, rest)
            return None
        self._altered_by_server.pop(ref, None)
        calm_in = self._reversions.record(key, ref, change.rendered, report)
        if calm_in:
            asyncio.get_running_loop().call_later(calm_in + _WAKE_MARGIN, self._cluster.wake, key)
        return written

    async def _report_repair(self, key: str, change: ObjectChange) -> str:
        """Return the report of a change that somebody makes necessary again and again; empty for other changes."""
        ref = change.ref
        is_repair = self._reversions.is_repair(key, ref, change.rendered)
        if not is_repair or not self._reversions.is_due(key, ref):
            return ""
        body = await self._cluster_of(ref).find(ref.kind, ref.namespace, ref.name)
        return describe(ref, body, change.patch)

    async def _merge(self, objects: RouteObjects, ref: Ref, before: Snapshot, patch: Json) -> None:
        """Patch the object. Raise Conflict where it has changed since `before`."""
        metadata = patch.get("metadata", {}) | {"resourceVersion": self._version(objects, ref, before)}
        await self._cluster_of(ref).merge(ref.kind, ref.namespace, ref.name, patch | {"metadata": metadata})

    async def _delete(self, objects: RouteObjects, ref: Ref, before: Snapshot) -> None:
        """Delete the object. Raise Conflict where it has changed since `before`."""
        version, uid = self._version(objects, ref, before), before.body["metadata"]["uid"]
        await self._cluster_of(ref).delete(ref.kind, ref.namespace, ref.name, uid=uid, version=version)

    def _version(self, objects: RouteObjects, ref: Ref, before: Snapshot) -> str:
        """Return the version of the object. Raise Conflict where it has changed since `before`."""
        cache = self._cache(objects.mesh, ref)
        if cache.get(ref.namespace, ref.name) != before:
            raise Conflict(f"{ref.kind.kind} {ref.name} has changed since it was read: reading it again")
        return cache.version(ref.namespace, ref.name)

    # giving back --------------------------------------------------------------------------------------------------

    async def _give_apex_back(self, objects: RouteObjects) -> None:
        """Lead the apex to the target's pods, or to those that its owner had named if we took it over."""
        if not objects.has_pods:
            return
        *_, service = services(objects.context, objects.ports)
        ref = service_ref(objects.context, objects.context.apex)
        before = objects.by_ref.get(ref)
        if before is None or before.body["spec"].get("selector") not in self._apex_selectors(objects):
            return
        if self._find_foreign(objects, ref, before):
            return
        body, selector = before.body, dict(objects.context.pods.canary)
        if is_made(before, self._owner(objects, ref)):
            after = body | {"spec": body["spec"] | {"selector": selector}}
        else:
            after = give_back(before, only_selector(service))
            after["spec"]["selector"] = original_spec(body).get("selector", selector)
        await self._merge(objects, ref, before, merge_patch(body, after))

    def _apex_selectors(self, objects: RouteObjects) -> list[Mapping[str, str]]:
        """Return the selectors that the apex may have from us."""
        selectors: list[Mapping[str, str]] = []
        for weight in _SAMPLE_WEIGHTS:
            with suppress(Refused):  # then the mesh never wrote it
                selectors.append(objects.mesh.apex_pods(objects.context, Routes(weight=weight), objects.mesh_objects))
        return selectors

    async def _give_back(self, objects: RouteObjects, ref: Ref) -> None:
        """Give back an object that we took over. One that the mesh only reads has no field of ours."""
        before = objects.by_ref[ref]
        if objects.original(ref) is not None:
            for change in self._return_of(objects, ref):
                await self._merge(objects, ref, before, change.patch)
            return
        if ref.kind in objects.mesh.shared:
            released = release(before, objects.mesh.release(objects.context, before.body))
            patch = merge_patch(before.body, released)
            if patch:
                await self._merge(objects, ref, before, patch)
            return
        for body in objects.mesh.render(objects.context, Routes(), objects.mesh_objects):
            if (body["kind"], body["metadata"]["name"]) == (ref.kind.kind, ref.name):
                patch = merge_patch(before.body, give_back(before, body))
                if patch:
                    await self._merge(objects, ref, before, patch)


_NO_PODS = PodSelectors()

_UNSPLIT = "is in no namespace, and does not split between this Canary's sides"
"""The objection to an object without a namespace, which Canaries of any namespace can name."""

_SAMPLE_WEIGHTS = (0, 50, 100)
"""A weight for each way in which requests reach the sides."""

_WAKE_MARGIN = 0.05
"""Seconds after the wait for the proxies at which the router looks again."""

_VERDICT_PATIENCE = 5.0
"""Seconds for which a missing verdict of the mesh's controller is no news, beside the drain."""

_FORMER_ROUTES = "routes of the former manifest still lead requests"

_SMALLEST_SWEEP = 100
"""The number of views from which on the router looks for deleted Canaries."""

_WORKLOAD_GROUPS = ("", "apps", "networking.k8s.io", "serving.knative.dev")
"""The API groups of the workloads, and of objects beside them: Services, Ingresses, and the Services of Knative."""


def _is_taken_over(objects: RouteObjects, ref: Ref, *, splits: bool) -> bool:
    """Check whether an object of somebody else's has fields of ours. splits: whether the objects are routes."""
    if objects.original(ref) is not None:
        return True
    if ref.kind in objects.mesh.shared:
        return splits
    snapshot = objects.by_ref[ref]
    return NOTE in (snapshot.body["metadata"].get("annotations") or {}) or (splits and bool(snapshot.owned_fields))


def _service_ref(context: RenderContext, service: Json) -> Ref:
    return service_ref(context, service["metadata"]["name"])


def _keep_selector(service: Json, before: Snapshot | None) -> Json:
    """Return the Service with the selector that it has already, if it has one."""
    selector = {} if before is None else get_mapping(before.body, "spec", "selector")
    return service | {"spec": service["spec"] | {"selector": selector}} if selector else service


def _key(rollout: Rollout) -> str:
    return f"{rollout.namespace}/{rollout.name}"
