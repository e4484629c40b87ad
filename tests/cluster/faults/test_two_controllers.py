"""Two controllers at once: one leads, and one that was paused for longer than its Lease writes nothing afterwards.

The hard case: the leader is stopped (SIGSTOP) right after a write of a promotion was carried out, before it hears the
answer. Its lease runs out, the other one takes over and ends the rollout. Then the first one goes on where it was, in
the middle of its effects. Each write of either is held against the versions of the lease: who wrote must have held it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import field, frozen

from canarycore_planes.control_plane.plane import Plane
from tests.cluster.rollouts import (
    BAD,
    FIRST,
    Controllers,
    Measured,
    bring,
    controllers,
    create,
    ended,
    hastened,
    measured,
)
from tests.cluster.watcher import Version, Watcher, looks, usurped, violations, watching
from tests.controlplane.proxy import Passage, proxied

STOPPED_AT = (1, 3, 6, 9, 11, 13, 16, 19)
"""Writes of a promotion at which the leader is stopped; 0 stands for not at all."""

STAYS = 2.0
"""Seconds for which one that goes on is left to do what it may want to do."""


@frozen(kw_only=True)
class Story:
    """A promotion and a rollback. state: at their ends. writes: of each controller. stopped: at which write."""

    state: tuple[Mapping[str, object], ...]
    violations: list[str]
    versions: list[Version]
    writes: Mapping[str, list[Passage]]
    stopped: str = ""


@frozen(kw_only=True)
class Bench:
    """The parts that all stories share."""

    plane: Plane
    watcher: Watcher
    server: Measured
    controllers: Controllers
    namespace: str = field(factory=lambda: f"two-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def stories(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, Story]:
    """Return the stories of all stops, run at the same time. 0: no stop; -1: one controller without an election."""
    return asyncio.run(_all(plane, tmp_path_factory.mktemp("logs")))


async def _all(plane: Plane, folder: Path) -> Mapping[int, Story]:
    with (
        hastened(),
        watching(plane.api.access) as watcher,
        measured() as server,
        controllers(plane, server.url, folder) as processes,
    ):
        async with asyncio.TaskGroup() as group:

            def told(stop: int) -> asyncio.Task[Story]:
                bench = Bench(plane=plane, watcher=watcher, server=server, controllers=processes)
                return group.create_task(_told(bench, stop))

            tasks = {stop: told(stop) for stop in (-1, 0, *STOPPED_AT)}
        return {stop: task.result() for stop, task in tasks.items()}


async def _told(bench: Bench, stop: int) -> Story:
    plane, watcher, namespace = bench.plane, bench.watcher, bench.namespace
    state, stopped = [], [""]
    with ExitStack() as stack:
        proxies = {name: stack.enter_context(proxied(plane.api.access)) for name in ("first", "second")}
        await asyncio.to_thread(create, plane.api, namespace)
        first = bench.controllers.start(namespace, proxies["first"], "first", elected=stop >= 0)
        await watcher.comes(namespace, ended(FIRST))
        if stop >= 0:
            bench.controllers.start(namespace, proxies["second"], "second", elected=True)
        left = [stop]

        def stops(passage: Passage) -> None:
            left[0] -= "/leases" not in passage.path
            if left[0] == 0 and not stopped[0]:
                stopped[0] = f"{passage.method} {passage.path}"
                os.kill(first.pid or 0, signal.SIGSTOP)

        if stop > 0:
            proxies["first"].after_write = stops
        await asyncio.to_thread(bring, plane.api, namespace, "podinfo:2")
        state.append(looks(await watcher.comes(namespace, ended("podinfo:2"))))
        os.kill(first.pid or 0, signal.SIGCONT)
        await asyncio.sleep(STAYS)
        bench.server.values[namespace] = BAD
        await asyncio.to_thread(bring, plane.api, namespace, "podinfo:3")
        state.append(looks(await watcher.comes(namespace, ended("podinfo:3"))))
    versions = watcher.versions(namespace)
    await asyncio.to_thread(plane.api.delete, f"/api/v1/namespaces/{namespace}")
    return Story(
        state=tuple(state),
        violations=violations(versions, bench.server.answers.get(namespace, ())),
        versions=versions,
        writes={name: [one for one in proxy.log if one.number] for name, proxy in proxies.items()},
        stopped=stopped[0],
    )


@pytest.mark.parametrize("stop", [0, *STOPPED_AT])
def test_of_two_controllers_only_the_one_that_holds_the_lease_writes(stop: int, stories: Mapping[int, Story]):
    story = stories[stop]
    assert usurped(story.versions, story.writes) == []
    assert story.violations == []
    assert story.state == stories[-1].state
    assert bool(story.stopped) == (stop > 0)


@pytest.mark.parametrize("stop", STOPPED_AT)
def test_the_other_one_takes_over_where_the_leader_was_stopped(stop: int, stories: Mapping[int, Story]):
    story = stories[stop]
    took = [one for one in story.writes["second"] if one.version and "/leases" not in one.path]
    assert took
    swapped = {"first": story.writes["second"], "second": story.writes["first"]}
    assert usurped(story.versions, swapped)
