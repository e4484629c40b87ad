"""The files of deploy/ render the objects that `canary install` applies to a cluster."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from ruamel.yaml import YAML

from canarycore_kubernetes.deploy.network_policy import Destination
from canarycore_kubernetes.deploy.objects import ROUTING_RIGHTS, InstallOptions, objects
from tests.house.deploy.helm import helm

pytestmark = pytest.mark.timeout(1500)  # the first test builds helm

DEPLOY = Path(__file__).parents[3] / "deploy"
CHART = DEPLOY / "helm" / "canarycore"
HELMS = ("app.kubernetes.io/instance", "app.kubernetes.io/managed-by")

Key = tuple[str, str, str]


def generated() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("generate", DEPLOY / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files: dict[str, str] = module.files()
    return files


def test_the_generated_files_are_current():
    expected = generated()
    folders = (DEPLOY / "kustomize", DEPLOY / "prometheus", CHART / "crds", CHART / "files")
    files = {
        path.relative_to(DEPLOY).as_posix(): path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in (".yaml", ".json")
    }
    files |= {f"helm/canarycore/{name}": CHART / name for name in ("values.schema.json", "README.md")}
    assert set(files) == set(expected), "run python deploy/generate.py"
    stale = [
        name
        for name, path in files.items()
        if content(path.suffix, path.read_text()) != content(path.suffix, expected[name])
    ]
    assert stale == [], "run python deploy/generate.py"


def test_the_base_renders_the_installed_objects():
    assert by_name(kustomized(DEPLOY / "kustomize")) == by_name(objects(InstallOptions()))


@pytest.mark.parametrize("provider", ROUTING_RIGHTS)
def test_the_base_for_a_provider_renders_the_objects_for_it(provider: str, tmp_path: Path):
    base = Path(os.path.relpath(DEPLOY / "kustomize", tmp_path))
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(base)],
        "components": [str(base / "providers" / provider.replace(":", "-"))],
    }
    YAML().dump(overlay, tmp_path / "kustomization.yaml")
    assert by_name(kustomized(tmp_path)) == by_name(objects(InstallOptions(providers=(provider,))))


def test_the_base_with_a_network_policy_renders_the_objects_with_it(tmp_path: Path):
    base = Path(os.path.relpath(DEPLOY / "kustomize", tmp_path))
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(base)],
        "components": [str(base / "network-policy")],
    }
    YAML().dump(overlay, tmp_path / "kustomization.yaml")
    assert by_name(kustomized(tmp_path)) == by_name(objects(InstallOptions(isolated=True)))


@pytest.mark.parametrize(
    ("install", "values"),
    [
        (InstallOptions(), []),
        (InstallOptions(providers=("istio", "nginx")), ["meshProvider=istio", "providers={nginx}"]),
        (InstallOptions(watched="shop", monitored=True), ["namespace=shop", "serviceMonitor.enabled=true"]),
        (InstallOptions(flags=("--log-level=debug",), metrics_server="http://prom"), ["flags={--log-level=debug}", "metricsServer=http://prom"]),
        (
            InstallOptions(image="there/canary:2", replicas=1),
            ["image.repository=there/canary", "image.tag=2", "leaderElection.replicaCount=1"],
        ),
    ],
    ids=("defaults", "providers", "watched", "flags", "image"),
)  # fmt: skip
def test_the_chart_renders_the_installed_objects(install: InstallOptions, values: list[str]):
    defaults = ("meshProvider=kubernetes", "metricsServer=http://prometheus.monitoring:9090")
    settings = [part for value in (*defaults, *values) for part in ("--set", value)]
    command = [*template(), "--include-crds", "--namespace", "canarycore", *settings]
    rendered = by_name(read(output(*command)))
    expected = {key: body for key, body in by_name(objects(install)).items() if key[0] != "Namespace"}
    assert rendered == expected


@pytest.mark.parametrize(
    "server", ["http://prom", "http://prom.monitoring:9090", "http://prom.ops.svc:80/x", "https://prom.example.com"]
)
@pytest.mark.parametrize(
    ("install", "values"),
    [
        (InstallOptions(isolated=True), {}),
        (InstallOptions(isolated=True, api_server=("10.0.0.1/32",)), {"apiServer": "{10.0.0.1/32}"}),
        (
            InstallOptions(isolated=True, destinations=tuple(map(Destination.parse, ("test:80", "0.0.0.0/0:443")))),
            {
                "destinations[0].namespace": "test",
                "destinations[0].port": "80",
                "destinations[1].cidr": "0.0.0.0/0",
                "destinations[1].port": "443",
            },
        ),
    ],
    ids=("anywhere", "api-server", "destinations"),
)
def test_the_network_policy_of_the_chart_is_the_installed_one(
    install: InstallOptions, values: dict[str, str], server: str
):
    options = {"networkPolicy.enabled": "true", "metricsServer": server}
    options |= {f"networkPolicy.{name}": value for name, value in values.items()}
    settings = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
    rendered = by_name(read(output(*template(), "--namespace", "canarycore", *settings)))
    key = ("NetworkPolicy", "canarycore", "canarycore")
    assert rendered[key] == by_name(objects(evolve(install, metrics_server=server)))[key]


def test_the_chart_refuses_an_unknown_provider():
    assert "found ister, expected one of" in refusal("--set", "providers={ister}")


def test_the_definitions_belong_to_a_release_that_asks_for_them_and_outlive_it():
    plain, owned = (
        [body for body in read(output(*template(), *settings)) if body["kind"] == "CustomResourceDefinition"]
        for settings in ((), ("--set", "crd.create=true"))
    )
    assert plain == []
    assert [body["metadata"]["name"] for body in owned] == [
        f"{path.stem}.flagger.app" for path in sorted((CHART / "crds").iterdir())
    ]
    assert {body["metadata"]["annotations"]["helm.sh/resource-policy"] for body in owned} == {"keep"}


@pytest.mark.parametrize("settings", [(), ("namespace=shop",)], ids=("all", "watched"))
def test_two_releases_have_no_object_in_common(settings: tuple[str, ...]):
    values = [
        part
        for value in (
            *settings,
            "podDisruptionBudget.enabled=true",
            "serviceMonitor.enabled=true",
            "podMonitor.enabled=true",
            "networkPolicy.enabled=true",
            "slack.url=http://chat",
            "linkerdAuthPolicy.create=true",
            "prometheusRule.enabled=true",
            "dashboards.enabled=true",
        )
        for part in ("--set", value)
    ]
    one, other = (by_name(read(output(*template(release), *values))) for release in ("one", "other"))
    assert len(one) == 17
    assert not one.keys() & other.keys()


def test_two_releases_of_one_name_that_watch_a_namespace_each_have_no_object_in_common():
    one, other = (
        by_name(read(output(*template("canarycore"), "--namespace", place, "--set", f"namespace={place}")))
        for place in ("one", "other")
    )
    assert not one.keys() & other.keys()


def test_the_base_works_in_another_namespace(tmp_path: Path):
    base = Path(os.path.relpath(DEPLOY / "kustomize", tmp_path))
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "elsewhere",
        "resources": [str(base)],
    }
    YAML().dump(overlay, tmp_path / "kustomization.yaml")
    without_namespace = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    expected = by_name(objects(InstallOptions(namespace="elsewhere")))
    bodies = kustomized(tmp_path)
    for body in bodies:
        if body["kind"] in without_namespace:  # kustomize takes them for namespaced; the API server ignores it
            del body["metadata"]["namespace"]
    assert by_name(bodies) == expected


# ---------------------------------------------------------------------------------------------------------- helpers


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"found no {name} on the PATH: its output for deploy/ is not compared with canary install")
    return path


def template(release: str = "canarycore") -> list[str | Path]:
    """Return the command of helm. A helm built from source assumes an old cluster without --kube-version."""
    return [helm(), "template", release, CHART, "--kube-version", "1.34.0"]


def refusal(*settings: str | Path) -> str:
    """Return the error with which the chart refuses these settings."""
    done = subprocess.run([*template(), *settings], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


def kustomized(folder: Path) -> list[Any]:
    return read(output(tool("kubectl"), "kustomize", folder, "--load-restrictor=LoadRestrictionsNone"))


def content(suffix: str, text: str) -> Any:
    return read(text) if suffix == ".yaml" else text


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read(text: str) -> list[Any]:
    return [body for body in YAML(typ="safe").load_all(text) if body]


def by_name(bodies: Any) -> dict[Key, Any]:
    """Return the objects by kind, namespace and name, without the fields that only Helm adds."""
    return {
        (body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]): _without_helms(body)
        for body in bodies
    }


def _without_helms(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_helms(item) for key, item in value.items() if key not in (*HELMS, "imagePullPolicy", "labels")
        }
    return [_without_helms(item) for item in value] if isinstance(value, list | tuple) else value
