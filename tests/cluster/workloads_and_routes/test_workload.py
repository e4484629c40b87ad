"""The contract of WorkloadPort for every kind of target, on a real API server with its own controllers."""

from __future__ import annotations

import pytest

from canarycore_kubernetes.api.kinds import DAEMON_SET, KNATIVE_SERVICE, SERVICE
from canarycore_planes.control_plane.kubelet import PodRule
from canarycore_runtime.testing.contracts import WorkloadContract
from tests.cluster.workloads import (
    BY_HPA,
    BY_KEDA,
    HPA_BODY,
    IMAGES,
    KEDA_BODY,
    ClusterServiceBench,
    KnativeBench,
    PodBench,
    ServiceBench,
    StatefulBench,
    canary,
)


class TestDeployment(WorkloadContract):
    @pytest.fixture
    async def bench(self, opened):
        return await opened(PodBench, canary())


class TestDaemonSet(WorkloadContract):
    @pytest.fixture
    async def bench(self, opened):
        return await opened(PodBench, canary("DaemonSet"), kind=DAEMON_SET)


class TestScaledByKubernetes(WorkloadContract):
    @pytest.fixture
    async def bench(self, opened):
        return await opened(PodBench, canary(autoscalerRef=BY_HPA), HPA_BODY)


class TestScaledByKeda(WorkloadContract):
    @pytest.fixture
    async def bench(self, opened):
        return await opened(PodBench, canary(autoscalerRef=BY_KEDA), KEDA_BODY)


class TestService(WorkloadContract):
    @pytest.fixture(params=[ServiceBench, ClusterServiceBench])
    async def bench(self, opened, request):
        return await opened(request.param, canary("Service", "v1"))

    async def test_scaling_down_stops_the_target_and_scaling_up_brings_it_back(self, bench):
        """A new revision takes part only once it is scaled up: then the canary's copy equals the target."""
        await bench.adapter.initialise(bench.rollout, await bench.deploy("one"))
        await bench.deploy("two")
        assert (await bench.seen()).target.desired == 0
        await bench.adapter.scale_up(bench.rollout)
        up, copy = (await bench.seen()).target, bench.body(SERVICE, "podinfo-canary")
        await bench.adapter.scale_down(bench.rollout)
        assert (up.desired, up.ready) == (1, 1)
        assert bench.target(IMAGES["two"])["spec"].items() <= _without_defaults(copy["spec"]).items()
        assert (await bench.seen()).target.desired == 0


def _without_defaults(spec):
    ports = [{key: port[key] for key in ("name", "port")} for port in spec["ports"]]
    return spec | {"ports": ports}


@pytest.mark.usefixtures("own_definitions")
class TestStatefulSet(WorkloadContract):
    @pytest.fixture
    async def bench(self, opened, plane, namespace):
        """A promotion can be taken back until its last pod is ready: that must take a while."""
        plane.kubelet.rules(PodRule(namespace=namespace, image=IMAGES["two"], after=1.5))
        body = canary("StatefulSet", provider="replicas", analysis=BY_WEIGHTS)
        del body["spec"]["service"]
        return await opened(StatefulBench, body)

    async def test_the_primary_runs_on_while_the_target_is_scaled(self, bench):
        """Each pod that goes back is one more of the stable side."""
        await bench.adapter.initialise(bench.rollout, await bench.deploy("one"))
        await bench.deploy("two")
        await bench.settle()
        before = (await bench.seen()).primary
        await bench.adapter.scale_down(bench.rollout)
        await bench.settle()
        after = (await bench.seen()).primary
        assert (before.revision, before.desired, before.ready) == (after.revision, 2, 2)
        assert (after.desired, after.ready) == (3, 3)


BY_WEIGHTS = {"interval": "10s", "threshold": 3, "stepWeight": 10, "maxWeight": 50}


class TestKnativeService(WorkloadContract):
    @pytest.fixture
    async def bench(self, opened):
        return await opened(KnativeBench, canary("Service", KNATIVE_SERVICE.api_version, provider="knative"))
