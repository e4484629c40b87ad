"""The manifests of the load tester: a drop-in for Flagger's, under flags that the command accepts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from canarycore_cli import loadtester
from canarycore_cli.main import app
from canarycore_loadtester.options import LoadtesterOptions
from tests.house.deploy.helm import helm
from tests.house.deploy.test_controller import DEPLOY, by_name, kustomized, output, read

pytestmark = pytest.mark.timeout(1500)  # the first test builds helm

BASE = DEPLOY / "loadtester"
CHART = DEPLOY / "helm" / "loadtester"
NAME = "flagger-loadtester"


def base() -> dict[str, Any]:
    return {body["kind"]: body for body in read((BASE / "loadtester.yaml").read_text())}


def with_components(folder: Path, *components: str) -> list[Any]:
    path = Path(os.path.relpath(BASE, folder))
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "test",
        "resources": [str(path)],
        "components": [str(path / component) for component in components],
    }
    YAML().dump(overlay, folder / "kustomization.yaml")
    return kustomized(folder)


def test_the_service_has_the_address_of_flaggers_load_tester():
    service, pod = base()["Service"], base()["Deployment"]["spec"]["template"]
    assert service["metadata"]["name"] == NAME
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()


def test_the_container_has_flags_that_the_command_accepts(monkeypatch: pytest.MonkeyPatch):
    started: list[LoadtesterOptions] = []
    monkeypatch.setattr(loadtester, "run", lambda options, **_: started.append(options) or 0)
    (container,) = base()["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert CliRunner().invoke(app, container["args"], catch_exceptions=False).exit_code == 0
    (options,) = started
    (mount,) = container["volumeMounts"]
    assert str(options.state_file.parent) == mount["mountPath"]
    assert (options.listen, options.port) == ("", container["ports"][0]["containerPort"])


def test_the_pod_has_no_rights():
    pod = base()["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_base_renders():
    assert {body["kind"] for body in kustomized(BASE)} == {"Deployment", "Service"}


def test_the_components_add_a_volume_and_a_network_policy(tmp_path: Path):
    bodies = {body["kind"]: body for body in with_components(tmp_path, "persistent", "network-policy")}
    assert bodies.keys() == {"Deployment", "Service", "PersistentVolumeClaim", "NetworkPolicy"}
    (volume,) = bodies["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == bodies["PersistentVolumeClaim"]["metadata"]["name"]
    assert bodies["NetworkPolicy"]["spec"]["podSelector"] == {"matchLabels": {"app": NAME}}


@pytest.mark.parametrize(
    ("settings", "components"),
    [((), ()), (("persistence.enabled=true", "networkPolicy.enabled=true"), ("persistent", "network-policy"))],
    ids=("defaults", "all"),
)
def test_the_chart_renders_the_same_objects(tmp_path: Path, settings: tuple[str, ...], components: tuple[str, ...]):
    values = [part for value in settings for part in ("--set", value)]
    rendered = read(output(helm(), "template", "ours", CHART, "--namespace", "test", *values))
    assert by_name(rendered) == by_name(with_components(tmp_path, *components))
