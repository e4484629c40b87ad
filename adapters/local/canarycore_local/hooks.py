"""The port Hook, answered on this machine: nothing is called, and each answer says what stood in for the call.

    rollout                    passes while the generator sends traffic: it plays the load test
    pre-rollout                passes when a ready canary process answers a request well: it stands for acceptance tests
    confirm-… gates            as the owner said: open or closed, or asked when the gate is; open by default
    rollback                   asks for a rollback only if the owner said so
    post-rollout, event        pass

No command of a manifest is ever run.
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
"""Whether a gate is open (a rollback hook: whether it asks for one), or how to find out."""

Gates = Mapping[str, Gate]
"""Gates by the names of their hooks."""

_PROBE = aiohttp.ClientTimeout(total=5.0)


class LocalHooks:
    """Hooks played by the generator, a probe of the canary, and the owner's word on gates.

    canary: tells where a ready canary process answers, or raises WorldError.
    """

    def __init__(self, generator: Generator, canary: Callable[[], str], gates: Gates) -> None:
        self._generator = generator
        self._canary = canary
        self._gates = gates
        self._plays = {
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
        """What the hook would say, as far as this machine can tell."""
        del rollout
        return await self._plays[question.hook.type](question)

    async def _traffic(self, _: HookQuestion) -> HookAnswer:
        sending = self._generator.running
        return HookAnswer(passed=sending, text="played by the traffic generator" if sending else "no traffic is sent")

    async def _probe(self, _: HookQuestion) -> HookAnswer:
        try:
            address = self._canary()
            async with aiohttp.ClientSession(timeout=_PROBE) as session, session.get(address) as response:
                passed = response.status < HTTPStatus.BAD_REQUEST
                return HookAnswer(passed=passed, text=f"played by GET / on the canary: status {response.status}")
        except (aiohttp.ClientError, TimeoutError, WorldError) as error:
            reason = f"{type(error).__name__} {error}".strip()
            return HookAnswer(passed=False, text=f"played by GET / on the canary: {reason}")

    async def _open_gate(self, question: HookQuestion) -> HookAnswer:
        return await self._gate(question, unsaid=True)

    async def _rollback(self, question: HookQuestion) -> HookAnswer:
        return await self._gate(question, unsaid=False)

    async def _gate(self, question: HookQuestion, *, unsaid: bool) -> HookAnswer:
        gate = self._gates.get(question.hook.name, unsaid)
        return HookAnswer(passed=gate if isinstance(gate, bool) else await gate(question), text="by the owner's word")

    async def _pass(self, _: HookQuestion) -> HookAnswer:
        return HookAnswer(passed=True, text="not called here")


class PassingHooks:
    """Every hook passes without being called; a rollback hook asks for no rollback."""

    async def call(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
        """Passed, unless that would mean a rollback."""
        del rollout
        return HookAnswer(passed=question.hook.type is not HookType.ROLLBACK, text="not called here")
