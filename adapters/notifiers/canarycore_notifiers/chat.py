"""A chat room behind a webhook: the port Notifier for alerts.

    async with SlackNotifier("https://hooks.slack.com/services/…", channel="general", username="flagger") as slack:
        await slack.publish(rollout, notice)

Only alerts are told; events are for others. An alert was delivered when `publish` returns. A failure that may pass (no
connection, no answer in time, 429, 5xx) is tried again and then raised as WorldError, so that the caller tells the
alert later; a room's final refusal is raised as Refused. The address is a secret, as it is all that a sender needs,
and so are the token and the proxy: none of them is printed, and where an answer repeats one, it is blotted out.

The room may be hostile: its answer is bounded in size and time, redirects lead to the same origin only, and an error
repeats the status and the first line of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Self

import stamina
from yarl import URL

from canarycore.errors import Refused, WorldError
from canarycore.notices import Channel, Severity
from canarycore.text import escape_controls
from canarycore_notifiers.message import Message
from canarycore_runtime.http import (
    EXCERPT_LIMIT,
    SHORT_ANSWER_LIMIT,
    ExchangeError,
    ForbiddenHost,
    InvalidRequest,
    RefusedRedirect,
    describe_answer,
    environment_proxy,
    exchange,
    extract_secrets,
    open_session,
    redact,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    import aiohttp

    from canarycore import Rollout
    from canarycore.notices import Notice
    from canarycore_runtime.http import HttpAnswer

Json = dict[str, Any]

TIMEOUT = 4.0
"""Seconds for one attempt, and after which no other one begins."""

ATTEMPTS = 3
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 1.0


def no_fields(rollout: Rollout, notice: Notice) -> Iterable[tuple[str, str]]:
    """Nothing beside the text."""
    del rollout, notice
    return ()


class ChatNotifier(ABC):
    """Tells alerts to the room at `address`, while its context is open.

    token: sent as a bearer's where the chat reads one. proxy: through which it is sent; the environment's by default.
    channel, username: where it appears, and as whose, in chats that have such. fields: what is told beside the text,
    as (title, value). timeout: seconds for one attempt.

    Raises ValueError when the address, the proxy, the channel or the user name cannot be used.
    """

    name: ClassVar[str]
    has_rooms: ClassVar[bool] = False
    reads_token: ClassVar[bool] = False

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        proxy: str = "",
        channel: str = "",
        username: str = "",
        fields: Callable[[Rollout, Notice], Iterable[tuple[str, str]]] = no_fields,
        timeout: float = TIMEOUT,
    ) -> None:
        self.url: URL = _url(address, f"the webhook's address of {self.name}")
        self.proxy: URL | None = _url(proxy, f"the proxy of {self.name}") if proxy else None
        self.token: str = token if self.reads_token else ""
        self.channel: str = channel
        self.username: str = username
        for what, given in (("channel", channel), ("user name", username)):
            if self.has_rooms and not given:
                raise ValueError(f"no {what} for {self.name}: expected one")
        self._fields = fields
        self._timeout = timeout
        self._secrets = (*extract_secrets(self.url), *extract_secrets(self.proxy), token)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = open_session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @abstractmethod
    def payload(self, message: Message) -> Json:
        """The message in the chat's format."""

    def complaint(self, answer: str) -> str:
        """What a body that came with success says has gone wrong, if anything."""
        del answer
        return ""

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        """Tell an alert. Raises WorldError when it was not taken, and Refused when it never will be."""
        if notice.channel is not Channel.ALERT:
            return
        message = Message(
            about=rollout.full_name,
            text=notice.text,
            fields=tuple(self._fields(rollout, notice)),
            error=notice.severity is Severity.ERROR,
        )
        try:
            async for attempt in stamina.retry_context(
                on=_UnsettledError,
                attempts=ATTEMPTS,
                timeout=self._timeout,
                wait_initial=_FIRST_WAIT,
                wait_max=_LONGEST_WAIT,
                wait_jitter=_FIRST_WAIT,
            ):
                with attempt:
                    await self._post(self.payload(message))
        except _UnsettledError as last:
            raise WorldError(str(last)) from None

    async def _post(self, payload: Json) -> None:
        received = await self._send(payload)
        told = f"{self.name} answered with {describe_answer(received, self._secrets)}"
        if received.status in _AGAIN:
            raise _UnsettledError(told)
        if not HTTPStatus.OK <= received.status < HTTPStatus.MULTIPLE_CHOICES:
            raise Refused(told)
        if complaint := self.complaint(received.text):
            raise Refused(f"{self.name} refused it: {escape_controls(self._redacted(complaint), EXCERPT_LIMIT)}")

    async def _send(self, payload: Json) -> HttpAnswer:
        if self._session is None:
            raise RuntimeError("the notifier is not open: use it inside `async with`")
        try:
            return await exchange(
                self._session,
                "POST",
                self.url,
                limit=SHORT_ANSWER_LIMIT,
                timeout=self._timeout,
                json=payload,
                headers={"Authorization": f"Bearer {self.token}"} if self.token else {},
                proxy=self.proxy or environment_proxy(self.url),
            )
        except (ForbiddenHost, InvalidRequest, RefusedRedirect) as error:
            raise Refused(f"{self.name} failed: {self._redacted(str(error))}") from None
        except ExchangeError as error:
            raise _UnsettledError(f"{self.name} failed: {self._redacted(str(error))}") from None

    def _redacted(self, text: str) -> str:
        return redact(text, self._secrets, len(text))


_AGAIN = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, *range(500, 600)})


def _url(address: str, what: str) -> URL:
    try:
        url = URL(address)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{what} is not a valid URL: expected one that begins with http:// or https://")
    return url


class _UnsettledError(Exception):
    """A failure that another attempt may not meet."""
