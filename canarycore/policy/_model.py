"""A policy in a scenario as numbers, for the vectorised and the exact engine.

The reference is the event-driven engine (`canarycore.policy.sampled`), in which the core itself decides; tests compare
all three engines. The model repeats its behaviour phase by phase:

    waiting       the rollout asks confirm-rollout gates at once, then once an interval
    pods          they are ready after `Scenario.ready_after`; past the progress deadline the rollout rolls back
    a place       every interval: rollback hooks, hooks in order, all checks, gates; only a pass leads on
    promotion     the weights of the promotion, an interval each, then the drain, an interval at least

A **place** is a rung as numbers. A rung may have several places: one for each analysis during the hold of its step, one
for the approval of the step, and two for the last rung, as the rollout asks gates for an increase of traffic no more
after a closed confirm-promotion gate has moved it to WaitingPromotion.

An analysis ends as a pass, a halt (a failed check) or a hold. The core's own `judge` classifies each check.
"""

from __future__ import annotations

from itertools import repeat
from math import ceil, gcd, inf
from typing import TYPE_CHECKING

from attrs import evolve, field

from canarycore._condition_values import find_range
from canarycore._enum import TextEnum
from canarycore._ladder import INITIAL_RUNG, Strategy
from canarycore._record import record
from canarycore._spec import CheckKind, HookType
from canarycore._verdicts import Judgement, Verdict, judge
from canarycore.errors import CanaryError
from canarycore.policy._scenario import Scenario, demand_known_names, inside, limits_of, outside
from canarycore.questions import MetricAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from canarycore._ladder import Rung, Step
    from canarycore._spec import Check, Hook, Rollout

_HAIR = 1e-6
"""Rounding error of sums of floats (seconds or requests)."""


class NotCovered(CanaryError):
    """An engine does not cover a policy in a scenario; the message names the reason."""


class CheckOutcome(TextEnum):
    """The outcome of a check, or of a whole analysis."""

    PASS = "pass"  # noqa: S105  a verdict, no password
    HALT = "halt"
    HOLD = "hold"


@record
class LookBack:
    """The window of a check, counted back from an analysis."""

    intervals: int
    """Number of whole intervals."""
    slices: int
    """Number of slices before them."""


@record(kw_only=True)
class CheckModel:
    """A check as numbers."""

    check: Check
    """The check."""
    chance: float
    """Probability of a failure by chance."""
    failing: CheckOutcome
    """Outcome of a failure by chance."""
    steady: CheckOutcome
    """Outcome of a check that does not depend on requests."""
    silent: CheckOutcome
    """Outcome without requests in the window."""
    enough: int
    """Fewest requests in the window; with fewer the outcome is a hold."""
    window: LookBack | None
    """The window; None where the check does not depend on requests."""
    edges: tuple[float, float] | None
    """Range of a P99 as uniforms (lower, upper); None where response times are always in range."""


@record(kw_only=True)
class RungModel:
    """A place: a rung as numbers."""

    live: float
    """Users' requests to the canary a second."""
    unseen: float
    """Copies and load tests to the canary a second."""
    exposed: bool
    """Whether traffic has to drain after a rollback."""
    measured: bool
    """Whether an analysis has checks."""
    hooks: float
    """Probability that all hooks pass."""
    increase: float
    """Probability that all gates for an increase of traffic are open."""
    promotion: float
    """Probability that all gates for the promotion are open."""
    gated: bool = False
    """Whether a closed gate for the promotion leads to a place of its own."""
    held: bool = False
    """Whether any analysis leads on, as only the time of a hold passes here."""


@record(kw_only=True)
class PromotionModel:
    """The promotion as numbers."""

    seconds: float
    """Duration."""
    new: float
    """Users' requests that the new version serves meanwhile."""
    old: float
    """Users' requests that the old version serves meanwhile."""


@record(kw_only=True)
class PolicyModel:
    """A policy in a scenario as numbers."""

    rollout: Rollout = field(repr=False)
    """The policy."""
    scenario: Scenario = field(repr=False)
    """The assumptions."""
    confirm: float
    """Probability that all confirm-rollout gates are open."""
    rollback: float
    """Probability that a rollback hook asks for a rollback."""
    first: float
    """Seconds from the start to the first analysis; infinite where the pods are too late."""
    waits: tuple[float, ...]
    """Times of polls of rollback hooks before the first analysis (seconds)."""
    fresh: bool
    """Whether the first analysis polls the rollback hooks again."""
    last: float
    """Seconds from the start to the rollback for late pods."""
    places: tuple[RungModel, ...]
    """The places, in order."""
    promotion: PromotionModel
    """The promotion."""
    checks: tuple[CheckModel, ...]
    """The checks."""
    slices: tuple[float, ...]
    """Lengths of the slices of an interval, cut at the starts of windows, newest first (seconds)."""
    depth: int
    """Number of intervals that the longest window reaches into."""
    end: float
    """Seconds from the start after which a run counts as undecided."""

    def is_even(self, *, live: bool) -> bool:
        """Return whether every slice at every place has a whole number of users' (else: of unseen) requests."""
        for rate in {place.live if live else place.unseen for place in self.places}:
            for seconds in self.slices:
                amount = rate * seconds
                if abs(amount - round(amount)) >= _HAIR:
                    return False
        return True


def common_gaps(rollout: Rollout, scenario: Scenario) -> str:
    """Return why neither engine covers this policy in a scenario, or "" where both may."""
    if scenario.pods is not None:
        return "pods have a capacity (Scenario.pods)"
    if rollout.gradual_return is not None:
        follows = ".follows_capacity" if rollout.gradual_return.follows_capacity else ""
        return f"traffic goes back by steps after a rollback (Rollout.gradual_return{follows})"
    if rollout.suspend:
        return "the Canary is suspended"
    if any(step.metrics for step in rollout.ladder.stays.values()):
        return "a step has checks of its own"
    if rollout.ladder.sizes:
        return "a step has a canary size, whose pods have to start"
    if rollout.has_late_checks:
        return "a check begins at a later weight"
    if rollout.has_limits:
        return "a check has limits of its own"
    if any(_counts(check) and check.conditions and not find_range(check.conditions) for check in rollout.checks):
        return "the conditions of a check are no range"
    same = len(set(rollout.hooks)) < len(rollout.hooks)
    return "two hooks are the same, and so are their answers" if same else excess(rollout)


def refuse_gap(engine: str, rollout: Rollout, reason: str) -> None:
    """Raise NotCovered where an engine has a reason, with the engine to take instead if there is one."""
    if reason:
        remedy = "" if excess(rollout) else "; take engine='core', in which the core decides every run"
        raise NotCovered(f"the {engine} engine does not cover this policy, as {reason}{remedy}")


MOST_INTERVALS = 10_000
"""Most intervals of a simulated rollout: a week of one a minute."""

MOST_IN_A_WINDOW = 1_000
"""Most intervals of the window of a check."""


def excess(rollout: Rollout) -> str:
    """Return why a policy takes too long, or too much memory, for every engine, or "" where it does not."""
    parts = (_intervals(rollout), rollout.inconclusive_limit, rollout.progress_deadline / rollout.interval)
    if max(parts) > MOST_INTERVALS or sum(parts) > MOST_INTERVALS:
        return f"its rollout may take more than {MOST_INTERVALS:,} intervals"
    window = max((check.window for check in rollout.checks), default=0.0)
    if window / rollout.interval > MOST_IN_A_WINDOW:
        return f"a check looks back {window:g} seconds, more than {MOST_IN_A_WINDOW:,} intervals"
    return ""


def _intervals(rollout: Rollout) -> int:
    """Return the most intervals of a rollout that only checks delay, and of its promotion."""
    ladder = rollout.ladder
    back = ladder.total // ladder.step_back if ladder.step_back else 1
    stays = sum(_holds(rollout, step) + step.approval for step in ladder.stays.values())
    return len(ladder.rungs) + stays + rollout.threshold + back + 2


def _holds(rollout: Rollout, step: Step) -> int:
    """Return the number of analyses during the hold of a step; the one after them may leave it."""
    return max(ceil(step.hold / rollout.interval - _HAIR) - 1, 0)


def model(rollout: Rollout, scenario: Scenario) -> PolicyModel:
    """Return a policy in a scenario as numbers. Raise WrongValue where the scenario names an unknown hook or check."""
    demand_known_names(rollout, scenario)
    ready, interval, deadline = scenario.ready_after, rollout.interval, rollout.progress_deadline
    in_time = ready <= deadline
    first = max(interval, ready) if in_time else inf
    waiting = first - _HAIR if in_time else deadline + _HAIR
    checks, slices = _check_models(rollout, scenario)
    return PolicyModel(
        rollout=rollout,
        scenario=scenario,
        confirm=_all_pass(scenario, rollout.hooks_by_type[HookType.CONFIRM_ROLLOUT]),
        rollback=1.0 - _none_passes(scenario, rollout.hooks_by_type[HookType.ROLLBACK]),
        first=first,
        waits=tuple(poll * interval for poll in range(1, ceil(waiting / interval))),
        fresh=in_time and abs(first / interval - round(first / interval)) < _HAIR,
        last=deadline,
        places=tuple(_rung_models(rollout, scenario)),
        promotion=_promotion_model(rollout, scenario),
        checks=checks,
        slices=slices,
        depth=max((_depth(check.window) for check in checks if check.window), default=1),
        end=time_limit(rollout),
    )


def time_limit(rollout: Rollout) -> float:
    """Return the simulated seconds after which a run is undecided: ten times the longest delay by checks."""
    return 10 * _intervals(rollout) * rollout.interval + 2 * rollout.progress_deadline


def grain(rollout: Rollout) -> float:
    """Return the common measure of the interval and the windows (seconds), at least a sixtieth of the interval."""
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


def _rung_models(rollout: Rollout, scenario: Scenario) -> Iterator[RungModel]:
    passing = {kind: _all_pass(scenario, hooks) for kind, hooks in rollout.hooks_by_type.items() if hooks}
    if rollout.skip_analysis:
        yield evolve(_rung_model(rollout, scenario, INITIAL_RUNG, passing), hooks=1.0, increase=1.0, promotion=1.0)
        return
    top = None
    for rung in rollout.ladder.rungs:
        top = _rung_model(rollout, scenario, rung, passing)
        step = rollout.ladder.step_at(rung)
        if step is not None:
            without_gates = evolve(top, increase=1.0, promotion=1.0, gated=False)
            yield from repeat(evolve(without_gates, held=True), _holds(rollout, step))
            yield from repeat(without_gates, step.approval)
        yield top
    if top is not None and top.gated:
        yield evolve(top, increase=1.0, gated=False)


def _rung_model(rollout: Rollout, scenario: Scenario, rung: Rung, passing: Mapping[HookType, float]) -> RungModel:
    """Return a rung as numbers. passing: the probability that all hooks of a type pass, where there are any."""
    ladder, measured = rollout.ladder, not rung.is_initial
    is_weights = ladder.strategy is Strategy.WEIGHTS
    increase = promotion = 1.0
    if passing and is_weights and not ladder.is_mirror_rung(rung):
        increase = passing.get(HookType.CONFIRM_TRAFFIC_INCREASE, 1.0)
    if HookType.CONFIRM_PROMOTION in passing and ladder.has_promotion_gate(rung):
        promotion = passing[HookType.CONFIRM_PROMOTION]
    return RungModel(
        live=scenario.rps * scenario.share_on(rung.routes),
        unseen=scenario.test_rps + scenario.copies_on(rollout, rung.routes),
        exposed=rung.is_exposed,
        measured=measured,
        hooks=passing.get(HookType.ROLLOUT if measured else HookType.PRE_ROLLOUT, 1.0),
        increase=increase,
        promotion=promotion,
        gated=is_weights and increase < 1.0 and 0.0 < promotion < 1.0,
    )


def _promotion_model(rollout: Rollout, scenario: Scenario) -> PromotionModel:
    """Return the promotion as numbers: after `ready_after` the primary serves the new version."""
    rung = INITIAL_RUNG if rollout.skip_analysis else rollout.ladder.rungs[-1]
    seconds = _back(rollout, rung, scenario.ready_after)
    old = scenario.rps * (1.0 - scenario.share_on(rung.routes)) * min(scenario.ready_after, seconds)
    return PromotionModel(seconds=seconds, new=scenario.rps * seconds - old if seconds < inf else inf, old=old)


def _back(rollout: Rollout, rung: Rung, ready: float) -> float:
    """Return the seconds from the promotion to the end of the drain."""
    ladder, interval = rollout.ladder, rollout.interval
    if not rung.is_exposed:
        return ready
    if ladder.in_place:
        return ready + rollout.drain
    seconds, rung = max(interval, ready), ladder.back(rung)
    while ladder.step_back and rung.weight > 0:
        seconds, rung = seconds + interval, ladder.back(rung)
    return seconds + max(interval, rollout.drain)


# ------------------------------------------------------------------------------------------------------------ checks


def _check_models(rollout: Rollout, scenario: Scenario) -> tuple[tuple[CheckModel, ...], tuple[float, ...]]:
    """Return the checks as numbers, and the slices of an interval that their windows need."""
    size = grain(rollout)
    spans = {check: _span(rollout, check, size) for check in rollout.checks if _counts(check)}
    cuts = [*sorted({rest for _, rest in spans.values() if rest}), rollout.interval]
    slices = tuple(later - earlier for earlier, later in zip([0.0, *cuts], cuts, strict=False))
    windows = {check: LookBack(whole, cuts.index(rest) + 1 if rest else 0) for check, (whole, rest) in spans.items()}
    return tuple(_check_model(rollout, scenario, check, windows.get(check)) for check in rollout.checks), slices


def _counts(check: Check) -> bool:
    return check.kind in (CheckKind.SUCCESS_RATE, CheckKind.DURATION)


def _span(rollout: Rollout, check: Check, size: float) -> tuple[int, float]:
    """Return the window as whole intervals and a rest, rounded to the traffic's buckets of `size` seconds."""
    whole = int((check.window + _HAIR) // rollout.interval)
    buckets = ceil((check.window - whole * rollout.interval) / size - 0.5 - 1e-9)
    rest = max(buckets, 0) * size
    return (whole + 1, 0.0) if rest >= rollout.interval - _HAIR else (whole, rest)


def _depth(window: LookBack) -> int:
    return window.intervals + (1 if window.slices else 0)


def _check_model(rollout: Rollout, scenario: Scenario, check: Check, window: LookBack | None) -> CheckModel:
    def outcome(answer: MetricAnswer) -> CheckOutcome:
        return _outcome_of(rollout, judge(check, answer, rollout.min_samples))

    counted = None if window is None else max(rollout.min_samples, 1)
    p99 = scenario.new.p99 if check.kind is CheckKind.DURATION else None
    return CheckModel(
        check=check,
        chance=scenario.failures.get(check.name, 0.0),
        failing=outcome(MetricAnswer(value=outside(check))),
        steady=outcome(MetricAnswer(value=inside(check) if p99 is None else 0.0, samples=counted)),
        silent=outcome(MetricAnswer(samples=0)),
        enough=rollout.min_samples,
        window=window,
        edges=_edges(check, p99) if p99 else None,
    )


def _outcome_of(rollout: Rollout, judgement: Judgement) -> CheckOutcome:
    """Return the outcome of a verdict: a hold where only data are missing and the policy waits for them."""
    if judgement.verdict is Verdict.PASS:
        return CheckOutcome.PASS
    return CheckOutcome.HOLD if judgement.is_hold(rollout.no_data) else CheckOutcome.HALT


def _edges(check: Check, p99: float) -> tuple[float, float]:
    """Return the range as quantiles of exponential response times whose P99 is `p99` (milliseconds)."""
    low, high = limits_of(check)
    return (0.0 if low is None else _quantile(low, p99), 1.0 if high is None else _quantile(high, p99))


def _quantile(value: float, p99: float) -> float:
    return 0.0 if value < 0.0 else 1.0 - 0.01 ** (value / p99)
