"""Which receivers get a further attempt at a notice, and how often."""

import asyncio

import pytest

from canarycore.errors import WorldError
from canarycore_runtime.deliveries import DELIVERY_ATTEMPTS, SIMULTANEOUS_DELIVERIES, Deliveries


class Receivers:
    """Receivers by name: the answer of each (empty: taken), and the records of sends and losses."""

    def __init__(self, **answers):
        self.answers, self.sends, self.losses = answers, [], []
        self.deliveries = Deliveries()

    async def send_to_missing(self, *names):
        await self.deliveries.send_to_missing(names, self._send, lambda *loss: self.losses.append(loss))

    async def _send(self, name):
        self.sends.append(name)
        if self.answers[name] == "hang":
            await asyncio.sleep(60)
        return self.answers[name]


async def test_a_further_attempt_goes_only_to_receivers_that_failed():
    receivers = Receivers(one="busy", two="")
    with pytest.raises(WorldError, match="busy"):
        await receivers.send_to_missing("one", "two")
    receivers.answers["one"] = ""
    await receivers.send_to_missing("one", "two")
    assert receivers.sends == ["one", "two", "one"]


async def test_the_notifier_gives_up_a_receiver_that_keeps_failing_and_says_why():
    receivers = Receivers(one="busy", two="")
    for _ in range(DELIVERY_ATTEMPTS - 1):
        with pytest.raises(WorldError):
            await receivers.send_to_missing("one", "two")
    await receivers.send_to_missing("one", "two")
    assert receivers.losses == [("one", "busy")]
    assert receivers.sends.count("one") == DELIVERY_ATTEMPTS


async def test_the_notifier_gives_up_a_receiver_that_never_answers():
    """The caller's time limit ends each attempt; the receiver that took the notice meanwhile gets it once."""
    receivers = Receivers(one="hang", two="")
    for _ in range(DELIVERY_ATTEMPTS):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await receivers.send_to_missing("one", "two")
    await receivers.send_to_missing("one", "two")
    assert receivers.losses == [("one", "it did not answer in time")]
    assert receivers.sends.count("two") == 1


async def test_an_attempt_at_a_hundred_receivers_opens_a_few_connections():
    receivers = Receivers(**{f"r{number}": "hang" for number in range(100)})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await receivers.send_to_missing(*receivers.answers)
    assert len(receivers.sends) == SIMULTANEOUS_DELIVERIES


async def test_receivers_that_never_answer_make_way_for_the_next_after_the_last_attempt():
    receivers = Receivers(**{f"r{number}": "hang" for number in range(SIMULTANEOUS_DELIVERIES)}, last="")
    for _ in range(DELIVERY_ATTEMPTS):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await receivers.send_to_missing(*receivers.answers)
    await receivers.send_to_missing(*receivers.answers)
    assert "last" in receivers.sends
