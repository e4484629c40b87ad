"""The ladder: every strategy of Flagger as one sequence of rungs.

A **rung** says where traffic is: the share of it on the canary (`weight`, percent), whether the mesh copies live
requests to the canary (`mirrored`), whether requests that match a header or cookie go there (`matched`), and the count
of the check (`iteration`). A **ladder** is the owner's policy for advancing: rung 0 is `INITIAL_RUNG` (the canary runs
and receives nothing), a rollout leaves each later rung only by a pass, and past the top rung it promotes the revision.

The status stores the rung by value, never by index, and `Ladder.after` works from any value. So when the owner edits
the steps during a rollout no weight moves by itself: the next rung follows from the current one.

A ladder costs the same for any number of iterations, as it computes rungs that count iterations on demand. It has at
most 102 others, as weights are whole percent, or 1002 where they are `tenths` of a percent.

    strategy     fields of spec.analysis              rungs after INITIAL_RUNG
    weights      stepWeight, maxWeight                10 20 30 ... (Flagger's arithmetic: the top may pass maxWeight)
    weights      stepWeights                          as listed
    weights      + mirror                             one mirrored rung at weight 0 first
    weights      steps (not Flagger's)                as listed; each may copy requests, match some, hold, and more
    ab           match + iterations                   `iterations` rungs that route by header or cookie
    bluegreen    iterations (+ mirror)                `iterations` rungs at weight 0, then one at weight 100
    each         + bake (not Flagger's)               a last rung at weight 100 that the rollout holds

While a rollout bakes the primary still runs the old version, so that one write of the routes is the whole way back.
A rollout **in place** has no second copy of the new version: the version that gets all requests becomes the stable one.
So its ladder by weights ends with a rung at full weight, and no way back follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, overload

from attrs import Attribute, evolve, field, frozen, validate

from canarycore._canary_size import FULL_SIZE, CanarySize
from canarycore._enum import TextEnum
from canarycore._fields import (
    FLAG,
    LONG_COUNT,
    PERCENT,
    REQUIRED_TEXT,
    SECONDS,
    SHARE,
    TENTHS,
    WEIGHT,
    WEIGHT_IN_TENTHS,
    FieldRule,
    ScaledRule,
    fault,
    instance,
    items,
    optional,
    refuse,
    rising,
    whole,
)
from canarycore._observation import (
    MOST_PERMILLE,
    TOTAL_WEIGHT,
    Routes,
    scale_weight,
    total_weight,
)
from canarycore.bounds import CHECKS, WEIGHTS
from canarycore.text import describe_traffic
from canarycore.traffic import Match

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from canarycore.errors import Problem

MOST_ITERATIONS = 2**53 - 1
"""The greatest whole number that every JSON reader reads exactly."""

_ITERATIONS = whole(0, MOST_ITERATIONS)

_LONGEST_INDEX = 50
"""The most iterations for which a ladder stores the next rung of each rung."""


@frozen(kw_only=True, cache_hash=True)
class Rung:
    """Where traffic is."""

    weight: int = field(default=0, eq=False, validator=SHARE)
    """The share of requests to the canary, in percent, or in `tenths` of a percent."""
    mirrored: bool = field(default=False, validator=FLAG)
    """Whether the mesh copies live requests to the canary."""
    matched: bool = field(default=False, validator=FLAG)
    """Whether requests that match a header or cookie go to the canary."""
    iteration: int = field(default=0, validator=LONG_COUNT)
    """The count of the check on this rung, from 1; 0 on rungs by weight."""
    tenths: bool = field(default=False, eq=False, validator=FLAG)
    """Whether `weight` is in tenths of a percent."""
    permille: int = field(init=False, repr=False)
    """The share of requests to the canary in tenths of a percent, 0 to 1000. Rungs with the same one are equal."""
    routes: Routes = field(init=False, eq=False, repr=False)
    """The routes of this rung, without a session cookie."""
    is_exposed: bool = field(init=False, eq=False, repr=False)
    """Whether any live request, or a copy of one, reaches the canary."""
    is_initial: bool = field(init=False, eq=False, repr=False)
    """Whether this is rung 0, on which the canary receives nothing."""
    _text: str = field(init=False, eq=False, repr=False)

    @permille.default
    def _scale_weight(self) -> int:
        return scale_weight(self.weight, tenths=self.tenths)

    @routes.default
    def _make_routes(self) -> Routes:
        return Routes(weight=self.weight, mirrored=self.mirrored, matched=self.matched, tenths=self.tenths)

    @is_exposed.default
    def _has_exposure(self) -> bool:
        return self.routes.is_exposed

    @is_initial.default
    def _is_rung_0(self) -> bool:
        return not self.is_exposed and not self.iteration

    @_text.default
    def _describe(self) -> str:
        return describe_traffic(
            self.weight,
            iteration=self.iteration,
            mirrored=self.mirrored,
            matched=self.matched,
            tenths=self.tenths,
        )

    @property
    def percent(self) -> float:
        """The share of requests to the canary, in percent."""
        return self.routes.percent

    def __str__(self) -> str:
        return self._text


INITIAL_RUNG = Rung()
"""Rung 0: the canary runs and receives nothing."""


@cache
def _rungs_of_weights(*, tenths: bool) -> tuple[Rung, ...]:
    """Return every rung that only shifts weight, by its weight. Ladders share them."""
    weights = range(1, total_weight(tenths=tenths) + 1)
    return (INITIAL_RUNG, *(Rung(weight=weight, tenths=tenths) for weight in weights))


@frozen(repr=False)
class _Rungs(Sequence[Rung]):
    """The rungs at some places of a ladder, computed on access."""

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


@frozen(kw_only=True)
class Step:
    """A step that a passing analysis alone does not leave (`analysis.steps[]`, which Flagger does not have).

    Raises FieldError if a value does not fit its field.
    """

    weight: int = field(validator=TENTHS)
    """The share of requests to the canary in the ladder's unit: percent, or tenths of a percent. 0 needs `match` or
    `mirror`."""
    match: tuple[Match, ...] = field(default=(), validator=items(instance(Match), CHECKS))
    """Requests that go to the canary beside the weight: those that meet any of these conditions. The weight divides the
    others."""
    mirror: int = field(default=0, validator=PERCENT)
    """Percent of requests that the mesh copies to the canary; with `match`, of those that do not match."""
    size: CanarySize | None = field(default=None, validator=optional(instance(CanarySize)))
    """The replicas of the canary on this step; None for those of the step before, or of the owner on the first."""
    hold: float = field(default=0.0, validator=SECONDS)
    """The least time on this step, in seconds. Its analyses go on meanwhile, and may roll back."""
    approval: bool = field(default=False, validator=FLAG)
    """Whether the rollout then stays until the command `approve`."""
    metrics: tuple[str, ...] = field(default=(), validator=items(REQUIRED_TEXT, CHECKS))
    """The names of the checks of this step; empty for all."""

    @property
    def has_own_requests(self) -> bool:
        """Whether requests, or copies of them, reach the canary beside the weight."""
        return bool(self.match or self.mirror)

    @mirror.validator
    def _check_weight(self, _: Attribute[int], __: int) -> None:
        problem = None if self.has_own_requests else WEIGHT_IN_TENTHS.find(self.weight)
        if problem is not None:
            refuse(self, "weight", problem)


def _step_rule(weights: FieldRule) -> FieldRule:
    """Return the rule of a step whose weight has that rule."""

    def find(value: object) -> Problem | None:
        if isinstance(value, Step):
            problem = weights.find(value.weight) if value.weight else None  # 0 is for requests of its own
            return problem and evolve(problem, path=".weight")
        problem = weights.find(value)
        return problem and evolve(problem, expected=f"{problem.expected}, or an object of Step")

    return rising(FieldRule(find), WEIGHTS, _weight_of)


def _weight_of(step: int | Step) -> int:
    return step.weight if isinstance(step, Step) else step


class Strategy(TextEnum):
    """A deployment strategy of Flagger (`Canary.DeploymentStrategy`)."""

    WEIGHTS = "canary"
    AB = "ab-testing"
    BLUE_GREEN = "blue-green"


@frozen(kw_only=True)
class Ladder:
    """The policy for advancing and for the way back.

    Raises FieldError if a value does not fit its field, or if its strategy does not use it.
    """

    strategy: Strategy = field(default=Strategy.WEIGHTS, validator=instance(Strategy))
    """The deployment strategy, which decides the kind of rungs."""
    tenths: bool = field(default=False, validator=FLAG)
    """Whether all weights of the ladder are tenths of a percent instead of percent: `step=5` is 0.5 percent. The router
    has to support it."""
    step: int = field(default=0, validator=SHARE)
    """Percent that each rung adds to the weight (`stepWeight`); 0 uses the weights of `steps`."""
    steps: tuple[int | Step, ...] = field(
        default=(), validator=ScaledRule(_step_rule(WEIGHT), _step_rule(WEIGHT_IN_TENTHS))
    )
    """The rungs, rising: each a weight in percent (`stepWeights`), or a `Step` (`steps`)."""
    top: int = field(validator=ScaledRule(WEIGHT, WEIGHT_IN_TENTHS))
    """The weight at which rungs by `step` end, in percent (`maxWeight`); by default all requests."""
    iterations: int = field(default=0, validator=_ITERATIONS)
    """The number of analyses of an A/B test or a blue/green rollout (`iterations`)."""
    mirror: bool = field(default=False, validator=FLAG)
    """Whether the mesh copies live requests to the canary: on a first rung of its own, or on each iteration."""
    step_back: int = field(default=0, validator=SHARE)
    """Percent in each interval of the promotion's way back (`stepWeightPromotion`); 0 moves everything at once."""
    bake: float = field(default=0.0, validator=SECONDS)
    """The seconds for which the canary keeps all requests before the promotion (`analysis.bake`, which Flagger does not
    have); the primary is warm meanwhile. The analyses go on, and may roll back."""
    in_place: bool = field(default=False, validator=FLAG)
    """Whether the rollout ends at full weight, and the promotion only declares the new version the stable one. Use it
    where the stable side is a pointer and no second copy of the new version."""
    routed: bool = field(default=True, validator=FLAG)
    """Whether the provider can route by weight. Without it (`kubernetes`), the last blue/green rung has weight 0."""
    stays: dict[int, Step] = field(init=False, eq=False, repr=False)
    """The steps that a passing analysis alone does not leave, by their weight in tenths of a percent (`step_at`)."""
    sizes: tuple[tuple[int, CanarySize], ...] = field(init=False, eq=False, repr=False)
    """The sizes of the canary, each with the weight in tenths of a percent from which on it holds; rising."""
    rungs: Sequence[Rung] = field(init=False, eq=False, repr=False)
    """All rungs from the initial one to the top; a lazy sequence if they count iterations."""
    _next: dict[Rung, Rung | None] = field(init=False, eq=False, repr=False)

    @top.default
    def _everything(self) -> int:
        return total_weight(tenths=self.tenths)

    @stays.default
    def _index_steps(self) -> dict[int, Step]:
        validate(self)  # attrs runs validators after defaults: too late for an endless ladder
        _check_iterations(self)
        _check_in_place(self)
        _check_bake(self)
        _check_own_requests(self)
        steps = [step for step in self.steps if isinstance(step, Step)]
        if self.bake:
            steps.append(Step(weight=self.total, hold=self.bake))
        return {scale_weight(step.weight, tenths=self.tenths): step for step in steps}

    @sizes.default
    def _index_sizes(self) -> tuple[tuple[int, CanarySize], ...]:
        sizes = [(weight, step.size) for weight, step in self.stays.items() if step.size is not None]
        if self.bake and sizes:
            sizes.append((MOST_PERMILLE, FULL_SIZE))
        return tuple(sizes)

    @rungs.default
    def _make_rungs(self) -> Sequence[Rung]:
        if self.strategy is Strategy.WEIGHTS:
            return tuple(self._rungs_by_weight())
        return _Rungs(self._at_count, range(self._last_count + 1))

    @_next.default
    def _index_rungs(self) -> dict[Rung, Rung | None]:
        if self.strategy is not Strategy.WEIGHTS and self.iterations > _LONGEST_INDEX:
            return {}
        return dict(zip(self.rungs, (*self.rungs[1:], None), strict=True))

    def _rungs_by_weight(self) -> Iterator[Rung]:
        rung: Rung | None = INITIAL_RUNG
        while rung is not None:
            yield rung
            rung = self._after(rung)

    def after(self, rung: Rung) -> Rung | None:
        """Return the next rung from any rung, or None after the last: the rollout then promotes the revision."""
        try:
            return self._next[rung]
        except KeyError:
            return self._after(rung)

    def after_skipping(self, rung: Rung, weights: Collection[int]) -> Rung | None:
        """Return the next rung with one of these weights, in the ladder's unit; None if there is none.

        In place the rung with all requests is never skipped: the promotion moves nothing.
        """
        is_weighted = self.strategy is Strategy.WEIGHTS
        wanted = {*weights, self.total} if self.in_place else weights
        for each in self.rungs if is_weighted else self.rungs[-1:]:  # rungs that count have no weight before the last
            is_above = each.permille > rung.permille if is_weighted else each.iteration > rung.iteration
            if is_above and each.weight in wanted:
                return each
        return None

    def _after(self, rung: Rung) -> Rung | None:
        if self.strategy is Strategy.WEIGHTS:
            return self._heavier(rung)
        return self._at_count(rung.iteration + 1) if rung.iteration < self._last_count else None

    def _at_count(self, iteration: int) -> Rung:
        """Return the rung with this count: 0 is the initial rung, one past the last iteration has all traffic."""
        if iteration == 0:
            return INITIAL_RUNG
        if iteration > self.iterations:
            return Rung(iteration=iteration, weight=TOTAL_WEIGHT if self.routed else 0)
        return Rung(
            iteration=iteration,
            matched=self.strategy is Strategy.AB,
            mirrored=self.strategy is Strategy.BLUE_GREEN and self.mirror and self.routed,
        )

    @property
    def _last_count(self) -> int:
        """The count of the last rung of a ladder by iterations."""
        return self.iterations + (self.strategy is Strategy.BLUE_GREEN or self.bake > 0)

    def _heavier(self, rung: Rung) -> Rung | None:
        if rung.is_initial and 0 in self.stays:
            return self.at_weight(0)
        if rung.weight == 0 and self.mirror and not rung.mirrored:
            return Rung(mirrored=True)
        above = self._next_weight(rung.permille * self.total / MOST_PERMILLE)
        if above is None and (self.in_place or self.bake) and rung.permille < MOST_PERMILLE:
            above = self.total
        return None if above is None else self.at_weight(above)

    def _next_weight(self, weight: float) -> int | None:
        """Return the first weight above `weight` by `step` or in `steps`; None where the top is reached.

        `weight` is no whole number if the owner changed the unit during a rollout.
        """
        if self.step > 0:
            return min(int(weight) + self.step, self.total) if weight < self.top else None
        return next((each for each in map(_weight_of, self.steps) if each > weight), None)

    def at_weight(self, weight: int) -> Rung:
        """Return the rung of a weight from 0 to `total`: that of its step, or one that only shifts weight."""
        step = self.stays.get(scale_weight(weight, tenths=self.tenths))
        if step is not None and step.has_own_requests:
            return Rung(weight=weight, matched=bool(step.match), mirrored=step.mirror > 0, tenths=self.tenths)
        return _rungs_of_weights(tenths=self.tenths)[weight]

    def step_at(self, place: Rung | Routes) -> Step | None:
        """Return the step with this weight that a passing analysis alone does not leave; None for any other place."""
        return self.stays.get(place.permille) if place.is_exposed else None

    def size_on(self, rung: Rung) -> CanarySize:
        """Return the size of the canary on a rung: of the last step up to its weight that has one.

        A rung below the first step has its size. A canary that bakes has all requests, and its full size.
        """
        if not self.sizes:
            return FULL_SIZE
        weight = max(rung.permille, self._first_weight)
        return next((size for start, size in reversed(self.sizes) if start <= weight), FULL_SIZE)

    def without_sizes(self) -> Ladder:
        """Return the same ladder with the owner's number of replicas on each step."""
        steps = tuple(evolve(step, size=None) if isinstance(step, Step) else step for step in self.steps)
        return evolve(self, steps=steps)

    @property
    def _first_weight(self) -> int:
        """The weight of the first rung above the initial one, in tenths of a percent; a mirror belongs to no step."""
        return next((rung.permille for rung in self.rungs if not (rung.is_initial or self.is_mirror_rung(rung))), 0)

    @property
    def has_matches(self) -> bool:
        """Whether a step sends matching requests to the canary beside its weight."""
        return any(step.match for step in self.stays.values())

    @property
    def has_mirrors(self) -> bool:
        """Whether a step copies requests to the canary beside its weight."""
        return any(step.mirror for step in self.stays.values())

    def is_mirror_rung(self, rung: Rung) -> bool:
        """Whether this is the rung of `mirror`, which only copies requests and belongs to no step."""
        return rung.mirrored and self.step_at(rung) is None

    def routes_on(self, rung: Rung) -> Routes:
        """Return the routes of a rung, without the match or mirror of a step that the owner has removed since."""
        if self.strategy is not Strategy.WEIGHTS or rung.iteration:
            return rung.routes
        step = self.step_at(rung)
        is_flaggers = step is None and not rung.weight and (self.mirror or not self.stays)
        return evolve(
            rung.routes,
            matched=rung.matched and step is not None and bool(step.match),
            mirrored=rung.mirrored and (is_flaggers or (step is not None and step.mirror > 0)),
        )

    @property
    def total(self) -> int:
        """The weight of all requests in the ladder's unit: 100 percent, or 1000 tenths of a percent."""
        return total_weight(tenths=self.tenths)

    @property
    def heaviest(self) -> int:
        """The greatest weight of any rung, in percent or `tenths`: weights never fall along the ladder."""
        return self.rungs[-1].weight

    @property
    def longest_hold(self) -> float:
        """The longest hold of a step, in seconds."""
        return max((step.hold for step in self.stays.values()), default=0.0)

    @property
    def last_confirmed(self) -> Rung:
        """The first rung with confirm-promotion gates after it (see `has_promotion_gate`)."""
        if self.strategy is Strategy.BLUE_GREEN:
            return self.rungs[self.iterations]
        return self.rungs[-2 if self.bake else -1]

    def at_iteration(self, iteration: int) -> Rung:
        """Return the rung with this count of the check, or the initial rung if no rung has it."""
        is_on = self.strategy is not Strategy.WEIGHTS and 0 < iteration < len(self.rungs)
        return self.rungs[iteration] if is_on else INITIAL_RUNG

    def has_promotion_gate(self, rung: Rung) -> bool:
        """Whether confirm-promotion gates come after this rung.

        They come before the promotion, and for blue/green and a bake also before all traffic goes to the canary.
        """
        return self.is_gated(self.after(rung))

    def is_gated(self, after: Rung | None) -> bool:
        """Whether confirm-promotion gates come before this rung, to which a rollout goes; None is the promotion."""
        if after is None:
            return True
        if self.strategy is Strategy.BLUE_GREEN:
            return after.iteration > self.iterations
        return self.bake > 0 and self.after(after) is None

    def back(self, rung: Rung) -> Rung:
        """Return the rung after one step of the promotion's way back from `rung`."""
        return self.lower(rung, self.step_back)

    def lower(self, rung: Rung, step: int) -> Rung:
        """Return the rung with a weight that is lower by `step`, in the ladder's unit; 0 takes all of it."""
        weight = rung.permille * self.total // MOST_PERMILLE
        weight = max(weight - step, 0) if step > 0 else 0
        return Rung(weight=weight, iteration=rung.iteration, tenths=self.tenths)


def _check_iterations(ladder: Ladder) -> None:
    """Raise WrongValue for a strategy without its rungs: it would promote each revision without a check."""
    counts = ladder.strategy is not Strategy.WEIGHTS
    if counts and not ladder.iterations:
        problem = fault("0", f"at least 1: {ladder.strategy} counts them", "Set iterations.", "no-step")
        refuse(ladder, "iterations", problem)
    if ladder.iterations and not counts:
        remedy = "Set strategy=Strategy.BLUE_GREEN or Strategy.AB, or remove iterations."
        refuse(
            ladder,
            "iterations",
            fault(str(ladder.iterations), f"0: {ladder.strategy} ignores it", remedy, "step-fields"),
        )
    if counts and (ladder.step or ladder.steps):
        name = "steps" if ladder.steps else "step"
        problem = fault(
            f"{name} with iterations", f"none: {ladder.strategy} ignores it", f"Remove {name}.", "step-fields"
        )
        refuse(ladder, name, problem)


def _check_in_place(ladder: Ladder) -> None:
    """Raise WrongValue for fields that contradict a rollout in place."""
    if not ladder.in_place:
        return
    if ladder.strategy is not Strategy.WEIGHTS:
        expected = f"False: {ladder.strategy} does not end by weights"
        refuse(ladder, "in_place", fault("True", expected, "Set strategy=Strategy.WEIGHTS.", "step-fields"))
    if ladder.step_back:
        expected = "0: a rollout in place ends at full weight, so it has no way back"
        refuse(ladder, "step_back", fault(str(ladder.step_back), expected, "Remove step_back.", "step-fields"))


def _check_own_requests(ladder: Ladder) -> None:
    """Raise WrongValue for a match or mirror beside all requests, and for two rungs at weight 0."""
    for place, step in enumerate(ladder.steps):
        if not isinstance(step, Step) or not step.has_own_requests:
            continue
        if step.weight == ladder.total:
            name = "match" if step.match else "mirror"
            expected = "none: the step has all requests already"
            problem = fault(f"a {name}", expected, "Remove it.", f"step-{name}", part=f"[{place}].{name}")
            refuse(ladder, "steps", problem)
        if step.weight == 0 and ladder.mirror:
            expected = "a weight above 0: with mirror the first rung has weight 0 and copies requests"
            problem = fault("0", expected, "Set the weight, or remove mirror.", "step-match", part=f"[{place}].weight")
            refuse(ladder, "steps", problem)


def _check_bake(ladder: Ladder) -> None:
    """Raise WrongValue for a bake without a rung of its own at full weight."""
    if not ladder.bake:
        return
    found = f"{ladder.bake:g}"
    if not ladder.routed:
        expected = "0: the provider moves no traffic to the canary, so it has none to keep there"
        refuse(ladder, "bake", fault(found, expected, "Choose one that routes, or remove bake.", "no-bake"))
    last = ladder.steps[-1] if ladder.steps else None
    if isinstance(last, Step) and last.weight == ladder.total:
        expected = "0: the last step has all traffic, and a hold of its own"
        refuse(ladder, "bake", fault(found, expected, "Set the hold of the last step, or remove bake.", "no-bake"))
