"""The contract of a HookPort.

A status of at most 202 passes. The adapter raises nothing, and all attempts at one question have the same key. A
hostile receiver costs a bounded memory and time, and gets nothing that belongs to another receiver.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import pytest
from attrs import frozen

from canarycore import Hook, HookType, Phase
from canarycore.questions import HookAnswer, HookQuestion
from canarycore_runtime.testing.contracts._samples import OTHER_BODIES, rollout
from canarycore_runtime.testing.contracts.hostile import (
    BOMBS,
    PATIENCE,
    REDIRECTS,
    UNUSABLE_ADDRESSES,
    HostileReply,
    bounded_memory,
    hostile_server,
)

if TYPE_CHECKING:
    from canarycore_runtime.ports import HookPort

HANG = 0
"""The status of a receiver that never answers."""

TIMEOUT = 0.2
"""The time limit of a hook whose receiver hangs or is hostile (seconds)."""

ANSWERED = 20.0
"""The time limit of a hook whose receiver answers (seconds), long enough for a busy machine."""

LONGEST_TEXT = 1000
"""The most characters of an answer's text."""


@frozen
class Call:
    """A call as the receiver got it, with the fields on which every receiver relies."""

    key: str
    """The idempotency key."""

    name: str
    namespace: str
    phase: str


class HookBench(Protocol):
    """A receiver of webhooks and the adapter that calls it.

    The bench of an adapter that does not call over HTTP has an attribute `is_http` that is False.
    """

    adapter: HookPort

    url: str
    """The address of the receiver."""

    async def will_answer(self, *statuses: int, body: str = "") -> None:
        """Answer the next calls with these statuses in order, and all further calls with the last one."""

    async def calls(self) -> tuple[Call, ...]:
        """Return the calls so far, in order."""


@pytest.mark.asyncio
class HookContract:
    """A suite to derive from, with the fixture `bench`."""

    @pytest.fixture
    def bench(self) -> HookBench:
        raise NotImplementedError("a subclass provides the bench")

    @pytest.mark.parametrize("status", [200, 201, 202])
    async def test_a_status_of_at_most_202_passes(self, bench: HookBench, status: int) -> None:
        await bench.will_answer(status)
        assert (await _call(bench)).passed

    @pytest.mark.parametrize("status", [203, 204, 304, 400, 403, 404, 429, 500, 503])
    async def test_any_other_status_does_not_pass(self, bench: HookBench, status: int) -> None:
        await bench.will_answer(status)
        assert not (await _call(bench)).passed

    async def test_a_failure_has_the_receivers_words(self, bench: HookBench) -> None:
        await bench.will_answer(500, body="smoke test 3 failed")
        assert "smoke test 3 failed" in (await _call(bench)).text

    async def test_a_receiver_that_hangs_does_not_pass_and_has_a_reason(self, bench: HookBench) -> None:
        await bench.will_answer(HANG)
        answer = await _call(bench, seconds=TIMEOUT)
        assert not answer.passed
        assert answer.text

    async def test_without_retries_a_failure_is_called_once(self, bench: HookBench) -> None:
        await bench.will_answer(500, 200)
        assert not (await _call(bench)).passed
        assert len(await bench.calls()) == 1

    async def test_a_retry_that_passes_is_a_pass(self, bench: HookBench) -> None:
        await bench.will_answer(500, 200)
        assert (await _call(bench, retries=1)).passed
        assert len(await bench.calls()) == 2

    async def test_retries_end(self, bench: HookBench) -> None:
        await bench.will_answer(500)
        assert not (await _call(bench, retries=2)).passed
        assert len(await bench.calls()) == 3

    async def test_after_a_pass_nothing_is_retried(self, bench: HookBench) -> None:
        await bench.will_answer(200)
        await _call(bench, retries=2)
        assert len(await bench.calls()) == 1

    async def test_every_try_of_one_question_carries_its_key(self, bench: HookBench) -> None:
        await bench.will_answer(500, 500, 200)
        await _call(bench, key="two@1/poll-7", retries=2)
        assert [call.key for call in await bench.calls()] == ["two@1/poll-7"] * 3

    async def test_another_poll_carries_another_key(self, bench: HookBench) -> None:
        """A gate that caches answers by key would else stay closed for ever."""
        await bench.will_answer(500)
        await _call(bench, key="two@1/poll-7")
        await _call(bench, key="two@1/poll-8")
        assert [call.key for call in await bench.calls()] == ["two@1/poll-7", "two@1/poll-8"]

    async def test_the_receiver_gets_the_rollout_and_the_phase_of_the_question(self, bench: HookBench) -> None:
        await bench.will_answer(200)
        await _call(bench)
        (call,) = await bench.calls()
        assert (call.name, call.namespace, call.phase) == ("podinfo", "default", "Progressing")

    @pytest.mark.parametrize("body", OTHER_BODIES)
    async def test_json_of_any_shape_is_an_answer(self, bench: HookBench, body: str) -> None:
        for status in (200, 500):
            await bench.will_answer(status, body=body)
            answer = await _call(bench)
            assert answer.passed is (status == 200)
            assert type(answer.text) is str

    @pytest.mark.parametrize("reply", HostileReply)
    async def test_a_hostile_reply_ends_as_an_answer_of_one_short_line(
        self, bench: HookBench, reply: HostileReply
    ) -> None:
        _skip_unless_http(bench)
        async with hostile_server(reply) as server, asyncio.timeout(PATIENCE):
            answer = await _call_at(bench, server.url)
        assert isinstance(answer, HookAnswer)
        assert len(answer.text) <= LONGEST_TEXT
        assert answer.text.isprintable()

    @pytest.mark.parametrize("reply", BOMBS)
    async def test_no_reply_fills_the_memory(self, bench: HookBench, reply: HostileReply) -> None:
        _skip_unless_http(bench)
        async with hostile_server(reply) as server:
            with bounded_memory():
                await _call_at(bench, server.url)

    @pytest.mark.parametrize("reply", REDIRECTS)
    async def test_no_redirect_leads_to_another_origin(self, bench: HookBench, reply: HostileReply) -> None:
        _skip_unless_http(bench)
        async with hostile_server(reply) as server:
            answer = await _call_at(bench, server.url, seconds=ANSWERED)
        assert not answer.passed
        assert (server.requests, server.elsewhere) == (1, 0)

    @pytest.mark.parametrize("url", UNUSABLE_ADDRESSES)
    async def test_an_unusable_address_does_not_pass(self, bench: HookBench, url: str) -> None:
        _skip_unless_http(bench)
        answer = await _call_at(bench, url)
        assert not answer.passed
        assert answer.text.isprintable()


def _skip_unless_http(bench: HookBench) -> None:
    if not getattr(bench, "is_http", True):
        pytest.skip("this adapter does not call over HTTP")


async def _call_at(bench: HookBench, url: str, seconds: float = TIMEOUT) -> HookAnswer:
    hook = Hook(name="smoke", type=HookType.PRE_ROLLOUT, url=url, timeout=seconds)
    return await bench.adapter.call(rollout(), HookQuestion("two@1/poll-1", hook, Phase.PROGRESSING, "two"))


async def _call(bench: HookBench, key: str = "two@1/poll-1", retries: int = 0, seconds: float = ANSWERED) -> HookAnswer:
    hook = Hook(name="smoke", type=HookType.PRE_ROLLOUT, url=bench.url, timeout=seconds, retries=retries)
    return await bench.adapter.call(rollout(), HookQuestion(key, hook, Phase.PROGRESSING, "two"))
