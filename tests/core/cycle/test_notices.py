"""The owner's notices: Flagger's texts in Flagger's order, at least once, under stable keys."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import HookType, Phase
from canarycore.errors import WorldError
from canarycore.notices import Channel, Notice, NoticeKind, Severity
from canarycore.simulation import AnswerHook, Deploy, Fault, FaultKind, SetMetrics, SimulatedCluster, scripted
from tests.core.scenarios import HOOKED, POLICIES, SITUATIONS, hook, idle, play, policy

NAMES = policy().names

PROMOTION_TEXTS = [
    "New revision detected! Scaling up podinfo.test",
    "New revision detected, progressing canary analysis.",
    "Starting canary analysis for podinfo.test",
    "Advance podinfo.test canary weight 20",
    "Advance podinfo.test canary weight 60",
    "Copying podinfo.test template spec to podinfo-primary.test",
    "Routing all traffic to primary",
    "Promotion completed! Scaling down podinfo.test",
    "Canary analysis completed successfully, promotion finished.",
]

ROLLED_BACK = [
    "New revision detected! Scaling up podinfo.test",
    "New revision detected, progressing canary analysis.",
    "Starting canary analysis for podinfo.test",
    "Advance podinfo.test canary weight 20",
    "Halt podinfo.test advancement success rate 98.00% < 99%",
    "Halt podinfo.test advancement success rate 98.00% < 99%",
    "Rolling back podinfo.test failed checks threshold reached 2",
    "Failed checks threshold reached 2",
    "Canary failed! Scaling down podinfo.test",
]

STEPPED_BACK = ["Advance podinfo.test primary weight 70", "Advance podinfo.test primary weight 100"]

ITERATED = ["Advance podinfo.test canary iteration 1/2", "Advance podinfo.test canary iteration 2/2"]


def test_the_notices_of_a_promotion():
    assert play(policy(), SITUATIONS["promoted"]).texts == PROMOTION_TEXTS


def test_the_notices_of_a_rollback():
    assert play(policy(), SITUATIONS["rolled back"]).texts == ROLLED_BACK


def test_the_notices_of_promotion_steps():
    texts = play(POLICIES["weights and promotion steps"], SITUATIONS["promoted"]).texts
    assert [text for text in texts if "primary weight" in text] == STEPPED_BACK


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("blue/green", "Routing all traffic to canary"),
        ("blue/green with a mirror", "Stop traffic mirroring and route all traffic to canary"),
    ],
)
def test_the_notices_of_iterations(name, last):
    texts = play(POLICIES[name], SITUATIONS["promoted"]).texts
    assert texts[3:6] == [*ITERATED, last]


def test_the_notices_of_an_initialisation():
    texts = SimulatedCluster(policy(checks=())).do(Deploy("v1")).run().texts
    assert texts[-2:] == ["Initialization done! podinfo.test", "New Deployment detected, initialization completed."]


@pytest.mark.parametrize("kind", NoticeKind)
def test_every_text_prints_with_its_names(kind):
    notice = Notice(kind, "key", Phase.PROGRESSING, NAMES, ("0", "1"))
    assert "{" not in notice.text
    assert notice.channel is (Channel.EVENT if notice.severity is None else Channel.ALERT)


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        (NoticeKind.ROLLING_BACK_CHECKS_ALERT, Severity.ERROR),
        (NoticeKind.ROLLING_BACK_HOOK_ALERT, Severity.WARN),
        (NoticeKind.GATE_ROLLOUT_ALERT, Severity.WARN),
        (NoticeKind.SUCCEEDED_ALERT, Severity.INFO),
    ],
)
def test_alerts_have_flaggers_severities(kind, severity):
    assert kind.value.severity is severity


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_key_has_one_text(situation):
    world = play(policy(), SITUATIONS[situation])
    texts: dict[str, set[str]] = {}
    for notice in world.notices:
        texts.setdefault(notice.key, set()).add(notice.text)
    assert [group for group in texts.values() if len(group) > 1] == []


@pytest.mark.parametrize("situation", SITUATIONS)
def test_without_faults_no_notice_repeats(situation):
    keys = [notice.key for notice in play(policy(), SITUATIONS[situation]).notices]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("situation", ["promoted", "rolled back", "primary never takes over", "hooks and gates"])
def test_a_crash_before_any_notice_loses_no_committed_one(situation):
    plain = play(policy(), SITUATIONS[situation])
    outboxes = [record.committed.outbox for record in plain.history if record.committed]
    expected = {notice.text for outbox in outboxes for notice in outbox}
    for write in plain.writes:
        if isinstance(write.of, Notice):
            world = play(policy(), SITUATIONS[situation], (Fault(FaultKind.CRASH_BEFORE, write.number),))
            assert expected <= set(world.texts)


def test_a_retry_of_a_failed_notifier_uses_the_same_key():
    plain = play(policy(), SITUATIONS["promoted"])
    write = next(write for write in plain.writes if isinstance(write.of, Notice))
    world = play(policy(), SITUATIONS["promoted"], (Fault(FaultKind.LOST, write.number, 1),))
    assert [notice.key for notice in world.notices].count(write.of.key) == 1
    assert any(isinstance(trouble, WorldError) for record in world.history for trouble in record.troubles)


def test_hooks_come_in_order_with_their_phase():
    world = idle(policy(hooks=HOOKED)).do(Deploy("v2")).run()
    calls = [(call.hook.type, call.phase) for call in world.calls]
    is_advancing = [
        (HookType.ROLLOUT, Phase.PROGRESSING),
        (HookType.CONFIRM_TRAFFIC_INCREASE, Phase.PROGRESSING),
    ]
    assert calls == [
        (HookType.CONFIRM_ROLLOUT, Phase.INITIALIZED),
        (HookType.PRE_ROLLOUT, Phase.PROGRESSING),
        (HookType.CONFIRM_TRAFFIC_INCREASE, Phase.PROGRESSING),
        *is_advancing,
        *is_advancing,
        (HookType.CONFIRM_PROMOTION, Phase.PROGRESSING),
        (HookType.POST_ROLLOUT, Phase.SUCCEEDED),
    ]


def test_hooks_of_a_type_stop_at_the_first_failure():
    twice = (hook(HookType.ROLLOUT, "first"), hook(HookType.ROLLOUT, "second"))
    world = idle(policy(hooks=twice, threshold=1)).do(AnswerHook("first", (False,)), Deploy("v2")).run()
    assert [call.hook.name for call in world.calls] == ["first"]


def test_a_failed_hook_prevents_the_metrics():
    world = idle(policy(hooks=(hook(HookType.ROLLOUT),), threshold=1)).do(AnswerHook("rollout", (False,)), Deploy("v2"))
    world.run()
    assert not any(record.decision.explanation.judgements for record in world.history)


def test_gates_are_asked_only_after_a_pass():
    gated = policy(hooks=(hook(HookType.CONFIRM_PROMOTION),), threshold=2)
    world = idle(gated).do(SetMetrics(scripted(request_success_rate=(100.0, 0.0, 0.0))), Deploy("v2")).run()
    assert world.phase is Phase.FAILED
    assert world.calls == []


def test_each_poll_of_a_closed_gate_has_a_new_key():
    world = idle(policy(hooks=(hook(HookType.CONFIRM_PROMOTION),)))
    world.do(AnswerHook("confirm-promotion", (False,)), Deploy("v2")).run(until=150.0)
    keys = [call.key for call in world.calls]
    assert len(keys) > 5
    assert len(set(keys)) == len(keys)


def test_a_muted_gate_sends_no_alert():
    muted = policy(hooks=(hook(HookType.CONFIRM_ROLLOUT, mute_alert=True),))
    world = idle(muted).do(AnswerHook("confirm-rollout", (False,)), Deploy("v2")).run(until=50.0)
    assert world.phase is Phase.WAITING
    assert [notice for notice in world.notices if notice.severity is not None] == []


@pytest.mark.parametrize(
    ("situation", "phase"), [("promoted", Phase.SUCCEEDED), ("rolled back", Phase.FAILED), ("aborted", Phase.FAILED)]
)
def test_post_rollout_hooks_run_once_with_the_last_phase(situation, phase):
    rollout = policy(hooks=(hook(HookType.POST_ROLLOUT),))
    world = play(rollout, SITUATIONS[situation])
    assert [(call.hook.type, call.phase) for call in world.calls] == [(HookType.POST_ROLLOUT, phase)]


def test_a_restarted_process_repeats_only_unconfirmed_notices():
    world = play(policy(), SITUATIONS["promoted"])
    before = len(world.notices)
    outbox = {notice.key for notice in world.status.outbox}
    world.restart().run()
    assert {notice.key for notice in world.notices[before:]} <= outbox


def test_the_names_in_texts_follow_the_kind_of_the_target():
    daemon = policy()
    daemon = evolve(daemon, target=evolve(daemon.target, kind="DaemonSet"))
    texts = SimulatedCluster(daemon).do(Deploy("v1")).run().texts
    assert texts[-1] == "New DaemonSet detected, initialization completed."
