"""Tests of metrics from Envoy's counters, with a fake Envoy."""

import asyncio

import pytest

from canarycore import Check, CheckKind, Rollout, TargetRef
from canarycore.errors import WorldError
from canarycore.questions import MetricAnswer, MetricQuestion
from canarycore_local.envoy.metrics import EnvoyMetrics, open_metrics

WINDOW = 60.0
ROLLOUT = Rollout(
    name="podinfo",
    target=TargetRef(name="podinfo"),
    skip_analysis=True,
    checks=(Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0, window=WINDOW),),
)


class FakeEnvoy:
    """A fake of the admin interface with counters of the canary."""

    def __init__(self):
        self.requests, self.bad, self.latencies, self.error = 0, 0, {}, ""

    def answer(self, good=0, bad=0, latency=(10.0, 1.0)):
        """Count further answered requests."""
        self.requests += good + bad
        self.bad += bad
        self.latencies[latency] = self.latencies.get(latency, 0) + good + bad

    async def ask(self, path):
        assert path.startswith("/stats?")
        if self.error:
            raise WorldError(self.error)
        totals = [{"lower_bound": low, "width": width, "count": n} for (low, width), n in self.latencies.items()]
        return {
            "stats": [
                {"name": "cluster.canary.upstream_rq_completed", "value": self.requests},
                {"name": "cluster.canary.upstream_rq_5xx", "value": self.bad},
                {"histograms": {"details": [{"name": "cluster.canary.upstream_rq_time", "totals": totals}]}},
            ]
        }


@pytest.fixture
def envoy():
    return FakeEnvoy()


@pytest.fixture
def target():
    """The target's revision in a list: change it to deploy."""
    return ["v2"]


@pytest.fixture
async def metrics(envoy, target):
    source = EnvoyMetrics(envoy, lambda: target[0], constants={"orders": 3.5})
    async with open_metrics(source, ROLLOUT):
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the first reading is done
        yield source


def question(kind=CheckKind.SUCCESS_RATE, revision="v2", name="check"):
    return MetricQuestion("key", Check(name=name, kind=kind, minimum=0.0, window=WINDOW), revision)


async def test_the_success_rate_is_the_percentage_of_answers_without_5xx(metrics, envoy):
    envoy.answer(good=95, bad=5)

    assert await metrics.query(ROLLOUT, question()) == MetricAnswer(value=95.0, samples=100)


@pytest.mark.parametrize(("slow", "lowest", "highest"), [(0, 10, 11), (1, 10, 11), (2, 500, 550), (50, 500, 550)])
async def test_the_duration_is_the_99th_percentile_in_milliseconds(metrics, envoy, slow, lowest, highest):
    envoy.answer(good=100 - slow)
    envoy.answer(good=slow, latency=(500.0, 50.0))

    answer = await metrics.query(ROLLOUT, question(CheckKind.DURATION))

    assert lowest <= answer.value <= highest
    assert answer.samples == 100


@pytest.mark.parametrize("kind", [CheckKind.SUCCESS_RATE, CheckKind.DURATION])
async def test_no_request_in_the_window_is_no_data(metrics, kind):
    assert await metrics.query(ROLLOUT, question(kind)) == MetricAnswer()


async def test_requests_to_an_earlier_revision_do_not_count(envoy, target):
    target[0] = "v1"
    source = EnvoyMetrics(envoy, lambda: target[0])
    async with open_metrics(source, ROLLOUT):
        envoy.answer(bad=100)
        await asyncio.sleep(0.05)
        target[0] = "v2"

        assert await source.query(ROLLOUT, question(revision="v2")) == MetricAnswer()
        assert await source.query(ROLLOUT, question(revision="v1")) == MetricAnswer()


async def test_the_first_requests_of_a_revision_count(metrics, envoy, target):
    """The counters are read when the revision comes, and not only a second later."""
    target[0] = "v3"
    await asyncio.sleep(0.6)
    envoy.answer(good=10)
    await asyncio.sleep(1)

    assert (await metrics.query(ROLLOUT, question(revision="v3"))).samples == 10


async def test_requests_before_the_window_do_not_count(envoy, target):
    window = 0.5
    rollout = Rollout(
        name="podinfo",
        target=TargetRef(name="podinfo"),
        skip_analysis=True,
        checks=(Check(name="check", kind=CheckKind.SUCCESS_RATE, minimum=99.0, window=window),),
    )
    source = EnvoyMetrics(envoy, lambda: target[0])
    async with open_metrics(source, rollout):
        await asyncio.sleep(0.1)
        envoy.answer(bad=100)
        await asyncio.sleep(3 * window)
        envoy.answer(good=7)

        answer = await source.query(rollout, MetricQuestion("key", rollout.checks[0], "v2"))

    assert answer == MetricAnswer(value=100.0, samples=7)


async def test_an_unreachable_envoy_is_an_error_and_offline(metrics, envoy):
    envoy.error = "Envoy does not answer"

    assert await metrics.query(ROLLOUT, question()) == MetricAnswer(error="Envoy does not answer")
    assert await metrics.online(ROLLOUT) == "Envoy does not answer"


@pytest.mark.parametrize("kind", [CheckKind.TEMPLATE, CheckKind.QUERY])
async def test_a_check_that_needs_a_provider_is_an_error_unless_it_has_a_constant(metrics, kind):
    unknown = await metrics.query(ROLLOUT, question(kind, name="latency"))
    constant = await metrics.query(ROLLOUT, question(kind, name="orders"))

    assert (
        unknown.error == "found no source of the metric latency on this machine: give it a value, or a metrics server"
    )
    assert constant == MetricAnswer(value=3.5)


async def test_the_fallback_answers_checks_that_envoy_does_not_measure(envoy, target):
    class Fallback:
        async def query(self, rollout, question):
            return MetricAnswer(value=42.0)

        async def online(self, rollout):
            return "the fallback is down"

    source = EnvoyMetrics(envoy, lambda: target[0], fallback=Fallback())
    rollout = Rollout(
        name="podinfo",
        target=TargetRef(name="podinfo"),
        skip_analysis=True,
        checks=(Check(name="latency", kind=CheckKind.TEMPLATE, maximum=1.0),),
    )

    assert (await source.query(rollout, question(CheckKind.TEMPLATE))).value == 42.0
    assert await source.online(rollout) == "the fallback is down"
    assert await source.online(ROLLOUT) == ""
