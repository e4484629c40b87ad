"""Promotions on a real API server: their requests, and the fields of others that they leave."""

from __future__ import annotations

import asyncio

import pytest

from canarycore_kubernetes.api.kinds import DEPLOYMENT
from tests.cluster.workloads import BY_HPA, HPA_BODY, PodBench, canary, initialised


@pytest.fixture
async def bench(opened):
    return await opened(PodBench, canary())


REVISION = "deployment.kubernetes.io/revision"
"""The annotation that the Deployment controller writes at any moment."""


async def test_observing_costs_no_request_and_effects_one_per_change(bench, requests):
    await initialised(bench)
    await bench.settle()
    adapter, rollout = bench.adapter, bench.rollout
    two = (await bench.seen()).target.revision
    requests.taken()
    assert (await bench.seen()).target.revision == two
    assert requests.taken() == {}
    await adapter.promote(rollout, two)
    assert requests.taken() == {"GET": 2, "POST": 1, "PATCH": 1}
    await adapter.scale_down(rollout)
    await adapter.scale_up(rollout)
    assert requests.taken() == {"PATCH": 2}


async def test_repeated_effects_send_no_request(bench, requests):
    await initialised(bench)
    two = (await bench.seen()).target.revision
    await bench.adapter.promote(bench.rollout, two)
    await bench.adapter.scale_down(bench.rollout)
    requests.taken()
    await bench.adapter.initialise(bench.rollout, two)
    await bench.adapter.promote(bench.rollout, two)
    await bench.adapter.restore_primary(bench.rollout, two)
    await bench.adapter.scale_down(bench.rollout)
    await bench.adapter.pause_scaler(bench.rollout)
    assert requests.taken() == {}


async def test_a_change_of_any_object_of_a_rollout_wakes_it(bench):
    await initialised(bench)
    await bench.seen()
    changes = bench.cluster.changes()
    hears = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    bench.patch(DEPLOYMENT, "podinfo-primary", {"spec": {"replicas": 3}})
    assert await asyncio.wait_for(hears, 10) == f"{bench.namespace}/podinfo"
    await changes.aclose()


# others' fields -----------------------------------------------------------------------------------------------------


async def test_a_promotion_leaves_the_fields_of_others_on_the_primary(bench):
    await initialised(bench)
    bench.patch(
        DEPLOYMENT, "podinfo-primary", {"metadata": {"labels": {"cost-centre": "42"}, "annotations": {"a": "b"}}}
    )
    await bench.adapter.promote(bench.rollout, (await bench.seen()).target.revision)
    metadata = bench.body(DEPLOYMENT, "podinfo-primary")["metadata"]
    assert metadata["labels"] == {"app": "podinfo-primary", "cost-centre": "42"}
    assert metadata["annotations"].items() >= {"a": "b", "note": "mine"}.items()


async def test_a_promotion_leaves_replicas_to_the_primarys_autoscaler(opened):
    bench = await opened(PodBench, canary(autoscalerRef=BY_HPA), HPA_BODY)
    await initialised(bench)
    bench.patch(DEPLOYMENT, "podinfo-primary", {"spec": {"replicas": 5}})
    await bench.adapter.promote(bench.rollout, (await bench.seen()).target.revision)
    assert bench.body(DEPLOYMENT, "podinfo-primary")["spec"]["replicas"] == 5


async def test_the_primary_has_exactly_the_targets_template_despite_earlier_writers(bench):
    """Fields of another field manager go: no analysis has seen them."""
    await initialised(bench)
    by_hand = {"spec": {"template": {"spec": {"hostNetwork": True, "nodeSelector": {"disk": "ssd"}}}}}
    bench.patch(DEPLOYMENT, "podinfo-primary", by_hand)
    await bench.adapter.promote(bench.rollout, (await bench.seen()).target.revision)
    target, primary = (
        bench.body(DEPLOYMENT, name)["spec"]["template"]["spec"] for name in ("podinfo", "podinfo-primary")
    )
    assert primary == target


async def test_scaling_changes_only_the_owners_replicas(bench):
    await initialised(bench)
    before = bench.body(DEPLOYMENT, "podinfo")
    await bench.adapter.scale_down(bench.rollout)
    after = bench.body(DEPLOYMENT, "podinfo")
    assert after["spec"] == before["spec"] | {"replicas": 0}
    assert _owned(after["metadata"]) == _owned(before["metadata"])


def _owned(metadata):
    """Return the metadata that an owner writes: without the fields of the API server and the Deployment controller."""
    owned = {name: metadata[name] for name in metadata.keys() - {"generation", "managedFields", "resourceVersion"}}
    annotations = metadata.get("annotations", {})
    return owned | {"annotations": {key: annotations[key] for key in annotations.keys() - {REVISION}}}


async def test_a_concurrent_change_of_status_or_labels_delays_no_promotion(bench):
    await initialised(bench)
    two, merge = (await bench.seen()).target.revision, bench.cluster.merge

    async def overtaken(kind, namespace, name, patch):
        bench.patch(kind, name, {"metadata": {"labels": {"meddled": "yes"}}})
        return await merge(kind, namespace, name, patch)

    bench.cluster.merge = overtaken
    await bench.adapter.promote(bench.rollout, two)
    assert bench.body(DEPLOYMENT, "podinfo-primary")["metadata"]["labels"]["meddled"] == "yes"
    assert (await bench.seen()).primary.revision == two
