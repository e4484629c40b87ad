"""The results in a status: the last analysis, and the reason of the last end."""

from __future__ import annotations

import math

import pytest

from canarycore import Check, CheckKind, CommandKind, HookType, Phase, Reason, Status, Verdict, judge
from canarycore.bounds import TEXT
from canarycore.codec import to_json
from canarycore.notices import Channel
from canarycore.phases import FINISHED
from canarycore.questions import HookAnswer, MetricAnswer
from canarycore.results import (
    LONGEST_DETAIL,
    MOST_RESULTS,
    AnalysisResult,
    CheckResult,
    RolloutEnd,
    summarise_analysis,
    summarise_end,
)
from canarycore.simulation import NEVER, AnswerHook, ByRevision, Deploy, SendCommand, SetMetrics, SetPace
from tests.core.scenarios import POLICIES, hook, idle, is_advancing, policy, rolled_back, withdrawn

BAD = SetMetrics(ByRevision(bad=("v2",)))


def has_halted(world):
    return world.status.failed_checks == 1


def end_of(world):
    world.run(until=lambda world: world.phase in FINISHED)
    assert world.status.end is not None
    return world.status.end


def test_a_rollback_keeps_check_value_range_revision_and_time():
    world = idle(policy())
    rolled_back(world)
    end = world.status.end
    (result,) = end.analysis.checks
    assert (end.phase, end.reason, end.revision, end.at) == (Phase.FAILED, Reason.CHECKS, "v2", world.status.since)
    assert (result.name, result.verdict, result.minimum) == ("request-success-rate", Verdict.FAIL, 99.0)
    assert result.value < 99.0
    assert "threshold reached 2; request-success-rate" in str(end)
    assert "fail (expected at least 99" in str(end)


def test_an_analysis_under_way_keeps_its_last_result():
    world = idle(policy())
    world.do(Deploy("v2"), BAD).run(until=has_halted)
    analysis = world.status.analysis
    assert (analysis.revision, analysis.weight, analysis.at) == ("v2", 20, world.status.analysed_at)
    assert analysis.failures.startswith("request-success-rate")


@pytest.mark.parametrize("name", POLICIES)
def test_each_policy_keeps_the_end_of_a_success_and_of_a_failure(name):
    world = idle(POLICIES[name])
    rolled_back(world)
    assert (world.status.end.phase, bool(world.status.end.failures)) == (Phase.FAILED, True)
    world.do(Deploy("v3")).run()
    assert (world.status.end.phase, world.status.end.revision, world.status.end.cause) == (Phase.SUCCEEDED, "v3", "")


def test_the_next_rollout_keeps_the_last_end_and_forgets_the_last_analysis():
    world = idle(policy())
    rolled_back(world)
    world.do(Deploy("v3")).run(until=lambda world: world.phase is Phase.PROGRESSING)
    assert (world.status.end.revision, world.status.analysis) == ("v2", None)


def test_a_withdrawn_rollout_ends_with_its_revision():
    world = idle(policy())
    withdrawn(world)
    assert (world.status.end.reason, world.status.end.revision) == (Reason.WITHDRAWN, "v2")


def test_an_abort_names_the_command():
    world = idle(policy())
    world.do(Deploy("v2")).run(until=is_advancing).do(SendCommand(CommandKind.ABORT, id="abort 1"))
    assert end_of(world).cause == "Rolling back podinfo.test aborted by command abort 1"


def test_a_late_canary_names_its_pods():
    world = idle(policy())
    world.do(SetPace("v2", NEVER), Deploy("v2"))
    assert "progress deadline exceeded" in end_of(world).cause


def test_a_rollback_hook_is_named():
    world = idle(policy(hooks=(hook(HookType.ROLLBACK, "stop"),)))
    world.do(AnswerHook("stop", (False,)), Deploy("v2")).run(until=is_advancing).do(AnswerHook("stop", (True,)))
    end = end_of(world)
    assert (end.reason, end.cause) == (Reason.HOOK, "Rollback check stop passed")


def test_a_failed_hook_of_the_analysis_keeps_its_answer():
    world = idle(policy(hooks=(hook(HookType.ROLLOUT, "smoke"),)))
    world.do(AnswerHook("smoke", ("500 database is away",)), Deploy("v2"))
    assert "hook smoke failed (500 database is away)" in end_of(world).cause


def test_an_alert_of_a_rollback_has_the_reason_beside_flaggers_text():
    world = idle(policy())
    rolled_back(world)
    alerts = [notice for record in world.history for notice in record.decision.notices if notice.detail]
    assert {notice.text for notice in alerts} == {"Failed checks threshold reached 2"}
    assert {notice.channel for notice in alerts} == {Channel.ALERT}
    assert all("expected at least 99" in notice.detail for notice in alerts)


def test_results_are_bounded():
    checks = [Check(name="n" * TEXT.most, kind=CheckKind.QUERY, maximum=1.0) for _ in range(500)]
    judgements = [judge(check, MetricAnswer(error="\x1b€" * 9_000)) for check in checks]
    answers = [(hook(HookType.ROLLOUT, "h" * TEXT.most), HookAnswer(passed=False, text="t" * 9_000))]
    analysis = summarise_analysis(answers, judgements, at=1.0, revision="v" * 9_000, weight=20, iteration=0)
    end = summarise_end(Phase.FAILED, Reason.CHECKS, at=1.0, revision="v2", detail="d" * 9_000, analysis=analysis)
    assert (len(analysis.checks), analysis.omitted) == (MOST_RESULTS, 500 - MOST_RESULTS)
    assert all(len(check.error) <= LONGEST_DETAIL for check in analysis.checks)
    assert len(to_json(end)) < 2**14


def test_failed_checks_come_first():
    checks = [Check(name=f"check {number}", kind=CheckKind.QUERY, maximum=10.0) for number in range(20)]
    judgements = [judge(check, MetricAnswer(value=float(number))) for number, check in enumerate(checks)]
    analysis = summarise_analysis((), judgements, at=1.0, revision="v2", weight=20, iteration=0)
    assert [check.name for check in analysis.checks] == [f"check {number}" for number in range(11, 11 + MOST_RESULTS)]


def test_no_decision_depends_on_the_results():
    analysis = AnalysisResult(1.0, "v2", checks=(CheckResult("a", Verdict.PASS),))
    status = Status(analysis=analysis, end=RolloutEnd(1.0, Phase.FAILED, Reason.CHECKS, "v2"))
    assert status == Status()
    assert hash(status) == hash(Status())


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (CheckResult("a", Verdict.PASS, 1.5, None, 2.0), "a 1.5: pass (expected at most 2)"),
        (CheckResult("a", Verdict.FAIL, 1.5, 2.0, 3.0, 40), "a 1.5: fail (expected 2 to 3, 40 requests)"),
        (CheckResult("a", Verdict.NO_DATA), "a: no data"),
        (CheckResult("a", Verdict.ERROR, math.inf, error="the value is +Inf"), "a inf: error (the value is +Inf)"),
    ],
)
def test_a_result_prints_as_a_sentence(result, text):
    assert str(result) == text
