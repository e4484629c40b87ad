"""The objects of a Canary that its manifest no longer needs: they go when the new ones are in place.

A Canary may lose a part (`autoscalerRef`) or rename one (`service.name`, the provider, the target). The objects of the
former part are **leftovers**. `MeshRouter` finds them in two ways: by comparing two manifests of one Canary, and after
a start by listing all objects that a Canary owns. It removes them in stages, each only when the routes of the present
manifest are in force and the proxies have had time to follow: first routes, then Services, then autoscalers and
primaries. Objects of others are never leftovers, whatever their name.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore_kubernetes.api.kinds import DAEMON_SET, DEPLOYMENT, HPA, SCALED_OBJECT, SERVICE
from canarycore_kubernetes.api.metadata import primary_name
from canarycore_kubernetes.routing.objects import service_ref
from canarycore_runtime.mesh import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canarycore import TargetRef
    from canarycore_kubernetes.routing.objects import RouteView
    from canarycore_runtime.mesh import Kind, RenderContext

WORKLOADS: dict[str, Kind] = {kind.kind: kind for kind in (DEPLOYMENT, DAEMON_SET)}
"""The kinds of targets whose primary is a workload."""

SCALERS: dict[str, Kind] = {kind.kind: kind for kind in (HPA, SCALED_OBJECT)}
"""The kinds of autoscalers."""

_CANARY_COPY = "{}-canary"


def needed_refs(view: RouteView) -> frozenset[Ref]:
    """Return the objects that a Canary's manifest needs, of all kinds that may be leftovers."""
    context = view.context
    return frozenset((*(ref for ref, _ in view.places), *_workload_refs(context), *_scaler_refs(context)))


def _workload_refs(context: RenderContext) -> Iterable[Ref]:
    target = context.rollout.target
    names = (primary_name(target.name), _CANARY_COPY.format(target.name))
    if target.kind in WORKLOADS:
        yield Ref(kind=WORKLOADS[target.kind], namespace=context.namespace, name=names[0])
    elif target.kind == SERVICE.kind:
        yield from (service_ref(context, name) for name in (target.name, *names))


def _scaler_refs(context: RenderContext) -> Iterable[Ref]:
    reference = context.canary.spec.autoscaler_ref
    if reference is not None and reference.kind in SCALERS:
        name = primary_name(reference.name)
        yield Ref(kind=SCALERS[reference.kind], namespace=context.namespace, name=name)


Place = tuple[str, str, str, str]
"""The identity of an object: group, plural, namespace and name. Each version of an API shows the same objects."""


def place_of(ref: Ref) -> Place:
    """Return the identity of an object."""
    return ref.kind.group, ref.kind.plural, ref.namespace, ref.name


LAST_STAGE = 2
"""The stage of workloads and autoscalers."""


def stage_of(ref: Ref) -> int:
    """Return the stage in which a leftover goes: a route before its Services, and these before their pods."""
    if ref.kind in WORKLOADS.values() or ref.kind in SCALERS.values():
        return LAST_STAGE
    return 1 if ref.kind == SERVICE else 0


@define
class Leftovers:
    """The leftovers of one process, by the key of their Canary."""

    _refs: dict[str, dict[Place, Ref]] = field(factory=dict)
    _views: dict[str, list[RouteView]] = field(factory=dict)
    """The former views, which know the routes that the Canary took over."""
    _due: dict[str, float] = field(factory=dict)
    """When the next stage may begin, on the monotonic clock (seconds)."""

    def add(self, key: str, refs: Iterable[Ref]) -> None:
        """Record leftovers of a Canary."""
        for ref in refs:
            self._refs.setdefault(key, {})[place_of(ref)] = ref

    def replace(self, key: str, before: RouteView, after: RouteView) -> None:
        """Record the objects that the manifest before needed, and keep those out that the new one needs again."""
        if needed_refs(before) == needed_refs(after):
            return
        self._views.setdefault(key, []).append(before)
        self.add(key, needed_refs(before))
        self.keep(key, needed_refs(after))

    def keep(self, key: str, needed: Iterable[Ref]) -> None:
        """Take these objects out: the Canary needs them."""
        refs = self._refs.get(key)
        if refs is None:
            return
        for ref in needed:
            refs.pop(place_of(ref), None)
        if not refs:
            self.forget(key)

    def of(self, key: str) -> frozenset[Ref]:
        """Return the leftovers of a Canary."""
        return frozenset(self._refs.get(key, {}).values())

    def has_routes(self, key: str) -> bool:
        """Whether a Canary has leftovers that lead requests."""
        return any(stage_of(ref) == 0 for ref in self._refs.get(key, {}).values())

    def former_view(self, key: str, ref: Ref) -> RouteView | None:
        """Return the last view with this object; None where only a list has shown it."""
        views = reversed(self._views.get(key, []))
        return next((view for view in views if any(ref == known for known, _ in view.places)), None)

    def former_target_view(self, key: str, target: TargetRef) -> RouteView | None:
        """Return the last view with another target; None where there is none."""
        views = reversed(self._views.get(key, []))
        return next((view for view in views if view.context.rollout.target != target), None)

    def next_stage(self, key: str) -> tuple[Ref, ...]:
        """Return the leftovers that go next."""
        refs = self.of(key)
        first = min(map(stage_of, refs), default=0)
        return tuple(sorted((ref for ref in refs if stage_of(ref) == first), key=lambda ref: (ref.kind.kind, ref.name)))

    def is_due(self, key: str) -> bool:
        """Whether a Canary has leftovers, and its router should act on them now."""
        return key in self._refs and time.monotonic() >= self._due.get(key, 0.0)

    def is_waiting_over(self, key: str) -> bool:
        """Whether the proxies have had their time since the routes came into force, or since the last stage."""
        return key in self._due and time.monotonic() >= self._due[key]

    def wait(self, key: str, seconds: float) -> None:
        """Begin the next stage only after this time."""
        self._due[key] = time.monotonic() + seconds

    def restart(self, key: str) -> None:
        """Begin the wait anew once the routes are in force again."""
        self._due.pop(key, None)

    def forget(self, key: str) -> None:
        """Drop a Canary's leftovers."""
        self._refs.pop(key, None)
        self._views.pop(key, None)
        self._due.pop(key, None)
