"""The graph of everything that can happen with so many faults.

A node is a spot, the faults that are left, and the excuses so far. Each is met once, whatever led there, and gone on
from at once: so the search goes deep first, and of the spots only those are kept that it has yet to go on from. What
stays of a node are numbers; its spot is found again by a shortest way to it (`_ways`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore.verification._model import BrokenInvariant, Node, TrialModel
from canarycore.verification._steps import Excuse, Step

if TYPE_CHECKING:
    from canarycore.simulation.driver import Driver
    from canarycore.verification._fingerprints import Fingerprint
    from canarycore.verification._situations import Trial

_EXCUSES = 4
_ONE_LEFT, _EXCUSE_MASK = 1 << _EXCUSES, (1 << _EXCUSES) - 1
MOST_FAULTS = 3


@define
class Graph:
    """Nodes by number; the starts are the first. What follows node n: `degrees[n]` edges, from `first[n]` on.

    keys: what tells each node from all others. kept: the faults left there, and the excuses. silent: nodes at which
    nothing more happens by itself. broken: writes that must not be.
    """

    model: TrialModel
    faults: int
    keys: array[int] = field(factory=lambda: array("q"))
    kept: bytearray = field(factory=bytearray)
    first: array[int] = field(factory=lambda: array("Q"))
    degrees: array[int] = field(factory=lambda: array("H"))
    edges: array[int] = field(factory=lambda: array("I"))
    broken: list[tuple[int, Step, BrokenInvariant]] = field(factory=list)
    silent: dict[int, Node] = field(factory=dict)

    def left(self, node: int) -> int:
        return self.kept[node] >> _EXCUSES

    def excuse(self, node: int) -> Excuse:
        return Excuse(self.kept[node] & _EXCUSE_MASK)

    def follows(self, node: int) -> array[int]:
        begin = self.first[node]
        return self.edges[begin : begin + self.degrees[node]]


Watch = Callable[[int], None]


def explore(trial: Trial, faults: int, driver: Driver, watch: Watch = lambda _: None) -> Graph:
    """Everything that can happen with at most so many faults. `watch` is told how many nodes were met, now and then."""
    graph = Graph(TrialModel(trial, driver), faults)
    met: dict[int, int] = {}
    kept = faults << _EXCUSES
    ahead = [(_meet(graph, met, key(spot.mark, kept), kept), spot) for spot in graph.model.starts()]
    gone = 0
    while ahead:
        node, spot = ahead.pop()
        _expand(graph, met, ahead, node, spot)
        gone += 1
        if not gone & 0xFFF:
            watch(len(graph.keys))
    watch(len(graph.keys))
    return graph


def key(mark: Fingerprint, kept: int) -> Fingerprint:
    """What tells a node from all others: its spot, the faults left and the excuses."""
    return hash((mark, kept))


def _expand(graph: Graph, met: dict[int, int], ahead: list[tuple[int, Node]], node: int, spot: Node) -> None:
    """Meet everything that follows a node: what happens without a fault first."""
    kept, edges = graph.kept[node], graph.edges
    graph.first[node] = len(edges)
    following = [(kept, move) for move in graph.model.free(spot)]
    if not following:
        graph.silent[node] = spot
    if kept >= _ONE_LEFT:
        following += [(kept - _ONE_LEFT, move) for move in graph.model.faults(spot)]
    for left, move in following:
        to, now = move.to, left | move.excuse
        known = key(to.mark, now)
        child = met.get(known)
        if child is None:
            child = _meet(graph, met, known, now)
            ahead.append((child, to))
        edges.append(child)
        if move.found is not None:
            graph.broken.append((node, move.step, move.found))
    graph.degrees[node] = len(following)


def _meet(graph: Graph, met: dict[int, int], key: int, kept: int) -> int:
    number = met[key] = len(graph.keys)
    graph.keys.append(key)
    graph.kept.append(kept)
    graph.first.append(0)
    graph.degrees.append(0)
    return number
