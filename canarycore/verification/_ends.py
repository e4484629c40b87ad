"""Checks of the ends of a rollout, where it stays for good.

An end is silent (nothing happens any more) or a loop: a wait that the controller polls, in which time passes and the
controller writes nothing. An end must be the one without faults (I7), unless a step excuses another one. It must always
be sound (I8): all notices published, no revision lost, the status's revision on the primary, and traffic on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.driver import Apply, Commit
from canarycore.phases import ALIVE, IDLE, CutShort, Phase, Rule
from canarycore.simulation.invariants import NAMED_WAITS, fingerprint
from canarycore.simulation.state import observe, resized
from canarycore.text import describe_state
from canarycore.verification._model import BrokenInvariant
from canarycore.verification._steps import Excuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from canarycore._spec import Rollout
    from canarycore.verification._explore import Graph
    from canarycore.verification._model import Node, TrialModel
    from canarycore.verification._paths import ShortestPaths

EndTraits = tuple[object, ...]
"""The traits that ends of one kind share."""


End = tuple[int, "Node", "list[Node]"]
"""An end of a path without faults: the vertex, its node at rest, and the nodes of the loop (none if silent)."""


def find_bad_ends(paths: ShortestPaths) -> Iterator[tuple[int, BrokenInvariant]]:
    """Return each vertex where a path without further faults has a bad end, with the broken invariant."""
    graph = paths.graph
    ends = list(_ends(paths))
    allowed = _without_faults(graph, ends)
    for number, node, loop in ends:
        broken = check_end(graph.model, node, loop, graph.excuse(number), allowed)
        if broken is not None:
            yield number, broken


def collect_good_ends(paths: ShortestPaths) -> frozenset[EndTraits]:
    """Return the traits of the ends without faults and actions."""
    return _without_faults(paths.graph, list(_ends(paths)))


def _without_faults(graph: Graph, ends: list[End]) -> frozenset[EndTraits]:
    return frozenset(
        end_traits(node, excuse)
        for number, node, _ in ends
        for excuse in (Excuse.NONE, Excuse.SIZE)
        if graph.left(number) == graph.faults and graph.excuse(number) is Excuse.NONE
    )


def _ends(paths: ShortestPaths) -> Iterator[End]:
    graph = paths.graph
    count = len(graph.keys)
    visited = bytearray(count)
    for start in range(count):
        number, path = start, []
        while not visited[number]:
            visited[number] = 1
            path.append(number)
            if number in graph.silent:
                yield number, graph.silent[number], []
                break
            number = graph.edges[graph.first[number]]
        else:
            if visited[number] == 1 and path:
                loop = path[path.index(number) :]
                nodes = list(map(paths.node, loop))
                rest = next((index for index, node in enumerate(nodes) if node.point is None), 0)
                yield loop[rest], nodes[rest], nodes
        for passed in path:
            visited[passed] = 2


def check_end(
    model: TrialModel, node: Node, loop: list[Node], excuse: Excuse, allowed: AbstractSet[EndTraits]
) -> BrokenInvariant | None:
    """Return the invariant that an end breaks, or None.

    loop: the nodes of the loop; empty for a silent end. allowed: traits of the ends without faults.
    """
    broken = _check_loop(model, loop) or _check_soundness(node, excuse)
    if broken is None and excuse in {Excuse.NONE, Excuse.SIZE} and end_traits(node, excuse) not in allowed:
        broken = "I7", f"it ends in {_describe(node)}, which is no end without faults"
    return None if broken is None else BrokenInvariant(broken[0], _TEXTS[broken[0]], broken[1])


_TEXTS = {
    "I1": "in the end all traffic is on the primary",
    "I4": "in the end the primary carries what was promoted",
    "I7": "faults that are over leave no end_traits",
    "I8": "once faults are over it ends, or waits for an action of others",
    "I10": "in the end all notices are published",
    "I12": "in the end the canary is down",
    "I14": "no revision is lost",
    "I18": "a gradual return ends, and traffic and capacity never wait for each other",
    "I16": "in the end no former routes are left",
}


def end_traits(node: Node, excuse: Excuse) -> EndTraits:
    """Return the traits of an end, without the number of pods where the excuse allows another one."""
    state = node.state
    if excuse & Excuse.SIZE and state.target is not None:
        state = state.but(target=resized(state, "target", 0).target)
    return excuse, fingerprint(state)


def _check_loop(model: TrialModel, loop: list[Node]) -> tuple[str, str] | None:
    for node in loop:
        refused = node.state.claimed  # an effect that is refused writes nothing
        if node.point is not None and isinstance(node.point.request, Commit | Apply) and not refused:
            return "I8", f"it loops for ever and writes {node.point.request}"
    if loop and not any(node.point is None and model.due(node) > node.state.now for node in loop):
        return "I8", "it loops for ever at one time"
    return None


def _check_soundness(node: Node, excuse: Excuse) -> tuple[str, str] | None:
    state, status, rule = node.state, node.state.status, node.rule
    unpublished = [notice for notice in status.outbox if notice.key not in node.published]
    if unpublished:
        return "I10", f"{unpublished[0].text!r} was never published"
    if status.returning and not state.rollout.suspend:
        return "I18", f"{status.rung.percent:g}% of the requests never go back to the primary, by {rule}"
    if status.cut_short is CutShort.DEADLINE and not excuse & (Excuse.WAIT | Excuse.OTHER) and _is_ample(state.rollout):
        return "I18", "its deadline passed, though nothing held the traffic back"
    if status.phase not in ALIVE:
        return None if status.phase is Phase.TERMINATED else ("I8", f"it stays in {status.phase.value}")
    if rule in NAMED_WAITS:
        is_for_a_human = state.rollout.suspend or rule is Rule.UNAPPROVED or status.is_frozen
        waits = excuse & Excuse.WAIT or is_for_a_human
        return None if waits else ("I8", f"it waits for ever in {status.phase.value}: {rule.value}")
    if status.phase not in IDLE or not status.is_settled:
        return "I8", f"it rests in {status.phase.value}, pending {status.pending}, by {rule}"
    view = observe(state)
    target, primary = view.target, view.primary
    if target is not None and target.revision != status.applied:
        return "I14", f"revision {target.revision} is lost in {status.phase.value} of {status.applied}"
    if status.phase is Phase.FAILED and not excuse & Excuse.FAIL:
        return "I7", f"it was rolled back ({status.reason.value}), though nothing calls for it"
    restorable = status.phase is not Phase.FAILED or not excuse & Excuse.WAIT
    if restorable and (primary is None or primary.revision != status.promoted):
        return "I4", f"the primary carries {primary}, promoted is {status.promoted}"
    if status.phase is not Phase.FAILED and status.promoted != status.applied:
        return "I4", f"{status.applied} ended as {status.phase.value}, promoted is {status.promoted}"
    if (view.routes is None or view.routes.is_exposed) and primary is not None and primary.ready:
        return "I1", f"routes stay at {view.routes} in {status.phase.value}"
    if state.former is not None:
        return "I16", f"the former routes {state.former.routes} are never taken back in {status.phase.value}"
    is_up = target is not None and target.is_scaled_up
    if is_up and not excuse & (Excuse.SIZE | Excuse.OTHER | Excuse.WAIT):
        return "I12", f"the target keeps running in {status.phase.value}"
    return None


def _is_ample(rollout: Rollout) -> bool:
    """Whether the deadline of a gradual return is longer than its steps and all late timers of a schedule."""
    policy = rollout.gradual_return
    if policy is None:
        return False
    steps = -(-rollout.ladder.total // policy.step) * policy.interval
    return rollout.longest_return > steps + _MOST_LATE * rollout.interval


_MOST_LATE = 10
"""Most intervals by which three faults delay a rollout."""


def _describe(node: Node) -> str:
    state, status = node.state, node.state.status
    primary = "no primary" if state.primary is None else f"primary at {state.primary.revision}"
    position = describe_state(status.phase.value, str(status.rung), reason=status.reason.value, revision=status.applied)
    return f"{position}, {primary}, {state.routes}"
