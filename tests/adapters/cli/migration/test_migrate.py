"""canary migrate reads an installed Flagger from a cluster or a file, and prints the equivalent installation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT
from canarycore_kubernetes.migration.plan import SERVICE_ACCOUNT
from canarycore_planes.control_plane.api import Api
from tests.adapters.cli.conftest import Canary
from tests.adapters.kubernetes.migration.test_equivalent import TOKEN, deployment
from tests.controlplane.in_memory.server import faked


@pytest.fixture
def api() -> Iterator[Api]:
    with faked((CANARY, DEPLOYMENT, SERVICE_ACCOUNT)) as server:
        yield Api(server.access)


@pytest.fixture
def cluster(api: Api, tmp_path: Path) -> tuple[str, Path]:
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(api.access.kubeconfig))
    return "--kubeconfig", file


def write(folder: Path, body: Any) -> Path:
    file = folder / "input.yaml"
    file.write_text(json.dumps(body))  # JSON is YAML
    return file


def test_a_flagger_on_a_cluster_is_read_with_its_account_and_its_canaries(canary: Canary, api: Api, cluster: Any):
    api.create(deployment("-mesh-provider=istio", f"-slack-url=https://{TOKEN}", serviceAccountName="flagger"))
    account = {"name": "flagger", "namespace": "flagger-system", "annotations": {"role": "metrics"}}
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    metadata = {"name": "web", "namespace": "shop"}
    body = {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": metadata, "spec": {"provider": "nginx"}}
    api.create(body)
    api.patch(f"{CANARY.path('shop', 'web')}/status", {"status": {"phase": "Progressing"}})
    result = canary("migrate", "--json", *cluster)
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert plan["source"] == "Deployment flagger-system/flagger"
    assert plan["values"]["providers"] == ["nginx"]
    assert plan["values"]["serviceAccount"] == {"annotations": {"role": "metrics"}}
    assert plan["under_way"] == ["shop/web"]
    assert TOKEN not in result.stdout
    text = canary("migrate", *cluster).stdout
    assert "shop/web: Progressing" in text
    assert "kubectl -n flagger-system scale deployment/flagger --replicas=0" in text
    assert "canary migrate --back" in text


def test_a_cluster_without_flagger_or_with_several_is_told_what_to_do(canary: Canary, api: Api, cluster: Any):
    result = canary("migrate", *cluster)
    assert result.exit_code == 2
    assert "give its Deployment as a file" in result.stderr
    api.create(deployment())
    second = deployment()
    second["metadata"]["namespace"] = "other"
    api.create(second)
    result = canary("migrate", *cluster)
    assert result.exit_code == 2
    assert "flagger-system/flagger, other/flagger" in result.stderr
    assert canary("migrate", "-n", "other", *cluster).exit_code == 0


def test_a_deployment_in_a_file_is_read_without_a_cluster(canary: Canary, tmp_path: Path):
    file = write(tmp_path, deployment("-mesh-provider=linkerd", "-zap-replace-globals=true"))
    result = canary("migrate", file)
    assert result.exit_code == 1
    assert "meshProvider: linkerd" in result.stdout
    assert "-zap-replace-globals: found" in result.stdout


def test_values_of_the_chart_are_read_without_a_cluster(canary: Canary, tmp_path: Path):
    file = write(tmp_path, {"meshProvider": "contour", "prometheus": {"install": True}})
    result = canary("migrate", "--values", file, "--json")
    assert result.exit_code == 1
    plan = json.loads(result.stdout)
    assert plan["values"] == {"meshProvider": "contour"}
    assert plan["refusals"][0]["name"] == "prometheus.install"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--values", "input.yaml", "--back"), "expected one of"),
        (("--yes",), "without --back"),
        (("input.yaml",), "found no Deployment of Flagger"),
        (("--values", "input.yaml"), "found manifests"),
    ],
)
def test_unusable_input_is_refused(
    canary: Canary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
):
    write(tmp_path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})
    monkeypatch.chdir(tmp_path)
    result = canary("migrate", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
