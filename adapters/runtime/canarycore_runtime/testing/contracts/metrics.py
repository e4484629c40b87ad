"""The contract of a MetricSource.

Missing data never becomes a value, and a failure becomes an error with a reason; the adapter raises neither. A provider
may be hostile or broken: its answer may be deep, compressed, endless or slow, may redirect, or may have something else
in place of a number. The adapter returns an answer to each of these, soon and within a bounded memory, and no
credential reaches another origin.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from enum import Enum
from types import NoneType
from typing import TYPE_CHECKING, Protocol

import pytest

from canarycore import Rollout, Verdict, judge
from canarycore.errors import CanaryError
from canarycore.questions import MetricQuestion
from canarycore_runtime.testing.contracts._samples import OTHER_BODIES, rollout, success_rate
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
    from collections.abc import AsyncIterator

    from canarycore.questions import MetricAnswer
    from canarycore_runtime.ports import MetricSource
    from canarycore_runtime.testing.contracts.hostile import HostileServer


class Reply(Enum):
    """A reply of a provider. `VERDICTS` has the verdict of each, for a check with a minimum of 99."""

    GOOD = "the value 99.5"
    BAD = "the value 42"
    EMPTY = "an answer without a value"
    NAN = "the value NaN"
    INFINITE = "the value +Inf"
    NEGATIVE_INFINITE = "the value -Inf"
    SERVER_ERROR = "status 500"
    BAD_JSON = "a body that is not JSON"
    HANG = "nothing, for ever"
    UNREACHABLE = "no connection"


VERDICTS = {
    Reply.GOOD: Verdict.PASS,
    Reply.BAD: Verdict.FAIL,
    Reply.EMPTY: Verdict.NO_DATA,
    Reply.NAN: Verdict.NO_DATA,
    Reply.INFINITE: Verdict.ERROR,
    Reply.NEGATIVE_INFINITE: Verdict.ERROR,
    Reply.SERVER_ERROR: Verdict.ERROR,
    Reply.BAD_JSON: Verdict.ERROR,
    Reply.HANG: Verdict.ERROR,
    Reply.UNREACHABLE: Verdict.ERROR,
}


NO_NUMBERS = ("true", "false", "[1]", '{"value": 1}', "1" * 5000)
"""JSON in place of a number, for an error or no data."""

LONGEST_ERROR = 1500
"""The most characters of an error."""


class MetricBench(Protocol):
    """A provider and the adapters that query it."""

    secret: str
    """The credential of the adapter; empty where it needs none."""

    cannot: frozenset[Reply]
    """The replies that this kind of provider cannot give."""

    async def answering(self, reply: Reply) -> MetricSource:
        """Return an adapter with a time limit below a second, on a provider that answers every query with `reply`."""


class WebMetricBench(MetricBench, Protocol):
    """A provider with an HTTP API. A bench without `at` skips the tests of hostile servers."""

    ordinary: dict[str, str]
    """The bodies of paths that a hostile server answers ordinarily, such as those of a token service."""

    async def at(self, address: str) -> MetricSource:
        """Return an adapter with a time limit below a second, on a provider at `address`."""

    def body(self, number: str) -> str:
        """Return the provider's answer with this JSON in the place of the number."""


@pytest.mark.asyncio
class MetricSourceContract:
    """A suite to derive from, with the fixture `bench`."""

    @pytest.fixture
    def bench(self) -> MetricBench:
        raise NotImplementedError("a subclass provides the bench")

    @pytest.mark.parametrize("reply", Reply)
    async def test_each_reply_comes_to_its_verdict(self, bench: MetricBench, reply: Reply) -> None:
        answer = await _ask(bench, reply)
        assert judge(success_rate(), answer).verdict is VERDICTS[reply]

    async def test_a_value_has_the_unit_of_the_check(self, bench: MetricBench) -> None:
        assert (await _ask(bench, Reply.GOOD)).value == pytest.approx(99.5)

    @pytest.mark.parametrize("reply", Reply)
    async def test_the_fields_of_an_answer_have_their_types(self, bench: MetricBench, reply: Reply) -> None:
        answer = await _ask(bench, reply)
        assert type(answer.value) in (float, int, NoneType)
        assert type(answer.error) is str

    @pytest.mark.parametrize("reply", [Reply.SERVER_ERROR, Reply.BAD_JSON, Reply.HANG, Reply.UNREACHABLE])
    async def test_an_error_says_what_happened(self, bench: MetricBench, reply: Reply) -> None:
        assert (await _ask(bench, reply)).error

    async def test_a_source_that_answers_is_online(self, bench: MetricBench) -> None:
        assert not await (await bench.answering(Reply.GOOD)).online(rollout())

    async def test_a_source_without_data_is_online(self, bench: MetricBench) -> None:
        _skip_what_it_cannot(bench, Reply.EMPTY)
        assert not await (await bench.answering(Reply.EMPTY)).online(rollout())

    async def test_a_source_that_cannot_be_reached_is_offline_and_says_why(self, bench: MetricBench) -> None:
        _skip_what_it_cannot(bench, Reply.UNREACHABLE)
        assert await (await bench.answering(Reply.UNREACHABLE)).online(rollout())

    @pytest.mark.parametrize("reply", Reply)
    async def test_a_secret_is_in_no_answer_log_or_repr(
        self, bench: MetricBench, reply: Reply, caplog: pytest.LogCaptureFixture
    ) -> None:
        if not bench.secret:
            pytest.skip("this source needs no secret")
        with caplog.at_level(0):
            answer = await _ask(bench, reply)
            source = await bench.answering(reply)
            online = await source.online(rollout())
        assert bench.secret not in f"{answer} {online} {source!r} {caplog.text}"

    @pytest.mark.parametrize("reply", HostileReply)
    async def test_a_hostile_reply_ends_as_an_error_of_one_short_line(
        self, bench: MetricBench, reply: HostileReply
    ) -> None:
        async with _attacked(bench, reply) as (source, _), asyncio.timeout(PATIENCE):
            answer = await source.query(rollout(), _QUESTION)
        assert judge(success_rate(), answer).verdict in {Verdict.ERROR, Verdict.NO_DATA}
        assert len(answer.error) <= LONGEST_ERROR
        assert answer.error.isprintable()

    @pytest.mark.parametrize("reply", HostileReply)
    async def test_a_hostile_server_may_be_online_and_raises_nothing(
        self, bench: MetricBench, reply: HostileReply
    ) -> None:
        async with _attacked(bench, reply) as (source, _), asyncio.timeout(PATIENCE):
            text = await source.online(rollout())
        assert len(text) <= LONGEST_ERROR
        assert text.isprintable()

    @pytest.mark.parametrize("reply", BOMBS)
    async def test_no_reply_fills_the_memory(self, bench: MetricBench, reply: HostileReply) -> None:
        async with _attacked(bench, reply) as (source, _):
            with bounded_memory():
                await source.query(rollout(), _QUESTION)

    @pytest.mark.parametrize("reply", REDIRECTS)
    async def test_no_redirect_leads_to_another_origin(self, bench: MetricBench, reply: HostileReply) -> None:
        async with _attacked(bench, reply) as (source, server):
            await source.query(rollout(), _QUESTION)
            await source.online(rollout())
        assert server.elsewhere == 0

    @pytest.mark.parametrize("number", NO_NUMBERS)
    async def test_something_else_than_a_number_is_never_a_value(self, bench: MetricBench, number: str) -> None:
        async with _attacked(bench, _web(bench).body(number)) as (source, _):
            answer = await source.query(rollout(), _QUESTION)
        assert judge(success_rate(), answer).verdict in {Verdict.ERROR, Verdict.NO_DATA}

    @pytest.mark.parametrize("body", OTHER_BODIES)
    async def test_json_of_another_shape_is_an_error_or_no_data(self, bench: MetricBench, body: str) -> None:
        """First the whole answer has another shape, then the place of the number.

        A number may be a value, and a provider's series may go on without a number.
        """
        web = _web(bench)
        for text in (body, web.body(body)):
            async with _attacked(bench, text) as (source, _):
                answer = await source.query(rollout(), _QUESTION)
                reason = await source.online(rollout())
            assert type(reason) is str
            if text is body or type(json.loads(body)) in (bool, str, list, dict):
                assert judge(success_rate(), answer).verdict in {Verdict.ERROR, Verdict.NO_DATA}

    @pytest.mark.parametrize("address", [url for url in UNUSABLE_ADDRESSES if url])
    async def test_an_unusable_address_is_refused_or_an_error(self, bench: MetricBench, address: str) -> None:
        web = _web(bench)
        try:
            source = await web.at(address)
        except (ValueError, CanaryError):
            return
        assert (await source.query(rollout(), _QUESTION)).error


_QUESTION = MetricQuestion("key", success_rate(), "two")


@asynccontextmanager
async def _attacked(bench: MetricBench, reply: HostileReply | str) -> AsyncIterator[tuple[MetricSource, HostileServer]]:
    """Yield an adapter on a server that answers with `reply`, and the server."""
    web = _web(bench)
    async with hostile_server(reply, web.ordinary) as server:
        yield await web.at(server.url.rstrip("/")), server


def _web(bench: MetricBench) -> WebMetricBench:
    if getattr(bench, "at", None) is None:
        pytest.skip("this kind of provider has no HTTP API")
    web: WebMetricBench = bench  # type: ignore[assignment]  # as it has `at`
    return web


async def _ask(bench: MetricBench, reply: Reply) -> MetricAnswer:
    _skip_what_it_cannot(bench, reply)
    policy: Rollout = rollout()
    return await (await bench.answering(reply)).query(policy, MetricQuestion("key", success_rate(), "two"))


def _skip_what_it_cannot(bench: MetricBench, reply: Reply) -> None:
    if reply in bench.cannot:
        pytest.skip(f"this kind of provider cannot answer with {reply.value}")
