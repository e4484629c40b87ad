"""Capacity is what requests reach: the ready endpoints behind the Service that leads to a side."""

from __future__ import annotations

import pytest

from canarycore_kubernetes.api.kinds import DEPLOYMENT, ENDPOINT_SLICE, SERVICE
from canarycore_kubernetes.selection.endpoints import SliceFacts, slice_facts
from tests.cluster.patience import until
from tests.cluster.workloads import Bench, canary, pods


def endpoint(name="", ready=None, address="10.0.0.1"):
    target = {"targetRef": {"kind": "Pod", "name": name}} if name else {}
    return {"addresses": [address], "conditions": {} if ready is None else {"ready": ready}, **target}


def endpoint_slice(*endpoints, service="web"):
    return {
        "metadata": {"name": "web-x7f", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": list(endpoints),
    }


@pytest.mark.parametrize(
    ("body", "ready"),
    [
        (endpoint_slice(endpoint("a", ready=True), endpoint("b", ready=False)), ("a",)),
        (endpoint_slice(endpoint("a")), ("a",)),
        (endpoint_slice(endpoint(address="10.0.0.7")), ("10.0.0.7",)),
        (endpoint_slice() | {"endpoints": None}, ()),
        (endpoint_slice() | {"endpoints": {"no": "list"}}, ()),
        (endpoint_slice({"conditions": None, "addresses": []}), ()),
    ],
)
def test_an_endpoint_without_a_condition_is_ready(body, ready):
    assert slice_facts(body) == SliceFacts("web", ready)


@pytest.fixture
async def bench(cluster, api, namespace):
    bench = Bench(cluster, namespace, api)
    api.create(pods("Deployment", "podinfo:6.0.0"), namespace)
    await bench.begin(canary(provider="kubernetes"))
    revision = (await until(lambda: observed(bench, "target"))).revision
    await bench.adapter.initialise(bench.rollout, revision)
    for name, side in (("podinfo", "-primary"), ("podinfo-primary", "-primary"), ("podinfo-canary", "")):
        spec = {"selector": {"app": f"podinfo{side}"}, "ports": [{"port": 9898}]}
        api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}, namespace)
    return bench


async def observed(bench, side):
    return getattr(await bench.adapter.observe(bench.rollout), side)


async def is_ready(bench, side, count):
    workload = await observed(bench, side)
    return workload is not None and workload.ready == count and workload


async def test_pods_count_as_ready_behind_the_service_that_leads_to_them(bench):
    for side in ("target", "primary"):
        await until(lambda side=side: is_ready(bench, side, 2))


@pytest.mark.parametrize(
    ("service", "side"), [("podinfo-primary", "primary"), ("podinfo", "primary"), ("podinfo-canary", "target")]
)
async def test_a_side_without_ready_endpoints_has_no_capacity(bench, api, service, side):
    await until(lambda: is_ready(bench, side, 2))
    path = ENDPOINT_SLICE.path(bench.namespace, f"{service}-slice")
    present = api.get(path)["endpoints"]
    unready = [one | {"conditions": {"ready": False}} for one in present]
    api.patch(path, {"endpoints": [present[0], *unready[1:]]})
    await until(lambda: is_ready(bench, side, 1))
    api.patch(path, {"endpoints": unready})
    workload = await until(lambda: is_ready(bench, side, 0))
    assert (workload.desired, workload.updated, workload.has_capacity) == (2, 2, False)
    assert workload.unready_since is not None
    api.patch(path, {"endpoints": present})
    assert (await until(lambda: is_ready(bench, side, 2))).unready_since is None


@pytest.mark.parametrize("change", ["missing", "elsewhere"])
async def test_a_service_that_is_about_to_be_written_does_not_count(bench, api, change):
    await until(lambda: is_ready(bench, "primary", 2))
    path = SERVICE.path(bench.namespace, "podinfo-primary")
    if change == "missing":
        api.delete(path)
    else:
        api.patch(path, {"spec": {"selector": {"app": "other"}}})
    await until(lambda: is_ready(bench, "primary", 2))


async def test_a_change_of_the_endpoints_wakes_the_rollout(bench, api):
    path = ENDPOINT_SLICE.path(bench.namespace, "podinfo-primary-slice")
    api.patch(path, {"endpoints": api.get(path)["endpoints"][:1]})
    await until(lambda: is_ready(bench, "primary", 1))
    woken = []
    bench.cluster.wake = woken.append
    api.patch(path, {"endpoints": []})
    await until(lambda: f"{bench.namespace}/podinfo" in woken)
    assert api.get(DEPLOYMENT.path(bench.namespace, "podinfo-primary"))["status"]["availableReplicas"] == 2
