"""Webhooks over HTTP: the port Hook, and events as a Notifier.

    async with WebhookClient() as client:
        parts = Parts(hooks=client, notifiers=(EventHook(client),), ...)

A hook is told by POST, as JSON: `name`, `namespace`, `phase`, `checksum` (of the revision) and the hook's `metadata`.
It passes when the receiver answers with a status of at most 202; the answer's body is what it has to say. What may be
over in a moment (no connection, no answer in time, 429, most of 5xx) is tried again as often as the hook allows. Each
call carries an `Idempotency-Key`: the same for a repeat of the same question, another for a new one.
"""

from __future__ import annotations

import hashlib
import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import aiohttp
import stamina

from canarycore import Channel, Hook, HookAnswer, HookType
from canarycore_runtime.deliveries import Deliveries

if TYPE_CHECKING:
    from types import TracebackType

    from canarycore import HookQuestion, Notice, Phase, Rollout
    from canarycore_runtime.ports import Clock

_log = logging.getLogger("canarycore.hooks")
_LONGEST_ANSWER = 64 * 1024
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 2.0
_AGAIN = frozenset(HTTPStatus) & {*range(500, 600), 429} - {HTTPStatus.NOT_IMPLEMENTED}


class WebhookClient:
    """Calls webhooks, while its context is open."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
        """Put the question to its receiver, as often as the hook allows."""
        payload = _payload(rollout, question.phase, question.revision, dict(question.hook.metadata))
        return await self.post(question.hook, payload, question.key)

    async def post(self, hook: Hook, payload: dict[str, Any], key: str) -> HookAnswer:
        """Send `payload`; whatever goes wrong is an answer that did not pass."""
        try:
            async for attempt in stamina.retry_context(
                on=_Unsettled,
                attempts=hook.retries + 1,
                timeout=None,
                wait_initial=_FIRST_WAIT,
                wait_max=_LONGEST_WAIT,
                wait_jitter=_FIRST_WAIT,
            ):
                with attempt:
                    return await self._attempt(hook, payload, key)
        except _Unsettled as last:
            return last.answer
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(self, hook: Hook, payload: dict[str, Any], key: str) -> HookAnswer:
        if self._session is None:
            raise RuntimeError("the client is not open: use it inside `async with`")
        try:
            async with self._session.post(
                hook.url,
                json=payload,
                headers={"Idempotency-Key": quote(key, safe="/@#:., ")},
                timeout=aiohttp.ClientTimeout(total=hook.timeout),
                ssl=not hook.disable_tls,
            ) as response:
                text = (await response.content.read(_LONGEST_ANSWER)).decode(errors="replace")
        except aiohttp.InvalidURL:
            return HookAnswer(passed=False, text="its url is not valid")  # and may be a secret
        except TimeoutError:
            raise _Unsettled(HookAnswer(passed=False, text=f"no answer within {hook.timeout:g} s")) from None
        except aiohttp.ClientError as error:
            raise _Unsettled(HookAnswer(passed=False, text=str(error) or type(error).__name__)) from error
        answer = HookAnswer(passed=response.status <= HTTPStatus.ACCEPTED, text=text)
        if response.status in _AGAIN:
            raise _Unsettled(answer)
        return answer


class EventHook:
    """Tells events to webhooks of type event: the rollout's own, or `everybody`'s where it has none.

    An event that a hook did not take is told again, and then only to those that have not heard it, but not for ever: an
    old event helps nobody. Then it goes to the log.
    """

    def __init__(self, client: WebhookClient, everybody: str = "", clock: Clock = time.time) -> None:
        self._client = client
        self._everybody = (Hook(name="event", type=HookType.EVENT, url=everybody),) if everybody else ()
        self._clock = clock
        self._deliveries = Deliveries()

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        """Tell each of the hooks. Raises WorldError when one of them should be told again."""
        hooks = rollout.hooks_by_type[HookType.EVENT] or self._everybody
        if notice.channel is not Channel.EVENT or not hooks:
            return

        async def tell(hook: Hook) -> str:
            answer = await self._client.post(hook, self._told(rollout, notice, hook), notice.key)
            return "" if answer.passed else f"event hook {hook.name} failed: {answer.text}"

        def give_up(hook: Hook, why: str) -> None:
            text = "%s: event hook %s is not told any more: %s (%s)"
            _log.warning(text, rollout.full_name, hook.name, notice.text, why)

        await self._deliveries.tell((rollout.full_name, notice.key), hooks, tell, give_up)

    def _told(self, rollout: Rollout, notice: Notice, hook: Hook) -> dict[str, Any]:
        event = {
            "eventMessage": notice.text,
            "eventType": notice.type,
            "timestamp": str(int(self._clock() * 1000)),
        }
        return _payload(rollout, notice.phase, _revision(notice), {**dict(hook.metadata), **event})


def checksum(revision: str) -> str:
    """Ten characters that are the same for the same revision."""
    return hashlib.sha256(revision.encode()).hexdigest()[:10]


def _payload(rollout: Rollout, phase: Phase, revision: str, metadata: dict[str, str]) -> dict[str, Any]:
    return {
        "name": rollout.name,
        "namespace": rollout.namespace,
        "phase": phase.value,
        "checksum": checksum(revision),
        "metadata": metadata,
    }


def _revision(notice: Notice) -> str:
    """A notice's key begins with the revision it is about, up to the first @."""
    return notice.key.partition("@")[0]


class _Unsettled(Exception):
    """An answer that another attempt may change; it becomes an error only when there is no attempt left."""

    def __init__(self, answer: HookAnswer) -> None:
        super().__init__(answer.text)
        self.answer = answer
