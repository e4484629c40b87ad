"""What tells one spot from another: a mark of 64 bits, so that a spot is known again without being kept.

What many spots share (statuses, pods, routes, sets of keys, what a process remembers) is kept once each, and exactly:
`Ones` finds the one object for everything that is equal. A mark is a hash over which of these a spot is made of. Spots
with one mark are held to be one: hash compaction, as model checkers do it (Wolper and Leroy 1993; SPIN). Among n spots
the chance that any two different ones share a mark is n²/2⁶⁵: 3 in 100 million for a million spots, 3 in 100 000 for
thirty million. Such a mistake would leave a spot out of the search; it makes up no violation, as each is replayed as a
program. Marks rest on addresses, so another run does not repeat it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from attrs import define, field

if TYPE_CHECKING:
    from canarycore.testing._state import State
    from canarycore.testing.verify._process import Remembered

T = TypeVar("T")

Mark = int
"""64 bits."""


@define
class Ones:
    """The one object for all that are equal. What was found stays, so that its address tells it."""

    _found: dict[object, object] = field(factory=dict)
    _addresses: set[int] = field(factory=set)
    _memories: dict[object, Remembered] = field(factory=dict)
    _marked: tuple[State | None, Mark] = (None, 0)

    def one(self, thing: T) -> T:
        if id(thing) in self._addresses:
            return thing
        found: T = self._found.setdefault(thing, thing)  # type: ignore[assignment]  # equal things are of one type
        self._addresses.add(id(found))
        return found

    def memory(self, memory: Remembered) -> Remembered:
        """The same for what a process remembers: questions count by their keys."""
        key = tuple([(question.key, answer) for question, answer in memory.asked]), memory.published
        return self._memories.setdefault(key, memory)

    def state(self, state: State) -> State:
        """With parts that are the ones: what is made of this state then has them too."""
        one = self.one
        status, target, primary = one(state.status), one(state.target), one(state.primary)
        if status is state.status and target is state.target and primary is state.primary:
            return state
        return state.but(status=status, target=target, primary=primary)

    def alike(self, state: State, other: State) -> bool:
        """Whether nobody can tell the one from the other."""
        return state is other or self.mark(state) == self.mark(other)

    def mark(self, state: State) -> Mark:
        """All of a state that anybody acts on. The last one is often asked for again."""
        last, mark = self._marked
        if state is not last:
            mark = self._mark(state)
            self._marked = state, mark
        return mark

    def _mark(self, state: State) -> Mark:
        one = self.one
        return hash(
            (
                id(one(state.rollout)),
                id(one(state.now)),
                id(one(state.status)),
                id(one(state.target)),
                id(one(state.primary)),
                state.replicas,
                id(one(state.routes)),
                id(one(state.scaler)),
                id(one(state.kept)),
                id(one(state.command)),
                state.deleted,
                state.restored,
                id(one(state.paces)),
            )
        )
