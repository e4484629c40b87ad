"""Events and answers in any order: in the end the cache equals the server."""

from __future__ import annotations

from attrs import Factory, define
from hypothesis import example, given
from hypothesis import strategies as st

from canarycore.errors import WorldError
from canarycore_kubernetes.api.cache import Cache, View
from canarycore_kubernetes.api.kinds import CONFIG_MAP

PLACE = ("test", "one")


def body(version, data):
    metadata = {"namespace": PLACE[0], "name": PLACE[1], "resourceVersion": str(version)}
    return {"metadata": metadata, "data": data}


@define
class World:
    """A server with one object, and a cache that hears of it.

    history: what happened, (event, version, data). heard: how much of it the cache has been told. woken: how often the
    looker was.
    """

    cache: Cache = Factory(
        lambda self: Cache(None, View(kind=CONFIG_MAP, project=lambda found, _: found["data"]), wake=self.wake),
        takes_self=True,
    )
    history: list = Factory(list)
    data: int | None = None
    heard: int = 0
    writing: object = None
    answer: dict | None = None
    woken: int = 0

    def wake(self, _):
        self.woken += 1
        self.cache.look(*PLACE, "rollout")

    @property
    def version(self):
        return len(self.history)

    def _happens(self, event, data):
        self.data = data if event != "DELETED" else None
        self.history.append((event, self.version + 1, data))

    # possible next steps ----------------------------------------------------------------------------------------

    def they_write(self, data):
        self._happens("ADDED" if self.data is None else "MODIFIED", data)

    def they_delete(self, _):
        if self.data is not None:
            self._happens("DELETED", self.data)

    def we_begin(self, data):
        """The request is sent; the server acts on it at once, the answer is on its way."""
        if self.writing is None:
            self.writing = self.cache.writing(*PLACE)
            self.writing.__enter__()
            self._happens("ADDED" if self.data is None else "MODIFIED", data)
            self.answer = body(self.version, data)

    def we_are_answered(self, _):
        if self.writing is not None:
            self.cache.put(self.answer)
            self.writing.__exit__(None, None, None)
            self.writing = None

    def we_lose_the_answer(self, _):
        if self.writing is not None:
            self.writing.__exit__(WorldError, WorldError(), None)
            self.writing = None

    def an_event_arrives(self, _):
        if self.heard < self.version:
            event, version, data = self.history[self.heard]
            self.heard += 1
            before = self.cache.version(*PLACE)
            (self.cache._delete_event if event == "DELETED" else self.cache._store_event)(body(version, data))
            after = self.cache.version(*PLACE)
            if before and int(before) >= version:
                assert after == before, "an old event takes nothing back"


MOVES = ("they_write", "they_delete", "we_begin", "we_are_answered", "we_lose_the_answer", "an_event_arrives")


@given(st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 3)), max_size=25))
@example([("we_begin", 1), ("they_delete", 0), ("an_event_arrives", 0), ("an_event_arrives", 0)])
@example([("they_write", 1), ("they_delete", 0), ("we_begin", 2), ("we_are_answered", 0)])
def test_in_the_end_the_cache_equals_the_server(moves):
    world = World()
    world.cache.synced.set()
    world.cache.look(*PLACE, "rollout")
    for move, data in moves:
        getattr(world, move)(data)
    world.we_are_answered(None)
    while world.heard < world.version:
        world.an_event_arrives(None)
    assert world.cache.get(*PLACE) == world.data


@given(st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 3)), max_size=25))
def test_the_last_change_of_others_wakes_the_rollout(moves):
    world = World()
    world.cache.synced.set()
    for move, data in moves:
        getattr(world, move)(data)
    world.we_are_answered(None)
    while world.heard < world.version:
        world.an_event_arrives(None)
    told = []
    world.cache._wake = told.append
    world.cache.look(*PLACE, "rollout")
    world.they_write(9)
    world.an_event_arrives(None)
    assert told == ["rollout"]


@given(st.lists(st.tuples(st.sampled_from(("we_begin", "we_are_answered", "an_event_arrives")), st.integers(0, 3))))
def test_our_own_writes_wake_no_rollout_in_any_order(moves):
    world = World()
    world.cache.synced.set()
    world.cache.look(*PLACE, "rollout")
    for move, data in moves:
        getattr(world, move)(data)
    world.we_are_answered(None)
    assert world.woken == 0


def woken_by(*moves):
    world = World()
    world.cache.synced.set()
    world.cache.look(*PLACE, "rollout")
    for data, move in enumerate(moves):
        getattr(world, move)(data)
    return world.woken


def test_a_write_with_a_lost_answer_wakes_the_rollout():
    assert woken_by("we_begin", "an_event_arrives", "we_lose_the_answer") == 1


def test_a_change_of_others_during_our_write_wakes_the_rollout():
    assert woken_by("they_write", "we_begin", "an_event_arrives", "an_event_arrives", "we_are_answered") == 1
    assert woken_by("we_begin", "they_write", "an_event_arrives", "an_event_arrives", "we_are_answered") == 1
    assert woken_by("we_begin", "they_delete", "an_event_arrives", "an_event_arrives", "we_are_answered") == 1
