"""Operating characteristics without drawing anything: the policy as a Markov chain.

    told = solve(rollout, Scenario(new=Behaviour(error_rate=0.02)))
    told.p_rollback, told.minutes, told.bad_requests

Where no window reaches beyond its interval, the analyses of a climb are independent. Let A[i, f] be how often, on
average, a rollout is analysed at place i with f failed checks, and p[i] the probability that an analysis there fails:

    A[i, f + 1] += A[i, f] p[i]        A[i + 1, f] += A[i, f] (1 - p[i])        f = threshold absorbs as a rollback

p[i] is a binomial tail of the requests that the canary sees in the window. Analyses that leave everything as it is
(held without a limit, or a closed gate) make A[i, f] a geometric series; held ones with a limit are counted beside f.

Requests come evenly spaced, so an interval may hold one more than the one before. What the spacing has left over is
then part of the state, as it is of the reference engine's.

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
from canarycore.policy._model import CheckModel, CheckOutcome, NotCovered, PolicyModel, RungModel, common_gaps, model
from canarycore.policy._tails import at_most, order_statistic_below

if TYPE_CHECKING:
    from canarycore._spec import Rollout
    from canarycore.policy._scenario import Scenario


@frozen(kw_only=True)
class Expectation:
    """Probabilities, and means over all rollouts; the words are `Run`'s. Infinite where some rollouts wait for ever."""

    p_promotion: float
    p_rollback: float
    p_undecided: float
    minutes: float
    requests: float
    canary_requests: float
    bad_requests: float
    excess_bad_requests: float

    def to_json(self) -> dict[str, float | None]:
        """Plain data; what is infinite is null."""
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
    """Why this engine does not cover the policy in this scenario; "" when it does."""
    return common_gaps(rollout) or _gaps(model(rollout, scenario))


def solve(rollout: Rollout, scenario: Scenario) -> Expectation:
    """What the policy comes to. Raises NotCovered."""
    reason = find_gap(rollout, scenario)
    if reason:
        raise NotCovered(f"the exact engine does not cover this: {reason}")
    return _Chain(model(rollout, scenario)).solve()


_MOST_STATES = 5_000_000
"""Rungs, times failed checks, times held analyses: some seconds."""


def _gaps(numbers: PolicyModel) -> str:
    rollout = numbers.rollout
    if numbers.depth > 1:
        return "a window longer than the interval makes one analysis depend on the one before"
    if len(numbers.places) * rollout.threshold * _held_states(numbers) > _MOST_STATES:
        return "its rungs, threshold and held analyses have too many combinations"
    if sum(gauge.check.kind is CheckKind.SUCCESS_RATE for gauge in numbers.gauges) > 1:
        return "several success rates are taken from the same requests"
    if numbers.rollback and not numbers.fresh and numbers.first < inf:
        return "pods get ready between two polls of the rollback hooks"
    if numbers.is_even(live=True) and numbers.is_even(live=False):
        return ""
    held = not rollout.inconclusive_limit and (rollout.min_samples > 0 or rollout.no_data is NoData.HOLD)
    if held or any(place.increase < 1.0 or place.promotion < 1.0 for place in numbers.places):
        return "analyses may be repeated, and the requests of an interval are no whole number"
    return "pods are late, and the requests of an interval are no whole number" if numbers.scenario.ready_after else ""


# ------------------------------------------------------------------------------------------------------------- chain

_Spare = tuple[float, float]
"""Parts of a request, of users and unseen ones, that their even spacing has left over from the interval before."""

_Cells = dict[_Spare, list[float]]
"""How often a place is entered: by spare requests, then by failed checks and holds (`failed * limit + held`)."""


@define
class _Chain:
    """The recursion, and what it has added up: probabilities, expected seconds and requests."""

    model: PolicyModel
    promoted: float = 0.0
    rolled_back: float = 0.0
    undecided: float = 0.0
    seconds: float = 0.0
    live: float = 0.0
    draining: float = 0.0

    def solve(self) -> Expectation:
        numbers = self.model
        here: _Cells = {(0.0, 0.0): self._cells(self._start())}
        gated: _Cells = {}
        for place in numbers.places:
            beyond: _Cells = {}
            self._stand(place, here, beyond, gated)
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
        """How likely a first analysis is; adds the seconds up to it, less the interval that each analysis brings."""
        numbers = self.model
        interval, going, before = numbers.rollout.interval, self._confirmed(), 0.0
        for wait in numbers.waits:
            self.seconds += going * (wait - before)
            self.rolled_back += going * numbers.rollback
            going, before = going * (1.0 - numbers.rollback), wait
        if numbers.first < inf:
            self.seconds += going * (numbers.first - before - interval)
            return going
        self.seconds += going * (numbers.last - before)
        self.rolled_back += going
        return 0.0

    def _confirmed(self) -> float:
        """How likely the gates of the start open before a rollback hook asks."""
        numbers = self.model
        closed = 1.0 - numbers.confirm
        stay = (1.0 - numbers.rollback) * closed
        if stay >= 1.0:
            self.undecided = 1.0
            return 0.0
        polls = closed / (1.0 - stay)
        self.seconds += polls * numbers.rollout.interval
        self.rolled_back += polls * numbers.rollback
        return numbers.confirm + polls * (1.0 - numbers.rollback) * numbers.confirm

    def _stand(self, place: RungModel, here: _Cells, beyond: _Cells, gated: _Cells) -> None:
        """All analyses at a place."""
        ((spare, cells),) = here.items() if len(here) == 1 else ((None, []),)
        step = None if spare is None else _step(self.model, place, spare)
        if step is None or not step.is_plain or step.spare != spare:
            visits = self._walk(place, here, beyond, gated)
        else:
            beyond[step.spare] = onward = self._cells()
            visits = self._pass_through(place, step, cells, onward)
        interval = self.model.rollout.interval
        self.seconds += visits * interval
        self.live += visits * interval * place.live

    def _pass_through(self, place: RungModel, step: _Step, cells: list[float], onward: list[float]) -> float:
        """The visits, where analyses lead on or to a halt and their requests come out even: nearly always."""
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
        """The visits. Failed checks and holds only rise, so one walk through the cells meets them all."""
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
                if step.stay >= 1.0:
                    self.undecided += mass
                    continue
                seen, left = mass / (1.0 - step.stay), step.spare
                visits += seen
                self._put(beyond, left, state, seen * step.on)
                self._put(gated, left, state, seen * step.gated)
                if state + holds in states:
                    self._put(here, left, state + holds, seen * step.halt)
                else:
                    self._roll_back(place, seen * step.halt)
                self._roll_back(place, seen * step.undone)
                if (state + 1) % holds:
                    self._put(here, left, state + 1, seen * step.hold)
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
        numbers, way = self.model, self.model.way
        scenario, seconds, live = numbers.scenario, self.seconds, self.live
        if self.promoted:
            seconds += self.promoted * way.seconds
            live += self.promoted * way.new
        requests = scenario.rps * (seconds + self.draining * numbers.rollout.drain)
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


def _held_states(numbers: PolicyModel) -> int:
    """How many counts of holds have to be told apart."""
    return numbers.rollout.inconclusive_limit or 1


# ---------------------------------------------------------------------------------------------------------- one step


@record
class _Step:
    """One analysis: the probabilities of where it leads, and what requests are spare after it.

    is_plain: it leads on, to a halt or to a repeat, nowhere else.
    """

    on: float
    gated: float
    halt: float
    hold: float
    stay: float
    undone: float
    spare: _Spare
    is_plain: bool


def _step(numbers: PolicyModel, place: RungModel, spare: _Spare) -> _Step:
    """In the order in which an analysis asks: rollback hooks, hooks, checks, gates."""
    live, spare_live = _spaced(spare[0], place.live, numbers.slices)
    unseen, spare_unseen = _spaced(spare[1], place.unseen, numbers.slices)
    goes_on = 1.0 - numbers.rollback
    passes, holds = _checked(numbers, [*map(add, live, unseen)]) if place.measured else (1.0, 0.0)
    passes, hold = goes_on * place.hooks * passes, goes_on * place.hooks * holds
    open_ = passes * place.increase
    shut = open_ * (1.0 - place.promotion)
    stay = passes - open_ + (0.0 if place.gated else shut)
    is_limited = numbers.rollout.inconclusive_limit > 0
    stay = stay if is_limited else stay + hold
    return _Step(
        on=open_ * place.promotion,
        gated=shut if place.gated else 0.0,
        halt=max(goes_on - passes - hold, 0.0),
        hold=hold if is_limited else 0.0,
        stay=stay,
        undone=numbers.rollback,
        spare=(spare_live, spare_unseen),
        is_plain=stay < 1.0 and not (place.gated or (hold and is_limited) or numbers.rollback),
    )


def _spaced(spare: float, rate: float, slices: tuple[float, ...]) -> tuple[list[int], float]:
    """Whole requests in each slice of an interval (newest first), and what is spare after it."""
    taken = [0] * len(slices)
    if not rate:
        return taken, spare
    for place in range(len(slices) - 1, -1, -1):
        spare += rate * slices[place]
        taken[place] = whole = int(spare + 1e-9)
        spare -= whole
    return taken, round(spare, 9)


def _checked(numbers: PolicyModel, requests: list[int]) -> tuple[float, float]:
    """The probabilities that all checks pass, and that none of those that do not is more than a hold."""
    passes, unhalted, total = 1.0, 1.0, sum(requests)
    for gauge in numbers.gauges:
        window = gauge.window
        seen = total if window is None or window.intervals else sum(requests[: window.slices])
        passed, held = _measured(numbers, gauge, seen)
        if gauge.chance:
            passed, held = _by_chance(gauge, passed, held)
        passes *= passed
        unhalted *= passed + held
    return passes, unhalted - passes


def _by_chance(gauge: CheckModel, passes: float, holds: float) -> tuple[float, float]:
    """The same of a check that may also fail for a reason of its own."""
    chance = gauge.chance
    return (
        passes * (1.0 - chance) + chance * (gauge.failing is CheckOutcome.PASS),
        holds * (1.0 - chance) + chance * (gauge.failing is CheckOutcome.HOLD),
    )


def _measured(numbers: PolicyModel, gauge: CheckModel, requests: int) -> tuple[float, float]:
    """The probabilities that a check passes, and that it holds, by the requests in its window."""
    if gauge.window is None:
        return _certain(gauge.steady)
    if not requests:
        return _certain(gauge.silent)
    if requests < gauge.enough:
        return 0.0, 1.0
    if gauge.check.kind is CheckKind.SUCCESS_RATE:
        least, most = _allowed(gauge.check.minimum, gauge.check.maximum, requests)
        rate = numbers.scenario.new.error_rate
        too_few = at_most(least - 1, requests, rate) if least > 0 else 0.0
        return (at_most(most, requests, rate) - too_few if most >= least else 0.0), 0.0
    if gauge.edges is None:
        return _certain(gauge.steady)
    low, high = gauge.edges
    below = order_statistic_below(low, requests, 0.99) if low > 0.0 else 0.0
    return max(order_statistic_below(high, requests, 0.99) - below, 0.0), 0.0


def _certain(says: CheckOutcome) -> tuple[float, float]:
    return float(says is CheckOutcome.PASS), float(says is CheckOutcome.HOLD)


@lru_cache(maxsize=4096)
def _allowed(minimum: float | None, maximum: float | None, requests: int) -> tuple[int, int]:
    """The fewest and the most bad requests at which the success rate is in range, rounded as the reference rounds."""

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
