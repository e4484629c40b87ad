"""A policy and its scenario in numbers: what the vectorised and the exact engine share.

The reference is the event-driven engine (`canarycore.policy.sampled`), which lets the core itself decide; tests
hold all three together. What is taken from it, phase by phase:

    waiting       confirm-rollout gates are asked at once, then once an interval
    before        the canary's pods are ready after `Scenario.ready_after`; past the progress deadline it is rolled back
    a place       every interval: rollback hooks, hooks in order, all checks, gates; a place is left only by a pass
    promotion     the weights on the way back, an interval each, then one interval of draining

A **place** is a rung, seen as numbers. The last one may come twice: where a closed confirm-promotion gate has moved the
rollout to WaitingPromotion, gates for an increase of traffic are asked no more.

An analysis comes out as a pass, a halt (a failed check counts) or a hold. Each check's part in that is classified by
the core's own `judge`.
"""

from __future__ import annotations

from math import ceil, gcd, inf
from typing import TYPE_CHECKING

from attrs import evolve, field

from canarycore._enum import TextEnum
from canarycore._ladder import INITIAL_RUNG, Strategy
from canarycore._record import record
from canarycore._spec import CheckKind, HookType, NoData
from canarycore._verdicts import Judgement, Verdict, judge
from canarycore.errors import CanaryError
from canarycore.policy._scenario import Scenario, inside, outside
from canarycore.questions import MetricAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from canarycore._ladder import Ladder, Rung
    from canarycore._spec import Check, Hook, Rollout

_HAIR = 1e-6
"""Seconds, or requests, by which sums of floats may be off."""


class NotCovered(CanaryError):
    """An engine's model does not cover this policy in this scenario; the message says why."""


class CheckOutcome(TextEnum):
    """What a check, or a whole analysis, comes to."""

    PASS = "pass"  # noqa: S105  a verdict, no password
    HALT = "halt"
    HOLD = "hold"


@record
class LookBack:
    """A look-back from an analysis: so many whole intervals, and so many of the slices before them."""

    intervals: int
    slices: int


@record(kw_only=True)
class CheckModel:
    """A check in numbers.

    chance: the probability that it fails by chance, coming to `failing` then. window: None where it counts no requests;
    it comes to `steady` then. Otherwise without requests it comes to `silent`, and with fewer than `enough` to a hold.
    edges: a P99's range as uniforms (lower, upper); None where response times are always in range, `steady` says so.
    """

    check: Check
    chance: float
    failing: CheckOutcome
    steady: CheckOutcome
    silent: CheckOutcome
    enough: int
    window: LookBack | None
    edges: tuple[float, float] | None


@record(kw_only=True)
class RungModel:
    """A rung in numbers.

    live: users' requests a second that meet the canary. unseen: copies and load tests, a second. exposed: whether
    traffic has to drain from here. measured: whether checks are asked. hooks, increase, promotion: the probabilities
    that all hooks pass, and that the gates of each kind are all open. gated: whether a closed confirm-promotion gate
    leads on to a place of its own.
    """

    live: float
    unseen: float
    exposed: bool
    measured: bool
    hooks: float
    increase: float
    promotion: float
    gated: bool = False


@record(kw_only=True)
class PromotionModel:
    """The promotion: its length in seconds, and users' requests that the new and the old version serve meanwhile."""

    seconds: float
    new: float
    old: float


@record(kw_only=True)
class PolicyModel:
    """Everything in numbers.

    first: seconds from the start to the first analysis (inf: the pods come too late). waits: times of rollback polls
    before that. fresh: whether the first analysis polls rollback hooks anew. last: seconds to the rollback for late
    pods. slices: the interval cut where windows begin, newest first, in seconds. depth: how many intervals the longest
    window reaches into. drain: of a rollback. end: when a run counts as undecided.
    """

    rollout: Rollout = field(repr=False)
    scenario: Scenario = field(repr=False)
    confirm: float
    rollback: float
    first: float
    waits: tuple[float, ...]
    fresh: bool
    last: float
    places: tuple[RungModel, ...]
    way: PromotionModel
    gauges: tuple[CheckModel, ...]
    slices: tuple[float, ...]
    depth: int
    end: float

    def is_even(self, *, live: bool) -> bool:
        """Whether every slice of an interval holds a whole number of users' (else: of unseen) requests everywhere."""
        for rate in {place.live if live else place.unseen for place in self.places}:
            for seconds in self.slices:
                amount = rate * seconds
                if abs(amount - round(amount)) >= _HAIR:
                    return False
        return True


def common_gaps(rollout: Rollout) -> str:
    """Why neither engine covers this policy ("": nothing speaks against it)."""
    if rollout.suspend:
        return "the Canary is suspended"
    same = len(set(rollout.hooks)) < len(rollout.hooks)
    return "two hooks are the same, and so are their answers" if same else excess(rollout)


MOST_INTERVALS = 10_000
"""Intervals that a simulated rollout may take: a week of one a minute."""

MOST_IN_A_WINDOW = 1_000
"""Intervals that the window of a check may reach back."""


def excess(rollout: Rollout) -> str:
    """Why no engine plays this policy: it would take for ever, or all memory ("": it would not)."""
    parts = (_intervals(rollout), rollout.inconclusive_limit, rollout.progress_deadline / rollout.interval)
    if max(parts) > MOST_INTERVALS or sum(parts) > MOST_INTERVALS:
        return f"its rollout may take more than {MOST_INTERVALS:,} intervals"
    window = max((check.window for check in rollout.checks), default=0.0)
    if window / rollout.interval > MOST_IN_A_WINDOW:
        return f"a check looks back {window:g} seconds, more than {MOST_IN_A_WINDOW:,} intervals"
    return ""


def _intervals(rollout: Rollout) -> int:
    """Intervals that checks alone could hold a rollout up for, and its promotion."""
    ladder = rollout.ladder
    back = 100 // ladder.step_back if ladder.step_back else 1
    return len(ladder.rungs) + rollout.threshold + back + 2


def model(rollout: Rollout, scenario: Scenario) -> PolicyModel:
    """The policy in numbers."""
    ready, interval, deadline = scenario.ready_after, rollout.interval, rollout.progress_deadline
    in_time = ready <= deadline
    first = max(interval, ready) if in_time else inf
    waiting = first - _HAIR if in_time else deadline + _HAIR
    gauges, slices = _gauges(rollout, scenario)
    return PolicyModel(
        rollout=rollout,
        scenario=scenario,
        confirm=_all_pass(scenario, rollout.hooks_by_type[HookType.CONFIRM_ROLLOUT]),
        rollback=1.0 - _none_passes(scenario, rollout.hooks_by_type[HookType.ROLLBACK]),
        first=first,
        waits=tuple(poll * interval for poll in range(1, ceil(waiting / interval))),
        fresh=in_time and abs(first / interval - round(first / interval)) < _HAIR,
        last=deadline,
        places=tuple(_places(rollout, scenario)),
        way=_way(rollout, scenario),
        gauges=gauges,
        slices=slices,
        depth=max((_depth(gauge.window) for gauge in gauges if gauge.window), default=1),
        end=time_limit(rollout),
    )


def time_limit(rollout: Rollout) -> float:
    """Simulated seconds after which a run counts as undecided: ten times as long as checks alone could hold it up."""
    return 10 * _intervals(rollout) * rollout.interval + 2 * rollout.progress_deadline


def grain(rollout: Rollout) -> float:
    """The common measure of the interval and the windows (seconds); a sixtieth of the interval at the least."""
    lengths = [rollout.interval, *(check.window for check in rollout.checks)]
    return max(gcd(*(round(length * 1000) for length in lengths)) / 1000, rollout.interval / 60)


# ------------------------------------------------------------------------------------------------------------- hooks


def _all_pass(scenario: Scenario, hooks: Iterable[Hook]) -> float:
    chance = 1.0
    for hook in hooks:
        chance *= _passes(scenario, hook)
    return chance


def _none_passes(scenario: Scenario, hooks: Iterable[Hook]) -> float:
    chance = 1.0
    for hook in hooks:
        chance *= 1.0 - _passes(scenario, hook)
    return chance


def _passes(scenario: Scenario, hook: Hook) -> float:
    return 1.0 - scenario.failures.get(hook.name, 0.0) if scenario.passes(hook) else 0.0


# ------------------------------------------------------------------------------------------------------------ places


def _places(rollout: Rollout, scenario: Scenario) -> Iterator[RungModel]:
    passing = {kind: _all_pass(scenario, hooks) for kind, hooks in rollout.hooks_by_type.items() if hooks}
    if rollout.skip_analysis:
        yield evolve(_place(rollout, scenario, INITIAL_RUNG, passing), hooks=1.0, increase=1.0, promotion=1.0)
        return
    top = None
    for rung in rollout.ladder.rungs:
        top = _place(rollout, scenario, rung, passing)
        yield top
    if top is not None and top.gated:
        yield evolve(top, increase=1.0, gated=False)


def _place(rollout: Rollout, scenario: Scenario, rung: Rung, passing: Mapping[HookType, float]) -> RungModel:
    """A rung in numbers. `passing`: the probability that all hooks of a type pass, where there are any."""
    ladder, measured = rollout.ladder, not rung.is_initial
    is_weights = ladder.strategy is Strategy.WEIGHTS
    increase = promotion = 1.0
    if passing and is_weights and not rung.mirrored:
        increase = passing.get(HookType.CONFIRM_TRAFFIC_INCREASE, 1.0)
    if HookType.CONFIRM_PROMOTION in passing and ladder.has_promotion_gate(rung):
        promotion = passing[HookType.CONFIRM_PROMOTION]
    return RungModel(
        live=scenario.rps * _share(scenario, rung),
        unseen=scenario.test_rps + (scenario.rps * rollout.mirror_weight / 100 if rung.mirrored else 0.0),
        exposed=rung.is_exposed,
        measured=measured,
        hooks=passing.get(HookType.ROLLOUT if measured else HookType.PRE_ROLLOUT, 1.0),
        increase=increase,
        promotion=promotion,
        gated=is_weights and increase < 1.0 and 0.0 < promotion < 1.0,
    )


def _share(scenario: Scenario, rung: Rung) -> float:
    """Of users on the canary."""
    return scenario.match_share if rung.matched else rung.weight / 100


def _way(rollout: Rollout, scenario: Scenario) -> PromotionModel:
    """The new version's pods replace the primary's after `ready_after`; from then on all that users get is new."""
    rung = INITIAL_RUNG if rollout.skip_analysis else rollout.ladder.rungs[-1]
    seconds = _back(rollout.ladder, rung, rollout.interval, scenario.ready_after)
    old = scenario.rps * (1.0 - _share(scenario, rung)) * min(scenario.ready_after, seconds)
    return PromotionModel(seconds=seconds, new=scenario.rps * seconds - old if seconds < inf else inf, old=old)


def _back(ladder: Ladder, rung: Rung, interval: float, ready: float) -> float:
    if not rung.is_exposed:
        return ready
    seconds, weight = max(interval, ready), ladder.back(rung.weight)
    while ladder.step_back and weight > 0:
        seconds, weight = seconds + interval, ladder.back(weight)
    return seconds + interval


# ------------------------------------------------------------------------------------------------------------ checks


def _gauges(rollout: Rollout, scenario: Scenario) -> tuple[tuple[CheckModel, ...], tuple[float, ...]]:
    """The checks in numbers, and the slices of an interval that their windows need."""
    size = grain(rollout)
    spans = {check: _span(rollout, check, size) for check in rollout.checks if _counts(check)}
    cuts = [*sorted({rest for _, rest in spans.values() if rest}), rollout.interval]
    slices = tuple(later - earlier for earlier, later in zip([0.0, *cuts], cuts, strict=False))
    windows = {check: LookBack(whole, cuts.index(rest) + 1 if rest else 0) for check, (whole, rest) in spans.items()}
    return tuple(_gauge(rollout, scenario, check, windows.get(check)) for check in rollout.checks), slices


def _counts(check: Check) -> bool:
    return check.kind in (CheckKind.SUCCESS_RATE, CheckKind.DURATION)


def _span(rollout: Rollout, check: Check, size: float) -> tuple[int, float]:
    """The window as whole intervals and a rest, in the buckets of `size` seconds that traffic is counted in."""
    whole = int((check.window + _HAIR) // rollout.interval)
    buckets = ceil((check.window - whole * rollout.interval) / size - 0.5 - 1e-9)
    rest = max(buckets, 0) * size
    return (whole + 1, 0.0) if rest >= rollout.interval - _HAIR else (whole, rest)


def _depth(window: LookBack) -> int:
    return window.intervals + (1 if window.slices else 0)


def _gauge(rollout: Rollout, scenario: Scenario, check: Check, window: LookBack | None) -> CheckModel:
    def says(answer: MetricAnswer) -> CheckOutcome:
        return _says(rollout, judge(check, answer, rollout.min_samples))

    counted = None if window is None else max(rollout.min_samples, 1)
    p99 = scenario.new.p99 if check.kind is CheckKind.DURATION else None
    return CheckModel(
        check=check,
        chance=scenario.failures.get(check.name, 0.0),
        failing=says(MetricAnswer(value=outside(check))),
        steady=says(MetricAnswer(value=inside(check) if p99 is None else 0.0, samples=counted)),
        silent=says(MetricAnswer(samples=0)),
        enough=rollout.min_samples,
        window=window,
        edges=_edges(check, p99) if p99 else None,
    )


def _says(rollout: Rollout, judgement: Judgement) -> CheckOutcome:
    """A hold where all that is missing is data and the owner waits for it."""
    if judgement.verdict is Verdict.PASS:
        return CheckOutcome.PASS
    waits = judgement.is_thin or (rollout.no_data is NoData.HOLD and judgement.verdict is not Verdict.FAIL)
    return CheckOutcome.HOLD if waits else CheckOutcome.HALT


def _edges(check: Check, p99: float) -> tuple[float, float]:
    """The range as quantiles of the exponential response times whose P99 is `p99` (milliseconds)."""
    low, high = check.minimum, check.maximum
    return (0.0 if low is None else _quantile(low, p99), 1.0 if high is None else _quantile(high, p99))


def _quantile(value: float, p99: float) -> float:
    return 0.0 if value < 0.0 else 1.0 - 0.01 ** (value / p99)
