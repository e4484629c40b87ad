"""Whether a rollout ended as it should: what is wrong with a place where it stays for good, or None.

An end is silent (nothing will happen any more) or a circle: a wait that is polled, in which nothing is written and time
passes. Where nothing happened that excuses another end, it is the end without faults (I7); everywhere it is a sound one
(I8): all told, no revision lost, the primary as the status says, traffic on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.driver import Apply, Commit
from canarycore.phases import ALIVE, IDLE, Phase
from canarycore.simulation.invariants import NAMED_WAITS, fingerprint
from canarycore.simulation.state import observe, resized
from canarycore.text import describe_state
from canarycore.verification._model import BrokenInvariant
from canarycore.verification._steps import Excuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from canarycore.verification._explore import Graph
    from canarycore.verification._model import Node, TrialModel
    from canarycore.verification._paths import ShortestPaths

Trace = tuple[object, ...]
"""What ends of one kind have in common."""


End = tuple[int, "Node", "list[Node]"]
"""Where a way without faults ends: the node, the rest there, and the circle that it goes round (empty if silent)."""


def bad_ends(ways: ShortestPaths) -> Iterator[tuple[int, BrokenInvariant]]:
    """Each node where a way without further faults ends as it must not, and what is wrong there."""
    graph = ways.graph
    ends = list(_ends(ways))
    allowed = _without_faults(graph, ends)
    for node, spot, circle in ends:
        found = amiss(graph.model, spot, circle, graph.excuse(node), allowed)
        if found is not None:
            yield node, found


def good_ends(ways: ShortestPaths) -> frozenset[Trace]:
    """How a rollout may end when nothing happens on the way."""
    return _without_faults(ways.graph, list(_ends(ways)))


def _without_faults(graph: Graph, ends: list[End]) -> frozenset[Trace]:
    return frozenset(
        trace(spot, excuse)
        for node, spot, _ in ends
        for excuse in (Excuse.NONE, Excuse.SIZE)
        if graph.left(node) == graph.faults and graph.excuse(node) is Excuse.NONE
    )


def _ends(ways: ShortestPaths) -> Iterator[End]:
    graph = ways.graph
    count = len(graph.keys)
    seen = bytearray(count)
    for start in range(count):
        node, way = start, []
        while not seen[node]:
            seen[node] = 1
            way.append(node)
            if node in graph.silent:
                yield node, graph.silent[node], []
                break
            node = graph.edges[graph.first[node]]
        else:
            if seen[node] == 1 and way:
                circle = way[way.index(node) :]
                spots = list(map(ways.spot, circle))
                rest = next((place for place, spot in enumerate(spots) if spot.point is None), 0)
                yield circle[rest], spots[rest], spots
        for one in way:
            seen[one] = 2


def amiss(
    model: TrialModel, spot: Node, circle: list[Node], excuse: Excuse, allowed: AbstractSet[Trace]
) -> BrokenInvariant | None:
    """What is wrong with an end. `circle`: the spots it goes round, if it is not silent. `allowed`: without faults."""
    found = _turmoil(model, circle) or _unsound(spot, excuse)
    if found is None and excuse in {Excuse.NONE, Excuse.SIZE} and trace(spot, excuse) not in allowed:
        found = "I7", f"it ends in {_words(spot)}, without faults it does not"
    return None if found is None else BrokenInvariant(found[0], _TEXTS[found[0]], found[1])


_TEXTS = {
    "I1": "in the end all traffic is on the primary",
    "I4": "in the end the primary carries what was promoted",
    "I7": "faults that are over leave no trace",
    "I8": "once faults are over it ends, or waits for somebody",
    "I10": "in the end everything has been told",
    "I12": "in the end the canary is down",
    "I14": "no revision is lost",
}


def trace(spot: Node, excuse: Excuse) -> Trace:
    """What the end has in common with the one without faults; pods apart where somebody else decided on them."""
    state = spot.state
    if excuse & Excuse.SIZE and state.target is not None:
        state = state.but(target=resized(state, "target", 0).target)
    return excuse, fingerprint(state)


def _turmoil(model: TrialModel, circle: list[Node]) -> tuple[str, str] | None:
    for spot in circle:
        if spot.point is not None and isinstance(spot.point.request, Commit | Apply):
            return "I8", f"it goes round for ever, writing {spot.point.request}"
    if circle and not any(spot.point is None and model.due(spot) > spot.state.now for spot in circle):
        return "I8", "it goes round for ever at one moment"
    return None


def _unsound(spot: Node, excuse: Excuse) -> tuple[str, str] | None:
    state, status, rule = spot.state, spot.state.status, spot.rule
    untold = [notice for notice in status.outbox if notice.key not in spot.told]
    if untold:
        return "I10", f"{untold[0].text!r} was never told"
    if status.phase not in ALIVE:
        return None if status.phase is Phase.TERMINATED else ("I8", f"it stays in {status.phase.value}")
    if rule in NAMED_WAITS:
        waits = excuse & Excuse.WAIT or state.rollout.suspend
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
    if target is not None and target.desired and not excuse & (Excuse.SIZE | Excuse.OTHER | Excuse.WAIT):
        return "I12", f"the target keeps running in {status.phase.value}"
    return None


def _words(spot: Node) -> str:
    state, status = spot.state, spot.state.status
    primary = "no primary" if state.primary is None else f"primary at {state.primary.revision}"
    position = describe_state(status.phase.value, str(status.rung), reason=status.reason.value, revision=status.applied)
    return f"{position}, {primary}, {state.routes}"
