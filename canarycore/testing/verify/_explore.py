"""The graph of everything that can happen with so many faults, searched breadth first.

A node is a spot, the faults that are left, and the excuses so far. Each is met once, whatever led there; the first way
to it is a shortest one. After the search every node knows where the fault-free way from it ends (I7, I8), and how many
schedules go through it.
"""

from __future__ import annotations

import gc
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore.testing.verify._ends import Trace, amiss, trace
from canarycore.testing.verify._model import Found, Model, Spot
from canarycore.testing.verify._steps import FREE, Excuse, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore.testing._driver import Driver
    from canarycore.testing.verify._model import Move
    from canarycore.testing.verify._situations import Trial

_EXCUSES, _LEFT = 4, 2
_SHIFT, _ONE_LEFT, _KEPT = _EXCUSES + _LEFT, 1 << _EXCUSES, (1 << (_EXCUSES + _LEFT)) - 1
_EXCUSE_MASK, _LEFT_MASK = (1 << _EXCUSES) - 1, (1 << _LEFT) - 1
MOST_FAULTS = _LEFT_MASK


@define
class Graph:
    """Nodes by number, in the order they were met. `edges[first[n]:first[n + 1]]` are what follows node n.

    silent: nodes at which nothing more happens by itself.
    """

    model: Model
    faults: int
    keys: array[int] = field(factory=lambda: array("q"))
    parents: array[int] = field(factory=lambda: array("q"))
    edges: array[int] = field(factory=lambda: array("q"))
    first: array[int] = field(factory=lambda: array("q", [0]))
    broken: list[tuple[int, Step, Spot, Found]] = field(factory=list)
    silent: set[int] = field(factory=set)

    def spot(self, node: int) -> Spot:
        return self.model.spots[self.keys[node] >> _SHIFT]

    def left(self, node: int) -> int:
        return (self.keys[node] >> _EXCUSES) & _LEFT_MASK

    def excuse(self, node: int) -> Excuse:
        return Excuse(self.keys[node] & _EXCUSE_MASK)

    def follows(self, node: int) -> array[int]:
        return self.edges[self.first[node] : self.first[node + 1]]


Watch = Callable[[int], None]


def explore(trial: Trial, faults: int, driver: Driver, watch: Watch = lambda _: None) -> Graph:
    """Everything that can happen with at most so many faults. `watch` is told how many nodes were met, now and then."""
    graph = Graph(Model(trial, driver), faults)
    met: dict[int, int] = {}
    for spot in graph.model.starts():
        _meet(graph, met, spot.number << _SHIFT | faults << _EXCUSES, parent=-1)
    ways = Ways()
    collecting = gc.isenabled()
    gc.disable()  # nothing made here is garbage before the end
    try:
        for node, key in enumerate(graph.keys):
            _expand(graph, met, ways, node, key)
            if not node & 0xFFF:
                watch(node)
    finally:
        if collecting:
            gc.enable()
    watch(len(graph.keys))
    return graph


@define
class Ways:
    """What follows each spot, as parts of keys: worked out once for all nodes there. Both go by the spot's number."""

    free: dict[int, Parts] = field(factory=dict)
    faulty: dict[int, Parts] = field(factory=dict)


Parts = tuple[tuple[int, int], ...]
"""For each move, what is added to a key and what is joined with it."""


def _expand(graph: Graph, met: dict[int, int], ways: Ways, node: int, key: int) -> None:
    """Meet everything that follows a node: what happens without a fault first."""
    number, kept = key >> _SHIFT, key & _KEPT
    following = ways.free.get(number)
    if following is None:
        following = ways.free[number] = _parts(graph, node, graph.model.free(graph.model.spots[number]), 0)
    if not following:
        graph.silent.add(node)
    if kept >= _ONE_LEFT:
        faulty = ways.faulty.get(number)
        if faulty is None:
            moves = graph.model.faults(graph.model.spots[number])
            faulty = ways.faulty[number] = _parts(graph, node, moves, _ONE_LEFT)
        following += faulty
    edges = graph.edges
    for to, excuse in following:
        child = to + kept | excuse
        known = met.get(child)
        edges.append(_meet(graph, met, child, node) if known is None else known)
    graph.first.append(len(edges))


def _parts(graph: Graph, node: int, moves: tuple[Move, ...], cost: int) -> Parts:
    graph.broken += [(node, move.step, move.to, move.found) for move in moves if move.found is not None]
    return tuple([((move.to.number << _SHIFT) - cost, int(move.excuse)) for move in moves])


def _meet(graph: Graph, met: dict[int, int], key: int, parent: int) -> int:
    number = met[key] = len(graph.keys)
    graph.keys.append(key)
    graph.parents.append(parent)
    return number


# ------------------------------------------------------------------------------------------------------- the ends


def bad_ends(graph: Graph) -> Iterator[tuple[int, Found]]:
    """Each node where a way without further faults ends as it must not, and what is wrong there."""
    ends = list(_ends(graph))
    allowed = _without_faults(graph, ends)
    for node, circle in ends:
        found = amiss(graph.model, graph.spot(node), list(map(graph.spot, circle)), graph.excuse(node), allowed)
        if found is not None:
            yield node, found


def good_ends(graph: Graph) -> frozenset[Trace]:
    """How a rollout may end when nothing happens on the way."""
    return _without_faults(graph, list(_ends(graph)))


def _without_faults(graph: Graph, ends: list[tuple[int, list[int]]]) -> frozenset[Trace]:
    return frozenset(
        trace(graph.spot(node), excuse)
        for node, _ in ends
        for excuse in (Excuse.NONE, Excuse.SIZE)
        if graph.left(node) == graph.faults and graph.excuse(node) is Excuse.NONE
    )


def _ends(graph: Graph) -> Iterator[tuple[int, list[int]]]:
    """Where the ways without faults end: a node at rest, and the circle it is in if it never is silent."""
    count = len(graph.keys)
    seen = bytearray(count)
    for start in range(count):
        node, way = start, []
        while not seen[node]:
            seen[node] = 1
            way.append(node)
            if node in graph.silent:
                yield node, []
                break
            node = graph.edges[graph.first[node]]
        else:
            if seen[node] == 1 and way and node in way:
                circle = way[way.index(node) :]
                yield next((one for one in circle if graph.spot(one).point is None), node), circle
        for one in way:
            seen[one] = 2


# ------------------------------------------------------------------------------------------------------ schedules


def schedules(graph: Graph) -> int:
    """How many ways there are from a start to an end with exactly as many faults as were allowed.

    Ways that wait in a circle are counted once, without going round.
    """
    count = len(graph.keys)
    ways: list[int | None] = [None] * count
    under_way = bytearray(count)
    for start in range(len(graph.model.trial.starts)):
        stack = [start]
        while stack:
            node = stack[-1]
            if ways[node] is not None:
                stack.pop()
                continue
            following = graph.follows(node)
            if not under_way[node]:
                under_way[node] = 1
                stack.extend(to for to in following if ways[to] is None and not under_way[to])
                continue
            stack.pop()
            total = sum(ways[to] or 0 for to in following)
            ways[node] = total if total or graph.left(node) else 1
    return sum(ways[start] or 0 for start in range(len(graph.model.trial.starts)))


# ------------------------------------------------------------------------------------------------------- the way


def way_to(graph: Graph, node: int) -> list[tuple[int, Step]]:
    """A shortest way from a start: each node and the step taken there."""
    way: list[tuple[int, Step]] = []
    while graph.parents[node] >= 0:
        parent = graph.parents[node]
        way.append((parent, _step(graph, parent, node)))
        node = graph.parents[node]
    return way[::-1]


def _step(graph: Graph, parent: int, child: int) -> Step:
    spot = graph.spot(parent)
    for move in (*graph.model.free(spot), *graph.model.faults(spot)):
        cost = 0 if isinstance(move.step, FREE) else 1
        key = move.to.number << _SHIFT | (graph.left(parent) - cost) << _EXCUSES
        if key | int(graph.excuse(parent) | move.excuse) == graph.keys[child]:
            return move.step
    raise AssertionError("an edge has a move")
