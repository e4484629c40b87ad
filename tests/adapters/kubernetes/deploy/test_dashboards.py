"""The dashboards: they show each series, and each query has data in a real Prometheus that scraped the exporter."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter

import pytest
from attrs import evolve

from canarycore import Check, CheckKind, Ladder, Observation, Phase, Rollout, TargetRef
from canarycore.driver import CycleResult, Observed
from canarycore.errors import WorldError
from canarycore.simulation import Constant, Deploy, SetMetrics, SimulatedCluster
from canarycore_kubernetes.api.client import RequestReport
from canarycore_kubernetes.deploy.dashboards import COLUMNS, DASHBOARDS, dashboards
from canarycore_kubernetes.telemetry.calls import ProviderReport
from canarycore_kubernetes.telemetry.probes import serve_probes
from canarycore_kubernetes.telemetry.prometheus import Exporter
from canarycore_kubernetes.telemetry.series import SERIES
from canarycore_runtime.runner import CycleReport
from tests.adapters.kubernetes.deploy.prometheus import find_program

NAME = re.compile(r"\b(?:canarycore|flagger|process|python)_\w+")
SUFFIX = re.compile(r"_(bucket|count|sum)$")
CHOICES = {
    "${target}": "podinfo",
    "$target": "podinfo",
    "$canary": "podinfo",
    "$namespace": "test",
    "$job": ".*",
    "$__rate_interval": "1m",
    "$__range": "5m",
}
"""The values that Grafana puts into a query."""

ROLLOUT = Rollout(
    name="podinfo",
    namespace="test",
    target=TargetRef(name="podinfo"),
    ladder=Ladder(step=50),
    checks=(Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0),),
)

QUERIES = [
    pytest.param(target["expr"], id=f"{name}: {panel['title']} {target['refId']}")
    for name, model in dashboards().items()
    for panel in model["panels"]
    for target in panel["targets"]
]
VARIABLES = [
    pytest.param(variable["query"]["query"], id=f"{name}: {variable['name']}")
    for name, model in dashboards().items()
    for variable in model["templating"]["list"]
    if variable["type"] == "query"
]


def names_in(text):
    return {SUFFIX.sub("", name) for name in NAME.findall(text)}


def test_the_dashboards_show_exactly_the_exported_series():
    queries = " ".join(query for dashboard in DASHBOARDS for panel in dashboard.panels for query, _ in panel.queries)
    assert names_in(queries) == {series.name for series in SERIES}


@pytest.mark.parametrize("name", dashboards())
def test_the_panels_of_a_dashboard_do_not_overlap(name):
    cells = Counter(
        (x, y)
        for panel in dashboards()[name]["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    )
    assert set(cells.values()) == {1}
    assert max(x for x, _ in cells) < COLUMNS


@pytest.mark.parametrize("name", dashboards())
def test_a_dashboard_names_only_its_own_variables(name):
    model = dashboards()[name]
    known = {variable["name"] for variable in model["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(model))) - {"__rate_interval", "__range", "__all"}
    assert used <= known


def test_a_phase_and_a_trouble_are_shown_by_name_and_a_number_by_its_value():
    stats = {panel["title"]: panel["options"] for panel in dashboards()["canary"]["panels"] if panel["type"] == "stat"}
    assert {title: options["textMode"] for title, options in stats.items()} == {
        "Phase": "name",
        "Trouble": "name",
        "Last rollout": "value",
        "Alerts lost": "value",
    }


# a real Prometheus --------------------------------------------------------------------------------------------------


def record_rollouts(exporter):
    """Record two rollouts, one of which fails, with everything that may go wrong meanwhile."""
    for value, end in ((99.5, Phase.SUCCEEDED), (42.0, Phase.FAILED)):
        cluster = SimulatedCluster(ROLLOUT).do(SetMetrics(Constant(value)))
        cluster.do(Deploy("v1")).run(until=Phase.INITIALIZED)
        cluster.do(Deploy("v2")).run(until=end)
        for record in cluster.history:
            if record.decision is not None:
                before = evolve(record.decision.status, phase=record.decision.explanation.before)
                observed = Observed(ROLLOUT, before, Observation(now=record.time))
                errors = (*record.troubles, WorldError("no answer"))
                result = CycleResult(record.decision, record.wake, record.effects, errors)
                exporter.record_cycle(CycleReport("test/podinfo", observed, result, lateness=2.0))


def record_calls(exporter):
    """Record a request to the API server and a call of a provider, of which some fail."""
    for error in ("", "403"):
        exporter.record_request(RequestReport(method="GET", path="/api/v1/services", seconds=0.1, error=error))
    for has_failed in (True, False):
        report = ProviderReport(port="metrics", provider="prometheus", seconds=0.1, has_failed=has_failed)
        exporter.record_call(report)


class ServedExporter(threading.Thread):
    """The exporter at work, behind the controller's own endpoint."""

    def __init__(self):
        super().__init__(daemon=True)
        self.exporter = Exporter(version="1", provider="istio")
        self.has_started, self.has_ended = threading.Event(), threading.Event()
        self.port = 0

    def run(self):
        asyncio.run(self._serve())

    async def _serve(self):
        async with serve_probes("127.0.0.1", 0, self.exporter.registry, lambda: "") as self.port:
            self.exporter.set_leader(True)
            self.exporter.set_totals(Counter({"test": 1}))
            self.exporter.count_lost_alert(ROLLOUT)
            self.exporter.record_trouble("test/podinfo", "Forbidden")
            self.has_started.set()
            while not self.has_ended.is_set():
                record_rollouts(self.exporter)
                record_calls(self.exporter)
                await asyncio.sleep(0.5)


@pytest.fixture(scope="module")
def exporter():
    served = ServedExporter()
    served.start()
    served.has_started.wait(30)
    yield served
    served.has_ended.set()
    served.join()


@pytest.fixture(scope="module")
def address(exporter, tmp_path_factory):
    """Return the address of a Prometheus that has scraped the exporter a few times."""
    program, folder = find_program("prometheus"), tmp_path_factory.mktemp("prometheus")
    job = {"job_name": "canarycore", "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    options = ("--config.file=prometheus.yml", f"--web.listen-address={address}", "--storage.tsdb.path=data")
    process = subprocess.Popen((program, *options), cwd=folder, stderr=subprocess.DEVNULL)
    try:
        wait_for_scrapes(f"http://{address}", 4)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def wait_for_scrapes(address, number):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            results = ask(address, "count_over_time(up[1m])")
        except OSError:
            results = []
        if results and float(results[0]["value"][1]) >= number:
            return
        time.sleep(0.5)
    pytest.fail(f"{address} has not scraped the exporter {number} times within a minute")


def ask(address, query):
    """Return the results of a query."""
    parameters = urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(f"{address}/api/v1/query?{parameters}", timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def choose(query):
    """Put the viewer's choices into a query, as Grafana does."""
    for variable, value in CHOICES.items():
        query = query.replace(variable, value)
    return query


@pytest.mark.e2e
@pytest.mark.parametrize("query", QUERIES)
def test_each_query_has_data_after_a_rollout(address, query):
    results = ask(address, choose(query))
    assert [result for result in results if result["value"][1] != "NaN"]


@pytest.mark.e2e
@pytest.mark.parametrize("query", VARIABLES)
def test_each_variable_has_values_after_a_rollout(address, query):
    selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", choose(query)).groups()
    assert any(result["metric"].get(label) for result in ask(address, selector))
