"""The behaviour of the whole controller beyond its parts; whole rollouts are in tests/cluster."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from itertools import pairwise

import aiohttp
import pytest
import structlog
from structlog.testing import capture_logs

from canarycore_kubernetes import controller
from canarycore_kubernetes.api.leader_election import LeaderElection, LeaseTimes
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.observer.observer import observe
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.telemetry import logs
from tests.cluster.controller.test_controller import canary, target

LOOKED_AT = ("list", "services")
NAMESPACE = "looked-at"
"""Its Canary is due a good while after the start, as a hash of the name tells."""


async def test_the_objects_of_rollouts_are_listed_before_the_first_cycle(client, api, plane, monkeypatch):
    monkeypatch.setattr(controller, "START_SPREAD", 3600.0)
    monkeypatch.setattr(controller, "START_PACE", 1 / 3600)
    for body in (target(NAMESPACE), canary(NAMESPACE)):
        api.create(body)
    mark = plane.audit.mark()
    options = Options(namespace=NAMESPACE, listen="127.0.0.1", port=0)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_controller(client, options, version="0"))
        async with asyncio.timeout(10):
            while LOOKED_AT not in plane.audit.since(mark):  # noqa: ASYNC110 - the server is in another thread
                await asyncio.sleep(0.05)
        running.cancel()

    asked = {verb for verb, _ in plane.audit.since(mark)}
    assert asked <= {"list", "watch"}, "nobody was looked at yet"


@asynccontextmanager
async def running(client, options):
    """Run a controller, and yield a function that returns the lines of its metrics."""
    port = asyncio.get_running_loop().create_future()

    async def metrics():
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{await port}/metrics") as answer:
            return (await answer.text()).splitlines()

    async with asyncio.TaskGroup() as group:
        work = group.create_task(run_controller(client, options, version="0", listening=port.set_result))
        yield metrics
        work.cancel()


async def eventually(metrics, is_reached):
    """Wait until the lines of the metrics fulfil a condition, and return them."""
    async with asyncio.timeout(20):
        while not is_reached(lines := await metrics()):  # noqa: ASYNC110 - Prometheus polls too
            await asyncio.sleep(0.1)
    return lines


async def test_the_metrics_name_a_canary_in_trouble_until_it_is_gone(client, api, namespace, monkeypatch):
    monkeypatch.setattr(controller, "START_SPREAD", 0.0)
    api.create(canary(namespace))  # without its target
    blocked = f'canarycore_blocked{{name="podinfo",namespace="{namespace}",reason="TargetMissing"}} 1.0'
    async with running(client, Options(namespace=namespace, listen="127.0.0.1", port=0)) as metrics:
        lines = await eventually(metrics, lambda lines: blocked in lines)
        assert "canarycore_leader 1.0" in lines
        for verb in ("list", "watch"):
            series = f'canarycore_api_request_seconds_count{{resource="canaries.flagger.app",verb="{verb}"}}'
            assert any(line.startswith(series) for line in lines)

        api.delete(f"/apis/flagger.app/v1beta1/namespaces/{namespace}/canaries/podinfo")
        of_the_canary = f'name="podinfo",namespace="{namespace}"'
        await eventually(metrics, lambda lines: not any(of_the_canary in line for line in lines))


@pytest.fixture
def lines(monkeypatch):
    """The lines of the log; a logger that other tests have used writes elsewhere."""
    monkeypatch.setattr(logs, "_log", structlog.get_logger("canarycore.controller"))
    with capture_logs() as captured:
        yield captured


@pytest.mark.parametrize("work", [run_controller, observe])
async def test_the_first_line_names_the_version_and_the_servers(client, lines, work):
    options = Options(
        namespace=NAMESPACE, listen="127.0.0.1", port=0, metrics_server="http://user:secret@prometheus:9090/path"
    )
    await run_for_a_moment(work(client, options, version="1.2.3"), lambda: lines)
    assert lines[0] == {
        "event": "starting",
        "log_level": "info",
        "version": "1.2.3",
        "provider": "istio",
        "api_server": client.server,
        "metrics_server": "http://prometheus:9090",
        "namespace": NAMESPACE,
    }


async def test_the_log_says_which_servers_are_reached_and_what_is_watched(client, api, lines):
    for body in (target(NAMESPACE), canary(NAMESPACE)):
        api.create(body)
    options = Options(namespace=NAMESPACE, listen="127.0.0.1", port=0, metrics_server="http://127.0.0.1:9")
    work = run_controller(client, options, version="1")
    await run_for_a_moment(work, lambda: [line for line in lines if "metrics server" in line["event"]])
    (connected,) = (line for line in lines if line["event"] == "connected")
    assert (connected["api_server"], connected["canaries"]) == (client.server, 1)
    assert {"canaries", "deployments"} <= set(connected["watching"])
    (trouble,) = (line for line in lines if line["event"] == "the metrics server is out of reach")
    assert (trouble["log_level"], trouble["metrics_server"]) == ("warning", "http://127.0.0.1:9")
    assert trouble["error"]


async def run_for_a_moment(work, is_done):
    """Run until the condition holds, for at most ten seconds."""
    task = asyncio.create_task(work)
    async with asyncio.timeout(10):
        while not is_done():  # noqa: ASYNC110 - the lines come from another task
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])


async def test_a_standby_says_that_it_stands_by_and_does_not_repeat_itself(client, namespace, caplog):
    times = LeaseTimes(duration=4, retry=0.1, write=1.0)
    caplog.set_level(logging.INFO)
    async with LeaderElection(client, namespace=namespace, identity="first", times=times) as leader:
        await leader.elected()
        async with LeaderElection(client, namespace=namespace, identity="second", times=times) as standby:
            await asyncio.sleep(1.0)
    lines = [record.message for record in caplog.records if not record.message.startswith("leader election: first_")]
    assert f"leader election: {standby.identity} stands by: {leader.identity} leads" in lines
    assert not [line for line, following in pairwise(lines) if line == following]  # a slow machine has timeouts between
