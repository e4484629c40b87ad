"""The port Hook, answered on this machine. It calls no webhook; each answer names its substitute.

    rollout                    passes while the generator sends traffic, in place of a load test
    pre-rollout                passes when a ready canary process answers a request well, in place of acceptance tests
    confirm-… gates            open, closed or asked, as `gates` says; open by default
    rollback                   requests a rollback only if `gates` says so
    post-rollout, event        pass

It never runs a command of a manifest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp

from canarycore import HookType, Rollout
from canarycore.errors import WorldError
from canarycore.questions import HookAnswer, HookQuestion

if TYPE_CHECKING:
    from canarycore_local.requests.generator import Generator

Gate = bool | Callable[[HookQuestion], Awaitable[bool]]
"""Whether a gate is open (a rollback hook: whether it requests a rollback), or a function that returns it."""

Gates = Mapping[str, Gate]
"""Gates, by the names of their hooks."""

_PROBE = aiohttp.ClientTimeout(total=5.0)


class LocalHooks:
    """Hooks answered by the traffic generator, a probe of the canary, and a table of gates."""

    def __init__(self, generator: Generator, canary: Callable[[], str], gates: Gates) -> None:
        """Create the hooks. `canary` returns the URL of a ready canary process, or raises WorldError."""
        self._generator = generator
        self._canary = canary
        self._gates = gates
        self._answers = {
            HookType.ROLLOUT: self._traffic,
            HookType.PRE_ROLLOUT: self._probe,
            HookType.CONFIRM_ROLLOUT: self._open_gate,
            HookType.CONFIRM_TRAFFIC_INCREASE: self._open_gate,
            HookType.CONFIRM_PROMOTION: self._open_gate,
            HookType.ROLLBACK: self._rollback,
            HookType.POST_ROLLOUT: self._pass,
            HookType.EVENT: self._pass,
        }

    async def call(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
        """Answer the hook on this machine."""
        del rollout
        return await self._answers[question.hook.type](question)

    async def _traffic(self, _: HookQuestion) -> HookAnswer:
        is_running = self._generator.running
        text = "answered by the traffic generator" if is_running else "the traffic generator sends nothing"
        return HookAnswer(passed=is_running, text=text)

    async def _probe(self, _: HookQuestion) -> HookAnswer:
        try:
            address = self._canary()
            async with aiohttp.ClientSession(timeout=_PROBE) as session, session.get(address) as response:
                passed = response.status < HTTPStatus.BAD_REQUEST
                return HookAnswer(passed=passed, text=f"answered by GET / on the canary: status {response.status}")
        except (aiohttp.ClientError, TimeoutError, WorldError) as error:
            reason = f"{type(error).__name__} {error}".strip()
            return HookAnswer(passed=False, text=f"answered by GET / on the canary: {reason}")

    async def _open_gate(self, question: HookQuestion) -> HookAnswer:
        return await self._gate(question, default=True)

    async def _rollback(self, question: HookQuestion) -> HookAnswer:
        return await self._gate(question, default=False)

    async def _gate(self, question: HookQuestion, *, default: bool) -> HookAnswer:
        gate = self._gates.get(question.hook.name, default)
        return HookAnswer(passed=gate if isinstance(gate, bool) else await gate(question), text="answered by the user")

    async def _pass(self, _: HookQuestion) -> HookAnswer:
        return HookAnswer(passed=True, text="not called on this machine")


class PassingHooks:
    """Hooks that all pass without a call; a rollback hook requests no rollback."""

    async def call(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
        """Return passed, except for a rollback hook."""
        del rollout
        return HookAnswer(passed=question.hook.type is not HookType.ROLLBACK, text="not called on this machine")
