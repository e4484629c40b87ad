"""Scaling, autoscalers, adopting and giving back on a real API server."""

from __future__ import annotations

import pytest

from canarycore import Routes
from canarycore.errors import WorldError
from canarycore_kubernetes.api.kinds import CONFIG_MAP, DAEMON_SET, DEPLOYMENT, HPA, KNATIVE_SERVICE, SCALED_OBJECT
from canarycore_kubernetes.api.metadata import CONTENTS, REVISION
from canarycore_kubernetes.routing.router import MeshRouter
from canarycore_kubernetes.scaling.autoscalers import PAUSED, SCALERS
from tests.cluster.workloads import (
    BY_HPA,
    BY_KEDA,
    HPA_BODY,
    KEDA_BODY,
    ConfigBench,
    KnativeBench,
    PodBench,
    canary,
    config,
    initialised,
)

# up and down --------------------------------------------------------------------------------------------------------


async def replicas_after_scaling_up(bench):
    await initialised(bench)
    await bench.adapter.scale_down(bench.rollout)
    assert bench.body(DEPLOYMENT, "podinfo")["spec"]["replicas"] == 0
    await bench.adapter.scale_up(bench.rollout)
    return bench.body(DEPLOYMENT, "podinfo")["spec"]["replicas"]


async def test_the_target_scales_up_to_its_primarys_replicas(opened):
    assert await replicas_after_scaling_up(await opened(PodBench, canary())) == 2


@pytest.mark.parametrize(
    ("minimum", "replicas"), [({"minReplicas": 3}, 3), ({"minReplicas": 1}, 1)], ids=["several", "one"]
)
async def test_an_autoscaled_target_scales_up_to_its_autoscalers_minimum(opened, minimum, replicas):
    scaler = HPA_BODY | {"spec": HPA_BODY["spec"] | minimum}
    assert await replicas_after_scaling_up(await opened(PodBench, canary(autoscalerRef=BY_HPA), scaler)) == replicas


async def test_scaling_up_leaves_a_running_target_alone(opened):
    bench = await opened(PodBench, canary())
    await initialised(bench)
    bench.patch(DEPLOYMENT, "podinfo", {"spec": {"replicas": 7}})
    await bench.caught_up(DEPLOYMENT, bench.view)
    await bench.adapter.scale_up(bench.rollout)
    assert bench.body(DEPLOYMENT, "podinfo")["spec"]["replicas"] == 7


async def test_a_daemon_set_is_scaled_by_a_node_selector_beside_its_owners(opened):
    bench = await opened(PodBench, canary("DaemonSet"), kind=DAEMON_SET, pod_spec={"nodeSelector": {"disk": "ssd"}})
    one, _ = await initialised(bench)
    selectors = []
    for scale in (bench.adapter.scale_down, bench.adapter.scale_up):
        await scale(bench.rollout)
        selectors.append(bench.body(DAEMON_SET, "podinfo")["spec"]["template"]["spec"]["nodeSelector"])
    assert selectors == [{"disk": "ssd", "flagger.app/scale-to-zero": "true"}, {"disk": "ssd"}]
    assert await bench.deploy("one") == one


# autoscalers --------------------------------------------------------------------------------------------------------


async def test_the_primary_has_an_autoscaler_before_its_target_scales_down(opened):
    reference = BY_HPA | {"primaryScalerReplicas": {"minReplicas": 3, "maxReplicas": 8}}
    bench = await opened(PodBench, canary(autoscalerRef=reference), HPA_BODY)
    await initialised(bench)
    assert bench.body(HPA, "podinfo-primary") is None
    await bench.adapter.scale_down(bench.rollout)
    spec = bench.body(HPA, "podinfo-primary")["spec"]
    assert (spec["scaleTargetRef"]["name"], spec["minReplicas"], spec["maxReplicas"]) == ("podinfo-primary", 3, 8)
    assert spec["metrics"] == HPA_BODY["spec"]["metrics"]


async def change_limits(bench, limits):
    bench.patch(HPA, "podinfo", {"spec": limits})
    await bench.caught_up(HPA, SCALERS[HPA.kind])


async def test_new_limits_reach_the_primary_with_the_next_promotion_and_not_by_a_rollback(opened):
    bench = await opened(PodBench, canary(autoscalerRef=BY_HPA), HPA_BODY)
    await initialised(bench)
    await bench.adapter.scale_down(bench.rollout)
    await change_limits(bench, {"maxReplicas": 9})
    limits = []
    for promoted in (False, True):
        await bench.adapter.scale_up(bench.rollout)
        if promoted:
            await bench.adapter.promote(bench.rollout, (await bench.seen()).target.revision)
        await bench.adapter.scale_down(bench.rollout)
        limits.append(bench.body(HPA, "podinfo-primary")["spec"]["maxReplicas"])
    assert limits == [4, 9]


async def test_a_scaled_object_is_copied_and_then_paused_and_resumed_without_a_trace(opened):
    bench = await opened(PodBench, canary(autoscalerRef=BY_KEDA), KEDA_BODY)
    await initialised(bench)
    before = bench.body(SCALED_OBJECT, "so")
    await bench.adapter.pause_scaler(bench.rollout)
    copy, paused = bench.body(SCALED_OBJECT, "so-primary"), bench.body(SCALED_OBJECT, "so")
    assert paused["metadata"]["annotations"] == {PAUSED: "0"}
    assert PAUSED not in copy["metadata"].get("annotations", {})
    assert copy["spec"]["triggers"][0]["metadata"]["query"] == 'sum(x{app="podinfo-primary"})'
    await bench.adapter.resume_scaler(bench.rollout)
    after = bench.body(SCALED_OBJECT, "so")
    assert after["spec"] == before["spec"]
    assert not after["metadata"].get("annotations")


async def test_a_missing_autoscaler_is_an_error_that_names_it_and_the_target_stays_up(opened):
    bench = await opened(PodBench, canary(autoscalerRef=BY_HPA))
    await initialised(bench)
    with pytest.raises(WorldError, match=rf"HorizontalPodAutoscaler podinfo.{bench.namespace} does not exist"):
        await bench.adapter.scale_down(bench.rollout)
    assert (await bench.seen()).target.desired > 0


# taking over --------------------------------------------------------------------------------------------------------


async def as_flagger_left_it(bench):
    """Remove the annotations of the primary, as Flagger sets none."""
    one = await bench.deploy("one")
    await bench.adapter.initialise(bench.rollout, one)
    annotations = {REVISION: None, CONTENTS: None}
    bench.patch(DEPLOYMENT, "podinfo-primary", {"metadata": {"annotations": annotations}})
    await bench.caught_up(DEPLOYMENT, bench.view, "podinfo-primary")
    return one


@pytest.fixture
async def taken_over(opened):
    """Return a bench with configs, of which Flagger copies no binary data."""
    bench = await opened(ConfigBench, canary(), config("env"), config("keys", "Secret", data={}), config("shared"))
    await as_flagger_left_it(bench)
    await bench.change(CONFIG_MAP, "env", {"binaryData": {"logo": "AA=="}})
    return bench


async def test_a_rollout_of_flaggers_is_adopted_without_a_request(taken_over, requests):
    seen = await taken_over.seen()
    assert seen.target.revision == seen.primary.revision
    assert requests.taken() == {}


async def test_the_first_rollout_after_flagger_is_as_any_other(taken_over):
    bench, one = taken_over, (await taken_over.seen()).primary.revision
    two = await bench.deploy("two")
    assert (await bench.seen()).primary.revision == one != two
    await bench.adapter.promote(bench.rollout, two)
    seen = await bench.seen()
    assert (seen.target.revision, seen.primary.revision, seen.restorable) == (two, two, (one,))
    assert bench.body(CONFIG_MAP, "env-primary")["binaryData"] == {"logo": "AA=="}
    await bench.adapter.restore_primary(bench.rollout, one)
    assert (await bench.seen()).primary.revision == one
    assert "binaryData" not in bench.body(CONFIG_MAP, "env-primary")


async def test_the_first_promotion_after_flagger_interrupted_anywhere_saves_flaggers_revision(taken_over, requests):
    bench, one = taken_over, (await taken_over.seen()).primary.revision
    two = await bench.deploy("two")
    for number in range(1, 5):
        requests.fail(number, lost=False)
        with pytest.raises(WorldError):
            await bench.adapter.promote(bench.rollout, two)
        assert requests.failed
        seen = await bench.seen()
        assert (seen.target.revision, seen.primary.revision) == (two, one)
    requests.fail(0, lost=False)
    await bench.adapter.promote(bench.rollout, two)
    assert (await bench.seen()).restorable == (one,)


# beside a router ----------------------------------------------------------------------------------------------------


async def test_annotations_on_the_owners_object_leave_its_routes_known(opened):
    """A Knative Service is target and route in one: the writes of either leave the other at rest."""
    bench = await opened(KnativeBench, canary("Service", KNATIVE_SERVICE.api_version, provider="knative"))
    router = MeshRouter(bench.cluster, bench.canaries)
    await initialised(bench)
    routes = Routes(weight=20)
    await router.set_routes(bench.rollout, routes)
    for effect in (bench.adapter.scale_down, bench.adapter.scale_up):
        await effect(bench.rollout)
        assert await router.observe(bench.rollout) == routes
        assert (await bench.seen()).primary.revision == "podinfo-one"


# giving back --------------------------------------------------------------------------------------------------------


async def test_the_target_is_given_back_with_its_primarys_replicas(opened):
    bench = await opened(PodBench, canary(autoscalerRef=BY_KEDA), KEDA_BODY)
    await initialised(bench)
    await bench.adapter.pause_scaler(bench.rollout)
    await bench.adapter.scale_down(bench.rollout)
    bench.patch(DEPLOYMENT, "podinfo-primary", {"spec": {"replicas": 5}})
    await bench.caught_up(DEPLOYMENT, bench.view, "podinfo-primary")
    await bench.adapter.restore(bench.rollout)
    assert bench.body(DEPLOYMENT, "podinfo")["spec"]["replicas"] == 5
    assert not bench.body(SCALED_OBJECT, "so")["metadata"].get("annotations")
    assert (await bench.seen()).is_restored


async def test_a_daemon_set_is_given_back_to_its_nodes(opened):
    bench = await opened(PodBench, canary("DaemonSet"), kind=DAEMON_SET)
    await initialised(bench)
    await bench.adapter.scale_down(bench.rollout)
    await bench.adapter.restore(bench.rollout)
    assert "nodeSelector" not in bench.body(DAEMON_SET, "podinfo")["spec"]["template"]["spec"]


async def test_a_knative_service_is_given_back_without_a_mark(opened):
    bench = await opened(KnativeBench, canary("Service", KNATIVE_SERVICE.api_version, provider="knative"))
    await initialised(bench)
    await bench.adapter.promote(bench.rollout, "podinfo-two")
    assert "annotations" in bench.body(KNATIVE_SERVICE, "podinfo")["metadata"]
    await bench.adapter.restore(bench.rollout)
    assert not bench.body(KNATIVE_SERVICE, "podinfo")["metadata"].get("annotations")


async def test_a_deleted_target_counts_as_given_back(opened):
    bench = await opened(PodBench, canary())
    await initialised(bench)
    await bench.adapter.scale_down(bench.rollout)
    bench.api.delete(DEPLOYMENT.path(bench.namespace, "podinfo"))
    await bench.gone()
    await bench.adapter.restore(bench.rollout)
    assert (await bench.seen()).is_restored


async def test_a_recreated_canary_does_not_count_as_given_back(opened):
    bench = await opened(PodBench, canary())
    await initialised(bench)
    await bench.adapter.restore(bench.rollout)
    await bench.begin_again(canary())
    assert not (await bench.seen()).is_restored
