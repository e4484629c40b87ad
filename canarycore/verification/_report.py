"""What a verification found, and each violation as a program that shows it again."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import field, frozen

from canarycore.driver import Apply, Commit, Fetch, Publish, cycle
from canarycore.errors import CanaryError
from canarycore.simulation._program import source, with_imports
from canarycore.text import describe_state
from canarycore.verification._ends import amiss, bad_ends, good_ends
from canarycore.verification._explore import MOST_FAULTS, explore
from canarycore.verification._model import BrokenInvariant, Move, Node, TrialModel
from canarycore.verification._paths import ShortestPaths, schedules
from canarycore.verification._situations import Trial, trial
from canarycore.verification._steps import FREE, Excuse, Proceed, Step

if TYPE_CHECKING:
    from canarycore._spec import Rollout
    from canarycore.simulation.driver import Driver
    from canarycore.verification._explore import Watch

Path = list[tuple[Node, Step]]


@frozen
class Violation:
    """An invariant that does not hold, by a shortest schedule.

    name: I1 to I14 or "table". text: the invariant. found: how it is broken. faults: what it takes, in order. script: a
    Python program that shows it again, step by step.
    """

    name: str
    text: str
    found: str
    faults: tuple[Step, ...]
    script: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.text}): {self.found}"


@frozen(kw_only=True)
class VerificationReport:
    """What was explored and found.

    states: nodes of the graph. transitions: its edges. schedules: ways from a start to an end with exactly `faults`
    faults. violations: one for each invariant and kind of schedule that breaks it. seconds: by the clock given.
    """

    trial: Trial
    faults: int
    states: int
    transitions: int
    schedules: int
    violations: tuple[Violation, ...] = ()
    seconds: float = 0.0

    @property
    def strategy(self) -> str:
        return self.trial.strategy

    @property
    def situation(self) -> str:
        return self.trial.situation

    @property
    def rate(self) -> float:
        """Transitions a second."""
        return self.transitions / self.seconds if self.seconds else 0.0


def verify(
    rollout: Rollout | Trial,
    faults: int = 1,
    *,
    driver: Driver = cycle,
    watch: Watch = lambda _: None,
    clock: Callable[[], float] = lambda: 0.0,
) -> VerificationReport:
    """Explore everything that can happen to a policy with at most so many faults (0 to 3), and check it.

    `driver` is the loop under test. `watch` is told the number of states met, now and then. Raises ValueError.
    """
    if not 0 <= faults <= MOST_FAULTS:
        raise ValueError(f"found {faults} faults, expected 0 to {MOST_FAULTS}")
    chosen = rollout if isinstance(rollout, Trial) else trial(rollout)
    began = clock()
    with _nothing_collected():
        graph = explore(chosen, faults, driver, watch)
        violations = tuple(_violations(ShortestPaths(graph)))
        count = schedules(graph)
    return VerificationReport(
        trial=chosen,
        faults=faults,
        states=len(graph.keys),
        transitions=len(graph.edges),
        violations=violations,
        schedules=count,
        seconds=clock() - began,
    )


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Next to nothing that the search makes refers to itself: looking for what does would cost a tenth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _violations(ways: ShortestPaths) -> Iterator[Violation]:
    """A shortest schedule for each invariant; another one only if it takes other kinds of faults."""
    graph = ways.graph
    broken: list[tuple[int, Step | None, BrokenInvariant]] = [(node, step, found) for node, step, found in graph.broken]
    broken += [(node, None, found) for node, found in bad_ends(ways)]
    known: dict[tuple[str, str], list[set[type[Step]]]] = {}
    for node, last, found in sorted(broken, key=lambda one: (-graph.left(one[0]), ways.depths[one[0]])):
        steps = ways.to(node)
        way = [(ways.spot(one), step) for one, step in steps]
        if last is not None:
            way.append((ways.spot(node), last))
        faults = tuple(step for _, step in way if not isinstance(step, FREE))
        kinds, others = set(map(type, faults)), known.setdefault((found.name, found.text), [])
        if not any(other <= kinds for other in others):
            others.append(kinds)
            start = steps[0][0] if steps else node
            yield Violation(found.name, found.text, found.found, faults, _script(graph.model.trial, start, way))


# ------------------------------------------------------------------------------------------------------ the program


def _script(about: Trial, start: int, way: Path) -> str:
    """The schedule as a program: what differs from going on as one should, at which step, and where that is."""
    lines = ["replay(", f"    {source(about)},", f"    start={start},", "    schedule={"]
    for number, (spot, step) in enumerate(way):
        if not isinstance(step, Proceed):
            lines += [f"        # {where(spot)}", f"        {number}: {source(step)},"]
    return with_imports("\n".join([*lines, "    },", ")"]))


def where(spot: Node) -> str:
    """A spot in words: the world, and what the controller is about to do there."""
    state, status = spot.state, spot.state.status
    sides = [
        f"{name} {pods.revision} x{pods.desired}"
        for name, pods in (("target", state.target), ("primary", state.primary))
        if pods is not None
    ]
    routes = "no routes" if state.routes is None else f"routes {state.routes.primary}/{state.routes.weight}"
    position = describe_state(status.phase.value, str(status.rung), revision=status.applied or "nothing")
    return f"t={state.now:g} {position}; {', '.join([*sides, routes])}; {_about_to(spot)}"


def _about_to(spot: Node) -> str:
    request = None if spot.point is None else spot.point.request
    if isinstance(request, Commit):
        status = request.status
        return f"about to commit {describe_state(status.phase.value, str(status.rung), revision=status.applied)}"
    if isinstance(request, Apply):
        return f"about to do {source(request.effect)}"
    if isinstance(request, Publish):
        return f"about to tell {request.notice.text!r}"
    if isinstance(request, Fetch):
        return f"about to ask {', '.join(question.key.rpartition('/')[2] for question in request.questions)}"
    return f"at rest ({spot.rule.value})" if spot.rule is not None else "at rest"


# --------------------------------------------------------------------------------------------------------- replaying


class ViolationError(CanaryError, AssertionError):
    """A schedule breaks an invariant."""

    def __init__(self, found: BrokenInvariant) -> None:
        self.found = found
        super().__init__(f"{found.name} ({found.text}): {found.found}")


def replay(
    about: Trial,
    *,
    start: int = 1,
    schedule: dict[int, Step] | None = None,
    driver: Driver = cycle,
    tell: Callable[[str], None] = print,
) -> None:
    """Go one way, step by step, and tell each; what is in `schedule` happens at the step of that number.

    Starts: 0 is an empty cluster, 1 is one in which v1 is promoted and idle and v2 has just arrived. Raises Violated
    where an invariant breaks, and at an end that is not as it must be.
    """
    left, met = dict(schedule or {}), list[Node]()
    model, excuse, number = TrialModel(about, driver), Excuse.NONE, 0
    spot = model.starts()[start]
    while model.free(spot) and spot not in met:
        if not left:
            met.append(spot)
        step = left.pop(number, Proceed())
        tell(f"{number:4} {where(spot)}" + ("" if isinstance(step, Proceed) else f"\n     >>> {source(step)}"))
        move = _move(model, spot, step, number)
        if move.found is not None:
            raise ViolationError(move.found)
        spot, excuse, number = move.to, excuse | move.excuse, number + 1
    tell(f"{number:4} {where(spot)}")
    circle = met[met.index(spot) :] if spot in met else []
    rest = next((one for one in circle if one.point is None), spot)
    found = amiss(model, rest, circle, excuse, good_ends(ShortestPaths(explore(about, 0, driver))))
    if found is not None:
        raise ViolationError(found)


def _move(model: TrialModel, spot: Node, step: Step, number: int) -> Move:
    """The move that this step is; steps are compared as they are printed, as NaN is not equal to itself."""
    moves = tuple(model.free(spot) if isinstance(step, FREE) else model.faults(spot))
    for move in moves:
        if source(move.step) == source(step):
            return move
    can = ", ".join(sorted({type(move.step).__name__ for move in moves})) or "nothing of the kind"
    raise ValueError(f"step {number}: found {source(step)}, expected what can happen here: {can} ({where(spot)})")
