"""The measured calls of providers: an error of the provider is a failure, and a cancelled call counts for nothing."""

from __future__ import annotations

import asyncio

import pytest

from canarycore import Rollout, TargetRef
from canarycore.errors import WorldError
from canarycore.questions import HookAnswer
from canarycore_kubernetes.telemetry.calls import MeasuredHooks, measure_call

ROLLOUT = Rollout(name="podinfo", namespace="test", target=TargetRef(name="podinfo"), skip_analysis=True)


@pytest.fixture
def reports():
    return []


@pytest.mark.parametrize("has_failed", [True, False])
def test_a_call_fails_by_its_answer(reports, has_failed):
    with measure_call(reports.append, "metrics", "prometheus") as call:
        call.has_failed = has_failed
    assert [(report.port, report.provider, report.has_failed) for report in reports] == [
        ("metrics", "prometheus", has_failed)
    ]


def test_a_call_that_raises_an_error_has_failed(reports):
    with pytest.raises(WorldError), measure_call(reports.append, "notifiers", "slack"):
        raise WorldError("no answer")
    assert [report.has_failed for report in reports] == [True]


def test_a_cancelled_call_has_no_report(reports):
    with pytest.raises(asyncio.CancelledError), measure_call(reports.append, "hooks", "http"):
        raise asyncio.CancelledError
    assert reports == []


class Receiver:
    """Answers each hook in the same way."""

    def __init__(self, answer):
        self.answer = answer

    async def call(self, rollout, question):
        return self.answer


@pytest.mark.parametrize("passed", [True, False])
async def test_a_hook_is_measured(reports, passed):
    answer = HookAnswer(passed=passed, text="text")
    assert await MeasuredHooks(Receiver(answer), reports.append, "http").call(ROLLOUT, question=None) is answer
    assert [(report.provider, report.has_failed) for report in reports] == [("http", not passed)]
