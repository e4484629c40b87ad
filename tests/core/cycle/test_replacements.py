"""A primary that is down: the new revision may replace it, and the controller reports it once."""

import pytest

from canarycore import CommandKind, Ladder, Phase
from canarycore.notices import NoticeKind
from canarycore.phases import Rule
from canarycore.simulation import (
    NEVER,
    ByRevision,
    Deploy,
    Edit,
    ScalePrimary,
    SendCommand,
    SetMetrics,
    SetPace,
    after,
    stuck,
)
from tests.core.scenarios import idle, policy


def broken(pace=NEVER, **changes):
    """Return a cluster whose promoted revision has lost its pods, with a fix that gets ready in two seconds."""
    cluster = idle(policy(ladder=Ladder(steps=(20, 60)), **changes))
    cluster.do(SetPace("primary/v1", pace), SetPace("primary", pace)).run(until=cluster.now + 30.0)
    return cluster.do(SetPace("primary/v2", after(2)), SetPace("v2", after(2)), Deploy("v2"))


def rules(cluster):
    return [record.decision.explanation.rule for record in cluster.history if record.decision is not None]


def is_replaced(cluster):
    primary = cluster.state.primary
    return cluster.phase is Phase.SUCCEEDED and primary.revision == "v2" and cluster.state.routes.weight == 0


@pytest.mark.parametrize("pace", [NEVER, stuck(5.0)])
def test_skip_analysis_replaces_a_primary_that_is_down(pace):
    cluster = broken(pace)
    cluster.do(Edit(policy(ladder=Ladder(steps=(20, 60)), skip_analysis=True))).run(until=cluster.now + 600.0)
    assert is_replaced(cluster)


def test_skip_analysis_replaces_a_primary_that_was_scaled_to_zero():
    cluster = idle(policy(skip_analysis=True))
    cluster.do(ScalePrimary(0), Deploy("v2")).run(until=cluster.now + 600.0)
    assert is_replaced(cluster)
    assert cluster.state.primary.desired == 2


@pytest.mark.parametrize("pace", [NEVER, stuck(5.0)])
def test_promote_replaces_a_primary_that_is_down_after_the_rollout_has_failed(pace):
    cluster = broken(pace).run(until=200.0)
    assert cluster.phase is Phase.FAILED
    cluster.do(SendCommand(CommandKind.PROMOTE)).run(until=cluster.now + 400.0)
    assert is_replaced(cluster)


def test_promote_after_a_retry_that_has_failed_too():
    cluster = broken().run(until=200.0)
    cluster.do(SendCommand(CommandKind.RETRY)).run(until=cluster.now + 15.0)
    cluster.do(SendCommand(CommandKind.PROMOTE)).run(until=cluster.now + 400.0)
    assert is_replaced(cluster)


def test_promote_in_failed_is_refused_while_the_primary_serves():
    cluster = idle(policy())
    cluster.do(SetMetrics(ByRevision(bad=("v2",))), Deploy("v2")).run()
    cluster.do(SendCommand(CommandKind.PROMOTE)).run()
    assert (cluster.phase, cluster.state.primary.revision) == (Phase.FAILED, "v1")
    assert Rule.REFUSED in rules(cluster)


@pytest.mark.parametrize("pace", [NEVER, stuck(5.0)])
def test_the_policy_lets_a_new_revision_replace_a_primary_that_is_down(pace):
    cluster = broken(pace, replace_down_primary=True).run(until=400.0)
    assert is_replaced(cluster)
    assert Rule.REPLACED in rules(cluster)


def test_the_policy_replaces_no_primary_that_serves():
    cluster = idle(policy(replace_down_primary=True))
    cluster.do(Deploy("v2")).run()
    assert Rule.REPLACED not in rules(cluster)
    assert Rule.PROMOTED in rules(cluster)


def test_the_policy_replaces_no_primary_by_a_revision_without_ready_pods():
    cluster = idle(policy(replace_down_primary=True))
    cluster.do(SetPace("primary", NEVER), SetPace("v2", NEVER), Deploy("v2")).run(until=cluster.now + 400.0)
    assert (cluster.phase, cluster.state.primary.revision) == (Phase.FAILED, "v1")


def test_the_policy_keeps_a_primary_that_somebody_scaled_to_zero():
    cluster = idle(policy(replace_down_primary=True))
    cluster.do(ScalePrimary(0), Deploy("v2")).run(until=cluster.now + 100.0)
    assert cluster.state.primary.revision == "v1"


def test_a_short_outage_replaces_nothing():
    cluster = idle(policy(replace_down_primary=True))
    cluster.do(Deploy("v2")).run(until=cluster.now + 12.0)
    cluster.do(SetPace("primary", after(5))).run()
    assert Rule.REPLACED not in rules(cluster)
    assert cluster.phase is Phase.SUCCEEDED


@pytest.mark.parametrize("scaled", [True, False])
def test_a_primary_that_is_down_is_reported_once(scaled):
    cluster = idle(policy(progress_deadline=1000.0))
    cluster.do(ScalePrimary(0) if scaled else SetPace("primary", NEVER), Deploy("v2")).run(until=cluster.now + 300.0)
    assert cluster.phase is Phase.PROGRESSING
    notices = [notice.kind for record in cluster.history for notice in record.notices]
    down = [NoticeKind.PRIMARY_UNREADY, NoticeKind.PRIMARY_AT_ZERO, NoticeKind.FAILOVER, NoticeKind.NO_CAPACITY]
    assert max(notices.count(kind) for kind in down) == 1
