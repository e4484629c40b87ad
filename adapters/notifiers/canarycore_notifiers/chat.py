"""A chat room behind a webhook: the port Notifier for alerts.

    async with SlackNotifier("https://hooks.slack.com/services/…", channel="general", username="flagger") as slack:
        await slack.publish(rollout, notice)

The notifier sends alerts and ignores events. When `publish` returns, the room has the alert. After a temporary failure
(no connection, no answer in time, 408, 429, 5xx) it makes further attempts, and then raises WorldError to get the alert
again. After a final refusal of the room it raises Refused. The address is a secret, as a sender needs nothing else, and
so are the token and the proxy. No message has them, and answers that repeat one are redacted.

The room may be hostile. So the notifier bounds the size and time of an answer, follows redirects to the same origin
only, and repeats no more of an answer than its status and its first line.
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
from canarycore_runtime.ports import AlertContent

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import aiohttp

    from canarycore import Rollout
    from canarycore.notices import Notice
    from canarycore_runtime.http import HttpAnswer

Json = dict[str, Any]

TIMEOUT = 4.0
"""The longest attempt, and the time after which no further attempt begins (seconds)."""

CHAT_ATTEMPTS = 3
"""Attempts of one `publish`."""

_FIRST_WAIT = 0.2
_LONGEST_WAIT = 1.0


def describe_notice(rollout: Rollout, notice: Notice) -> AlertContent:
    """Return the text of a notice, which is Flagger's, as the content of an alert."""
    del rollout
    return AlertContent(text=notice.text)


class ChatNotifier(ABC):
    """A notifier that sends alerts to a chat room, while its context is open."""

    name: ClassVar[str]
    """The name of the chat, for messages."""

    has_rooms: ClassVar[bool] = False
    """Whether an alert needs a channel and a user name."""

    reads_token: ClassVar[bool] = False
    """Whether the chat accepts a bearer token."""

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        proxy: str = "",
        channel: str = "",
        username: str = "",
        content: Callable[[Rollout, Notice], AlertContent] = describe_notice,
        timeout: float = TIMEOUT,
    ) -> None:
        """Send to the webhook at `address`.

        `token` is a bearer token, for a chat that accepts one. `proxy` replaces the environment's proxy. `channel` and
        `username` say where an alert appears and as whose, in a chat that has both. `content` returns the text, the
        fields and the links of an alert. `timeout` is the longest attempt in seconds.

        Raises ValueError when the address, the proxy, the channel or the user name is not valid.
        """
        self.url: URL = _parse_url(address, f"the webhook's address of {self.name}")
        self.proxy: URL | None = _parse_url(proxy, f"the proxy of {self.name}") if proxy else None
        self.token: str = token if self.reads_token else ""
        self.channel: str = channel
        self.username: str = username
        for setting, value in (("channel", channel), ("user name", username)):
            if self.has_rooms and not value:
                raise ValueError(f"no {setting} for {self.name}: expected one")
        self._content = content
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
        """Return the message in the chat's format."""

    def complaint(self, answer: str) -> str:
        """Return the error in the body of a successful answer; empty when there is none."""
        del answer
        return ""

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        """Send an alert. Raises WorldError after a temporary failure, and Refused when the room never takes it."""
        if notice.channel is not Channel.ALERT:
            return
        content = self._content(rollout, notice)
        message = Message(
            about=rollout.full_name,
            text=content.text,
            fields=content.fields,
            links=content.links,
            is_error=notice.severity is Severity.ERROR,
        )
        try:
            async for attempt in stamina.retry_context(
                on=_UnsettledError,
                attempts=CHAT_ATTEMPTS,
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
        answer = await self._send(payload)
        description = f"{self.name} answered with {describe_answer(answer, self._secrets)}"
        if answer.status in _TEMPORARY_STATUSES:
            raise _UnsettledError(description)
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise Refused(description)
        if complaint := self.complaint(answer.text):
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


_TEMPORARY_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, *range(500, 600)})


def _parse_url(address: str, name: str) -> URL:
    try:
        url = URL(address)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{name} is not a valid URL: expected one that begins with http:// or https://")
    return url


class _UnsettledError(Exception):
    """A temporary failure: another attempt may succeed."""
