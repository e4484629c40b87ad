"""A blocked rollout has one Event and a condition, and continues when the block ends."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from structlog.testing import CapturingLogger

from canarycore.driver import CycleResult
from canarycore.errors import WorldError
from canarycore_kubernetes import controller
from canarycore_kubernetes.api.kinds import CANARY, EVENT, SECRET
from canarycore_kubernetes.api.ownership import BlockedError
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.refusals import BLOCKED, BlockedRollouts
from canarycore_kubernetes.telemetry import logs
from canarycore_kubernetes.telemetry.logs import CycleLog
from canarycore_runtime import CycleReport
from tests.cluster.controller.test_controller import canary, target
from tests.cluster.patience import until
from tests.cluster.workloads import config

NAMESPACE = "shop"
KEY = f"{NAMESPACE}/podinfo"


def turn(*troubles, decision=None):
    return CycleReport(KEY, None, CycleResult(decision, 0.0, (), troubles), 0.0)


class Cluster:
    """Return the Canary as kubectl shows it."""

    def __init__(self, api):
        self.api = api

    @property
    def status(self):
        return self.api.get(CANARY.path(NAMESPACE, "podinfo")).get("status") or {}

    @property
    def blocked(self):
        return next((one["message"] for one in self.status.get("conditions", ()) if one["type"] == BLOCKED), "")

    @property
    def warnings(self):
        return [body for body in self.api.list(EVENT.path(NAMESPACE)) if "cannot go on" in body["message"]]


@pytest.fixture
async def blocked(api, monkeypatch):
    """A Canary whose rollout needs the name of a foreign Secret."""
    monkeypatch.setattr(controller, "START_SPREAD", 0.1)
    body = target(NAMESPACE)
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["envFrom"] = [{"secretRef": {"name": "db"}}]
    secrets = [config(name, "Secret", type="Opaque", data={"password": "eA=="}) for name in ("db", "db-primary")]
    asked = canary(NAMESPACE)
    asked["spec"] |= {"provider": "kubernetes", "analysis": {"interval": "10s", "threshold": 3, "iterations": 3}}
    for made in (*secrets, body, asked):
        api.create(made, NAMESPACE)
    return Cluster(api)


@asynccontextmanager
async def control(client):
    options = Options(namespace=NAMESPACE, listen="127.0.0.1", port=0, metrics_server="http://127.0.0.1:9")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_controller(client, options, version="0"))
        yield
        running.cancel()


@pytest.fixture
async def controlled(client, blocked):
    async with control(client):
        yield blocked


async def test_a_blocked_rollout_says_so_once_and_goes_on_when_its_way_is_free(controlled, plane):
    await until(lambda: controlled.blocked)
    (event,) = await until(lambda: controlled.warnings)
    assert event["type"] == "Warning"
    assert "Secret db-primary belongs to no Canary" in controlled.blocked == event["message"]
    assert "canarycore/canary=shop/podinfo" in event["message"]
    assert controlled.status["phase"] == "Initializing"
    mark = plane.audit.mark()
    await asyncio.sleep(1.5)
    writes = {asked for asked in plane.audit.since(mark) if asked[0] in ("create", "patch")}
    assert writes <= {("create", "events")}, "that of the metrics server that is away"
    assert len(controlled.warnings) == 1

    controlled.api.delete(SECRET.path(NAMESPACE, "db-primary"))
    await until(lambda: controlled.status["phase"] == "Initialized")
    await until(lambda: not controlled.blocked)
    assert {one["type"] for one in controlled.status["conditions"]} == {"Promoted", "Ready", "Canarycore"}


async def test_a_block_that_ends_while_no_controller_runs_is_no_longer_reported(client, blocked):
    async with control(client):
        await until(lambda: blocked.blocked)
    blocked.api.delete(SECRET.path(NAMESPACE, "db-primary"))
    async with control(client):
        await until(lambda: blocked.status["phase"] == "Initialized")
        await until(lambda: not blocked.blocked)


async def test_a_block_that_lasts_while_no_controller_runs_stays_reported(client, blocked):
    async with control(client):
        reason = await until(lambda: blocked.blocked)
    async with control(client):
        await asyncio.sleep(1.0)
        assert blocked.blocked == reason


def test_the_reason_of_a_block_lasts_until_a_cycle_without_it():
    woken = []
    refusals = BlockedRollouts(woken.append)
    refusals.record_cycle(turn(BlockedError("taken")))
    refusals.record_cycle(turn(WorldError("the server is away")))
    assert refusals.text(KEY) == "taken"
    refusals.record_cycle(turn(decision=SimpleNamespace()))
    assert refusals.text(KEY) == ""
    assert woken == [KEY]


@pytest.mark.parametrize("is_noted", [False, True], ids=["in an effect", "in an observation"])
def test_a_block_of_an_earlier_process_lasts_until_a_cycle_without_it(is_noted):
    woken = []
    refusals = BlockedRollouts(woken.append)
    refusals.resume(KEY, "taken")
    refusals.note(KEY, "taken" if is_noted else "")
    refusals.record_cycle(turn(WorldError("the server is away")))
    assert refusals.text(KEY) == "taken"
    refusals.note(KEY, "")
    refusals.record_cycle(turn(decision=SimpleNamespace()))
    assert refusals.text(KEY) == ""
    assert woken[-1:] == [KEY]


def test_a_trouble_that_stays_the_same_is_logged_once_and_then_at_debug(monkeypatch):
    logger = CapturingLogger()
    monkeypatch.setattr(logs, "_log", logger)
    log = CycleLog()
    for error in ("taken", "taken", "", "taken", "away"):
        log.write(turn(WorldError(error)) if error else turn())
    assert [(call.method_name, *call.args) for call in logger.calls] == [
        ("log", logging.WARNING, "trouble"),
        ("log", logging.DEBUG, "trouble"),
        ("info", "the trouble is over"),
        ("log", logging.WARNING, "trouble"),
        ("log", logging.WARNING, "trouble"),
    ]
