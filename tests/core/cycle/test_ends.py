"""The result of a cycle: it lists the effects that happened, and no others."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import CommandKind, HookType, NoData, Observation, Phase, Reason, Routes, Rung, Status, Workload, cycle
from canarycore.driver import Apply, Commit, CycleMemory, Fetch, Observe, Observed, Publish
from canarycore.effects import SetRoutes
from canarycore.errors import Conflict, WorldError
from canarycore.questions import MetricAnswer
from canarycore.simulation import NEVER, AnswerHook, Deploy, RemoveTarget, SendCommand, SetMetrics, SetPace, scripted
from canarycore.traffic import Affinity
from tests.core.scenarios import DURATION, SUCCESS_RATE, at, hook, idle, policy

PODS = {"desired": 2, "updated": 2, "ready": 2, "total": 2}
STATUS = Status(phase=Phase.PROGRESSING, since=0.0, rung=Rung(weight=20), applied="v2", promoted="v1")
DUE = Observation(
    now=60.0,
    target=Workload(revision="v2", **PODS),
    primary=Workload(revision="v1", **PODS),
    routes=Routes(weight=20),
)


def ended(request_type: type, error: Exception):
    """Run one cycle that would advance, throw `error` at its first request of this type, and return its result."""
    turn, met = cycle(CycleMemory()), False
    request = next(turn)
    try:
        while True:
            if isinstance(request, request_type) and not met:
                met, request = True, turn.throw(error)
            elif isinstance(request, Observe):
                request = turn.send(Observed(policy(), STATUS, DUE))
            elif isinstance(request, Fetch):
                request = turn.send({question.key: MetricAnswer(value=100.0) for question in request.questions})
            else:
                request = turn.send(None)
    except StopIteration as end:
        return end.value


@pytest.mark.parametrize("error", [Conflict("another was first"), WorldError("no answer")], ids=["conflict", "error"])
def test_a_failed_commit_ends_the_cycle_and_wakes_the_next_at_once(error):
    rest = ended(Commit, error)
    assert (rest.decision, rest.wake, rest.effects, rest.errors) == (None, DUE.now, (), (error,))


def test_a_cycle_lists_its_effects_in_order():
    rest = ended(Publish, WorldError("nobody hears"))
    assert rest.effects == (SetRoutes(Routes(weight=60)),)


def test_a_failed_effect_is_not_listed():
    error = WorldError("the mesh is away")
    rest = ended(Apply, error)
    assert (rest.effects, rest.errors, rest.wake) == ((), (error,), DUE.now)


@pytest.mark.parametrize(
    ("no_data", "part"),
    [(NoData.FAIL, "no values found"), (NoData.HOLD, "request duration")],
    ids=["the first", "the bad one, as the other holds"],
)
def test_the_notice_is_about_one_check_that_does_not_pass(no_data, part):
    rollout = policy(checks=(SUCCESS_RATE, DURATION), no_data=no_data)
    world = idle(rollout).do(SetMetrics(scripted(request_success_rate=(None,), request_duration=(900.0,))))
    world.do(Deploy("v2")).run(until=lambda cluster: cluster.status.failed_checks == 1)
    assert part in next(text for text in world.texts if text.startswith("Halt"))


def test_an_unready_canary_has_its_own_notice_beside_a_rollback_hook():
    world = idle(policy(hooks=(hook(HookType.ROLLBACK),))).do(AnswerHook("rollback", (False,)))
    world.do(Deploy("v2"), SetPace("v2", NEVER)).run(until=15.0)
    texts = [text for text in world.texts if text.startswith("canary deployment podinfo.test not ready")]
    assert texts
    assert not [text for text in texts if "does not exist" in text]


def test_a_waiting_rollout_sets_no_session_cookie():
    rollout = policy(affinity=Affinity(cookie_name="canary"), hooks=(hook(HookType.CONFIRM_ROLLOUT),))
    world = idle(rollout).do(AnswerHook("confirm-rollout", (False,)), Deploy("v2")).run(until=30.0)
    assert (world.phase, world.state.routes) == (Phase.WAITING, Routes())


def test_a_waiting_rollout_without_a_target_can_be_aborted():
    world = at(Phase.WAITING).do(RemoveTarget(), SendCommand(CommandKind.ABORT)).run(until=5.0)
    assert (world.phase, world.status.reason, world.status.paused) == (Phase.FAILED, Reason.ABORTED, False)


def test_a_pause_ends_with_its_rollout():
    paused = at(Phase.PROGRESSING).do(SendCommand(CommandKind.PAUSE)).run(until=1.0)
    assert paused.do(SendCommand(CommandKind.ABORT)).run(until=5.0).status.paused is False
    paused = at(Phase.PROGRESSING).do(SendCommand(CommandKind.PAUSE)).run(until=1.0)
    assert paused.do(Deploy("v1")).run(until=5.0).status.paused is False


@pytest.mark.parametrize("value", [-1, 101])
def test_a_percentage_out_of_its_range_is_refused_by_its_name(value):
    with pytest.raises(ValueError, match="primary_ready"):
        evolve(policy(), primary_ready=value)


def test_an_error_names_the_unanswered_questions():
    turn = cycle(CycleMemory())
    next(turn)
    fetch = turn.send(Observed(policy(), STATUS, DUE))
    with pytest.raises(StopIteration) as end:
        turn.send({})
    (error,) = end.value.value.errors
    assert fetch.questions[0].key in str(error)
