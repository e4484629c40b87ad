"""Adapters that are open: one for each configuration, closed when nobody needs it."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from canarycore_kubernetes.pool import IDLE, Pool


class Opened:
    """What was opened and closed, in order."""

    def __init__(self):
        self.log = []

    @asynccontextmanager
    async def __call__(self, key):
        if key == "broken":
            raise ValueError(key)
        await asyncio.sleep(0)
        self.log.append(f"open {key}")
        yield key.upper()
        self.log.append(f"close {key}")


@pytest.fixture
def opened():
    return Opened()


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
async def pool(opened, now):
    async with Pool(opened, clock=lambda: now[0]) as pool:
        yield pool


async def use(pool, key):
    async with pool.lend(key) as adapter:
        return adapter


async def test_those_who_are_configured_alike_share_one(pool, opened):
    assert await asyncio.gather(use(pool, "a"), use(pool, "a"), use(pool, "b")) == ["A", "A", "B"]
    assert opened.log == ["open a", "open b"]


async def test_what_nobody_has_used_for_long_is_closed(pool, opened, now):
    await use(pool, "a")
    now[0] = IDLE / 2
    await use(pool, "b")
    now[0] = IDLE + 1
    await use(pool, "b")
    assert opened.log == ["open a", "open b", "close a"]


async def test_what_is_lent_stays_open_however_long(pool, opened, now):
    async with pool.lend("a"):
        now[0] = 10 * IDLE
        await use(pool, "b")
    assert opened.log == ["open a", "open b"]


async def test_what_cannot_be_opened_is_tried_again_the_next_time(pool, opened):
    with pytest.raises(ValueError, match="broken"):
        await use(pool, "broken")
    assert await use(pool, "a") == "A"


async def test_all_are_closed_in_the_end(opened):
    async with Pool(opened) as pool:
        await use(pool, "a")
        await use(pool, "b")
    assert sorted(opened.log[2:]) == ["close a", "close b"]
