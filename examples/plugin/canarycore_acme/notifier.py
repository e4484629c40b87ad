"""Acme's chat: a server that takes each alert as JSON."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from canarycore.errors import Refused, WorldError
from canarycore.notices import Channel
from canarycore_runtime.http import (
    SHORT_ANSWER_LIMIT,
    ExchangeError,
    InvalidRequest,
    RefusedRedirect,
    describe_answer,
    exchange,
    open_session,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from canarycore import Rollout
    from canarycore.notices import Notice

LONGEST = 5.0
"""The longest attempt (seconds)."""


class AcmeNotifier:
    """Sends alerts to the address of an AlertProvider, with the token of its Secret."""

    def __init__(self, session: Any, address: str, token: str, seconds: float) -> None:
        self._session = session
        self._address = address
        self._token = token
        self._seconds = seconds

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        if notice.channel is not Channel.ALERT:
            return
        try:
            answer = await exchange(
                self._session,
                "POST",
                self._address,
                limit=SHORT_ANSWER_LIMIT,
                timeout=self._seconds,
                json={"app": rollout.full_name, "key": notice.key, "text": notice.text},
                headers={"Authorization": f"Bearer {self._token}"} if self._token else {},
            )
        except (InvalidRequest, RefusedRedirect) as error:
            raise Refused(f"acme failed: {error}") from None
        except ExchangeError as error:
            raise WorldError(f"acme failed: {error}") from None
        if answer.status >= 300:
            raise WorldError(f"acme answered with {describe_answer(answer, (self._token,))}")


@asynccontextmanager
async def open_notifier(
    address: str, *, token: str = "", seconds: float = LONGEST, **_: Any
) -> AsyncIterator[AcmeNotifier]:
    """Open a notifier: the factory of the entry point. It leaves out the settings that this chat does not have."""
    async with open_session() as session:
        yield AcmeNotifier(session, address, token, seconds)
