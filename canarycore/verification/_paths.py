"""Ways through a graph: a shortest one to each node, the spots on it, and how many there are in all."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore.verification._explore import Graph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore.verification._model import Move, Node
    from canarycore.verification._steps import Step

_NOWHERE, _START = -2, -1


@define
class ShortestPaths:
    """Shortest ways from a start. `parents`: the node before each. `depths`: how many steps it takes to each."""

    graph: Graph
    parents: array[int] = field(init=False)
    depths: array[int] = field(init=False)
    _spots: dict[int, Node] = field(factory=dict, init=False)

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
            step = next(move.step for child, move in self._moves(parent, node) if child == node)
            way.append((parent, step))
            node = parent
        return way[::-1]

    def spot(self, node: int) -> Node:
        """Where this node is: found by going there from the nearest spot that is still known."""
        spots, way = self._spots, [node]
        while way[-1] not in spots and self.parents[way[-1]] != _START:
            way.append(self.parents[way[-1]])
        if way[-1] not in spots:
            spots.update(enumerate(self.graph.model.starts()))
        while len(way) > 1:
            parent = way.pop()
            for child, move in self._moves(parent, way[-1]):
                spots[child] = move.to
                if child == way[-1]:
                    break
        found = spots[node]
        if len(spots) > _MOST_SPOTS:
            spots.clear()
        return found

    def _moves(self, parent: int, child: int) -> Iterator[tuple[int, Move]]:
        """What follows a node, free or not as this child is."""
        graph, spot = self.graph, self.spot(parent)
        free, follows = graph.model.free(spot), graph.follows(parent)
        if graph.left(parent) == graph.left(child):
            return zip(follows, free, strict=False)
        return zip(follows[len(free) :], graph.model.faults(spot), strict=False)


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
