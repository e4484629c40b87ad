"""The behaviour of the whole controller beyond its parts; whole rollouts are in tests/cluster."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiohttp

from canarycore_kubernetes import controller
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
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
