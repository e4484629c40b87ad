"""Webhooks over HTTP: the port HookPort, and a Notifier that sends events.

    async with WebhookClient() as client:
        adapters = Adapters(hooks=client, notifiers=(EventHook(client),), ...)

The client calls a hook by POST with JSON: `name`, `namespace`, `phase`, `checksum` (of the revision) and the hook's
`metadata`. The hook passes with a status of at most 202. After a temporary failure (no connection, no answer in time,
429, most of 5xx) the client calls again, as often as the hook allows. Each call has an `Idempotency-Key`, the same for
all calls of one question.

A receiver may be hostile. So the client bounds the size and time of an answer, follows redirects to the same origin
only, and repeats the first line of a text only. Each namespace has its own session for each origin, so a receiver that
hangs takes no connection and no thread from another. No message has the path, query, user or password of a URL, which
may be secrets.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote
from weakref import WeakValueDictionary

import stamina
from attrs import frozen
from yarl import URL

from canarycore import Hook, HookType
from canarycore.notices import Channel
from canarycore.questions import HookAnswer
from canarycore_runtime.deliveries import Deliveries
from canarycore_runtime.http import (
    SHORT_ANSWER_LIMIT,
    AllowedHosts,
    ExchangeError,
    ForbiddenHost,
    InvalidRequest,
    RefusedRedirect,
    describe_answer,
    exchange,
    extract_secrets,
    first_line,
    open_connector,
    open_session,
)
from canarycore_runtime.pool import Pool
from canarycore_runtime.ports import HOOK_RETRIES, HOOK_TIMEOUT
from canarycore_runtime.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    import aiohttp

    from canarycore import Phase, Rollout
    from canarycore.notices import Notice
    from canarycore.questions import HookQuestion
    from canarycore_runtime.http import HttpAnswer
    from canarycore_runtime.ports import Clock

IDLE_SESSION = 120.0
"""Seconds without calls after which the session of a receiver closes."""

LOOKUPS = 128
"""Simultaneous look-ups of names per namespace, as many as its questions: a look-up that hangs outlives its call."""

EVENT_TYPE_PREFIX = "canarycore."
"""Prefix of the types of CloudEvents; the kind of the notice follows, such as `advanced-weight`."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
"""The headers of a call without further headers."""

_log = logging.getLogger("canarycore.hooks")
_ID_LENGTH = 32
_PLAIN_IN_HEADERS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '%"')
"""The characters that a CloudEvent's header has as they are; all others are percent-encoded."""
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 2.0
_TEMPORARY_STATUSES = frozenset(HTTPStatus) & {*range(500, 600), 429} - {HTTPStatus.NOT_IMPLEMENTED}
_INVALID_URL = "its url is not valid: expected one such as https://example.com/path"
"""The text for an invalid URL, without the URL, which may be a secret."""


@frozen
class _Receiver:
    """The key of a session: two namespaces never share one."""

    namespace: str
    origin: URL


class WebhookClient:
    """A client of webhooks, while its context is open."""

    def __init__(self, allowed: AllowedHosts | None = None) -> None:
        """Call the hooks of Canaries at the hosts in `allowed`, by default at any."""
        self._allowed = allowed or AllowedHosts()
        self._sessions: Pool[_Receiver, aiohttp.ClientSession] = Pool(
            self._open, group=lambda receiver: receiver.namespace, idle=IDLE_SESSION
        )
        self._threads: WeakValueDictionary[str, Threads] = WeakValueDictionary()
        self._is_open = False

    async def __aenter__(self) -> Self:
        await self._sessions.__aenter__()
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        await self._sessions.__aexit__(kind, error, trace)

    async def call(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
        """Call the hook of a question, with as many attempts as it allows."""
        hook = question.hook
        if refusal := self.refusal(hook):
            return HookAnswer(passed=False, text=refusal)
        payload = _payload(rollout, question.phase, question.revision, dict(hook.metadata))
        return await self.post(hook, payload, question.key, rollout.namespace)

    def refusal(self, hook: Hook) -> str:
        """Return the reason why a Canary must not have this hook; empty when it may."""
        try:
            self._allowed.check(hook.url)
        except ForbiddenHost as error:
            return str(error)
        except InvalidRequest:
            return _INVALID_URL
        return ""

    async def post(
        self,
        hook: Hook,
        payload: dict[str, Any],
        key: str,
        namespace: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> HookAnswer:
        """Send `payload` for a namespace, with these headers too. Each failure is an answer that did not pass.

        The caller checks `refusal` first, unless the hook is the operator's.
        """
        headers = {**headers, "Idempotency-Key": quote(key, safe="/@#:., ")}
        try:
            async for attempt in stamina.retry_context(
                on=_Unsettled,
                attempts=min(hook.retries, HOOK_RETRIES) + 1,
                timeout=None,
                wait_initial=_FIRST_WAIT,
                wait_max=_LONGEST_WAIT,
                wait_jitter=_FIRST_WAIT,
            ):
                with attempt:
                    return await self._attempt(hook, payload, headers, namespace)
        except _Unsettled as last:
            return last.answer
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(
        self, hook: Hook, payload: dict[str, Any], headers: Mapping[str, str], namespace: str
    ) -> HookAnswer:
        if not self._is_open:
            raise RuntimeError("the client is not open: use it inside `async with`")
        try:
            http_answer = await self._send(hook, payload, headers, namespace)
        except (InvalidRequest, ValueError):
            return HookAnswer(passed=False, text=_INVALID_URL)
        except RefusedRedirect as error:
            return HookAnswer(passed=False, text=str(error))
        except ExchangeError as error:
            raise _Unsettled(HookAnswer(passed=False, text=str(error))) from None
        answer = HookAnswer(
            passed=http_answer.status <= HTTPStatus.ACCEPTED, text=_text(http_answer, extract_secrets(URL(hook.url)))
        )
        if http_answer.status in _TEMPORARY_STATUSES:
            raise _Unsettled(answer)
        return answer

    def _open(self, receiver: _Receiver) -> aiohttp.ClientSession:
        """Open a session that looks up names in the threads of the namespace, which outlive the session."""
        threads = self._threads.get(receiver.namespace)
        if threads is None:
            threads = self._threads[receiver.namespace] = Threads(LOOKUPS)
        return open_session(connector=open_connector(threads))

    async def _send(
        self, hook: Hook, payload: dict[str, Any], headers: Mapping[str, str], namespace: str
    ) -> HttpAnswer:
        url = URL(hook.url)
        async with self._sessions.lend(_Receiver(namespace, url.origin())) as session:
            return await exchange(
                session,
                "POST",
                url,
                limit=SHORT_ANSWER_LIMIT,
                timeout=min(hook.timeout, HOOK_TIMEOUT),
                json=payload,
                headers=headers,
                ssl=not hook.disable_tls,
            )


class EventHook:
    """Sends events to webhooks of type event: the rollout's own, or the operator's where it has none.

    An event may also be a CloudEvent 1.0 in the binary mode: its attributes are headers, and the body stays the same.

    A hook that fails gets further attempts at an event (`DELIVERY_ATTEMPTS`). Then the notifier gives the event up and
    logs it.
    """

    def __init__(
        self,
        client: WebhookClient,
        default_receivers: str = "",
        clock: Clock = time.time,
        *,
        event_source: Callable[[Rollout], str] | None = None,
    ) -> None:
        """Call hooks by `client`. `default_receivers` is the URL of the operator's hook, at any host; empty: none.

        `event_source` returns the source of a rollout's CloudEvents, a URI reference; without it events are none.
        """
        self._client = client
        self._event_source = event_source
        self._default_hooks = (
            (Hook(name="event", type=HookType.EVENT, url=default_receivers),) if default_receivers else ()
        )
        self._clock = clock

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        """Send an event to each of the hooks. Raises WorldError when one of them needs another attempt."""
        await self.broadcast(rollout, notice, Deliveries())

    async def broadcast(self, rollout: Rollout, notice: Notice, deliveries: Deliveries) -> None:
        """Like `publish`, but skip the hooks that `deliveries` records as settled."""
        own_hooks = rollout.hooks_by_type[HookType.EVENT]
        hooks = own_hooks or self._default_hooks
        if notice.channel is not Channel.EVENT or not hooks:
            return

        async def send(hook: Hook) -> str:
            if own_hooks and (refusal := self._client.refusal(hook)):
                give_up(hook, refusal)
                return ""
            now = self._clock()
            headers = {}
            if self._event_source is not None:
                headers = _cloud_event(notice, self._event_source(rollout), now)
            payload = _event_payload(rollout, notice, hook, now)
            answer = await self._client.post(hook, payload, notice.key, rollout.namespace, headers)
            return "" if answer.passed else f"event hook {hook.name} failed: {answer.text}"

        def give_up(hook: Hook, reason: str) -> None:
            text = "%s: event hook %s gets no further attempt at the event: %s (%s)"
            _log.warning(text, rollout.full_name, hook.name, notice.text, reason)

        await deliveries.send_to_missing(hooks, send, give_up)


def _event_payload(rollout: Rollout, notice: Notice, hook: Hook, now: float) -> dict[str, Any]:
    event = {"eventMessage": notice.text, "eventType": notice.type, "timestamp": str(int(now * 1000))}
    return _payload(rollout, notice.phase, _revision(notice), {**dict(hook.metadata), **event})


def _cloud_event(notice: Notice, source: str, now: float) -> dict[str, str]:
    """Return the headers of an event as a CloudEvent. A repeat of the event has the same source and id."""
    attributes = {
        "specversion": "1.0",
        "id": hashlib.sha256(notice.key.encode(errors="replace")).hexdigest()[:_ID_LENGTH],
        "source": source,
        "type": f"{EVENT_TYPE_PREFIX}{notice.kind.name.lower().replace('_', '-')}",
        "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "subject": _revision(notice),
    }
    return {
        f"ce-{name}": quote(value, _PLAIN_IN_HEADERS, errors="replace") for name, value in attributes.items() if value
    }


def checksum(revision: str) -> str:
    """Return ten characters, the same for the same revision."""
    return hashlib.sha256(revision.encode()).hexdigest()[:10]


def _payload(rollout: Rollout, phase: Phase, revision: str, metadata: dict[str, str]) -> dict[str, Any]:
    return {
        "name": rollout.name,
        "namespace": rollout.namespace,
        "phase": phase.value,
        "checksum": checksum(revision),
        "metadata": metadata,
    }


def _text(http_answer: HttpAnswer, secrets: Iterable[str]) -> str:
    """Return the first line of an answer, as Flagger shows it, or else its status."""
    return first_line(http_answer, secrets) or describe_answer(http_answer)


def _revision(notice: Notice) -> str:
    """Return the revision of a notice: the part of its key before the first @."""
    return notice.key.partition("@")[0]


class _Unsettled(Exception):
    """An answer that another attempt may change; the last attempt returns it."""

    def __init__(self, answer: HookAnswer) -> None:
        super().__init__(answer.text)
        self.answer = answer
