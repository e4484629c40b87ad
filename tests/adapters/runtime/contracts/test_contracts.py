"""The simulated adapters pass every contract suite, so what is tested with them is tested with adapters."""

import asyncio
from math import inf, nan

import pytest

from canarycore import Rollout
from canarycore.notices import Notice
from canarycore.questions import HookAnswer, MetricAnswer
from canarycore.simulation import AnswerHook, Constant, Delete, Deploy, SendCommand, SetMetrics, SetScaler, SetSources
from canarycore.simulation import Scaler as Autoscaler
from canarycore_runtime.testing import SimulatedClusters, key_of
from canarycore_runtime.testing.clusters import (
    SimulatedHooks,
    SimulatedMetrics,
    SimulatedNotifier,
    SimulatedRouter,
    SimulatedStore,
    SimulatedWorkload,
)
from canarycore_runtime.testing.contracts import (
    Call,
    HookContract,
    MetricSourceContract,
    NotifierContract,
    Reply,
    RouterContract,
    StatusStoreContract,
    WorkloadContract,
)
from canarycore_runtime.testing.contracts._samples import rollout
from canarycore_runtime.testing.contracts.hooks import HANG

KEY = "default/podinfo"


class Clusters:
    """A bench with one cluster, default/podinfo."""

    def __init__(self) -> None:
        self.clusters = SimulatedClusters([rollout()])
        self.rollout = rollout()


class StoreBench:
    def __init__(self) -> None:
        self.clusters = SimulatedClusters()

    async def handle(self):
        return SimulatedStore(self.clusters)

    async def put(self, rollout: Rollout) -> str:
        return self.clusters.add(rollout)

    async def remove(self, key: str) -> None:
        self.clusters.remove(key)

    async def send_command(self, key, kind, weight=0) -> None:
        self.clusters.do(key, SendCommand(kind, weight))

    async def delete(self, key: str) -> None:
        self.clusters.do(key, Delete())


class TestSimulatedStore(StatusStoreContract):
    @pytest.fixture
    async def bench(self):
        return StoreBench()


class WorkloadBench(Clusters):
    def __init__(self) -> None:
        super().__init__()
        self.adapter = SimulatedWorkload(self.clusters)

    async def deploy(self, label: str) -> str:
        self.clusters.do(KEY, Deploy(f"revision-{label}"))
        return f"revision-{label}"

    async def settle(self) -> None:
        """Pods are ready at once."""


class TestSimulatedWorkload(WorkloadContract):
    @pytest.fixture
    async def bench(self):
        return WorkloadBench()


class TestSimulatedWorkloadWithAutoscaler(WorkloadContract):
    @pytest.fixture
    async def bench(self):
        bench = WorkloadBench()
        bench.clusters.do(KEY, SetScaler(Autoscaler(minimum=2, maximum=4)))
        return bench


class RouterBench(Clusters):
    can = frozenset({"mirrored", "matched", "matched beside a weight"})

    def __init__(self) -> None:
        super().__init__()
        self.adapter = SimulatedRouter(self.clusters)

    async def written(self) -> tuple[int, int]:
        routes = self.clusters.state(KEY).routes
        assert routes is not None
        return routes.primary, routes.weight

    async def snapshot(self) -> object:
        return self.clusters.state(KEY).routes

    async def meddle(self) -> None:
        pytest.skip("simulated routes are routes and nothing else")

    async def meddled(self) -> bool:
        return True


class TestSimulatedRouter(RouterContract):
    @pytest.fixture
    async def bench(self):
        return RouterBench()


REPLIES = {
    Reply.GOOD: MetricAnswer(value=99.5),
    Reply.BAD: MetricAnswer(value=42),
    Reply.EMPTY: MetricAnswer(),
    Reply.NAN: MetricAnswer(value=nan),
    Reply.INFINITE: MetricAnswer(value=inf),
    Reply.NEGATIVE_INFINITE: MetricAnswer(value=-inf),
    Reply.SERVER_ERROR: MetricAnswer(error="status 500"),
    Reply.BAD_JSON: MetricAnswer(error="no JSON"),
    Reply.HANG: MetricAnswer(),
    Reply.UNREACHABLE: MetricAnswer(error="no connection"),
}


class MetricBench(Clusters):
    secret = ""
    cannot: frozenset[Reply] = frozenset()

    async def answering(self, reply: Reply):
        clusters = self.clusters
        clusters.do(KEY, SetMetrics(Constant(REPLIES[reply])), SetSources(REPLIES[reply].error))
        if reply is Reply.HANG:
            clusters.hanging.add("request-success-rate")
            clusters.timeout = 0.01
        return SimulatedMetrics(clusters)


class TestSimulatedMetrics(MetricSourceContract):
    @pytest.fixture
    async def bench(self):
        return MetricBench()


class HookBench(Clusters):
    url = "http://127.0.0.1/smoke"
    is_http = False

    def __init__(self) -> None:
        super().__init__()
        self.adapter = SimulatedHooks(self.clusters)

    async def will_answer(self, *statuses: int, body: str = "") -> None:
        if HANG in statuses:
            self.clusters.hanging.add("smoke")
        answers = tuple(HookAnswer(passed=status <= 202, text=body) for status in statuses)
        self.clusters.do(KEY, AnswerHook("smoke", answers))

    async def calls(self) -> tuple[Call, ...]:
        return tuple(
            Call(question.key, self.rollout.name, self.rollout.namespace, question.phase.value)
            for _, question in self.clusters.log
        )


class TestSimulatedHooks(HookContract):
    @pytest.fixture
    async def bench(self):
        return HookBench()


class NotifierBench(Clusters):
    secret = ""

    def __init__(self) -> None:
        super().__init__()
        self.adapter = SimulatedNotifier(self.clusters)

    async def refuse(self, *, refuse: bool) -> None:
        self.clusters.refuses_notices = refuse

    async def delivered_texts(self) -> tuple[str, ...]:
        return tuple(told.text for _, told in self.clusters.log if isinstance(told, Notice))


class TestSimulatedNotifier(NotifierContract):
    @pytest.fixture
    async def bench(self):
        return NotifierBench()


async def test_every_change_of_a_cluster_is_reported():
    clusters = SimulatedClusters([rollout()])
    changes = clusters.changes()
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    clusters.do(KEY, Deploy("one"))
    assert await waiting == key_of(rollout())
    await changes.aclose()
