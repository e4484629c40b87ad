"""Requests of users and load tests on simulated time, their failures, and their view by a check.

A `Flow` is an amount of traffic while the cluster does not change; it does not depend on chance. `RequestFlows` turns
flows into whole requests and draws their failures.
"""

from __future__ import annotations

from collections import deque
from math import log, log1p
from typing import TYPE_CHECKING

from attrs import define

from canarycore._record import record
from canarycore._spec import CheckKind
from canarycore.phases import IDLE, OVER
from canarycore.policy._pods import PodLoad, SideLoad
from canarycore.policy._scenario import inside
from canarycore.questions import MetricAnswer
from canarycore.simulation.chance import binomial, percentile
from canarycore.simulation.state import observe_workload

if TYPE_CHECKING:
    from random import Random

    from canarycore._spec import Check, Rollout
    from canarycore.policy._scenario import Pods, Scenario
    from canarycore.simulation.state import SimulatedPods, State

OLD, NEW = "old", "new"
"""The revisions of the primary and of the target at the start."""

_HAIR = 1e-9
"""Rounding error of sums of floats (seconds or requests)."""

_NOTHING_YET = MetricAnswer(samples=0)

Piece = tuple[float, float, float, float]
"""Traffic to the canary: its start and end (seconds), users' requests and unseen ones (copies, load tests)."""

_Bucket = tuple[float, float, int, int]
"""Requests to the canary: start and end (seconds), number of requests, number of failures."""


@record
class Flow:
    """Traffic while the cluster does not change."""

    until: float
    """End of the flow (seconds)."""
    to_primary: float
    """Users' requests to the primary."""
    is_taken_over: bool
    """Whether the primary serves the new version."""
    to_canary: tuple[Piece, ...]
    """Traffic to the canary."""
    pods: PodLoad | None = None
    """The pods and their load; None where the scenario has none."""


def flow(state: State, until: float, scenario: Scenario, size: float) -> Flow:
    """Return the traffic from the state's time to `until`, in pieces of at most `size` seconds."""
    seconds = until - state.now
    share, copied, tested = _exposure(state, scenario)
    exposed = share or copied or tested
    return Flow(
        until=until,
        to_primary=scenario.rps * (1.0 - share) * seconds,
        is_taken_over=_is_taken_over(state, scenario),
        to_canary=_pieces(state.now, until, size, scenario.rps * share, copied + tested) if exposed else (),
        pods=None if scenario.pods is None else pod_load(state, until, scenario, scenario.pods),
    )


def pod_load(state: State, until: float, scenario: Scenario, pods: Pods) -> PodLoad:
    """Return the load of the pods from the state's time to `until`."""
    share, copied, tested = _exposure(state, scenario)
    users = scenario.rps * share
    primary = SideLoad(ready=_ready(state, "primary"), rps=scenario.rps - users, capacity=pods.capacity)
    canary = SideLoad(ready=_ready(state, "target"), rps=users + copied + tested, capacity=pods.capacity)
    lost = primary.rps * primary.lost + users * canary.lost
    return PodLoad(since=state.now, until=until, primary=primary, canary=canary, lost_rps=lost)


def _ready(state: State, workload: str) -> int:
    view = observe_workload(state, workload)
    return 0 if view is None else view.ready


def share(state: State, scenario: Scenario) -> float:
    """Return the share of users on the new version, 0 to 1."""
    return 1.0 if _is_taken_over(state, scenario) else _exposure(state, scenario)[0]


def _exposure(state: State, scenario: Scenario) -> tuple[float, float, float]:
    """Return the traffic to the canary: the share of users, copies a second, test requests a second."""
    routes, target = state.routes, state.target
    if routes is None or target is None or not target.desired:
        return 0.0, 0.0, 0.0
    if scenario.pods is None and not _is_ready(target, state.now, scenario):
        return 0.0, 0.0, 0.0
    users = scenario.share_on(routes)
    if scenario.pods is not None and not _ready(state, "target"):
        return users, 0.0, 0.0
    copied = scenario.copies_on(state.rollout, routes)
    return users, copied, 0.0 if state.status.phase in IDLE | OVER else scenario.test_rps


def _is_taken_over(state: State, scenario: Scenario) -> bool:
    """Return whether the primary serves the new version."""
    primary = state.primary
    if primary is None or primary.revision != NEW:
        return False
    if scenario.pods is None:
        return _is_ready(primary, state.now, scenario)
    return primary.has_rolled(state.now, state.pace("primary", NEW))


def _is_ready(pods: SimulatedPods, now: float, scenario: Scenario) -> bool:
    """Return whether pods of the new version are ready; until then the old ones serve."""
    return now >= pods.changed + scenario.ready_after


def _pieces(start: float, until: float, size: float, live_rps: float, unseen_rps: float) -> tuple[Piece, ...]:
    pieces = []
    while start < until - _HAIR:
        end = min(start + size, until)
        pieces.append((start, end, live_rps * (end - start), unseen_rps * (end - start)))
        start = end
    return tuple(pieces)


@define
class _Stream:
    """A stream of evenly spaced requests, which carries over fractions of a request."""

    carry: float = 0.0

    def take(self, amount: float) -> int:
        self.carry += amount
        whole = int(self.carry + _HAIR)
        self.carry -= whole
        return whole


def _take(stream: _Stream, losses: _Stream, amount: float, lost: float) -> tuple[int, int]:
    """Return the number of requests, and how many of them are lost. lost: the share that no pod takes."""
    count = stream.take(amount)
    if not lost:
        return count, 0
    whole = losses.take(amount * lost)
    losses.carry += max(whole - count, 0)
    return count, min(whole, count)


class RequestFlows:
    """The requests of a run, their failures, and the recent ones that a check's query covers."""

    def __init__(self, scenario: Scenario, random: Random, rollout: Rollout) -> None:
        self._scenario = scenario
        self._random = random
        self._longest = max((check.window for check in rollout.checks), default=0.0)
        self._buckets: deque[_Bucket] = deque()
        self._live, self._tests, self._rest = _Stream(), _Stream(), _Stream()
        self.requests = self.bad = 0
        """Users' requests, and those that failed."""
        self.new_requests = self.new_bad = 0
        """Users' requests that the new version served, and those of them that failed."""
        self.lost = 0
        """Users' requests that no pod took."""
        self.peak_load = 0.0
        """Highest load of a ready pod with users' requests, as a share of its capacity."""
        self._losses: tuple[_Stream, ...] = (_Stream(), _Stream(), _Stream())

    def add(self, flow: Flow) -> None:
        """Add a flow, and draw the failures of its requests."""
        if flow.pods is not None:
            self._add_limited(flow, flow.pods)
            return
        scenario, random = self._scenario, self._random
        rate = (scenario.new if flow.is_taken_over else scenario.old).error_rate
        count = self._rest.take(flow.to_primary)
        self._count(count, binomial(random, count, rate), new=flow.is_taken_over)
        if not flow.to_canary:
            return
        rate, buckets = scenario.new.error_rate, self._buckets
        for start, end, users, others in flow.to_canary:
            live, tests = self._live.take(users), self._tests.take(others)
            bad = binomial(random, live, rate)
            self._count(live, bad, new=True)
            buckets.append((start, end, live + tests, bad + binomial(random, tests, rate)))
        self._forget(flow.until)

    def _add_limited(self, flow: Flow, load: PodLoad) -> None:
        """Add a flow to pods that take a limited number of requests. Checks count lost requests as failed."""
        scenario, random, buckets = self._scenario, self._random, self._buckets
        primary_losses, live_losses, test_losses = self._losses
        if load.primary.ready and load.primary.rps:
            self.peak_load = max(self.peak_load, load.primary.load)
        if load.canary.ready and flow.to_canary:
            self.peak_load = max(self.peak_load, load.canary.load)
        count, lost = _take(self._rest, primary_losses, flow.to_primary, load.primary.lost)
        rate = (scenario.new if flow.is_taken_over else scenario.old).error_rate
        self._count(count - lost, binomial(random, count - lost, rate), new=flow.is_taken_over)
        self._lose(lost)
        rate = scenario.new.error_rate
        for start, end, users, others in flow.to_canary:
            live, lost = _take(self._live, live_losses, users, load.canary.lost)
            tests, lost_tests = _take(self._tests, test_losses, others, load.canary.lost)
            bad = binomial(random, live - lost, rate)
            self._count(live - lost, bad, new=True)
            self._lose(lost)
            bad_tests = binomial(random, tests - lost_tests, rate)
            buckets.append((start, end, live + tests, bad + lost + bad_tests + lost_tests))
        self._forget(flow.until)

    def _lose(self, requests: int) -> None:
        self.requests += requests
        self.lost += requests
        self.bad += requests

    def _forget(self, now: float) -> None:
        buckets, gone = self._buckets, now - self._longest
        while buckets and buckets[0][1] <= gone:
            buckets.popleft()

    def measure(self, check: Check, now: float) -> MetricAnswer:
        """Return the answer to the check's query over its window."""
        if check.kind not in (CheckKind.SUCCESS_RATE, CheckKind.DURATION):
            return MetricAnswer(value=inside(check))
        since = now - check.window
        requests = bad = 0
        for start, end, served, failed in self._buckets:
            if start + end > 2 * since:
                requests, bad = requests + served, bad + failed
        if not requests:
            return _NOTHING_YET
        if check.kind is CheckKind.SUCCESS_RATE:
            return MetricAnswer(value=100.0 * (requests - bad) / requests, samples=requests)
        p99 = self._scenario.new.p99
        value = inside(check) if p99 is None else _exponential_p99(self._random, requests, p99)
        return MetricAnswer(value=value, samples=requests)

    def _count(self, requests: int, bad: int, *, new: bool) -> None:
        self.requests += requests
        self.bad += bad
        if new:
            self.new_requests += requests
            self.new_bad += bad


def _exponential_p99(random: Random, requests: int, p99: float) -> float:
    """Draw the sample P99 of so many exponential response times whose true P99 is `p99` (milliseconds)."""
    return p99 * log1p(-percentile(random, requests, 0.99)) / log(0.01)
