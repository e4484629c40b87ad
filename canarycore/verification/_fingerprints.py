"""What tells one spot from another: a mark of 64 bits, so that a spot is known again without being kept.

What many spots share (statuses, pods, routes, sets of keys, what a process remembers) is kept once each, and exactly:
`InternTable` finds the one object for everything that is equal. A mark is a hash over which of these a spot is made of.
Spots with one mark are held to be one: hash compaction, as model checkers do it (Wolper and Leroy 1993; SPIN). Among n
spots the chance that any two different ones share a mark is n²/2⁶⁵: 3 in 100 million for a million spots, 3 in 100 000
for thirty million. Such a mistake would leave a spot out of the search; it makes up no violation, as each is replayed
as a program. Marks rest on addresses, so another run does not repeat it.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore.simulation.state import State
    from canarycore.verification._memory import ProcessMemory

T = TypeVar("T")
U = TypeVar("U")

Fingerprint = int
"""64 bits."""


_PARTS = ("rollout", "now", "status", "target", "primary", "routes", "scaler", "kept", "command", "paces")
_parts = attrgetter(*_PARTS)
_numbers = attrgetter("replicas", "deleted", "restored")
"""All of a state that anybody acts on: what is told by its address, and what by its value."""


@define
class InternTable:
    """The one object for all that are equal. What was found stays, so that its address tells it."""

    _found: dict[object, object] = field(factory=dict)
    _addresses: set[int] = field(factory=set)
    _memories: dict[object, ProcessMemory] = field(factory=dict)
    _made: dict[int, object] = field(factory=dict)
    _marked: tuple[State | None, Fingerprint] = (None, 0)

    def one(self, thing: T) -> T:
        """Equal things must be of one type: no whole numbers or truth values, which equal floats."""
        if id(thing) in self._addresses:
            return thing
        found: T = self._found.setdefault(thing, thing)  # type: ignore[assignment]  # equal things are of one type
        self._addresses.add(id(found))
        return found

    def made(self, one: T, make: Callable[[T], U]) -> U:
        """What is made of one of the ones, and only of it: made once. There is one thing to make of each."""
        made: U | None = self._made.get(id(one))  # type: ignore[assignment]  # what `make` made
        if made is None:
            made = self._made[id(one)] = make(one)
        return made

    def memory(self, memory: ProcessMemory) -> ProcessMemory:
        """The same for what a process remembers: questions count by their keys."""
        if id(memory) in self._addresses:
            return memory
        key = tuple([(question.key, answer) for question, answer in memory.asked]), memory.published, memory.last_goal
        found = self._memories.setdefault(key, memory)
        self._addresses.add(id(found))
        return found

    def state(self, state: State) -> State:
        """With parts that are the ones; most of what is made of this state then has them too."""
        known, parts = self._addresses, _parts(state)
        if known.issuperset(map(id, parts)):
            return state
        return state.but(
            **{name: self.one(part) for name, part in zip(_PARTS, parts, strict=True) if id(part) not in known}
        )

    def alike(self, state: State, other: State) -> bool:
        """Whether nobody can tell the one from the other."""
        return state is other or self.mark(state) == self.mark(other)

    def mark(self, state: State) -> Fingerprint:
        """Of a state whose parts are the ones. The last one is often asked for again."""
        last, mark = self._marked
        if state is not last:
            mark = hash((*map(id, _parts(state)), *_numbers(state)))
            self._marked = state, mark
        return mark
