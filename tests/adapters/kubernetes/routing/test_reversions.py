"""A writer who changes the routes back again and again is reported to the owner, by name and with the remedy."""

from __future__ import annotations

import asyncio

import pytest

from canarycore_kubernetes import controller
from canarycore_kubernetes.api.kinds import CANARY, EVENT, KINDS, SERVICE
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.refusals import BLOCKED
from canarycore_kubernetes.routing import reversions
from canarycore_kubernetes.routing.reversions import PAUSE, PEACE, REPAIRS, Reversions, describe
from canarycore_runtime.mesh import Ref
from tests.adapters.mesh.meshes import ENTRIES, manifest, mesh_of, render_context
from tests.cluster.controller.test_controller import target
from tests.cluster.patience import until
from tests.controlplane.in_memory.server import faked

KEY, APEX = "test/podinfo", Ref(kind=SERVICE, namespace="test", name="podinfo")
SELECTOR, OTHER = ({"spec": {"selector": {"app": name}}} for name in ("podinfo-primary", "podinfo"))


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def known(clock):
    return Reversions(lambda: clock[0])


def repair(known, times, clock, pause=10.0, rendered=SELECTOR):
    """Write the fields once, and repair them so many times."""
    for _ in range(times + 1):
        is_due = known.is_repair(KEY, APEX, rendered) and known.is_due(KEY, APEX)
        clock[0] += pause
        known.record(KEY, APEX, rendered, "report" if is_due else "")


def test_a_few_changes_by_hand_are_no_news(known, clock):
    repair(known, REPAIRS - 1, clock)
    assert known.text(KEY) == ""
    repair(known, 0, clock)
    assert known.text(KEY) == "report"


def test_new_routes_are_no_repair(known, clock):
    for _ in range(3 * REPAIRS):
        for rendered in (SELECTOR, OTHER):
            assert not known.is_repair(KEY, APEX, rendered)
            known.record(KEY, APEX, rendered)
    assert not known.is_due(KEY, APEX)


def test_repairs_count_across_the_weights_of_a_rollout(known, clock):
    for rendered in (SELECTOR, OTHER, SELECTOR):
        repair(known, 1, clock, rendered=rendered)
    assert known.text(KEY) == "report"


def test_rare_repairs_are_no_series(known, clock):
    repair(known, 3 * REPAIRS, clock, pause=PAUSE + 1)
    assert known.text(KEY) == ""


@pytest.mark.parametrize("pause", [1.0, 600.0])
def test_a_report_ends_after_two_pauses_without_a_repair(known, clock, pause):
    repair(known, REPAIRS, clock, pause)
    clock[0] += max(PEACE, 2 * pause) - 0.5
    assert known.text(KEY) == "report"
    clock[0] += 1
    assert known.text(KEY) == ""


def test_a_rollout_that_gives_its_objects_back_starts_anew(known, clock):
    repair(known, REPAIRS, clock)
    known.forget(KEY)
    assert known.text(KEY) == ""
    assert not known.is_repair(KEY, APEX, SELECTOR)


def test_other_rollouts_are_forgotten(known, clock):
    repair(known, REPAIRS, clock)
    known.keep({KEY})
    assert known.text(KEY) == "report"
    known.keep(set())
    assert known.text(KEY) == ""


def entry(manager, fields, **more):
    return {"manager": manager, "fieldsV1": fields, **more}


@pytest.mark.parametrize(
    ("fields", "is_named"),
    [
        ({"f:spec": {"f:selector": {}}}, True),
        ({"f:spec": {"f:selector": {".": {}, "f:app": {}}}}, True),
        ({"f:spec": {"f:selector": {"f:name": {}}}}, False),
        ({"f:spec": {"f:ports": {}}}, False),
        ({"f:metadata": {"f:labels": {}}}, False),
    ],
)
def test_the_writer_of_the_repaired_field_is_named(fields, is_named):
    body = {"metadata": {"managedFields": [entry("a-tool", fields), entry("canarycore", {"f:spec": {}})]}}
    text = describe(APEX, body, SELECTOR)
    assert ("a-tool changes this back" in text) is is_named
    assert ("another writer" in text) is not is_named
    assert text.startswith("Service podinfo, spec.selector.app: ")


def test_a_writer_of_the_status_alone_is_not_named():
    body = {"metadata": {"managedFields": [entry("a-tool", {"f:spec": {"f:selector": {}}}, subresource="status")]}}
    assert "a-tool" not in describe(APEX, body, SELECTOR)


def test_a_hostile_name_and_many_fields_make_a_short_report():
    fields = {f"field-{number}": number for number in range(500)}
    body = {"metadata": {"managedFields": [entry("x\n" * 500, {"f:spec": {}}) for _ in range(100)]}}
    text = describe(APEX, body, {"spec": fields})
    assert "\n" not in text
    assert "and 497 more" in text
    assert len(text) < 1000


def test_a_deletion_has_no_writer():
    assert "another writer deletes it" in describe(APEX, None, SELECTOR)


# ------------------------------------------------------------------------------------------------------ the controller


@pytest.fixture
def server():
    routed = (ref.kind for name in ENTRIES for ref in mesh_of(name).refs(render_context(name)))
    with faked(dict.fromkeys((*KINDS, *routed)), bookmark=0.5) as running:
        yield running


async def test_the_owner_hears_of_a_tool_that_resets_the_selector_and_of_its_end(
    client, api, server, namespace, monkeypatch
):
    monkeypatch.setattr(controller, "START_SPREAD", 0.1)
    monkeypatch.setattr(reversions, "PEACE", 2.0)
    path = SERVICE.path(namespace, "podinfo")
    apex = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "podinfo"}}
    apex["spec"] = {"selector": {"app": "podinfo"}, "ports": [{"port": 9898}]}
    api.create(apex, namespace)
    api.create(target(namespace), namespace)
    api.create(manifest("kubernetes", namespace=namespace, analysis={"interval": "10s", "iterations": 1}), namespace)

    def selector():
        return api.get(path)["spec"]["selector"]["app"]

    def conditions():
        status = api.get(CANARY.path(namespace, "podinfo")).get("status") or {}
        return {one["type"]: one for one in status.get("conditions", ())}

    def events(text):
        found = api.list(EVENT.path(namespace))
        return [body for body in found if (body["type"], body["message"]) == ("Warning", text)]

    options = Options(namespace=namespace, listen="127.0.0.1", port=0, metrics_server="http://127.0.0.1:9")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_controller(client, options, version="0"))
        await until(lambda: selector() == "podinfo-primary")
        for _ in range(REPAIRS):
            assert BLOCKED not in conditions()
            api.apply(apex, namespace)
            await until(lambda: selector() == "podinfo-primary")
        blocked = await until(lambda: conditions().get(BLOCKED))
        assert blocked["reason"] == "RoutesChangedBack"
        for part in (
            "Service podinfo, spec.selector.app: another writer changes this back",
            "let that writer ignore it",
        ):
            assert part in blocked["message"]
        assert await until(lambda: events(blocked["message"]))
        await until(lambda: BLOCKED not in conditions())
        assert len(events(blocked["message"])) == 1
        running.cancel()
