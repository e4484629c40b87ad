"""The controller reports once which fields of a Canary the cluster's definition has dropped, and only if it does."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from canarycore.manifest import ANALYSIS_ANNOTATION, CARRIED_FIELDS, DEFINITION, parse, resolve
from canarycore_kubernetes import controller
from canarycore_kubernetes.api.kinds import CANARY, CUSTOM_RESOURCE_DEFINITION, EVENT
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.deploy.objects import definitions
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.telemetry.dropped_fields import DROPPED, find_lost_fields
from canarycore_runtime.mesh import LAST_APPLIED
from tests.adapters.kubernetes.test_preflight import definition_of, flaggers
from tests.cluster.controller.test_controller import canary, target
from tests.cluster.patience import until

NAMESPACE = "shop"
ANNOTATION = f"{ANALYSIS_ANNOTATION}drain"


def stored(**analysis):
    body = canary(NAMESPACE)
    body["spec"] |= {"provider": "kubernetes", "analysis": {"interval": "10s", "threshold": 3, "iterations": 3}}
    body["spec"]["analysis"] |= analysis
    return body


def routed(**analysis):
    """Return a Canary of a provider that moves traffic, as a bake needs one."""
    body = stored(**analysis)
    return {**body, "spec": body["spec"] | {"provider": "istio"}}


def as_applied(body, **analysis):
    """Return a Canary that lacks fields of the text that its owner applied."""
    applied = {**body, "spec": {**body["spec"], "analysis": body["spec"]["analysis"] | analysis}}
    annotations = body["metadata"].get("annotations", {}) | {LAST_APPLIED: json.dumps(applied)}
    return {**body, "metadata": body["metadata"] | {"annotations": annotations}}


TEXTS = {
    "steps": '[{"weight": 5}, {"weight": 50}]',
    "drain": "9s",
    "bake": "30m",
    "noData": "hold",
    "onFailure": "freeze",
    "rollbackWindow": '{"revisions": 3}',
    "rollback": '{"stepWeight": 20}',
    "replaceDownPrimary": "true",
    "routeKind": "",
    "routeRefs": "[]",
}


def annotated(body, *names):
    fields = names or ("analysis.drain",)
    annotations = {f"canarycore/{field}": TEXTS.get(field.partition(".")[2], "3") for field in fields}
    return {**body, "metadata": body["metadata"] | {"annotations": annotations}}


class Reports:
    """The reports about a Canary, as kubectl shows them."""

    def __init__(self, api):
        self._api = api

    @property
    def status(self):
        return self._api.get(CANARY.path(NAMESPACE, "podinfo")).get("status") or {}

    @property
    def condition(self):
        conditions = self.status.get("conditions", ())
        return next((entry["message"] for entry in conditions if entry["type"] == DROPPED), "")

    @property
    def events(self):
        return [body for body in self._api.list(EVENT.path(NAMESPACE)) if "definition of Canaries" in body["message"]]


@asynccontextmanager
async def control(client, api, body, definition):
    """Run a controller over a Canary in a cluster with a definition."""
    if definition is not None:
        api.create(definition)
    for made in (target(NAMESPACE), body):
        api.create(made, NAMESPACE)
    options = Options(namespace=NAMESPACE, port=0)
    task = asyncio.create_task(run_controller(client, options, version="test"))
    try:
        yield Reports(api)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def quick_start(monkeypatch):
    monkeypatch.setattr(controller, "START_SPREAD", 0.1)


async def test_the_controller_reports_a_dropped_field_once(client, api):
    body = as_applied(stored(), drain="9s")
    async with control(client, api, body, definition_of(flaggers())) as reports:
        await until(lambda: reports.condition)
        assert "spec.analysis.drain" in reports.condition
        assert ANNOTATION in reports.condition
        await until(lambda: reports.status.get("phase"))
        await asyncio.sleep(1.0)
        (event,) = reports.events
        assert (event["type"], event["message"], event["count"]) == ("Warning", reports.condition, 1)


async def test_the_condition_goes_with_the_annotation(client, api):
    body = as_applied(stored(), drain="9s")
    async with control(client, api, body, definition_of(flaggers())) as reports:
        await until(lambda: reports.condition)
        api.patch(CANARY.path(NAMESPACE, "podinfo"), {"metadata": {"annotations": {ANNOTATION: "9s"}}})
        await until(lambda: not reports.condition)


@pytest.mark.parametrize(
    ("body", "definition"),
    [
        (as_applied(stored(), drain="9s"), definition_of(definitions())),
        (as_applied(stored(), drain="9s"), None),
        (as_applied(stored()), definition_of(flaggers())),
        (stored(), definition_of(definitions())),
        (annotated(routed(iterations=None, stepWeight=10), *CARRIED_FIELDS), definition_of(flaggers())),
        (as_applied(annotated(stored()), drain="9s"), definition_of(flaggers())),
    ],
    ids=[
        *("a definition with the field", "an unknown definition", "no such field", "an unknown text"),
        *("annotations with all fields", "an annotation with the field"),
    ],
)
async def test_the_controller_reports_nothing_else(client, api, body, definition):
    async with control(client, api, body, definition) as reports:
        await until(lambda: reports.status.get("phase"))
        await asyncio.sleep(0.5)
        assert (reports.condition, reports.events) == ("", [])


async def test_a_canary_that_does_not_show_its_losses_gets_the_fields_that_may_be_lost(client, api):
    async with control(client, api, annotated(stored()), definition_of(flaggers())) as reports:
        await until(lambda: reports.condition)
        assert "spec.analysis.noData" in reports.condition
        assert "analysis.drain" not in reports.condition
        (condition,) = [entry for entry in reports.status["conditions"] if entry["type"] == DROPPED]
        assert condition["status"] == "Unknown"
        await asyncio.sleep(1.0)
        (event,) = reports.events
        assert (event["type"], event["message"], event["count"]) == ("Normal", reports.condition, 1)


def test_a_server_side_apply_loses_nothing():
    """It refuses a field that the definition lacks."""
    body = stored()
    assert find_lost_fields(body) is None
    body["metadata"]["managedFields"] = [{"operation": "Apply", "fieldsV1": {"f:spec": {"f:analysis": {}}}}]
    assert find_lost_fields(body) == ()


async def test_a_canary_that_has_lost_nothing_asks_for_no_definition(client, api, plane):
    mark = plane.audit.mark()
    async with control(client, api, as_applied(stored()), None) as reports:
        await until(lambda: reports.status.get("phase"))
    asked = [request for request in plane.audit.since(mark) if CUSTOM_RESOURCE_DEFINITION.plural in str(request)]
    assert asked == []


def test_a_field_that_its_owner_removed_is_not_lost():
    assert find_lost_fields(as_applied(stored(drain="9s"), drain="9s")) == ()


@pytest.mark.parametrize("text", ["[" * 200_000, "3", '{"spec": 3}', '{"spec": {"analysis": {"drain": null}}}'])
def test_an_applied_text_without_values_says_nothing(text):
    body = stored()
    body["metadata"]["annotations"] = {LAST_APPLIED: text}
    assert find_lost_fields(body) == ()


def test_the_cluster_reads_the_annotation():
    assert resolve(parse(annotated(stored()))).drain == 9


def test_the_definition_has_the_name_that_clusters_have():
    assert definition_of(definitions())["metadata"]["name"] == DEFINITION
