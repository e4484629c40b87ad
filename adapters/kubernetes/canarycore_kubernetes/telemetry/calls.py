"""Calls of providers: how long each takes, and whether it fails.

    with measure_call(report, "metrics", "prometheus") as call:
        answer = await source.query(…)
        call.has_failed = bool(answer.error)

A cancelled call has no report.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from attrs import define, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from canarycore import Rollout
    from canarycore.questions import HookAnswer, HookQuestion
    from canarycore_runtime.ports import HookPort

ProviderPort = Literal["metrics", "notifiers", "hooks"]
"""The ports whose calls are measured."""


@frozen(kw_only=True)
class ProviderReport:
    """The report of one call of a provider."""

    port: ProviderPort
    provider: str
    """The name of its adapter, which an owner chooses."""
    seconds: float
    has_failed: bool


@define
class ProviderCall:
    """A call under way."""

    has_failed: bool = False
    """Whether the provider has answered with an error. An exception is a failure anyway."""


def ignore_call(_: ProviderReport) -> None:
    """Ignore a call."""


@contextmanager
def measure_call(report: Callable[[ProviderReport], None], port: ProviderPort, provider: str) -> Iterator[ProviderCall]:
    """Report a call at the end of the context."""
    call, began = ProviderCall(), time.perf_counter()

    def end(*, has_failed: bool) -> None:
        seconds = time.perf_counter() - began
        report(ProviderReport(port=port, provider=provider, seconds=seconds, has_failed=has_failed))

    try:
        yield call
    except Exception:
        end(has_failed=True)
        raise
    end(has_failed=call.has_failed)


class MeasuredHooks:
    """The hooks, with a report of each call. A hook that does not pass has failed, be it a closed gate."""

    def __init__(self, hooks: HookPort, report: Callable[[ProviderReport], None], provider: str) -> None:
        self._hooks = hooks
        self._report = report
        self._provider = provider

    async def call(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
        """Call the hook."""
        with measure_call(self._report, "hooks", self._provider) as call:
            answer = await self._hooks.call(rollout, question)
            call.has_failed = not answer.passed
        return answer
