"""Paths through a graph: a shortest one to each vertex, the nodes on it, and the number of all paths."""

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
    """The shortest paths from a start to each vertex."""

    graph: Graph
    """The graph."""
    parents: array[int] = field(init=False)
    """The vertex before each vertex."""
    depths: array[int] = field(init=False)
    """Number of steps to each vertex."""
    _nodes: dict[int, Node] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        graph, count = self.graph, len(self.graph.keys)
        parents, depths = array("i", [_NOWHERE]) * count, array("I", [0]) * count
        ahead = array("I", range(len(graph.model.trial.starts)))
        for start in ahead:
            parents[start] = _START
        for number in ahead:
            deeper = depths[number] + 1
            for to in graph.follows(number):
                if parents[to] == _NOWHERE:
                    parents[to], depths[to] = number, deeper
                    ahead.append(to)
        self.parents, self.depths = parents, depths

    def path_to(self, number: int) -> list[tuple[int, Step]]:
        """Return a shortest path from a start: each vertex before the last, with the step from it."""
        path: list[tuple[int, Step]] = []
        while (parent := self.parents[number]) != _START:
            step = next(move.step for child, move in self._moves(parent, number) if child == number)
            path.append((parent, step))
            number = parent
        return path[::-1]

    def node(self, number: int) -> Node:
        """Return the node of a vertex, found by a walk from the nearest stored node on its path."""
        nodes, path = self._nodes, [number]
        while path[-1] not in nodes and self.parents[path[-1]] != _START:
            path.append(self.parents[path[-1]])
        if path[-1] not in nodes:
            nodes.update(enumerate(self.graph.model.starts()))
        while len(path) > 1:
            parent = path.pop()
            for child, move in self._moves(parent, path[-1]):
                nodes[child] = move.to
                if child == path[-1]:
                    break
        node = nodes[number]
        if len(nodes) > _MOST_NODES:
            nodes.clear()
        return node

    def _moves(self, parent: int, child: int) -> Iterator[tuple[int, Move]]:
        """Return the vertices after a vertex with their moves: free ones or faults, as the child is."""
        graph, node = self.graph, self.node(parent)
        free, follows = graph.model.free(node), graph.follows(parent)
        if graph.left(parent) == graph.left(child):
            return zip(follows, free, strict=False)
        return zip(follows[len(free) :], graph.model.faults(node), strict=False)


_MOST_NODES = 100_000
"""Most nodes to store at a time: paths to neighbours are nearly the same."""


def count_schedules(graph: Graph) -> int:
    """Return the number of paths from a start to an end with exactly as many faults as the graph allows.

    A path that waits in a cycle counts once, without the rounds of the cycle.
    """
    count = len(graph.keys)
    paths: list[int | None] = [None] * count
    under_way = bytearray(count)
    starts = range(len(graph.model.trial.starts))
    for start in starts:
        stack = [start]
        while stack:
            number = stack[-1]
            if paths[number] is not None:
                stack.pop()
                continue
            following = graph.follows(number)
            if not under_way[number]:
                under_way[number] = 1
                stack.extend([to for to in following if paths[to] is None and not under_way[to]])
                continue
            stack.pop()
            total = sum([paths[to] or 0 for to in following])
            paths[number] = total if total or graph.left(number) else 1
    return sum(paths[start] or 0 for start in starts)
