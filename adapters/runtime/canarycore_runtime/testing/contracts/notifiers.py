"""The promises of a Notifier: a call that returns has delivered, a failure is raised, and no secret is told.

A receiver that means harm costs a bounded memory and a bounded time, and learns nothing that is meant for another.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import pytest

from canarycore.errors import WorldError
from canarycore.notices import Channel, Notice, NoticeKind
from canarycore_runtime.testing.contracts import _samples
from canarycore_runtime.testing.contracts._samples import rollout
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
"""Characters of an error."""


class NotifierBench(Protocol):
    """A receiver. `secret`: what the adapter authenticates itself with, webhook URLs included ("" where nothing).

    The bench of an adapter that tells over HTTP has a method `adapter_at(url)` too: an asynchronous context manager
    with an adapter for a receiver at `url`, whose time-out is a fraction of a second.
    """

    adapter: Notifier
    secret: str

    async def refuse(self, *, refuse: bool) -> None:
        """From now on the receiver takes nothing (status 500, say), or takes everything again."""

    async def heard(self) -> tuple[str, ...]:
        """The texts delivered so far, in order."""


@pytest.mark.asyncio
class NotifierContract:
    """Derive from it and provide the fixture `bench`. `channel`: the one whose notices the adapter is for."""

    channel = Channel.EVENT

    def notice(self, key: str) -> Notice:
        """A notice of that channel."""
        kind = {Channel.EVENT: NoticeKind.NEW_REVISION, Channel.ALERT: NoticeKind.NEW_REVISION_ALERT}[self.channel]
        return _samples.notice(key, kind=kind)

    @pytest.fixture
    def bench(self) -> NotifierBench:
        raise NotImplementedError("a subclass provides the bench")

    async def test_a_notice_is_delivered_when_publish_returns(self, bench: NotifierBench) -> None:
        told = self.notice("told-1")
        await bench.adapter.publish(rollout(), told)
        (heard,) = await bench.heard()
        assert told.text in heard

    async def test_a_notice_that_was_not_taken_is_an_error(self, bench: NotifierBench) -> None:
        await bench.refuse(refuse=True)
        with pytest.raises(WorldError):
            await bench.adapter.publish(rollout(), self.notice("told-1"))

    async def test_a_notice_told_again_after_a_failure_arrives(self, bench: NotifierBench) -> None:
        told = self.notice("told-1")
        await bench.refuse(refuse=True)
        with pytest.raises(WorldError):
            await bench.adapter.publish(rollout(), told)
        await bench.refuse(refuse=False)
        await bench.adapter.publish(rollout(), told)
        assert any(told.text in heard for heard in await bench.heard())

    async def test_the_same_notice_may_come_again(self, bench: NotifierBench) -> None:
        """After a crash it does; whether the receiver is told twice or recognises the key is the adapter's choice."""
        told = self.notice("told-1")
        await bench.adapter.publish(rollout(), told)
        await bench.adapter.publish(rollout(), told)
        assert len(await bench.heard()) in (1, 2)

    async def test_a_secret_is_in_no_error_log_or_repr(
        self, bench: NotifierBench, caplog: pytest.LogCaptureFixture
    ) -> None:
        if not bench.secret:
            pytest.skip("this notifier needs no secret")
        with caplog.at_level(0):
            await bench.adapter.publish(rollout(), self.notice("told-1"))
            await bench.refuse(refuse=True)
            with pytest.raises(WorldError) as caught:
                await bench.adapter.publish(rollout(), self.notice("told-2"))
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
                await adapter.publish(rollout(), self.notice("told-1"))
            except WorldError as error:
                text = str(error)
        assert text.isprintable()
        assert len(text) <= LONGEST_TEXT

    @pytest.mark.parametrize("reply", BOMBS)
    async def test_no_reply_fills_the_memory(self, bench: NotifierBench, reply: HostileReply) -> None:
        async with hostile_server(reply) as server, _adapter_at(bench, server.url) as adapter:
            with bounded_memory(), suppress(WorldError):
                await adapter.publish(rollout(), self.notice("told-1"))

    @pytest.mark.parametrize("reply", REDIRECTS)
    async def test_no_redirect_leads_to_another_origin(self, bench: NotifierBench, reply: HostileReply) -> None:
        async with hostile_server(reply) as server, _adapter_at(bench, server.url) as adapter:
            with pytest.raises(WorldError):
                await adapter.publish(rollout(), self.notice("told-1"))
        assert server.requests
        assert not server.elsewhere


def _adapter_at(bench: NotifierBench, url: str) -> AbstractAsyncContextManager[Notifier]:
    make = getattr(bench, "adapter_at", None)
    if make is None:
        pytest.skip("this adapter does not tell over HTTP")
    adapter: AbstractAsyncContextManager[Notifier] = make(url)
    return adapter
