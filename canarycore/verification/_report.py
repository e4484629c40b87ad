"""The report of a verification, and the replay of a violation as a program."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, get_args

from attrs import field, frozen

from canarycore._fields import describe_value
from canarycore._goal import describe_split
from canarycore.driver import Apply, Commit, Fetch, Publish, cycle
from canarycore.errors import CanaryError
from canarycore.policy import Scenario
from canarycore.simulation._program import source, with_imports
from canarycore.simulation.actions import Action
from canarycore.simulation.promises import demand_no_pods
from canarycore.text import describe_state
from canarycore.verification._ends import check_end, collect_good_ends, find_bad_ends
from canarycore.verification._explore import MOST_FAULTS, explore
from canarycore.verification._model import BrokenInvariant, Move, Node, PromiseModel, TrialModel
from canarycore.verification._paths import ShortestPaths, count_schedules
from canarycore.verification._situations import Trial, trial, trial_as_written
from canarycore.verification._steps import FREE, Excuse, Proceed, Step

if TYPE_CHECKING:
    from canarycore._spec import Rollout
    from canarycore.simulation.driver import Driver
    from canarycore.simulation.promises import Promise
    from canarycore.verification._explore import Watch

Path = list[tuple[Node, Step]]

HORIZON = 3600.0
"""The longest time of a rollout that promises see by default (seconds)."""

LEAVABLE: frozenset[type] = frozenset({*get_args(Step), *get_args(Action)}) - frozenset(FREE)
"""Types of faults and of actions of others that `without` may name."""


@frozen
class Violation:
    """A shortest schedule that breaks an invariant or a promise."""

    name: str
    """I1 to I19, "table" or "promise"."""
    text: str
    """The invariant or the promise as a sentence."""
    found: str
    """The way in which it is broken."""
    faults: tuple[Step, ...]
    """The faults of the schedule, in order."""
    script: str = field(repr=False)
    """A Python program that replays the schedule step by step."""

    def __str__(self) -> str:
        return f"{self.name} ({self.text}): {self.found}"


@frozen(kw_only=True)
class VerificationReport:
    """The size and the violations of a verification."""

    trial: Trial
    """The trial."""
    faults: int
    """Most faults of a schedule."""
    states: int
    """Number of the graph's vertices."""
    transitions: int
    """Number of the graph's edges."""
    schedules: int
    """Number of paths from a start to an end with exactly `faults` faults."""
    violations: tuple[Violation, ...] = ()
    """A violation for each invariant and set of kinds of faults that break it."""
    seconds: float = 0.0
    """Duration by the clock of `verify`."""

    @property
    def strategy(self) -> str:
        """The strategy of the trial."""
        return self.trial.strategy

    @property
    def situation(self) -> str:
        """The situation of the trial."""
        return self.trial.situation

    @property
    def rate(self) -> float:
        """Transitions a second; 0 without a clock."""
        return self.transitions / self.seconds if self.seconds else 0.0


def verify(
    rollout: Rollout | Trial,
    faults: int = 1,
    *,
    driver: Driver = cycle,
    promises: Iterable[Promise] = (),
    scenario: Scenario | None = None,
    without: Iterable[type] = (),
    horizon: float = HORIZON,
    watch: Watch = lambda _: None,
    clock: Callable[[], float] = lambda: 0.0,
) -> VerificationReport:
    """Explore all schedules of a policy with at most so many faults (0 to 3), and check the invariants.

    driver: the loop under test. promises: invariants of your own; with them a rollout keeps its waits and counts as
    written. scenario: the error rates and the traffic that the promises see; a success rate, or a response time with a
    P99 in the scenario, then has its value in each answer. without: types of faults (`Crash`) and of actions of others
    (`SendCommand`) to leave out. horizon: the longest time of a rollout that promises see (seconds); a longer one
    counts as infinite. watch: a function that gets the number of states so far, now and then. clock: a function that
    returns seconds, for the report. Raise ValueError for another number of faults, and for a type of `without` that no
    schedule has.
    """
    if not 0 <= faults <= MOST_FAULTS:
        raise ValueError(f"faults: found {faults}, expected 0 to {MOST_FAULTS}")
    promises = tuple(promises)
    chosen = rollout if isinstance(rollout, Trial) else (trial_as_written if promises else trial)(rollout)
    model = make_model(chosen, driver, promises, scenario, without, horizon)
    began = clock()
    with _garbage_collector_disabled():
        graph = explore(model, faults, watch)
        violations = tuple(_violations(ShortestPaths(graph)))
        count = count_schedules(graph)
    return VerificationReport(
        trial=chosen,
        faults=faults,
        states=len(graph.keys),
        transitions=len(graph.edges),
        violations=violations,
        schedules=count,
        seconds=clock() - began,
    )


def make_model(
    about: Trial,
    driver: Driver,
    promises: Iterable[Promise] = (),
    scenario: Scenario | None = None,
    without: Iterable[type] = (),
    horizon: float = HORIZON,
) -> TrialModel:
    """Return the model of a trial; only one with promises or a scenario counts time and requests.

    Raise ValueError for a type of `without` that no schedule has.
    """
    types = frozenset(without)
    for unknown in types - LEAVABLE:
        names = ", ".join(sorted(kind.__name__ for kind in LEAVABLE))
        raise ValueError(f"without: found {describe_value(unknown)}, expected types among {names}")
    promises = tuple(promises)
    if not promises and scenario is None:
        return TrialModel(about, driver, without=types)
    if scenario is not None:
        demand_no_pods(scenario)
    return PromiseModel(
        about, driver, without=types, scenario=scenario or Scenario(), promises=promises, horizon=horizon
    )


@contextmanager
def _garbage_collector_disabled() -> Iterator[None]:
    """Disable the garbage collector: the search makes hardly any reference cycles, and saves a tenth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _violations(paths: ShortestPaths) -> Iterator[Violation]:
    """Return a shortest schedule for each invariant, and a further one only for other kinds of faults."""
    graph = paths.graph
    broken: list[tuple[int, Step | None, BrokenInvariant]] = [
        (number, step, found) for number, step, found in graph.broken
    ]
    broken += [(number, None, found) for number, found in find_bad_ends(paths)]
    known: dict[tuple[str, str], list[set[type[Step]]]] = {}
    for number, last, found in sorted(broken, key=lambda entry: (-graph.left(entry[0]), paths.depths[entry[0]])):
        others = known.setdefault((found.name, found.text), [])
        if set() in others:
            continue
        steps = paths.path_to(number)
        path = [(paths.node(vertex), step) for vertex, step in steps]
        if last is not None:
            path.append((paths.node(number), last))
        faults = tuple(step for _, step in path if not isinstance(step, FREE))
        kinds = set(map(type, faults))
        if not any(other <= kinds for other in others):
            others.append(kinds)
            start = steps[0][0] if steps else number
            yield Violation(found.name, found.text, found.found, faults, _script(graph.model, start, path))


# ------------------------------------------------------------------------------------------------------ the program


def _script(model: TrialModel, start: int, path: Path) -> str:
    """Return the schedule as a program: each step but `Proceed` by its number, with its node in a comment."""
    lines = ["replay(", f"    {source(model.trial)},", f"    start={start},"]
    promises: tuple[Promise, ...] = ()
    if isinstance(model, PromiseModel):
        promises = model.promises
        lines += [f"    promises={source(promises)},", f"    scenario={source(model.scenario)},"]
        lines += [f"    horizon={model.horizon!r},"] if model.horizon != HORIZON else []
    lines.append("    schedule={")
    for number, (node, step) in enumerate(path):
        if not isinstance(step, Proceed):
            lines += [f"        # {describe_node(node)}", f"        {number}: {source(step)},"]
    return with_imports("\n".join([*lines, "    },", ")"]), promises)


def describe_node(node: Node) -> str:
    """Describe a node: the cluster, and the controller's next request."""
    state, status = node.state, node.state.status
    sides = [
        f"{name} {pods.revision} x{pods.desired}"
        for name, pods in (("target", state.target), ("primary", state.primary))
        if pods is not None
    ]
    routes = "no routes" if state.routes is None else f"routes {describe_split(state.routes)}"
    position = describe_state(status.phase.value, str(status.rung), revision=status.applied or "nothing")
    return f"t={state.now:g} {position}; {', '.join([*sides, routes])}; {_about_to(node)}"


def _about_to(node: Node) -> str:
    request = None if node.point is None else node.point.request
    if isinstance(request, Commit):
        status = request.status
        return f"about to commit {describe_state(status.phase.value, str(status.rung), revision=status.applied)}"
    if isinstance(request, Apply):
        return f"about to do {source(request.effect)}"
    if isinstance(request, Publish):
        return f"about to publish {request.notice.text!r}"
    if isinstance(request, Fetch):
        return f"about to ask {', '.join(question.key.rpartition('/')[2] for question in request.questions)}"
    return f"at rest ({node.rule.value})" if node.rule is not None else "at rest"


# --------------------------------------------------------------------------------------------------------- replaying


class ViolationError(CanaryError, AssertionError):
    """A replayed schedule breaks an invariant or a promise."""

    def __init__(self, found: BrokenInvariant) -> None:
        self.found = found
        super().__init__(f"{found.name} ({found.text}): {found.found}")


def replay(
    about: Trial,
    *,
    start: int = 1,
    schedule: dict[int, Step] | None = None,
    driver: Driver = cycle,
    promises: Iterable[Promise] = (),
    scenario: Scenario | None = None,
    horizon: float = HORIZON,
    report: Callable[[str], None] = print,
) -> None:
    """Replay one schedule step by step, and report each step.

    start: 0 is an empty cluster, 1 a cluster in which v1 is promoted and idle and v2 has just arrived. schedule: steps
    other than `Proceed` by their numbers. promises, scenario, horizon: as in `verify`. report: a function that gets the
    description of each step. Raise ViolationError where a write or the end breaks an invariant, or a step a promise.
    """
    left, passed = dict(schedule or {}), list[Node]()
    model, excuse, number = make_model(about, driver, promises, scenario, horizon=horizon), Excuse.NONE, 0
    node = model.starts()[start]
    while model.free(node) and node not in passed:
        if not left:
            passed.append(node)
        step = left.pop(number, Proceed())
        report(
            f"{number:4} {describe_node(node)}" + ("" if isinstance(step, Proceed) else f"\n     >>> {source(step)}")
        )
        move = _move(model, node, step, number)
        if move.found is not None:
            raise ViolationError(move.found)
        node, excuse, number = move.to, excuse | move.excuse, number + 1
    report(f"{number:4} {describe_node(node)}")
    loop = passed[passed.index(node) :] if node in passed else []
    rest = next((resting for resting in loop if resting.point is None), node)
    found = check_end(model, rest, loop, excuse, collect_good_ends(ShortestPaths(explore(model, 0))))
    if found is not None:
        raise ViolationError(found)


def _move(model: TrialModel, node: Node, step: Step, number: int) -> Move:
    """Return the move by this step. Compare steps by their source text, as NaN does not equal itself.

    Where a scenario gives bad answers only, the first of them stands for `Proceed`.
    """
    moves = tuple(model.free(node) if isinstance(step, FREE) else model.faults(node))
    if isinstance(step, Proceed):
        return moves[0]
    for move in moves:
        if source(move.step) == source(step):
            return move
    possible = ", ".join(sorted({type(move.step).__name__ for move in moves})) or "none"
    raise ValueError(f"step {number}: found {source(step)}, expected one of {possible} ({describe_node(node)})")
