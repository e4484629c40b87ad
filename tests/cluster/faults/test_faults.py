"""A rollout ends the same with every fault between the controller and the API server.

Each case is a canary of its own, with a controller of its own (all its real parts, in this process) behind a proxy that
harms what the case says: while the canary is initialised, while one revision is promoted, and while another one is
rolled back. A watcher reads every version of every object from outside. The cases run beside each other, before the
first test: they mostly wait.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import ExitStack

import pytest
from attrs import field, frozen

from canarycore_kubernetes.api.client import REQUEST_TIMEOUT, connect
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from canarycore_planes.control_plane.api import Access
from canarycore_planes.control_plane.plane import Plane
from tests.cluster.rollouts import BAD, FIRST, Measured, account, bring, create, ended, hastened, measured
from tests.cluster.watcher import Watcher, idle_writes, looks, violations, watching
from tests.controlplane.proxy import Fault, Harm, proxied

BESIDE = 30
"""Cases that run at a time."""

STILL = 2.0
"""Seconds of rest, in which nothing may be asked."""

WRITTEN = {
    "status": ("/canaries/podinfo/status", 3),
    "service": ("/services/", 2),
    "workload": ("/deployments", 2),
    "member": ("/destinationrules/", 2),
    "split": ("/virtualservices/", 2),
    "kept": ("/controllerrevisions", 1),
    "event": ("/events", 3),
}
"""The writes of a rollout: a path, and the number of consecutive requests that a fault harms."""

REFUSED: dict[str, dict[str, object]] = {
    "409": {"harm": Harm.ANSWER, "status": 409},
    "429": {"harm": Harm.ANSWER, "status": 429, "retry_after": 1},
    "500": {"harm": Harm.ANSWER, "status": 500},
    "lost": {"harm": Harm.LOSE},
    "answer lost": {"harm": Harm.LOSE_ANSWER},
}
SLOW: dict[str, dict[str, object]] = {
    "timeout": {"harm": Harm.LOSE, "seconds": REQUEST_TIMEOUT + 1},
    "timeout, applied": {"harm": Harm.LOSE_ANSWER, "seconds": REQUEST_TIMEOUT + 1},
}
LISTED = "(canaries|deployments|services|rules|virtualservices)([?]|$)"


def _faults() -> dict[str, tuple[Fault, ...]]:
    cases: dict[str, tuple[Fault, ...]] = {"nothing": ()}
    for what, (path, times) in WRITTEN.items():
        methods = ("POST", "PATCH", "PUT", "DELETE")
        cases |= {
            f"{what}: {name}": (Fault(path=path, methods=methods, times=times, **how),) for name, how in REFUSED.items()
        }
    for what in ("status", "workload", "split"):
        path, _ = WRITTEN[what]
        cases |= {
            f"{what}: {name}": (Fault(path=path, methods=("POST", "PATCH"), **how),) for name, how in SLOW.items()
        }
    for name in ("429", "500", "lost"):
        cases[f"get: {name}"] = (Fault(path="/deployments/podinfo", methods=("GET",), times=2, **REFUSED[name]),)
        cases[f"list: {name}"] = (Fault(path=LISTED, methods=("GET",), times=5, **REFUSED[name]),)
        cases[f"watch: {name}"] = (Fault(path="watch=true", methods=("GET",), times=5, **REFUSED[name]),)
    return cases | {
        "watch: cut after each event": (Fault(Harm.CUT, times=10_000, events=1),),
        "watch: 410": (Fault(Harm.EXPIRE, times=10),),
        "list: stale after 410": (Fault(Harm.EXPIRE, times=10), Fault(Harm.STALE, path=LISTED, times=10)),
    }


FAULTS = _faults()


@frozen(kw_only=True)
class Outcome:
    """How a case ended. state: after each of its three parts. harmed: how many requests were."""

    state: tuple[Mapping[str, object], ...]
    violations: list[str]
    idle_writes: list[str]
    harmed: int
    at_rest: list[str] = field(factory=list)


@pytest.fixture(scope="module")
def outcomes(plane: Plane) -> Mapping[str, Outcome]:
    """Return the outcomes of all cases."""
    with hastened(), watching(plane.api.access) as watcher, measured() as server, account(plane) as access:
        return asyncio.run(_all(Bench(plane=plane, watcher=watcher, server=server, access=access)))


@pytest.mark.parametrize("case", FAULTS)
def test_a_rollout_ends_as_if_nothing_had_gone_wrong(case: str, outcomes: Mapping[str, Outcome]):
    outcome = outcomes[case]
    assert outcome.violations == []
    assert outcome.state == outcomes["nothing"].state
    assert bool(outcome.harmed) == bool(FAULTS[case])


def test_undisturbed_each_write_changes_something_and_rest_asks_nothing(outcomes: Mapping[str, Outcome]):
    assert outcomes["nothing"].idle_writes == []
    assert outcomes["nothing"].at_rest == []


# ------------------------------------------------------------------------------------------------------- the running


@frozen(kw_only=True)
class Bench:
    """The parts that all cases share."""

    plane: Plane
    watcher: Watcher
    server: Measured
    access: Access


async def _all(bench: Bench) -> Mapping[str, Outcome]:
    places = asyncio.Semaphore(BESIDE)

    async def run(case: str) -> Outcome:
        async with places:
            return await _run(bench, FAULTS[case])

    # the slow ones first, as they mostly wait
    cases = sorted(FAULTS, key=lambda case: -max((fault.seconds for fault in FAULTS[case]), default=0))
    async with asyncio.TaskGroup() as group:
        tasks = {case: group.create_task(run(case)) for case in cases}
    return {case: task.result() for case, task in tasks.items()}


async def _run(bench: Bench, faults: tuple[Fault, ...]) -> Outcome:
    namespace, state = f"faults-{uuid.uuid4().hex[:8]}", []
    api, watcher, server = bench.plane.api, bench.watcher, bench.server
    with ExitStack() as stack:
        proxy = stack.enter_context(proxied(bench.access))
        options = Options(namespace=namespace, metrics_server=server.url, listen="127.0.0.1", port=0)
        config = bench.plane.kubeconfig(proxy.access, namespace)
        await asyncio.to_thread(create, api, namespace)
        async with connect(str(config)) as client:
            proxy.inject(*faults)
            controller = asyncio.create_task(run_controller(client, options, version="0"))
            for image, value in ((FIRST, None), ("podinfo:2", None), ("podinfo:3", BAD)):
                if value is not None:
                    server.values[namespace] = value
                if image != FIRST:
                    proxy.inject(*faults)
                    await asyncio.to_thread(bring, api, namespace, image)
                state.append(looks(await watcher.comes(namespace, ended(image))))
            await asyncio.sleep(STILL if not faults else 0)
            asked = len(proxy.log)
            await asyncio.sleep(STILL if not faults else 0)
            at_rest = [f"{one.method} {one.path}" for one in proxy.log[asked:]]
            controller.cancel()
            await asyncio.wait([controller])
    await asyncio.to_thread(api.delete, f"/api/v1/namespaces/{namespace}")
    versions = [one for one in watcher.versions(namespace) if not one.gone]
    return Outcome(
        state=tuple(state),
        violations=violations(versions, server.answers.get(namespace, ())),
        idle_writes=idle_writes(versions, proxy.log),
        harmed=proxy.harmed(),
        at_rest=at_rest,
    )
