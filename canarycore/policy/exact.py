"""Operating characteristics of a policy without draws, by a Markov chain.

    expectation = solve(rollout, Scenario(new=Behaviour(error_rate=0.02)))
    expectation.p_rollback, expectation.minutes, expectation.bad_requests

Where no window is longer than the interval, the analyses of a rollout are independent. Let A[i, f] be the expected
number of analyses at place i with f failed checks, and p[i] the probability that an analysis there fails:

    A[i, f + 1] += A[i, f] p[i]        A[i + 1, f] += A[i, f] (1 - p[i])        f = threshold absorbs as a rollback

p[i] is a binomial tail of the canary's requests in the window. Analyses that change nothing (a hold without a limit, a
closed gate) make A[i, f] a geometric series. Holds with a limit have a count of their own beside f.

Requests are evenly spaced, so an interval may have one more than the interval before. The fraction of a request that is
left over is part of the state, as it is in the reference engine.

Unlike the reference engine it has no time limit: a rollout that can never go on counts in `p_undecided`.
"""

from __future__ import annotations

from functools import lru_cache
from math import inf
from operator import add
from typing import TYPE_CHECKING

from attrs import define, frozen

from canarycore._record import record
from canarycore._spec import CheckKind, NoData
from canarycore.policy._model import (
    CheckModel,
    CheckOutcome,
    PolicyModel,
    RungModel,
    common_gaps,
    model,
    refuse_gap,
)
from canarycore.policy._scenario import limits_of
from canarycore.policy._tails import at_most, order_statistic_below

if TYPE_CHECKING:
    from canarycore._spec import Rollout
    from canarycore.policy._scenario import Scenario


@frozen(kw_only=True)
class Expectation:
    """Probabilities and means over all rollouts; means are infinite where some rollouts wait for ever."""

    p_promotion: float
    """Probability of a promotion."""
    p_rollback: float
    """Probability of a rollback."""
    p_undecided: float
    """Probability of an endless wait."""
    minutes: float
    """Mean duration since the arrival of the new revision."""
    requests: float
    """Mean of users' requests."""
    canary_requests: float
    """Mean of users' requests that the new version serves."""
    bad_requests: float
    """Mean of users' requests that fail."""
    excess_bad_requests: float
    """Mean of the excess of failed requests over the old version's."""

    def to_json(self) -> dict[str, float | None]:
        """Return plain data; an infinite value is null."""
        means = {
            "mean_minutes": self.minutes,
            "mean_requests": self.requests,
            "mean_canary_requests": self.canary_requests,
            "mean_bad_requests": self.bad_requests,
            "mean_excess_bad_requests": self.excess_bad_requests,
        }
        return {
            "p_promotion": self.p_promotion,
            "p_rollback": self.p_rollback,
            "p_undecided": self.p_undecided,
            **{name: value if abs(value) < inf else None for name, value in means.items()},
        }


def find_gap(rollout: Rollout, scenario: Scenario) -> str:
    """Return why this engine does not cover a policy in a scenario, or "" where it does."""
    return common_gaps(rollout, scenario) or _find_gap(model(rollout, scenario))


def solve(rollout: Rollout, scenario: Scenario) -> Expectation:
    """Return the operating characteristics of a policy. Raise NotCovered where `find_gap` has a reason."""
    refuse_gap("exact", rollout, find_gap(rollout, scenario))
    return _Chain(model(rollout, scenario)).solve()


_MOST_STATES = 5_000_000
"""Most states (places times failed checks times holds), which take some seconds."""


def _find_gap(policy: PolicyModel) -> str:
    rollout = policy.rollout
    if policy.depth > 1:
        return "a window longer than the interval makes one analysis depend on the one before"
    if len(policy.places) * rollout.threshold * _held_states(policy) > _MOST_STATES:
        return "its rungs, threshold and held analyses have too many combinations"
    if sum(check.check.kind is CheckKind.SUCCESS_RATE for check in policy.checks) > 1:
        return "several success rates are taken from the same requests"
    if policy.rollback and not policy.fresh and policy.first < inf:
        return "pods get ready between two polls of the rollback hooks"
    if policy.is_even(live=True) and policy.is_even(live=False):
        return ""
    held = not rollout.inconclusive_limit and (rollout.min_samples > 0 or rollout.no_data is NoData.HOLD)
    if held or any(place.increase < 1.0 or place.promotion < 1.0 for place in policy.places):
        return "analyses may be repeated, and the requests of an interval are no whole number"
    return "pods are late, and the requests of an interval are no whole number" if policy.scenario.ready_after else ""


# ------------------------------------------------------------------------------------------------------------- chain

_Spare = tuple[float, float]
"""Fractions of a request, of users and of unseen traffic, left over from the interval before."""

_Cells = dict[_Spare, list[float]]
"""Expected visits of a place, by spare requests, then by failed checks and holds (`failed * limit + held`)."""


@define
class _Chain:
    """The recursion with its sums: probabilities, expected seconds and requests."""

    model: PolicyModel
    promoted: float = 0.0
    rolled_back: float = 0.0
    undecided: float = 0.0
    seconds: float = 0.0
    live: float = 0.0
    draining: float = 0.0

    def solve(self) -> Expectation:
        policy = self.model
        here: _Cells = {(0.0, 0.0): self._cells(self._start())}
        gated: _Cells = {}
        for place in policy.places:
            beyond: _Cells = {}
            self._analyse(place, here, beyond, gated)
            here = beyond
            if place.gated:
                self._promote(beyond)
                here = gated
        self._promote(here)
        return self._expected()

    def _cells(self, first: float = 0.0) -> list[float]:
        cells = [0.0] * (self.model.rollout.threshold * _held_states(self.model))
        cells[0] = first
        return cells

    def _start(self) -> float:
        """Return the probability of a first analysis; add the seconds up to it, less the analysis's own interval."""
        policy = self.model
        interval, going, before = policy.rollout.interval, self._confirmed(), 0.0
        for wait in policy.waits:
            self.seconds += going * (wait - before)
            self.rolled_back += going * policy.rollback
            going, before = going * (1.0 - policy.rollback), wait
        if policy.first < inf:
            self.seconds += going * (policy.first - before - interval)
            return going
        self.seconds += going * (policy.last - before)
        self.rolled_back += going
        return 0.0

    def _confirmed(self) -> float:
        """Return the probability that the confirm-rollout gates open before a rollback hook asks for a rollback."""
        policy = self.model
        closed = 1.0 - policy.confirm
        stay = (1.0 - policy.rollback) * closed
        if stay >= 1.0:
            self.undecided = 1.0
            return 0.0
        polls = closed / (1.0 - stay)
        self.seconds += polls * policy.rollout.interval
        self.rolled_back += polls * policy.rollback
        return policy.confirm + polls * (1.0 - policy.rollback) * policy.confirm

    def _analyse(self, place: RungModel, here: _Cells, beyond: _Cells, gated: _Cells) -> None:
        """Carry out all analyses at a place."""
        ((spare, cells),) = here.items() if len(here) == 1 else ((None, []),)
        step = None if spare is None else _step(self.model, place, spare)
        if step is None or not step.is_plain or step.spare != spare or place.held:
            visits = self._walk(place, here, beyond, gated)
        else:
            beyond[step.spare] = onward = self._cells()
            visits = self._pass_through(place, step, cells, onward)
        interval = self.model.rollout.interval
        self.seconds += visits * interval
        self.live += visits * interval * place.live

    def _pass_through(self, place: RungModel, step: _Step, cells: list[float], onward: list[float]) -> float:
        """Return the visits of a place in the usual case: an analysis passes or halts, and its requests are whole."""
        holds, on, halt, again = _held_states(self.model), step.on, step.halt, 1.0 / (1.0 - step.stay)
        visits, last = 0.0, len(cells) - holds
        for state, mass in enumerate(cells):
            if mass:
                seen = mass * again
                visits += seen
                onward[state] = seen * on
                if state < last:
                    cells[state + holds] += seen * halt
                else:
                    self._roll_back(place, seen * halt)
        return visits

    def _walk(self, place: RungModel, here: _Cells, beyond: _Cells, gated: _Cells) -> float:
        """Return the visits of a place. Failed checks and holds only rise, so one walk through the cells suffices.

        While a step holds, every analysis that does not roll back leads on.
        """
        after = beyond if place.held else here
        holds, visits, states = _held_states(self.model), 0.0, range(len(self._cells()))
        steps: dict[_Spare, _Step] = {}
        for state in states:
            for spare, cells in list(here.items()):
                mass = cells[state]
                if not mass:
                    continue
                step = steps.get(spare)
                if step is None:
                    step = steps[spare] = _step(self.model, place, spare)
                stay = 0.0 if place.held else step.stay
                if stay >= 1.0:
                    self.undecided += mass
                    continue
                seen, left = mass / (1.0 - stay), step.spare
                visits += seen
                self._put(beyond, left, state, seen * (step.on + step.stay - stay))
                self._put(gated, left, state, seen * step.gated)
                if state + holds in states:
                    self._put(after, left, state + holds, seen * step.halt)
                else:
                    self._roll_back(place, seen * step.halt)
                self._roll_back(place, seen * step.undone)
                if (state + 1) % holds:
                    self._put(after, left, state + 1, seen * step.hold)
                else:
                    self._roll_back(place, seen * step.hold)
        return visits

    def _put(self, cells: _Cells, spare: _Spare, state: int, mass: float) -> None:
        if mass:
            if spare not in cells:
                cells[spare] = self._cells()
            cells[spare][state] += mass

    def _roll_back(self, place: RungModel, mass: float) -> None:
        self.rolled_back += mass
        self.draining += mass * place.exposed

    def _promote(self, cells: _Cells) -> None:
        self.promoted += sum(map(sum, cells.values()))

    def _expected(self) -> Expectation:
        policy, promotion = self.model, self.model.promotion
        scenario, seconds, live = policy.scenario, self.seconds, self.live
        if self.promoted:
            seconds += self.promoted * promotion.seconds
            live += self.promoted * promotion.new
        requests = scenario.rps * (seconds + self.draining * policy.rollout.drain)
        excess = live * (scenario.new.error_rate - scenario.old.error_rate)
        means = (seconds / 60, requests, live, requests * scenario.old.error_rate + excess, excess)
        minutes, requests, live, bad, excess = (inf,) * 5 if self.undecided else means
        return Expectation(
            p_promotion=self.promoted,
            p_rollback=self.rolled_back,
            p_undecided=self.undecided,
            minutes=minutes,
            requests=requests,
            canary_requests=live,
            bad_requests=bad,
            excess_bad_requests=excess,
        )


def _held_states(policy: PolicyModel) -> int:
    """Return the number of different counts of holds."""
    return policy.rollout.inconclusive_limit or 1


# ---------------------------------------------------------------------------------------------------------- one step


@record
class _Step:
    """The probabilities of one analysis's results, and the spare requests after it."""

    on: float
    gated: float
    halt: float
    hold: float
    stay: float
    undone: float
    spare: _Spare
    is_plain: bool


def _step(policy: PolicyModel, place: RungModel, spare: _Spare) -> _Step:
    """Return one analysis as probabilities, in the order of its questions: rollback hooks, hooks, checks, gates."""
    live, spare_live = _spaced(spare[0], place.live, policy.slices)
    unseen, spare_unseen = _spaced(spare[1], place.unseen, policy.slices)
    goes_on = 1.0 - policy.rollback
    passes, holds = _checked(policy, [*map(add, live, unseen)]) if place.measured else (1.0, 0.0)
    passes, hold = goes_on * place.hooks * passes, goes_on * place.hooks * holds
    open_ = passes * place.increase
    shut = open_ * (1.0 - place.promotion)
    stay = passes - open_ + (0.0 if place.gated else shut)
    is_limited = policy.rollout.inconclusive_limit > 0
    stay = stay if is_limited else stay + hold
    return _Step(
        on=open_ * place.promotion,
        gated=shut if place.gated else 0.0,
        halt=max(goes_on - passes - hold, 0.0),
        hold=hold if is_limited else 0.0,
        stay=stay,
        undone=policy.rollback,
        spare=(spare_live, spare_unseen),
        is_plain=stay < 1.0 and not (place.gated or (hold and is_limited) or policy.rollback),
    )


def _spaced(spare: float, rate: float, slices: tuple[float, ...]) -> tuple[list[int], float]:
    """Return the whole requests in each slice of an interval (newest first), and the spare fraction after it."""
    taken = [0] * len(slices)
    if not rate:
        return taken, spare
    for place in range(len(slices) - 1, -1, -1):
        spare += rate * slices[place]
        taken[place] = whole = int(spare + 1e-9)
        spare -= whole
    return taken, round(spare, 9)


def _checked(policy: PolicyModel, requests: list[int]) -> tuple[float, float]:
    """Return the probabilities that all checks pass, and that no check halts and one at least holds."""
    passes, unhalted, total = 1.0, 1.0, sum(requests)
    for check in policy.checks:
        window = check.window
        seen = total if window is None or window.intervals else sum(requests[: window.slices])
        passed, held = _measured(policy, check, seen)
        if check.chance:
            passed, held = _by_chance(check, passed, held)
        passes *= passed
        unhalted *= passed + held
    return passes, unhalted - passes


def _by_chance(check: CheckModel, passes: float, holds: float) -> tuple[float, float]:
    """Return the probabilities of a check that may also fail by chance."""
    chance = check.chance
    return (
        passes * (1.0 - chance) + chance * (check.failing is CheckOutcome.PASS),
        holds * (1.0 - chance) + chance * (check.failing is CheckOutcome.HOLD),
    )


def _measured(policy: PolicyModel, check: CheckModel, requests: int) -> tuple[float, float]:
    """Return the probabilities that a check passes and that it holds, with so many requests in its window."""
    if check.window is None:
        return _certain(check.steady)
    if not requests:
        return _certain(check.silent)
    if requests < check.enough:
        return 0.0, 1.0
    if check.check.kind is CheckKind.SUCCESS_RATE:
        least, most = _allowed(*limits_of(check.check), requests)
        rate = policy.scenario.new.error_rate
        too_few = at_most(least - 1, requests, rate) if least > 0 else 0.0
        return (at_most(most, requests, rate) - too_few if most >= least else 0.0), 0.0
    if check.edges is None:
        return _certain(check.steady)
    low, high = check.edges
    below = order_statistic_below(low, requests, 0.99) if low > 0.0 else 0.0
    return max(order_statistic_below(high, requests, 0.99) - below, 0.0), 0.0


def _certain(outcome: CheckOutcome) -> tuple[float, float]:
    return float(outcome is CheckOutcome.PASS), float(outcome is CheckOutcome.HOLD)


@lru_cache(maxsize=4096)
def _allowed(minimum: float | None, maximum: float | None, requests: int) -> tuple[int, int]:
    """Return the fewest and the most bad requests with a success rate in range, rounded as in the reference engine."""

    def rate(bad: int) -> float:
        return 100.0 * (requests - bad) / requests

    least, most = 0, requests
    if minimum is not None:
        most = min(max(int(requests * (1.0 - minimum / 100.0)), -1), requests)
        while most < requests and rate(most + 1) >= minimum:
            most += 1
        while most >= 0 and rate(most) < minimum:
            most -= 1
    if maximum is not None:
        least = min(max(int(requests * (1.0 - maximum / 100.0)), 0), requests + 1)
        while least > 0 and rate(least - 1) <= maximum:
            least -= 1
        while least <= requests and rate(least) > maximum:
            least += 1
    return least, most
