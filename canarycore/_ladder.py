"""The ladder: every strategy of Flagger as one climb.

A **rung** says where traffic is: how much of it goes to the canary (`weight`, percent), whether live requests are
copied to it (`mirrored`), whether requests that match a header or cookie go to it (`matched`), and the count of the
check there (`iteration`). What follows from it is kept ready: its `routes`, whether it is `exposed` (any live request,
or a copy of one, reaches the canary), whether it `is_initial`, and its `words`. A **ladder** is the owner's policy for
climbing: rung 0 is `INITIAL_RUNG` (the canary is up and gets nothing), each later rung is left only by a pass, and past
the top rung the revision is promoted.

The status stores the rung by value, never by index, and `Ladder.after` works from any value. So when the owner edits
the steps while a rollout is under way no weight moves by itself: the next rung follows from where traffic is now.

A ladder costs the same for any number of iterations: rungs that count iterations are computed when somebody looks at
them. There are at most 102 others, as weights are whole percent.

    strategy     fields of spec.analysis              rungs after GROUND
    weights      stepWeight, maxWeight                10 20 30 ... (Flagger's arithmetic: the top may pass maxWeight)
    weights      stepWeights                          as listed
    weights      + mirror                             one mirrored rung at weight 0 first
    ab           match + iterations                   `iterations` rungs that route by header or cookie
    bluegreen    iterations (+ mirror)                `iterations` rungs at weight 0, then one at weight 100
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from attrs import field, frozen

from canarycore._enum import TextEnum
from canarycore._observation import Routes
from canarycore.text import describe_traffic, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOTAL_WEIGHT = 100
"""Weights are percent of all requests: canary + primary = 100."""

MOST_ITERATIONS = 2**53 - 1
"""The greatest whole number that every JSON reader reads exactly."""

_READY = 50
"""A ladder that counts at most so many iterations keeps each rung's next one ready."""


@frozen(kw_only=True, cache_hash=True)
class Rung:
    """Where traffic is. Unit of `weight`: percent of requests to the canary."""

    weight: int = 0
    mirrored: bool = False
    matched: bool = False
    iteration: int = 0
    routes: Routes = field(init=False, eq=False, repr=False)
    is_exposed: bool = field(init=False, eq=False, repr=False)
    is_initial: bool = field(init=False, eq=False, repr=False)
    words: str = field(init=False, eq=False, repr=False)

    @routes.default
    def _as_routes(self) -> Routes:
        return Routes(weight=self.weight, mirrored=self.mirrored, matched=self.matched)

    @is_exposed.default
    def _has_exposure(self) -> bool:
        return self.routes.is_exposed

    @is_initial.default
    def _is_at_the_bottom(self) -> bool:
        return not self.is_exposed and not self.iteration

    @words.default
    def _in_words(self) -> str:
        return describe_traffic(self.weight, iteration=self.iteration, mirrored=self.mirrored, matched=self.matched)

    def __str__(self) -> str:
        return self.words


INITIAL_RUNG = Rung()
_OFF_LADDER = Rung(iteration=-1)
_WEIGHTS = (INITIAL_RUNG, *(Rung(weight=weight) for weight in range(1, TOTAL_WEIGHT + 1)))
"""All rungs that only shift weight, by their weight: ladders share them."""


@frozen(repr=False)
class _Rungs(Sequence[Rung]):
    """The rungs at some places of a ladder, computed when they are looked at."""

    rung_at: Callable[[int], Rung]
    places: range

    @overload
    def __getitem__(self, index: int) -> Rung: ...

    @overload
    def __getitem__(self, index: slice) -> _Rungs: ...

    def __getitem__(self, index: int | slice) -> Rung | _Rungs:
        if isinstance(index, slice):
            return _Rungs(self.rung_at, self.places[index])
        return self.rung_at(self.places[index])

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Rung]:
        return map(self.rung_at, self.places)

    def __repr__(self) -> str:
        return f"<{len(self)} rungs, {self[0]} to {self[-1]}>" if self else "<no rungs>"


class Strategy(TextEnum):
    """Which of Flagger's deployment strategies the ladder carries out (`Canary.DeploymentStrategy`)."""

    WEIGHTS = "canary"
    AB = "ab-testing"
    BLUE_GREEN = "blue-green"


@frozen(kw_only=True)
class Ladder:
    """The climb and the way back."""

    strategy: Strategy = Strategy.WEIGHTS
    step: int = 0
    """Percent that each rung adds to the weight. 0: the weights are those of `steps`."""
    steps: tuple[int, ...] = ()
    """The weights of the rungs, in percent, rising."""
    top: int = TOTAL_WEIGHT
    """The weight at which a climb by `step` ends, in percent."""
    iterations: int = 0
    """How often an A/B test or a blue/green rollout is analysed."""
    mirror: bool = False
    """Whether live requests are copied to the canary: on a rung of its own first, or on each iteration."""
    step_back: int = 0
    """`stepWeightPromotion`: percent an interval on the way back, 0 for all at once."""
    routed: bool = True
    """False where nothing can route by weight (provider `kubernetes`): the last blue/green rung keeps weight 0."""
    rungs: Sequence[Rung] = field(init=False, eq=False, repr=False)
    """All rungs from the ground to the top. Those that count iterations are computed when they are looked at."""
    _next: dict[Rung, Rung | None] = field(init=False, eq=False, repr=False)

    @rungs.default
    def _climb(self) -> Sequence[Rung]:
        _check_numbers(self)  # attrs runs validators only after defaults: too late for a ladder that never ends
        if self.strategy is Strategy.WEIGHTS:
            return tuple(self._from_the_ground())
        last = self.iterations + (self.strategy is Strategy.BLUE_GREEN)
        return _Rungs(self._of_iteration, range(last + 1))

    @_next.default
    def _steps_between(self) -> dict[Rung, Rung | None]:
        if self.strategy is not Strategy.WEIGHTS and self.iterations > _READY:
            return {}
        return dict(zip(self.rungs, (*self.rungs[1:], None), strict=True))

    def _from_the_ground(self) -> Iterator[Rung]:
        rung: Rung | None = INITIAL_RUNG
        while rung is not None:
            yield rung
            rung = self._after(rung)

    def after(self, rung: Rung) -> Rung | None:
        """The next rung, from any rung, or None when the climb is over and the revision is to be promoted."""
        known = self._next.get(rung, _OFF_LADDER)
        return self._after(rung) if known is _OFF_LADDER else known

    def _after(self, rung: Rung) -> Rung | None:
        if self.strategy is Strategy.WEIGHTS:
            return self._heavier(rung)
        if rung.iteration < self.iterations or (
            self.strategy is Strategy.BLUE_GREEN and rung.iteration == self.iterations
        ):
            return self._of_iteration(rung.iteration + 1)
        return None

    def _of_iteration(self, iteration: int) -> Rung:
        """The rung with this count, from 0 at the ground to one past the last for blue/green."""
        if iteration == 0:
            return INITIAL_RUNG
        if iteration > self.iterations:
            return Rung(iteration=iteration, weight=TOTAL_WEIGHT if self.routed else 0)
        return Rung(
            iteration=iteration,
            matched=self.strategy is Strategy.AB,
            mirrored=self.strategy is Strategy.BLUE_GREEN and self.mirror and self.routed,
        )

    def _heavier(self, rung: Rung) -> Rung | None:
        if rung.weight == 0 and self.mirror and not rung.mirrored:
            return Rung(mirrored=True)
        if self.step > 0:
            return _WEIGHTS[min(rung.weight + self.step, TOTAL_WEIGHT)] if rung.weight < self.top else None
        above = next((weight for weight in self.steps if weight > rung.weight), None)
        return None if above is None else _WEIGHTS[above]

    @property
    def heaviest(self) -> int:
        """The greatest weight of the climb, in percent: no rung is lighter than the one before it."""
        return self.rungs[-1].weight

    @property
    def last_confirmed(self) -> Rung:
        """The first rung that is left only past confirm-promotion gates (see `has_promotion_gate`)."""
        return self.rungs[self.iterations if self.strategy is Strategy.BLUE_GREEN else -1]

    def at_iteration(self, iteration: int) -> Rung:
        """The rung with this count of the check; the ground where there is none."""
        is_on = self.strategy is not Strategy.WEIGHTS and 0 < iteration < len(self.rungs)
        return self.rungs[iteration] if is_on else INITIAL_RUNG

    def has_promotion_gate(self, rung: Rung) -> bool:
        """Whether confirm-promotion gates stand between this rung and what comes after it.

        They stand before the promotion, and for blue/green also before all traffic goes to the canary.
        """
        if self.strategy is Strategy.BLUE_GREEN:
            return rung.iteration >= self.iterations
        return self.after(rung) is None

    def back(self, weight: int) -> int:
        """The canary's weight after one step of the promotion's way back, from `weight` (both percent)."""
        return max(weight - self.step_back, 0) if self.step_back > 0 else 0


def _check_numbers(ladder: Ladder) -> None:
    """Refuse a ladder whose numbers no weight or count can be; raises ValueError."""
    if len(ladder.steps) > TOTAL_WEIGHT:
        raise ValueError(f"Ladder.steps: found {len(ladder.steps)} weights, expected at most {TOTAL_WEIGHT}")
    percents = {"step": ladder.step, "top": ladder.top, "step_back": ladder.step_back}
    percents |= {f"steps[{place}]": weight for place, weight in enumerate(ladder.steps)}
    for name, value in percents.items():
        _check_whole(name, value, TOTAL_WEIGHT)
    _check_whole("iterations", ladder.iterations, MOST_ITERATIONS)


def _check_whole(name: str, value: object, high: int) -> None:
    if not isinstance(value, int) or not 0 <= value <= high:
        raise ValueError(f"Ladder.{name}: found {shorten(value)}, expected a whole number from 0 to {high}")
