"""The size of a step on a Deployment of a real API server, and the number that its owner wants."""

from __future__ import annotations

import json

import pytest

from canarycore.errors import Refused
from canarycore_kubernetes.api.kinds import DAEMON_SET, DEPLOYMENT
from canarycore_runtime.workloads.written_size import ANNOTATION
from tests.cluster.workloads import PodBench, canary, initialised

OWN = 2
STEPS = [{"weight": 20, "size": 1}, {"weight": 60, "size": "50%"}]


async def sized(opened, replicas=1):
    """Return a target with the size of a step, whose owner wants two replicas."""
    body = canary(analysis={"interval": "10s", "threshold": 3, "stepWeight": 20})
    body["metadata"]["annotations"] = {
        "canarycore/analysis.steps": json.dumps(STEPS)
    }  # as Flagger's definition has none
    bench = await opened(PodBench, body)
    assert bench.rollout.ladder.sizes
    bench.revisions = await initialised(bench)
    await bench.adapter.scale_down(bench.rollout)
    await bench.adapter.resize(bench.rollout, replicas)
    return bench


def spec_of(bench, name="podinfo"):
    """Return the replicas of a Deployment, and the record of its size."""
    body = bench.body(DEPLOYMENT, name)
    return body["spec"]["replicas"], body["metadata"].get("annotations", {}).get(ANNOTATION)


async def edit(bench, replicas):
    bench.patch(DEPLOYMENT, "podinfo", {"spec": {"replicas": replicas}})
    await bench.caught_up(DEPLOYMENT, bench.view)


async def test_a_size_is_written_beside_the_owners_number_and_seen_with_it(opened):
    bench = await sized(opened)
    assert spec_of(bench) == (1, "replicas=1,own=2")
    target = (await bench.seen()).target
    assert (target.desired, target.own) == (1, OWN)


async def test_a_repeated_size_writes_nothing(opened):
    bench = await sized(opened)
    before = bench.body(DEPLOYMENT, "podinfo")["metadata"]["generation"]
    await bench.adapter.resize(bench.rollout, 1)
    assert bench.body(DEPLOYMENT, "podinfo")["metadata"]["generation"] == before


async def test_scaling_up_returns_to_the_owners_number(opened):
    bench = await sized(opened, 5)
    await bench.adapter.scale_up(bench.rollout)
    assert spec_of(bench) == (OWN, None)


async def test_a_promotion_gives_the_primary_the_owners_number_and_no_record(opened):
    bench = await sized(opened)
    await bench.adapter.promote(bench.rollout, bench.revisions[1])
    assert spec_of(bench, "podinfo-primary") == (OWN, None)


async def test_a_new_number_of_the_owner_outlives_the_size_and_reaches_the_primary(opened):
    bench = await sized(opened)
    await edit(bench, 7)
    assert (await bench.seen()).target.own == 0, "the replicas are the owner's own"
    await bench.adapter.resize(bench.rollout, 1)
    assert spec_of(bench) == (1, "replicas=1,own=7")
    await bench.adapter.promote(bench.rollout, bench.revisions[1])
    assert spec_of(bench, "podinfo-primary") == (7, None)


async def test_an_owner_who_scales_to_zero_keeps_the_number_for_later(opened):
    bench = await sized(opened)
    await edit(bench, 0)
    await bench.adapter.resize(bench.rollout, 1)
    assert spec_of(bench) == (1, "replicas=1,own=2")


async def test_scaling_down_and_a_deletion_leave_no_record(opened):
    bench = await sized(opened)
    await bench.adapter.scale_down(bench.rollout)
    assert spec_of(bench) == (0, None)
    await bench.adapter.resize(bench.rollout, 1)
    await bench.adapter.restore(bench.rollout)
    assert spec_of(bench) == (OWN, None)


async def test_a_number_that_the_owner_writes_at_the_same_time_is_not_lost(opened, monkeypatch):
    bench = await sized(opened)
    read = bench.cluster.get

    async def read_before_the_owner_writes(kind, namespace, name):
        body = await read(kind, namespace, name)
        bench.patch(DEPLOYMENT, "podinfo", {"spec": {"replicas": 9}})
        return body

    monkeypatch.setattr(type(bench.cluster), "get", lambda _, *place: read_before_the_owner_writes(*place))
    await bench.adapter.resize(bench.rollout, 4)
    assert spec_of(bench) == (4, "replicas=4,own=9")


async def test_a_daemon_set_has_no_size(opened):
    bench = await opened(PodBench, canary("DaemonSet"), kind=DAEMON_SET)
    await initialised(bench)
    with pytest.raises(Refused, match="remove size of the steps"):
        await bench.adapter.resize(bench.rollout, 1)
