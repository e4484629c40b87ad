"""Rollouts that are not Deployments: in place, in tenths of a percent, without replicas, with texts of their own."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given

from canarycore import CommandKind, Ladder, Phase, Routes, Workload, converge, goal
from canarycore.codec import from_json, to_json
from canarycore.effects import Promote, ScaleDown, ScaleUp, SetRoutes
from canarycore.notices import Notice, NoticeKind, placeholders
from canarycore.simulation import ByRevision, Deploy, Edit, SendCommand, SetMetrics, SimulatedCluster, State
from canarycore.testing import strategies as some
from tests.core.scenarios import idle, policy

IN_PLACE = policy(ladder=Ladder(steps=(5, 200), tenths=True, in_place=True), drain=0.0)


def effects(world):
    return [effect for record in world.history for effect in record.effects]


def notices(world):
    return [notice for record in world.history for notice in record.notices]


def weights(world):
    return [effect.routes.percent for effect in effects(world) if isinstance(effect, SetRoutes)]


def pointer(rollout=IN_PLACE):
    """Return a cluster of a thing without replicas, with version v1 promoted."""
    state = State(rollout=rollout, has_replicas=False)
    world = SimulatedCluster(rollout, state=state).do(Deploy("v1")).run()
    world.history.clear()
    return world


def test_a_rollout_in_place_promotes_the_version_that_has_all_requests():
    world = pointer().do(Deploy("v2")).run()
    assert world.status.phase is Phase.SUCCEEDED
    assert weights(world) == [0.5, 20, 100, 0]
    order = [effect for effect in effects(world) if isinstance(effect, Promote | SetRoutes)]
    assert order[-2:] == [Promote("v2"), SetRoutes(Routes())]


def test_the_promotion_in_place_takes_no_interval_and_moves_no_traffic_back():
    world = pointer().do(Deploy("v2")).run(until=lambda world: world.status.phase is Phase.PROMOTING)
    begin = world.state.now
    world.run()
    assert world.status.since - begin < IN_PLACE.interval
    assert not {NoticeKind.ALL_TO_PRIMARY, NoticeKind.PRIMARY_WEIGHT} & {notice.kind for notice in notices(world)}


def test_a_bad_version_in_place_leaves_the_stable_one():
    world = pointer().do(SetMetrics(ByRevision(bad=("v2",))), Deploy("v2")).run()
    assert (world.status.phase, world.state.primary.revision, world.state.routes) == (Phase.FAILED, "v1", Routes())
    assert not any(isinstance(effect, Promote) for effect in effects(world))


def test_a_rollout_in_place_with_replicas_ends_in_the_same_way():
    world = idle(IN_PLACE).do(Deploy("v2")).run()
    assert world.status.phase is Phase.SUCCEEDED
    assert world.state.primary.revision == "v2"


@pytest.mark.parametrize("metrics", [ByRevision(), ByRevision(bad=("v2",))])
def test_nothing_scales_a_thing_without_replicas(metrics):
    world = pointer(evolve(IN_PLACE, ladder=Ladder(steps=(50,)))).do(SetMetrics(metrics), Deploy("v2")).run()
    assert world.status.is_settled
    assert not any(isinstance(effect, ScaleUp | ScaleDown) for effect in effects(world))
    assert NoticeKind.SCALED_BY_HAND not in {notice.kind for notice in notices(world)}


@given(some.rollouts(), some.statuses(), some.observations())
def test_no_plan_scales_a_target_without_replicas(rollout, status, observation):
    if observation.target is None:
        return
    observation = evolve(observation, target=evolve(observation.target, has_replicas=False))
    plan = converge(goal(rollout, status), observation)
    assert not any(isinstance(effect, ScaleUp | ScaleDown) for effect in plan.effects)


def test_a_target_without_replicas_keeps_its_default():
    assert Workload(revision="v1", desired=1, updated=1, ready=1, total=1).has_replicas


def test_texts_in_tenths_are_in_percent():
    texts = [notice.text for notice in notices(pointer().do(Deploy("v2")).run())]
    assert f"Advance {IN_PLACE.full_name} canary weight 0.5" in texts


def test_a_command_skips_to_a_weight_in_the_unit_of_the_ladder():
    world = pointer().do(Deploy("v2")).run(until=Phase.PROGRESSING)
    world.do(SendCommand(CommandKind.SKIP_TO, weight=999)).run(until=lambda world: world.status.rung.weight == 999)
    assert str(world.status.rung) == "weight 99.9"


def test_an_edit_to_a_ladder_in_tenths_keeps_the_share_of_requests():
    coarse = evolve(IN_PLACE, ladder=Ladder(steps=(2, 50)))
    world = pointer(coarse).do(Deploy("v2")).run(until=lambda world: world.status.rung.weight == 2)
    world.do(Edit(IN_PLACE)).run(until=lambda world: world.status.rung.permille > 20)
    assert weights(world) == [2, 20]


# texts --------------------------------------------------------------------------------------------------------------

OWN = {
    NoticeKind.ADVANCED_WEIGHT: "{name} goes to {0} % of users",
    NoticeKind.SUCCEEDED_ALERT: "{name} is live",
    NoticeKind.ROLLING_BACK_CHECKS: "{name} goes back to {primary} after {0} failures",
}


def test_own_texts_replace_those_of_flagger_and_others_stay():
    world = pointer(evolve(IN_PLACE, texts=OWN)).do(Deploy("v2")).run()
    texts = [notice.text for notice in notices(world)]
    assert f"{IN_PLACE.full_name} goes to 0.5 % of users" in texts
    assert f"{IN_PLACE.full_name} is live" in texts
    assert f"Starting canary analysis for {IN_PLACE.target_name}" in texts


def test_the_end_of_a_rollout_has_the_own_text():
    world = pointer(evolve(IN_PLACE, texts=OWN)).do(SetMetrics(ByRevision(bad=("v2",))), Deploy("v2")).run()
    assert world.status.end.detail.startswith(f"{IN_PLACE.full_name} goes back to ")


def test_a_stored_notice_keeps_its_own_text():
    notice = Notice(NoticeKind.SUCCEEDED, "key", Phase.SUCCEEDED, IN_PLACE.names, template="{name} is live")
    assert from_json(to_json(notice), Notice).text == f"{IN_PLACE.full_name} is live"


def test_a_rollout_with_texts_is_stored_and_hashable():
    rollout = evolve(IN_PLACE, texts=OWN)
    again = from_json(to_json(rollout), type(rollout))
    assert (again, again.templates) == (rollout, OWN)
    assert hash(again) == hash(rollout)


def test_a_text_may_have_the_numbers_of_its_kind():
    assert placeholders(NoticeKind.REPAIRING) == ("name", "target", "primary", "kind", "kind_lower", "0", "1")


# stored data of earlier releases ------------------------------------------------------------------------------------


def test_a_stored_ladder_and_status_without_the_new_fields_are_read():
    world = idle(policy()).do(Deploy("v2")).run(until=lambda world: world.status.analysis is not None)
    for value in (world.status, world.state.rollout, world.state.routes):
        text = to_json(value)
        for part in ('"tenths":false', '"in_place":false', '"texts":[]', '"template":""'):
            text = text.replace(f",{part}", "").replace(f"{part},", "")
        assert "tenths" not in text
        assert from_json(text, type(value)) == value
