"""The objects are Flagger's: from what each of its writes routes, the same object is rendered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from canarycore import CheckKind, Routes
from canarycore_metrics.template import render
from tests.adapters.mesh.meshes import mesh_of
from tests.adapters.mesh.recorded import asked_for, normal, writes
from tests.conformance.trace import read
from tests.manifest.samples import shared

Json = dict[str, Any]

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"
TRACES = sorted(path.parent for path in GOLDEN.glob("*/trace.json"))

every_trace = pytest.mark.parametrize("folder", TRACES or [GOLDEN], ids=lambda folder: folder.name)

NOT_OURS = {"flagger.kubernetes.io/original-configuration", "flagger.app/primary-revision"}
"""Annotations that others of us write: who takes an object over, and who promotes."""

ROWS = {
    ("47-istio-adopt-and-revert", "between"): "D17: what is given back is the owner's",
    ("38-knative-canary", "6"): "D54: traffic goes to the promoted revision at once",
}
"""Writes that differ on purpose, and the rows of docs/differences.md that say so."""


@every_trace
def test_each_object_that_flagger_wrote_is_rendered_from_the_routes_it_shows(folder: Path):
    trace = read(shared("golden") / folder.name)
    for written in writes(trace):
        if (folder.name, written.tick) in ROWS:
            continue
        mesh = mesh_of(written.asked.rollout.provider)
        routes = mesh.routes(written.asked, written.found) or Routes()
        rendered = mesh.render(written.asked, routes, written.found)
        (ours,) = (body for body in rendered if _place(body) == _place(written.body))
        assert _compared(ours) == _compared(written.body), f"tick {written.tick}"


def _place(body: Json) -> tuple[str, str]:
    return body["kind"], body["metadata"]["name"]


def _compared(body: Json) -> Json:
    """What makes the routes. A Knative Service has the app itself in it, which is its owner's."""
    metadata = {name: dict(body["metadata"].get(name, {})) for name in ("labels", "annotations")}
    for name in NOT_OURS:
        metadata["annotations"].pop(name, None)
    spec = {name: value for name, value in body["spec"].items() if name != "template"}
    return normal({"metadata": metadata, "spec": spec, "mesh": body.get("mesh")})


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
"""What the routes of some traces are, one after the other."""


@pytest.mark.parametrize("name", READ)
def test_what_flagger_wrote_is_read_as_what_it_meant(name: str):
    found: list[Routes] = []
    for written in writes(read(shared("golden") / name)):
        routes = mesh_of(written.asked.rollout.provider).routes(written.asked, written.found)
        if routes is not None and routes not in found[-1:]:
            found.append(routes)
    assert found == READ[name]


@every_trace
def test_each_built_in_query_is_asked_as_flagger_asks_it(folder: Path):
    trace = read(shared("golden") / folder.name)
    asked = asked_for(trace)
    mesh = mesh_of(asked.rollout.provider)
    recorded = trace.built_in_queries()
    for place, check in enumerate(asked.rollout.checks_in_order):
        if check.kind not in (CheckKind.SUCCESS_RATE, CheckKind.DURATION) or place not in recorded:
            continue
        found = {ref: {"status": {"latestCreatedRevisionName": "podinfo-00002"}} for ref in mesh.refs(asked)}
        variables = {**mesh.query_variables(asked, found), "interval": check.window_text}
        assert render(mesh.queries[check.kind], variables, {}) == recorded[place]
