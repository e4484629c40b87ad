"""The behaviour of the whole controller beyond its parts; whole rollouts are in tests/cluster."""

from __future__ import annotations

import asyncio

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
