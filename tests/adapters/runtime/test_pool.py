"""The pool: one open adapter for each configuration, closed after a time without use."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from canarycore_runtime.pool import IDLE, Pool


class Opened:
    """Adapters that record their opening and closing, in order."""

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


async def test_an_adapter_without_use_is_closed_after_a_time(pool, opened, now):
    await use(pool, "a")
    now[0] = IDLE / 2
    await use(pool, "b")
    now[0] = IDLE + 1
    await use(pool, "b")
    await asyncio.sleep(0)
    assert opened.log == ["open a", "open b", "close a"]


async def test_an_adapter_in_use_stays_open(pool, opened, now):
    async with pool.lend("a"):
        now[0] = 10 * IDLE
        await use(pool, "b")
    assert opened.log == ["open a", "open b"]


async def test_the_next_use_opens_an_adapter_whose_opening_failed(pool, opened):
    with pytest.raises(ValueError, match="broken"):
        await use(pool, "broken")
    assert await use(pool, "a") == "A"


async def test_all_are_closed_in_the_end(opened):
    async with Pool(opened) as pool:
        await use(pool, "a")
        await use(pool, "b")
    assert sorted(opened.log[2:]) == ["close a", "close b"]


class Gated(Opened):
    """Adapters that wait for an event before they open and close, if they are slow. A key begins with its group."""

    def __init__(self):
        super().__init__()
        self.gate = asyncio.Event()

    @asynccontextmanager
    async def __call__(self, key):
        if "slow" in key:
            await self.gate.wait()
        self.log.append(f"open {key}")
        yield key
        if "hang" in key:
            await self.gate.wait()
        self.log.append(f"close {key}")


async def test_an_adapter_that_takes_long_to_open_keeps_no_other_waiting():
    gated = Gated()
    async with Pool(gated) as pool:
        slow = [asyncio.create_task(use(pool, "slow")) for _ in range(3)]
        await asyncio.sleep(0)
        assert await use(pool, "quick") == "quick"
        assert not any(task.done() for task in slow)
        gated.gate.set()
        await asyncio.gather(*slow)
    assert gated.log.count("open slow") == 1


async def test_an_adapter_that_takes_long_to_close_keeps_no_other_waiting():
    gated, now = Gated(), [0.0]
    async with Pool(gated, clock=lambda: now[0]) as pool:
        await use(pool, "hang")
        now[0] = IDLE + 1
        for key in "abc":
            assert await use(pool, key) == key
        assert "close hang" not in gated.log
        gated.gate.set()
    assert "close hang" in gated.log


async def test_a_waiting_user_opens_the_adapter_when_the_first_one_gives_up():
    gated = Gated()
    async with Pool(gated) as pool:
        first, second = (asyncio.create_task(use(pool, "slow")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        gated.gate.set()
        assert await second == "slow"


async def test_a_group_that_uses_ever_more_keys_closes_its_own_idle_adapters_only():
    gated = Gated()
    async with Pool(gated, group=lambda key: key.partition("/")[0], spare=3) as pool:
        await use(pool, "good/a")
        for number in range(100):
            await use(pool, f"evil/{number}")
            await asyncio.sleep(0)
        assert len(pool) == 4
        await use(pool, "good/a")
    assert gated.log.count("open good/a") == 1


async def test_an_error_of_closing_an_adapter_is_logged_only(caplog):
    @asynccontextmanager
    async def opened(key):
        yield key
        raise OSError("it hung up")

    async with Pool(opened, spare=0) as pool:
        assert [await use(pool, key) for key in "abc"] == ["a", "b", "c"]
    assert "an adapter failed to close" in caplog.text
