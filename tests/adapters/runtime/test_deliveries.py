"""Who is told again, and for how long."""

import asyncio

import pytest

from canarycore.errors import WorldError
from canarycore_runtime import deliveries
from canarycore_runtime.deliveries import AT_ONCE, DELIVERY_TRIES, Deliveries


class Room:
    """Receivers by name: what each answers (empty: taken), and who was told and given up."""

    def __init__(self, **answers):
        self.answers, self.told, self.given_up = answers, [], []
        self.deliveries = Deliveries()

    async def tell(self, *names, key="notice", namespace="test"):
        async def tell(name):
            self.told.append(name)
            if self.answers[name] == "hang":
                await asyncio.sleep(60)
            return self.answers[name]

        await self.deliveries.tell(namespace, key, names, tell, lambda *lost: self.given_up.append(lost))


async def test_only_who_has_not_taken_it_is_told_again():
    room = Room(one="busy", two="")
    with pytest.raises(WorldError, match="busy"):
        await room.tell("one", "two")
    room.answers["one"] = ""
    await room.tell("one", "two")
    assert room.told == ["one", "two", "one"]
    assert len(room.deliveries) == 0


async def test_who_does_not_take_it_is_given_up_with_the_reason():
    room = Room(one="busy", two="")
    for _ in range(DELIVERY_TRIES - 1):
        with pytest.raises(WorldError):
            await room.tell("one", "two")
    await room.tell("one", "two")
    assert room.given_up == [("one", "busy")]
    assert room.told.count("one") == DELIVERY_TRIES


async def test_who_never_answers_is_given_up_too():
    """The caller's patience ends first, each time; who has heard it meanwhile is not told again."""
    room = Room(one="hang", two="")
    for _ in range(DELIVERY_TRIES):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await room.tell("one", "two")
    await room.tell("one", "two")
    assert room.given_up == [("one", "it did not answer in time")]
    assert room.told.count("two") == 1


async def test_what_is_not_taken_for_long_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(deliveries, "REMEMBERED_DELIVERIES", 10)
    room = Room(one="busy")
    for number in range(50):
        with pytest.raises(WorldError):
            await room.tell("one", key=number)
    assert len(room.deliveries) == 10


async def test_what_is_not_taken_in_one_namespace_is_forgotten_in_no_other(monkeypatch):
    monkeypatch.setattr(deliveries, "REMEMBERED_DELIVERIES", 10)
    room = Room(one="busy", two="")
    with pytest.raises(WorldError):
        await room.tell("one", "two", namespace="good")
    for number in range(50):
        with pytest.raises(WorldError):
            await room.tell("one", key=number, namespace="evil")
    with pytest.raises(WorldError):
        await room.tell("one", "two", namespace="good")
    assert room.told.count("two") == 1


async def test_of_a_hundred_receivers_a_few_are_told_at_once():
    room = Room(**{f"r{number}": "hang" for number in range(100)})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await room.tell(*room.answers)
    assert len(room.told) == AT_ONCE


async def test_receivers_that_never_answer_make_way_for_the_next_once_they_are_given_up():
    room = Room(**{f"r{number}": "hang" for number in range(AT_ONCE)}, last="")
    for _ in range(DELIVERY_TRIES):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await room.tell(*room.answers)
    await room.tell(*room.answers)
    assert "last" in room.told
