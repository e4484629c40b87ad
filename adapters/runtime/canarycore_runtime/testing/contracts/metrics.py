"""What a MetricSource promises: no data is never a value, a failure is an error that says so, and neither is raised."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

import pytest

from canarycore import MetricQuestion, Rollout, Verdict, judge
from canarycore_runtime.testing.contracts._samples import rollout, success_rate

if TYPE_CHECKING:
    from canarycore import MetricAnswer
    from canarycore_runtime.ports import MetricSource


class Reply(Enum):
    """What a provider sends back, and the verdict that must come of it (the check's minimum is 99)."""

    GOOD = "the value 99.5"
    BAD = "the value 42"
    EMPTY = "an answer without a value"
    NAN = "the value NaN"
    INFINITE = "the value +Inf"
    NEGATIVE_INFINITE = "the value -Inf"
    SERVER_ERROR = "status 500"
    BAD_JSON = "a body that is no JSON"
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


class MetricBench(Protocol):
    """A provider. `secret`: what the adapter authenticates itself with ("" where there is nothing).

    `cannot`: replies that this kind of provider is unable to give.
    """

    secret: str
    cannot: frozenset[Reply]

    async def answering(self, reply: Reply) -> MetricSource:
        """An adapter, with a short time-out of its own, on a provider that answers every query so."""


@pytest.mark.asyncio
class MetricSourceContract:
    """Derive from it and provide the fixture `bench`."""

    @pytest.fixture
    def bench(self) -> MetricBench:
        raise NotImplementedError("a subclass provides the bench")

    @pytest.mark.parametrize("reply", Reply)
    async def test_each_reply_comes_to_its_verdict(self, bench: MetricBench, reply: Reply) -> None:
        answer = await _ask(bench, reply)
        assert judge(success_rate(), answer).verdict is VERDICTS[reply]

    async def test_a_value_is_told_in_the_unit_of_the_check(self, bench: MetricBench) -> None:
        assert (await _ask(bench, Reply.GOOD)).value == pytest.approx(99.5)

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


async def _ask(bench: MetricBench, reply: Reply) -> MetricAnswer:
    _skip_what_it_cannot(bench, reply)
    policy: Rollout = rollout()
    return await (await bench.answering(reply)).query(policy, MetricQuestion("key", success_rate(), "two"))


def _skip_what_it_cannot(bench: MetricBench, reply: Reply) -> None:
    if reply in bench.cannot:
        pytest.skip(f"this kind of provider cannot answer with {reply.value}")
