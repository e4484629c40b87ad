"""The contract of a Notifier.

When `publish` returns, the receiver has the notice; a failure raises one of `ALLOWED_ERRORS`. No message has a
secret. A hostile receiver costs a bounded memory and time, and gets nothing that belongs to another receiver.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import pytest

from canarycore.notices import Channel, Notice, NoticeKind
from canarycore_runtime.ports import ALLOWED_ERRORS
from canarycore_runtime.testing.contracts import _samples
from canarycore_runtime.testing.contracts._samples import OTHER_BODIES, rollout
from canarycore_runtime.testing.contracts.hostile import (
    BOMBS,
    PATIENCE,
    REDIRECTS,
    HostileReply,
    bounded_memory,
    hostile_server,
)

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from canarycore_runtime.ports import Notifier


LONGEST_TEXT = 1000
"""The most characters of an error."""


class NotifierBench(Protocol):
    """A receiver and the adapter that sends to it.

    The bench of an adapter that sends over HTTP also has a method `adapter_at(url)`: an asynchronous context manager
    with an adapter for a receiver at `url`, whose time limit is below a second.
    """

    adapter: Notifier

    secret: str
    """The credential of the adapter, which may be a webhook URL; empty where it needs none."""

    async def refuse(self, *, refuse: bool) -> None:
        """Let the receiver refuse all notices from now on, such as with status 500, or take all again."""

    async def delivered_texts(self) -> tuple[str, ...]:
        """Return the delivered texts so far, in order."""


@pytest.mark.asyncio
class NotifierContract:
    """A suite to derive from, with the fixture `bench`."""

    channel = Channel.EVENT
    """The channel whose notices the adapter sends."""

    def notice(self, key: str) -> Notice:
        """Return a notice of the channel."""
        kind = {Channel.EVENT: NoticeKind.NEW_REVISION, Channel.ALERT: NoticeKind.NEW_REVISION_ALERT}[self.channel]
        return _samples.notice(key, kind=kind)

    @pytest.fixture
    def bench(self) -> NotifierBench:
        raise NotImplementedError("a subclass provides the bench")

    async def test_a_notice_is_delivered_when_publish_returns(self, bench: NotifierBench) -> None:
        notice = self.notice("notice-1")
        await bench.adapter.publish(rollout(), notice)
        (text,) = await bench.delivered_texts()
        assert notice.text in text

    async def test_a_notice_that_was_not_taken_is_an_error(self, bench: NotifierBench) -> None:
        await bench.refuse(refuse=True)
        with pytest.raises(ALLOWED_ERRORS):
            await bench.adapter.publish(rollout(), self.notice("notice-1"))

    async def test_a_notice_arrives_at_a_further_attempt_after_a_failure(self, bench: NotifierBench) -> None:
        notice = self.notice("notice-1")
        await bench.refuse(refuse=True)
        with pytest.raises(ALLOWED_ERRORS):
            await bench.adapter.publish(rollout(), notice)
        await bench.refuse(refuse=False)
        await bench.adapter.publish(rollout(), notice)
        assert any(notice.text in text for text in await bench.delivered_texts())

    async def test_the_same_notice_may_come_again(self, bench: NotifierBench) -> None:
        """After a crash a notice comes again. The receiver gets it twice, or the adapter recognises the key."""
        notice = self.notice("notice-1")
        await bench.adapter.publish(rollout(), notice)
        await bench.adapter.publish(rollout(), notice)
        assert len(await bench.delivered_texts()) in (1, 2)

    async def test_a_secret_is_in_no_error_log_or_repr(
        self, bench: NotifierBench, caplog: pytest.LogCaptureFixture
    ) -> None:
        if not bench.secret:
            pytest.skip("this notifier needs no secret")
        with caplog.at_level(0):
            await bench.adapter.publish(rollout(), self.notice("notice-1"))
            await bench.refuse(refuse=True)
            with pytest.raises(ALLOWED_ERRORS) as caught:
                await bench.adapter.publish(rollout(), self.notice("notice-2"))
        assert bench.secret not in f"{caught.value!r} {caught.value} {bench.adapter!r} {caplog.text}"

    @pytest.mark.parametrize("reply", HostileReply)
    async def test_after_a_hostile_reply_a_notice_is_delivered_or_an_error_of_one_short_line(
        self, bench: NotifierBench, reply: HostileReply
    ) -> None:
        text = ""
        async with (
            hostile_server(reply) as server,
            _adapter_at(bench, server.url) as adapter,
            asyncio.timeout(PATIENCE),
        ):
            try:
                await adapter.publish(rollout(), self.notice("notice-1"))
            except ALLOWED_ERRORS as error:
                text = str(error)
        assert text.isprintable()
        assert len(text) <= LONGEST_TEXT

    @pytest.mark.parametrize("body", OTHER_BODIES)
    async def test_after_an_answer_of_another_shape_a_notice_is_delivered_or_an_allowed_error(
        self, bench: NotifierBench, body: str
    ) -> None:
        async with hostile_server(body) as server, _adapter_at(bench, server.url) as adapter:
            with suppress(*ALLOWED_ERRORS):
                await adapter.publish(rollout(), self.notice("notice-1"))

    @pytest.mark.parametrize("reply", BOMBS)
    async def test_no_reply_fills_the_memory(self, bench: NotifierBench, reply: HostileReply) -> None:
        async with hostile_server(reply) as server, _adapter_at(bench, server.url) as adapter:
            with bounded_memory(), suppress(*ALLOWED_ERRORS):
                await adapter.publish(rollout(), self.notice("notice-1"))

    @pytest.mark.parametrize("reply", REDIRECTS)
    async def test_no_redirect_leads_to_another_origin(self, bench: NotifierBench, reply: HostileReply) -> None:
        async with hostile_server(reply) as server, _adapter_at(bench, server.url) as adapter:
            with pytest.raises(ALLOWED_ERRORS):
                await adapter.publish(rollout(), self.notice("notice-1"))
        assert server.requests
        assert not server.elsewhere


def _adapter_at(bench: NotifierBench, url: str) -> AbstractAsyncContextManager[Notifier]:
    make = getattr(bench, "adapter_at", None)
    if make is None:
        pytest.skip("this adapter does not send over HTTP")
    adapter: AbstractAsyncContextManager[Notifier] = make(url)
    return adapter
