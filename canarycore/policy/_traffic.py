"""Requests of users and load tests on simulated time, what became of them, and what a check sees of that.

What does not depend on chance is told apart from what does. A `Flow` is traffic while nothing changes, in amounts; it
follows from the cluster's state alone. `RequestFlows` makes whole requests of it, and draws which of them fail.
"""

from __future__ import annotations

from collections import deque
from math import log, log1p
from typing import TYPE_CHECKING

from attrs import define

from canarycore._record import record
from canarycore._spec import CheckKind
from canarycore.phases import IDLE, OVER
from canarycore.policy._scenario import inside
from canarycore.questions import MetricAnswer
from canarycore.simulation.chance import binomial, percentile

if TYPE_CHECKING:
    from random import Random

    from canarycore._spec import Check, Rollout
    from canarycore.policy._scenario import Scenario
    from canarycore.simulation.state import SimulatedPods, State

OLD, NEW = "old", "new"
"""The revisions that the primary and the target carry at the start."""

_HAIR = 1e-9
"""Seconds, or requests, by which sums of floats may be off."""

_NOTHING_YET = MetricAnswer(samples=0)

Piece = tuple[float, float, float, float]
"""Traffic to the canary: its start and end (seconds), users' requests and unseen ones (copies, load tests)."""

_Bucket = tuple[float, float, int, int]
"""Requests that met the canary: from when, until when (seconds), how many, and how many of them failed."""


@record
class Flow:
    """Traffic while nothing changes: users' requests to the primary, whether it serves the new version, the canary's.

    `until`: seconds.
    """

    until: float
    to_primary: float
    is_taken_over: bool
    to_canary: tuple[Piece, ...]


def flow(state: State, until: float, scenario: Scenario, size: float) -> Flow:
    """What flows from the state's time until then, while the state stays as it is. `size`: of a piece (seconds)."""
    seconds = until - state.now
    share, copied, tested = _exposure(state, scenario)
    exposed = share or copied or tested
    return Flow(
        until=until,
        to_primary=scenario.rps * (1.0 - share) * seconds,
        is_taken_over=_is_taken_over(state, scenario),
        to_canary=_pieces(state.now, until, size, scenario.rps * share, copied + tested) if exposed else (),
    )


def share(state: State, scenario: Scenario) -> float:
    """Of users who meet the new version."""
    return 1.0 if _is_taken_over(state, scenario) else _exposure(state, scenario)[0]


def _exposure(state: State, scenario: Scenario) -> tuple[float, float, float]:
    """To the canary: the share of users, copies a second, test requests a second."""
    routes, target = state.routes, state.target
    if routes is None or target is None or not target.desired or not _is_ready(target, state.now, scenario):
        return 0.0, 0.0, 0.0
    users = scenario.match_share if routes.matched else routes.weight / 100
    copied = scenario.rps * state.rollout.mirror_weight / 100 if routes.mirrored else 0.0
    return users, copied, 0.0 if state.status.phase in IDLE | OVER else scenario.test_rps


def _is_taken_over(state: State, scenario: Scenario) -> bool:
    """Whether the primary serves the new version."""
    primary = state.primary
    return primary is not None and primary.revision == NEW and _is_ready(primary, state.now, scenario)


def _is_ready(pods: SimulatedPods, now: float, scenario: Scenario) -> bool:
    """Whether pods of the new version have had the time they need. Until then the old ones serve."""
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
    """Evenly spaced requests: whole ones, with the fraction carried over."""

    carry: float = 0.0

    def take(self, amount: float) -> int:
        self.carry += amount
        whole = int(self.carry + _HAIR)
        self.carry -= whole
        return whole


class RequestFlows:
    """Whole requests, those that failed among them, and the last of them as a check's query finds them.

    requests, bad: of users. new_requests, new_bad: those of them that the new version served.
    """

    def __init__(self, scenario: Scenario, random: Random, rollout: Rollout) -> None:
        self._scenario = scenario
        self._random = random
        self._longest = max((check.window for check in rollout.checks), default=0.0)
        self._buckets: deque[_Bucket] = deque()
        self._live, self._tests, self._rest = _Stream(), _Stream(), _Stream()
        self.requests = self.bad = self.new_requests = self.new_bad = 0

    def pass_by(self, flow: Flow) -> None:
        """Draw what becomes of a flow's requests."""
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
        gone = flow.until - self._longest
        while buckets and buckets[0][1] <= gone:
            buckets.popleft()

    def measure(self, check: Check, now: float) -> MetricAnswer:
        """What the check's query finds in its window."""
        if check.kind not in (CheckKind.SUCCESS_RATE, CheckKind.DURATION):
            return MetricAnswer(value=inside(check))
        since = now - check.window
        requests = bad = 0
        for start, end, seen, failed in self._buckets:
            if start + end > 2 * since:
                requests, bad = requests + seen, bad + failed
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
    """The P99 of so many exponential response times whose true P99 is `p99` (milliseconds)."""
    return p99 * log1p(-percentile(random, requests, 0.99)) / log(0.01)
