"""The ladder: every strategy of Flagger as one climb.

A **rung** says where traffic is: how much of it goes to the canary (`weight`, percent), whether live requests are
copied to it (`mirrored`), whether requests that match a header or cookie go to it (`matched`), and the count of the
check there (`iteration`). What follows from it is kept ready: its `routes`, whether it is `exposed` (any live request,
or a copy of one, reaches the canary), whether it `is_ground`, and its `words`. A **ladder** is the owner's policy for
climbing: rung 0 is `GROUND` (the canary is up and gets nothing), each later rung is left only by a pass, and past the
top rung the revision is promoted.

The status stores the rung by value, never by index, and `Ladder.after` works from any value. So when the owner edits
the steps while a rollout is under way no weight moves by itself: the next rung follows from where traffic is now.

    strategy     fields of spec.analysis              rungs after GROUND
    weights      stepWeight, maxWeight                10 20 30 ... (Flagger's arithmetic: the top may pass maxWeight)
    weights      stepWeights                          as listed
    weights      + mirror                             one mirrored rung at weight 0 first
    ab           match + iterations                   `iterations` rungs that route by header or cookie
    bluegreen    iterations (+ mirror)                `iterations` rungs at weight 0, then one at weight 100
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from canarycore._enum import OneOf
from canarycore._world import Routes

if TYPE_CHECKING:
    from collections.abc import Iterator

TOTAL = 100
"""Weights are percent of all requests: canary + primary = 100."""


@frozen(kw_only=True, cache_hash=True)
class Rung:
    """Where traffic is. Unit of `weight`: percent of requests to the canary."""

    weight: int = 0
    mirrored: bool = False
    matched: bool = False
    iteration: int = 0
    routes: Routes = field(init=False, eq=False, repr=False)
    exposed: bool = field(init=False, eq=False, repr=False)
    is_ground: bool = field(init=False, eq=False, repr=False)
    words: str = field(init=False, eq=False, repr=False)

    @routes.default
    def _as_routes(self) -> Routes:
        return Routes(weight=self.weight, mirrored=self.mirrored, matched=self.matched)

    @exposed.default
    def _is_exposed(self) -> bool:
        return self.routes.exposed

    @is_ground.default
    def _is_at_the_bottom(self) -> bool:
        return not self.exposed and not self.iteration

    @words.default
    def _in_words(self) -> str:
        words = [f"weight {self.weight}"]
        if self.iteration:
            words.append(f"iteration {self.iteration}")
        if self.mirrored:
            words.append("mirrored")
        if self.matched:
            words.append("matched")
        return ", ".join(words)

    def __str__(self) -> str:
        return self.words


GROUND = Rung()
_OFF_LADDER = Rung(iteration=-1)


class Strategy(OneOf):
    """Which of Flagger's deployment strategies the ladder carries out (`Canary.DeploymentStrategy`)."""

    WEIGHTS = "canary"
    AB = "ab-testing"
    BLUE_GREEN = "blue-green"


@frozen(kw_only=True)
class Ladder:
    """The climb and the way back.

    `step` and `steps` are percent, `top` is the weight at which the climb ends (percent), `step_back` is
    `stepWeightPromotion` (percent an interval, 0 = all at once). `routed` is false where nothing can route by weight
    (provider `kubernetes`): the last blue/green rung then keeps weight 0.
    """

    strategy: Strategy = Strategy.WEIGHTS
    step: int = 0
    steps: tuple[int, ...] = ()
    top: int = TOTAL
    iterations: int = 0
    mirror: bool = False
    step_back: int = 0
    routed: bool = True
    rungs: tuple[Rung, ...] = field(init=False, eq=False, repr=False)
    _next: dict[Rung, Rung | None] = field(init=False, eq=False, repr=False)

    @rungs.default
    def _climb(self) -> tuple[Rung, ...]:
        return tuple(self._from_the_ground())

    @_next.default
    def _steps_between(self) -> dict[Rung, Rung | None]:
        return dict(zip(self.rungs, (*self.rungs[1:], None), strict=True))

    def _from_the_ground(self) -> Iterator[Rung]:
        rung: Rung | None = GROUND
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
        if rung.iteration < self.iterations:
            return Rung(
                iteration=rung.iteration + 1,
                matched=self.strategy is Strategy.AB,
                mirrored=self.strategy is Strategy.BLUE_GREEN and self.mirror and self.routed,
            )
        if self.strategy is Strategy.BLUE_GREEN and rung.iteration == self.iterations:
            return Rung(iteration=rung.iteration + 1, weight=TOTAL if self.routed else 0)
        return None

    def _heavier(self, rung: Rung) -> Rung | None:
        if rung.weight == 0 and self.mirror and not rung.mirrored:
            return Rung(mirrored=True)
        if self.step > 0:
            return Rung(weight=min(rung.weight + self.step, TOTAL)) if rung.weight < self.top else None
        above = next((weight for weight in self.steps if weight > rung.weight), None)
        return None if above is None else Rung(weight=min(above, TOTAL))

    def asks_promotion(self, rung: Rung) -> bool:
        """Whether confirm-promotion gates stand between this rung and what comes after it.

        They stand before the promotion, and for blue/green also before all traffic goes to the canary.
        """
        if self.strategy is Strategy.BLUE_GREEN:
            return rung.iteration >= self.iterations
        return self.after(rung) is None

    def back(self, weight: int) -> int:
        """The canary's weight after one step of the promotion's way back, from `weight` (both percent)."""
        return max(weight - self.step_back, 0) if self.step_back > 0 else 0
