"""Ways through a graph: a shortest one to each node, the spots on it, and how many there are in all."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore.testing.verify._explore import Graph, key

if TYPE_CHECKING:
    from canarycore.testing.verify._model import Move, Spot
    from canarycore.testing.verify._steps import Step

_NOWHERE, _START = -2, -1


@define
class Ways:
    """Shortest ways from a start. `parents`: the node before each. `depths`: how many steps it takes to each."""

    graph: Graph
    parents: array[int] = field(init=False)
    depths: array[int] = field(init=False)
    _spots: dict[int, Spot] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        graph, count = self.graph, len(self.graph.keys)
        parents, depths = array("i", [_NOWHERE]) * count, array("I", [0]) * count
        ahead = array("I", range(len(graph.model.trial.starts)))
        for start in ahead:
            parents[start] = _START
        for node in ahead:
            deeper = depths[node] + 1
            for to in graph.follows(node):
                if parents[to] == _NOWHERE:
                    parents[to], depths[to] = node, deeper
                    ahead.append(to)
        self.parents, self.depths = parents, depths

    def to(self, node: int) -> list[tuple[int, Step]]:
        """A shortest way from a start: each node and the step taken there."""
        way: list[tuple[int, Step]] = []
        while (parent := self.parents[node]) != _START:
            way.append((parent, self._move(parent, node).step))
            node = parent
        return way[::-1]

    def spot(self, node: int) -> Spot:
        """Where this node is: found by going there from the nearest spot that is still known."""
        way = []
        while node not in self._spots:
            if self.parents[node] == _START:
                self._spots[node] = self.graph.model.starts()[node]
                break
            way.append(node)
            node = self.parents[node]
        while way:
            child = way.pop()
            spot = self._move(node, child).to
            if len(self._spots) == _MOST_SPOTS:
                self._spots.clear()
            self._spots[child], node = spot, child
        return self._spots[node]

    def _move(self, parent: int, child: int) -> Move:
        graph, spot = self.graph, self.spot(parent)
        free = graph.left(parent) == graph.left(child)
        for move in graph.model.free(spot) if free else graph.model.faults(spot):
            if key(move.to.mark, graph.kept[child]) == graph.keys[child]:
                return move
        raise AssertionError("an edge has a move")


_MOST_SPOTS = 100_000
"""Spots that are kept at a time: ways to neighbours are nearly the same."""


def schedules(graph: Graph) -> int:
    """How many ways there are from a start to an end with exactly as many faults as were allowed.

    Ways that wait in a circle are counted once, without going round.
    """
    count = len(graph.keys)
    ways: list[int | None] = [None] * count
    under_way = bytearray(count)
    starts = range(len(graph.model.trial.starts))
    for start in starts:
        stack = [start]
        while stack:
            node = stack[-1]
            if ways[node] is not None:
                stack.pop()
                continue
            following = graph.follows(node)
            if not under_way[node]:
                under_way[node] = 1
                stack.extend([to for to in following if ways[to] is None and not under_way[to]])
                continue
            stack.pop()
            total = sum([ways[to] or 0 for to in following])
            ways[node] = total if total or graph.left(node) else 1
    return sum(ways[start] or 0 for start in starts)
