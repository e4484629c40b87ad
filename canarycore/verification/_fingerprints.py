"""Fingerprints of 64 bits, by which the search recognises a node without storing it.

Nodes share many values: statuses, pods, routes, sets of keys, memories. `InternTable` stores one object for all equal
values, and a fingerprint is a hash over the addresses of a node's objects. The search takes nodes with the same
fingerprint for one node: hash compaction, as in other model checkers (Wolper and Leroy 1993; SPIN). Among n nodes the
probability of a collision is n²/2⁶⁵: 3 in 100 million for a million nodes, 3 in 100 000 for thirty million. A collision
would leave a node out of the search. It cannot invent a violation, as each violation replays as a program. Addresses
differ between runs, so another run does not repeat a collision.
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
"""A hash of 64 bits."""

_PARTS = (
    *("rollout", "now", "status", "target", "primary", "routes", "former", "scaler", "load_scaler", "kept", "command"),
    *("paces", "sized"),
)
_parts = attrgetter(*_PARTS)
_numbers = attrgetter("replicas", "deleted", "restored", "claimed")
"""The parts of a state that influence the future: `_parts` by their addresses, `_numbers` by their values."""


@define
class InternTable:
    """A table with one object for all equal values. It never drops an object, so an address identifies a value."""

    _objects: dict[object, object] = field(factory=dict)
    """Interned values other than memories."""
    _addresses: set[int] = field(factory=set)
    """Addresses of all interned objects."""
    _memories: dict[object, ProcessMemory] = field(factory=dict)
    """Interned memories by the keys of their questions, their notices and their last act."""
    _derived: dict[int, object] = field(factory=dict)
    """Results of `derive` by the address of the object."""
    _last: tuple[State | None, Fingerprint] = (None, 0)
    """The state of the last call of `fingerprint`, with its result."""

    def intern(self, value: T) -> T:
        """Return the one object that equals `value`, never a whole number or a boolean: they equal floats."""
        if id(value) in self._addresses:
            return value
        interned: T = self._objects.setdefault(value, value)  # type: ignore[assignment]  # equal values are of one type
        self._addresses.add(id(interned))
        return interned

    def derive(self, interned: T, make: Callable[[T], U]) -> U:
        """Return `make(interned)`, computed once. All calls for one object must have the same `make`."""
        result: U | None = self._derived.get(id(interned))  # type: ignore[assignment]  # a result of `make`
        if result is None:
            result = self._derived[id(interned)] = make(interned)
        return result

    def intern_memory(self, memory: ProcessMemory) -> ProcessMemory:
        """Return the one memory that equals `memory`; questions are equal if their keys are."""
        if id(memory) in self._addresses:
            return memory
        key = tuple([(question.key, answer) for question, answer in memory.answers]), memory.published, memory.last_goal
        interned = self._memories.setdefault(key, memory)
        self._addresses.add(id(interned))
        return interned

    def intern_state(self, state: State) -> State:
        """Return the state with interned parts; most states derived from it then have interned parts too."""
        addresses, parts = self._addresses, _parts(state)
        if addresses.issuperset(map(id, parts)):
            return state
        return state.but(
            **{name: self.intern(part) for name, part in zip(_PARTS, parts, strict=True) if id(part) not in addresses}
        )

    def is_same(self, state: State, other: State) -> bool:
        """Return whether two states with interned parts have the same future."""
        return state is other or self.fingerprint(state) == self.fingerprint(other)

    def fingerprint(self, state: State) -> Fingerprint:
        """Return the fingerprint of a state with interned parts; repeated calls for one state are cheap."""
        last, fingerprint = self._last
        if state is not last:
            fingerprint = hash((*map(id, _parts(state)), *_numbers(state)))
            self._last = state, fingerprint
        return fingerprint
