"""A rollout without a status: it takes the revision of an existing primary for the promoted one."""

import pytest

from canarycore import Phase
from canarycore.effects import Promote
from canarycore.notices import NoticeKind
from canarycore.simulation import (
    NEVER,
    ByRevision,
    Deploy,
    Recreate,
    RemoveTarget,
    SetMetrics,
    SetPace,
    SimulatedCluster,
    after,
)
from tests.core.scenarios import POLICIES, idle, is_advancing, policy


def promotions(cluster):
    return [effect for effect in cluster.effects if isinstance(effect, Promote)]


@pytest.mark.parametrize("name", POLICIES)
def test_a_canary_that_was_created_again_in_an_analysis_promotes_only_what_passes(name):
    cluster = idle(POLICIES[name])
    cluster.do(SetMetrics(ByRevision(bad=("v2",))), Deploy("v2")).run(until=Phase.PROGRESSING)
    cluster.do(Recreate()).run(max_cycles=200)
    assert (cluster.phase, cluster.status.promoted, cluster.state.primary.revision) == (Phase.FAILED, "v1", "v1")
    assert not promotions(cluster)
    assert NoticeKind.ADOPTED in [notice.kind for record in cluster.history for notice in record.notices]


def test_a_canary_that_was_created_again_analyses_the_revision_from_the_start():
    cluster = idle(policy())
    cluster.do(Deploy("v2")).run(until=is_advancing)
    cluster.do(Recreate()).run()
    assert (cluster.phase, cluster.status.promoted, cluster.status.previous) == (Phase.SUCCEEDED, "v2", "v1")


def test_a_revision_that_comes_during_the_initialisation_does_not_replace_a_primary_that_serves():
    cluster = idle(policy())
    cluster.do(Recreate()).run(until=lambda cluster: cluster.status.since is not None)
    assert cluster.phase is Phase.INITIALIZING
    cluster.do(SetMetrics(ByRevision(bad=("v2",))), Deploy("v2")).run()
    assert (cluster.phase, cluster.state.primary.revision) == (Phase.FAILED, "v1")


def test_a_target_that_comes_back_after_the_canary_does_not_replace_a_primary_that_serves():
    cluster = idle(policy())
    cluster.do(RemoveTarget(), Recreate()).run(until=cluster.now + 20.0)
    cluster.do(SetMetrics(ByRevision(bad=("v2",))), Deploy("v2")).run()
    assert (cluster.phase, cluster.state.primary.revision) == (Phase.FAILED, "v1")


def test_a_primary_that_never_served_takes_the_next_revision():
    cluster = SimulatedCluster(policy())
    cluster.do(SetPace("v1", NEVER), Deploy("v1")).run(until=30.0)
    cluster.do(SetPace("v2", after(1)), Deploy("v2")).run()
    assert (cluster.phase, cluster.status.promoted) == (Phase.INITIALIZED, "v2")


def test_a_primary_that_is_down_counts_as_promoted_too():
    cluster = idle(policy())
    cluster.do(SetPace("primary/v1", NEVER), SetPace("v2", NEVER), Deploy("v2"), Recreate()).run(until=600.0)
    assert (cluster.phase, cluster.status.promoted, cluster.state.primary.revision) == (Phase.FAILED, "v1", "v1")
