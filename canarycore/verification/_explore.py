"""The graph of all schedules with at most so many faults.

A vertex of the graph is a node, the number of faults left, and the excuses so far. The search adds each vertex once and
expands it at once, depth first, so it stores only the nodes that wait for their expansion. The graph stores numbers;
`_paths` finds the node of a vertex again by a shortest path to it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore.verification._model import BrokenInvariant, Node, TrialModel
from canarycore.verification._steps import Excuse, Step

if TYPE_CHECKING:
    from canarycore.verification._fingerprints import Fingerprint

_EXCUSES = 4
_ONE_LEFT, _EXCUSE_MASK = 1 << _EXCUSES, (1 << _EXCUSES) - 1
MOST_FAULTS = 3
"""Most faults of a schedule that the search supports."""


@define
class Graph:
    """The graph: its vertices are numbers, the starts first, and its edges are steps."""

    model: TrialModel
    """The model of the trial."""
    faults: int
    """Most faults of a schedule."""
    keys: array[int] = field(factory=lambda: array("q"))
    """Fingerprint of each vertex."""
    flags: bytearray = field(factory=bytearray)
    """Faults left at each vertex, and the excuses so far."""
    first: array[int] = field(factory=lambda: array("Q"))
    """Index in `edges` of each vertex's first edge."""
    degrees: array[int] = field(factory=lambda: array("H"))
    """Number of each vertex's edges."""
    edges: array[int] = field(factory=lambda: array("I"))
    """Vertices at the ends of all edges."""
    broken: list[tuple[int, Step, BrokenInvariant]] = field(factory=list)
    """Steps that break an invariant, with the vertices before them."""
    silent: dict[int, Node] = field(factory=dict)
    """Nodes at which nothing more happens without an action, by vertex."""

    def left(self, number: int) -> int:
        """Return the number of faults left at a vertex."""
        return self.flags[number] >> _EXCUSES

    def excuse(self, number: int) -> Excuse:
        """Return the excuses of the way to a vertex."""
        return Excuse(self.flags[number] & _EXCUSE_MASK)

    def follows(self, number: int) -> array[int]:
        """Return the vertices after a vertex."""
        begin = self.first[number]
        return self.edges[begin : begin + self.degrees[number]]


Watch = Callable[[int], None]
"""A function that gets the number of vertices so far, after and then."""


def explore(model: TrialModel, faults: int, watch: Watch = lambda _: None) -> Graph:
    """Return the graph of all schedules of a model with at most so many faults. Report progress to `watch`."""
    graph = Graph(model, faults)
    numbers: dict[int, int] = {}
    flags = faults << _EXCUSES
    ahead = [(_add(graph, numbers, key(node.fingerprint, flags), flags), node) for node in graph.model.starts()]
    expanded = 0
    while ahead:
        number, node = ahead.pop()
        _expand(graph, numbers, ahead, number, node)
        expanded += 1
        if not expanded & 0xFFF:
            watch(len(graph.keys))
    watch(len(graph.keys))
    return graph


def key(fingerprint: Fingerprint, flags: int) -> Fingerprint:
    """Return the fingerprint of a vertex: of its node, the faults left and the excuses."""
    return hash((fingerprint, flags))


def _expand(graph: Graph, numbers: dict[int, int], ahead: list[tuple[int, Node]], number: int, node: Node) -> None:
    """Add the vertices after a vertex: those without a fault first."""
    flags, edges = graph.flags[number], graph.edges
    graph.first[number] = len(edges)
    following = [(flags, move) for move in graph.model.free(node)]
    if not following:
        graph.silent[number] = node
    if flags >= _ONE_LEFT:
        following += [(flags - _ONE_LEFT, move) for move in graph.model.faults(node)]
    for left, move in following:
        to, after = move.to, left | move.excuse
        identity = key(to.fingerprint, after)
        child = numbers.get(identity)
        if child is None:
            child = _add(graph, numbers, identity, after)
            ahead.append((child, to))
        edges.append(child)
        if move.found is not None:
            graph.broken.append((number, move.step, move.found))
    graph.degrees[number] = len(following)


def _add(graph: Graph, numbers: dict[int, int], key: int, flags: int) -> int:
    number = numbers[key] = len(graph.keys)
    graph.keys.append(key)
    graph.flags.append(flags)
    graph.first.append(0)
    graph.degrees.append(0)
    return number
