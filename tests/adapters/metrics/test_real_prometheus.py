"""A real Prometheus, with an hour's worth of what meshes count: what the source is answered, and what the meshes ask.

Needs `prometheus` and `promtool` on the PATH (Debian: prometheus); without them the tests are skipped, in CI they fail.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import time

import pytest

from canarycore import Check, CheckKind, Rollout, TargetRef
from canarycore.questions import MetricQuestion
from canarycore_metrics.prometheus import PrometheusSource
from tests.adapters.mesh.meshes import ENTRIES, mesh_of

ROLLOUT = Rollout(name="podinfo", namespace="test", target=TargetRef(name="podinfo"), skip_analysis=True)
STEP, PAST, AHEAD = 15, 600, 120
"""Seconds: between two samples, and for how long there are some."""

BAD, GOOD = 1, 3
"""Requests in each step, by how they went."""

pytestmark = pytest.mark.e2e


def counted():
    """Samples in OpenMetrics' text format. A histogram's latencies lie between 100 and 200 ms."""
    labels = 'reporter="destination",destination_workload_namespace="test",destination_workload="podinfo"'
    times = range(int(time.time()) - PAST, int(time.time()) + AHEAD, STEP)
    yield "# TYPE istio_requests counter"
    for code, each in (("200", GOOD), ("503", BAD)):
        for number, at in enumerate(times):
            yield f'istio_requests_total{{{labels},response_code="{code}"}} {number * each} {at}'
    yield "# TYPE istio_request_duration_milliseconds histogram"
    for bound, each in (("100", 0), ("200", GOOD + BAD), ("+Inf", GOOD + BAD)):
        for number, at in enumerate(times):
            yield f'istio_request_duration_milliseconds_bucket{{{labels},le="{bound}"}} {number * each} {at}'
    yield "# EOF"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A Prometheus that is ready."""
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if missing:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"not on the PATH: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "samples").write_text("\n".join(counted()) + "\n")
    (folder / "prometheus.yml").write_text("{}")
    fill = ("promtool", "tsdb", "create-blocks-from", "openmetrics", "samples", "data")
    subprocess.run(fill, cwd=folder, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    options = ("--config.file=prometheus.yml", f"--web.listen-address={address}", "--storage.tsdb.path=data")
    process = subprocess.Popen(("prometheus", *options), cwd=folder, stderr=subprocess.DEVNULL)
    yield f"http://{address}"
    process.terminate()
    process.wait()


@pytest.fixture
async def source(address):
    async with PrometheusSource(address) as source:
        async with asyncio.timeout(30):
            while await source.online(ROLLOUT):  # noqa: ASYNC110 - it does not tell when it is ready
                await asyncio.sleep(0.1)
        yield source


async def test_values_missing_data_and_errors_differ(source):
    assert (await source.value("scalar(vector(42))")).value == 42
    assert (await source.value("vector(1) / 0 * 0")).value is None
    assert (await source.value("absent_metric")).value is None
    assert "Status 400" in (await source.value("}")).error
    assert "multiple values" in (await source.value("istio_requests_total[1m]")).error


def question(provider, kind):
    query = mesh_of(provider).queries[kind]
    return MetricQuestion("key", Check(name=kind.value, kind=kind, minimum=0.0, query=query), "revision")


@pytest.mark.parametrize("provider", ENTRIES)
@pytest.mark.parametrize("kind", [CheckKind.SUCCESS_RATE, CheckKind.DURATION], ids=lambda kind: kind.value)
async def test_a_server_understands_the_queries_of_each_mesh(source, provider, kind):
    answer = await source.query(ROLLOUT, question(provider, kind))
    assert not answer.error


async def test_istio_s_queries_find_what_was_counted(source):
    rate = await source.query(ROLLOUT, question("istio", CheckKind.SUCCESS_RATE))
    duration = await source.query(ROLLOUT, question("istio", CheckKind.DURATION))
    assert rate.value == pytest.approx(100 * GOOD / (GOOD + BAD))
    assert duration.value == pytest.approx(199)
