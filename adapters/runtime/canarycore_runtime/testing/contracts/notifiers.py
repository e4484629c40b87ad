"""What a Notifier promises: what it returned from was delivered, what failed is raised, and no secret is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from canarycore import Channel, Notice, Tell
from canarycore.errors import WorldError
from canarycore_runtime.testing.contracts import _samples
from canarycore_runtime.testing.contracts._samples import rollout

if TYPE_CHECKING:
    from canarycore_runtime.ports import Notifier


class NotifierBench(Protocol):
    """A receiver. `secret`: what the adapter authenticates itself with, webhook URLs included ("" where nothing)."""

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
        tell = {Channel.EVENT: Tell.NEW_REVISION, Channel.ALERT: Tell.NEW_REVISION_ALERT}[self.channel]
        return _samples.notice(key, tell=tell)

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
