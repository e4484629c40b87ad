"""Pods with a capacity on simulated time: their load, the requests that none of them takes, and their autoscalers.

A ready pod takes `Pods.capacity` requests a second. Requests above the capacity of a side's ready pods are **lost**:
they fail at once, without a queue and without a retry. Proxies do the same: past the limits of its circuit breakers
Envoy answers 503 at once (https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/circuit_breaking).
The lost share of an even load is 1 - capacity / load, the limit of Erlang's loss formula for many requests. A side
without ready pods loses all its requests.

An autoscaler decides as Kubernetes' HorizontalPodAutoscaler does
(https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/): the pods times load / target load, rounded
up. It changes nothing within a tenth of the target, starts at most as many pods as there are or four at a time, and
downwards takes the highest number of the last `scale_down_delay` seconds. The load is that of requests which pods took:
a pod cannot be busier than busy. So under a great overload the pods grow in several decisions.
"""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore.policy._scenario import Autoscaler
from canarycore.simulation.state import next_change, resized

if TYPE_CHECKING:
    from canarycore.policy._scenario import Pods
    from canarycore.simulation.state import SimulatedPods, State

TOLERANCE = 0.1
"""Deviation of the load from its target that changes nothing (`--horizontal-pod-autoscaler-tolerance`)."""

_MOST_FACTOR, _MOST_MORE = 2, 4
"""The default policies of scaling up: at most twice as many pods, or so many more, at a time."""

_HAIR = 1e-9
"""Rounding error of sums of floats."""


@frozen(kw_only=True)
class SideLoad:
    """The ready pods of one side, and the requests that arrive there."""

    ready: int
    """Number of ready pods."""
    rps: float
    """Requests a second that arrive, copies and load tests included."""
    capacity: float
    """Requests a second that one pod takes."""

    @property
    def load(self) -> float:
        """Load of a ready pod as a share of its capacity; infinite where requests arrive and no pod is ready."""
        if self.ready:
            return self.rps / (self.ready * self.capacity)
        return inf if self.rps else 0.0

    @property
    def lost(self) -> float:
        """Share of the requests that no pod takes, 0 to 1."""
        load = self.load
        return 1.0 - 1.0 / load if load > 1.0 + _HAIR else 0.0

    @property
    def taken(self) -> float:
        """Requests a second that the pods take."""
        return min(self.rps, self.ready * self.capacity)


@frozen(kw_only=True)
class PodLoad:
    """The pods of both sides and their load, for a time in which neither changes."""

    since: float
    """Start (seconds since the start of the run)."""
    until: float
    """End (seconds since the start of the run)."""
    primary: SideLoad
    """The primary."""
    canary: SideLoad
    """The canary."""
    lost_rps: float
    """Users' requests a second that no pod takes."""


# ------------------------------------------------------------------------------------------------------- autoscalers


@frozen(kw_only=True)
class ScaledSide:
    """The autoscaler of one side between two of its decisions."""

    workload: str
    """The workload, "primary" or "target"."""
    scaler: Autoscaler
    """The autoscaler."""
    due: float
    """Time of its next decision (seconds)."""
    taken: float = 0.0
    """Requests that the pods took since its last decision."""
    recent: tuple[tuple[float, int], ...] = ()
    """Times and numbers of pods of earlier decisions, from the highest number down: each is above all later ones."""

    def after(self, seconds: float, load: PodLoad) -> ScaledSide:
        """Return the side after so many seconds with this load."""
        side = load.primary if self.workload == "primary" else load.canary
        return evolve(self, taken=self.taken + side.taken * seconds)


def scaled_sides(pods: Pods) -> tuple[ScaledSide, ...]:
    """Return the sides that have an autoscaler, at the start of a run."""
    pairs = (("primary", pods.primary_scaler), ("target", pods.canary_scaler))
    return tuple(
        ScaledSide(workload=workload, scaler=scaler, due=scaler.interval)
        for workload, scaler in pairs
        if scaler is not None
    )


def recommend(scaler: Autoscaler, current: int, busy: float) -> int:
    """Return the number of pods for a load, before the delay of a scale-down.

    current: the number of pods. busy: the number of pods that the load would keep busy without a pause.
    """
    wanted = busy / scaler.target
    size = current if abs(wanted / current - 1.0) <= TOLERANCE + _HAIR else ceil(wanted - _HAIR)
    most = max(_MOST_FACTOR * current, current + _MOST_MORE)
    return max(min(size, most, scaler.maximum), scaler.minimum)


def decide_size(side: ScaledSide, pods: SimulatedPods, busy: float, now: float) -> tuple[int, ScaledSide]:
    """Return the number of pods that a decision sets, and the side after it."""
    scaler, current = side.scaler, pods.desired
    size = recommend(scaler, current, busy)
    recent = [entry for entry in side.recent or ((now, current),) if entry[0] >= now - scaler.scale_down_delay - _HAIR]
    while recent and recent[-1][1] <= size:
        recent.pop()
    recent.append((now, size))
    highest = min(max(recent[0][1], scaler.minimum), scaler.maximum)
    return max(size, min(current, highest)), evolve(side, recent=tuple(recent))


def scale(state: State, sides: tuple[ScaledSide, ...], pods: Pods) -> tuple[State, tuple[ScaledSide, ...]]:
    """Let the autoscalers decide that are due at the state's time; return the state and the sides after that."""
    after = []
    for each in sides:
        side = each
        if side.due <= state.now + _HAIR:
            state, side = _decide(state, side, pods)
        after.append(side)
    return state, tuple(after)


def _decide(state: State, side: ScaledSide, fleet: Pods) -> tuple[State, ScaledSide]:
    """Set the number of pods of one side. An autoscaler waits while pods start, and for a side without pods."""
    now, scaler = state.now, side.scaler
    pods = state.primary if side.workload == "primary" else state.target
    rested = evolve(side, due=now + scaler.interval, taken=0.0)
    if pods is None or not pods.desired:
        return state, evolve(rested, recent=())
    view = pods.look(now, state.pace(side.workload, pods.revision))
    if view.ready < pods.desired or view.total > pods.desired:
        return state, rested
    size, rested = decide_size(rested, pods, side.taken / (fleet.capacity * scaler.interval), now)
    return resized(state, side.workload, size), rested


def next_event(state: State, sides: tuple[ScaledSide, ...]) -> float:
    """Return the next time at which pods change, or an autoscaler decides (seconds; inf: never)."""
    return min([next_change(state), *(side.due for side in sides)])
