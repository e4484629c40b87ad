"""Each example for App Mesh has a twin for the Gateway API: the same policy, which lint has nothing against."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from ruamel.yaml import YAML

from canarycore import Routes
from canarycore.manifest import Canary, load, resolve
from canarycore_cli.manifests.lint import lint
from canarycore_runtime.mesh import PodSelectors, RenderContext
from tests.adapters.mesh.gateway_api.schemas import faults_of
from tests.adapters.mesh.meshes import mesh_of
from tests.house.projects import ROOT

MANIFESTS = ROOT / "examples" / "manifests"
OF_APP_MESH = sorted(path for path in MANIFESTS.rglob("*.yaml") if "appmesh" in path.read_text())
OTHERS = {"mesh.yaml": "gateway.yaml", "gatewayroute.yaml": "gateway.yaml", "virtual-objects.yaml": "tcproute.yaml"}
"""Files of objects that App Mesh alone has, and the file of the twin that does their work."""


def twin_of(path: Path) -> Path:
    return MANIFESTS / path.parent.name.replace("appmesh", "gatewayapi") / OTHERS.get(path.name, path.name)


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


PAIRS = [(path, twin_of(path)) for path in OF_APP_MESH]
TWINS = sorted({twin for _, twin in PAIRS})
CANARIES = [(path, twin) for path, twin in PAIRS if "kind: Canary" in path.read_text()]


def canary_of(path: Path) -> Canary:
    (canary,) = load([(path.name, path.read_text())]).canaries
    return canary


def test_each_example_for_app_mesh_has_a_twin():
    assert len(CANARIES) == 11
    assert [name_of(twin) for twin in TWINS if not twin.is_file()] == []
    present = {path for path in MANIFESTS.rglob("*.yaml") if "gatewayapi" in path.parent.name}
    assert present == set(TWINS), "a twin without an example"


@pytest.mark.parametrize("twin", TWINS, ids=name_of)
def test_no_twin_needs_app_mesh(twin):
    text = twin.read_text().lower()
    assert "appmesh" not in text
    assert "app mesh" not in text


@pytest.mark.parametrize(("path", "twin"), CANARIES, ids=name_of)
def test_lint_has_nothing_against_a_twin(path, twin, capsys):
    alerts = path.parent / "alertprovider.yaml"
    files = [str(each) for each in (twin, alerts) if each.is_file()]
    assert lint(files, provider="istio", strict=True, as_json=False) == 0, capsys.readouterr().out


@pytest.mark.parametrize(("path", "twin"), CANARIES, ids=name_of)
def test_a_twin_has_the_same_policy(path, twin):
    """The drain is a fact of the provider."""
    before, after = (resolve(canary_of(each)) for each in (path, twin))
    assert after.provider == "gatewayapi:v1"
    assert evolve(after, provider=before.provider, drain=before.drain) == before


@pytest.mark.parametrize(("path", "twin"), CANARIES, ids=name_of)
def test_the_route_of_a_twin_is_valid(path, twin):
    del path
    canary = canary_of(twin)
    pods = PodSelectors.by_label("app", canary.spec.target_ref.name)
    context = RenderContext(canary=canary, rollout=resolve(canary), pods=pods)
    for routes in (Routes(), Routes(matched=True) if context.match else Routes(weight=5)):
        (body,) = mesh_of("gatewayapi:v1").render(context, routes, {})
        assert faults_of(body) == []


def test_the_routes_by_hand_are_valid_and_their_gateways_are_there():
    bodies = [body for twin in TWINS for body in YAML(typ="safe").load_all(twin)]
    routes = [body for body in bodies if body["kind"].endswith("Route")]
    assert [fault for body in routes for fault in faults_of(body)] == []
    gateways = {
        (body["metadata"]["namespace"], body["metadata"]["name"]) for body in bodies if body["kind"] == "Gateway"
    }
    parents = [parent for body in routes for parent in body["spec"]["parentRefs"]]
    parents += [
        parent for body in bodies if body["kind"] == "Canary" for parent in body["spec"]["service"]["gatewayRefs"]
    ]
    assert {(parent["namespace"], parent["name"]) for parent in parents} == gateways
