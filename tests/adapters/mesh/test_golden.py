"""A mesh renders Flagger's objects: the same object, from the routes of each of Flagger's writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from canarycore import CheckKind, Routes
from canarycore_metrics.template import render
from tests.adapters.mesh.meshes import mesh_of
from tests.adapters.mesh.recordings import context_of, drop_empty, writes
from tests.conformance.trace import read
from tests.manifest.samples import shared

Json = dict[str, Any]

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"
TRACES = sorted(path.parent for path in GOLDEN.glob("*/trace.json"))

every_trace = pytest.mark.parametrize("folder", TRACES or [GOLDEN], ids=lambda folder: folder.name)

NOT_OURS = {"flagger.kubernetes.io/original-configuration", "flagger.app/primary-revision"}
"""Annotations that other parts write: the takeover, and the promotion."""

ROWS = {
    ("47-istio-adopt-and-revert", "between"): "D17: the owner gets the original object back",
    ("38-knative-canary", "6"): "D54: traffic goes to the promoted revision at once",
}
"""Writes that differ on purpose, with their rows of docs/differences.md."""


@every_trace
def test_a_mesh_renders_each_object_of_flagger_from_its_routes(folder: Path):
    trace = read(shared("golden") / folder.name)
    for write in writes(trace):
        if (folder.name, write.tick) in ROWS:
            continue
        mesh = mesh_of(write.context.rollout.provider)
        routes = mesh.routes(write.context, write.objects) or Routes()
        rendered = mesh.render(write.context, routes, write.objects)
        (ours,) = (body for body in rendered if _place(body) == _place(write.body))
        assert _compared(ours) == _compared(write.body), f"tick {write.tick}"


def _place(body: Json) -> tuple[str, str]:
    return body["kind"], body["metadata"]["name"]


def _compared(body: Json) -> Json:
    """Return the part of an object that routes. The template of a Knative Service is its owner's."""
    metadata = {name: dict(body["metadata"].get(name, {})) for name in ("labels", "annotations")}
    for name in NOT_OURS:
        metadata["annotations"].pop(name, None)
    spec = {name: value for name, value in body["spec"].items() if name != "template"}
    return drop_empty({"metadata": metadata, "spec": spec, "mesh": body.get("mesh")})


AB = ("05-istio-ab", "27-appmesh-ab", "29-gatewayapi-ab", "30b-nginx-ab", "32b-contour-ab")
WEIGHTS = (
    *("26-appmesh-canary", "28-gatewayapi-canary", "30-nginx-canary", "31-traefik-canary", "32-contour-canary"),
    *("33-gloo-canary", "34-smi-canary", "34b-smi-v1alpha1", "35-apisix-canary", "37-kuma-canary"),
)

READ = {
    "06-istio-stepweights": [Routes(weight=weight) for weight in (0, 1, 10, 50, 25, 0)],
    "07-istio-mirror": [Routes(), Routes(mirrored=True), Routes(weight=20), Routes(weight=40), Routes()],
    "07c-istio-bluegreen": [Routes(), Routes(weight=100), Routes()],
    "08-istio-session-affinity": [
        *(Routes(), Routes(weight=30, cookie="<rand1>"), Routes(weight=60, cookie="<rand1>")),
        *(Routes(expired="<rand1>"), Routes(weight=30, cookie="<rand3>"), Routes(weight=60, cookie="<rand3>")),
        Routes(expired="<rand3>"),
    ],
    **{name: [Routes(), Routes(matched=True), Routes()] for name in AB},
    **{name: [Routes(weight=weight) for weight in (0, 20, 40, 60, 0)] for name in WEIGHTS},
}
"""The routes of some traces, one after the other."""


@pytest.mark.parametrize("name", READ)
def test_a_mesh_reads_the_routes_that_flagger_wrote(name: str):
    routes_read: list[Routes] = []
    for write in writes(read(shared("golden") / name)):
        routes = mesh_of(write.context.rollout.provider).routes(write.context, write.objects)
        if routes is not None and routes not in routes_read[-1:]:
            routes_read.append(routes)
    assert routes_read == READ[name]


@every_trace
def test_each_built_in_query_is_flaggers(folder: Path):
    trace = read(shared("golden") / folder.name)
    context = context_of(trace)
    mesh = mesh_of(context.rollout.provider)
    recorded = trace.built_in_queries()
    for place, check in enumerate(context.rollout.checks_in_order):
        if check.kind not in (CheckKind.SUCCESS_RATE, CheckKind.DURATION) or place not in recorded:
            continue
        objects = {ref: {"status": {"latestCreatedRevisionName": "podinfo-00002"}} for ref in mesh.refs(context)}
        variables = {**mesh.query_variables(context, objects), "interval": check.window_text}
        assert render(mesh.queries[check.kind], variables, {}) == recorded[place]
