"""canary install keeps the settings of the earlier installation, on an API server in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from ruamel.yaml import YAML

from canarycore_kubernetes.api.kinds import by_object
from canarycore_kubernetes.deploy.network_policy import Destination
from canarycore_kubernetes.deploy.objects import InstallOptions, objects
from canarycore_planes.control_plane.api import Api
from tests.adapters.cli.conftest import Canary, Result
from tests.controlplane.in_memory.server import faked

GIVEN = (
    *("--provider", "istio", "--provider", "nginx", "--image", "registry.example.com/canarycore:2"),
    *("--metrics-server", "http://prom:9090", "--flag=--log-level=debug", "--flag=--no-cross-namespace-refs"),
    *("--service-monitor", "--network-policy", "--destination", "test:80", "--api-server", "10.0.0.1/32"),
)
DEPLOYMENT = "/apis/apps/v1/namespaces/canarycore/deployments/canarycore"
POLICY = "/apis/networking.k8s.io/v1/namespaces/canarycore/networkpolicies/canarycore"


@pytest.fixture
def api() -> Iterator[Api]:
    bodies = (*objects(InstallOptions(monitored=True, isolated=True)), *objects(InstallOptions(watched="shop")))
    with faked(tuple({by_object(body) for body in bodies})) as server:
        yield Api(server.access)


@pytest.fixture
def install(api: Api, canary: Canary, tmp_path: Path) -> Canary:
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(api.access.kubeconfig))

    def run(*arguments: str | Path) -> Result:
        return canary("install", *arguments, "--kubeconfig", file)

    return run


def results(result: Result) -> dict[str, str]:
    """Return the result of each object by its name."""
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if not line.startswith("  ")]
    return dict(line.split(": ", 1) for line in lines)


def container(api: Api) -> dict[str, object]:
    return api.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0]


def test_a_second_install_without_flags_changes_nothing(install: Canary):
    first = results(install(*GIVEN))
    assert set(first.values()) == {"created"}
    assert results(install()) == dict.fromkeys(first, "unchanged")


def test_a_flag_changes_its_setting_and_no_other(install: Canary, api: Api):
    install(*GIVEN)
    changed = {name for name, result in results(install("--image", "other:3")).items() if result != "unchanged"}
    assert changed == {"Deployment canarycore/canarycore"}
    assert container(api)["image"] == "other:3"
    assert "--log-level=debug" in container(api)["args"]


def test_an_empty_text_clears_a_list(install: Canary, api: Api):
    install(*GIVEN)
    install("--flag", "")
    assert "--log-level=debug" not in container(api)["args"]


def test_an_installation_in_another_namespace_is_found(install: Canary, api: Api):
    first = results(install("-n", "delivery", *GIVEN))
    assert results(install()) == dict.fromkeys(first, "unchanged")
    assert api.get(DEPLOYMENT) is None


def test_of_several_installations_the_namespace_selects_one(install: Canary):
    install("-n", "one")
    install("-n", "two")
    result = install()
    assert result.exit_code == 2
    assert "Deployment one/canarycore, Deployment two/canarycore" in result.stderr
    assert set(results(install("-n", "two")).values()) == {"unchanged"}


def test_an_observer_beside_the_controller_has_settings_of_its_own(install: Canary):
    install(*GIVEN)
    install("--observe", "--provider", "linkerd")
    assert set(results(install()).values()) == {"unchanged"}
    assert set(results(install("--observe")).values()) == {"unchanged"}


def test_an_installation_by_another_tool_is_left_alone(install: Canary, api: Api):
    labels = {"app.kubernetes.io/name": "canarycore"}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "canarycore", "labels": labels},
        "spec": {},
    }
    api.create(body, "canarycore")
    before = api.get(DEPLOYMENT)
    result = install()
    assert result.exit_code == 2
    assert "found no settings of canary install" in result.stderr
    assert api.get(DEPLOYMENT) == before


def test_an_object_that_a_setting_no_longer_needs_goes(install: Canary, api: Api):
    install(*GIVEN)
    assert results(install("--no-network-policy"))["NetworkPolicy canarycore/canarycore"] == "removed"
    assert api.get(POLICY) is None
    scoped = results(install("--watched", "shop"))
    assert scoped["ClusterRole canarycore"] == "removed"
    assert scoped["Role shop/canarycore"] == "created"


def test_a_dry_run_shows_the_difference_and_changes_nothing(install: Canary, api: Api):
    install(*GIVEN)
    before = api.get(DEPLOYMENT)
    result = install("--dry-run", "--image", "other:3", "--no-network-policy")
    shown = results(result)
    assert shown["Deployment canarycore/canarycore"] == "would change"
    assert shown["NetworkPolicy canarycore/canarycore"] == "would be removed"
    assert [name for name, told in shown.items() if told not in ("unchanged", "would change", "would be removed")] == []
    assert "-        image: registry.example.com/canarycore:2" in result.stdout
    assert "+        image: other:3" in result.stdout
    assert api.get(DEPLOYMENT) == before
    assert api.get(POLICY) is not None


def test_a_dry_run_without_an_installation_creates_nothing(install: Canary, api: Api):
    assert set(results(install("--dry-run")).values()) == {"would be created"}
    assert api.get(DEPLOYMENT) is None


def test_the_definitions_are_left_alone_on_request(install: Canary, canary: Canary):
    assert not [name for name in results(install("--skip-crds")) if "CustomResourceDefinition" in name]
    exported = list(YAML(typ="safe").load_all(canary("install", "--export", "--skip-crds").stdout))
    assert "CustomResourceDefinition" not in {body["kind"] for body in exported}


def test_an_exported_installation_keeps_its_settings(install: Canary, canary: Canary, api: Api):
    for body in YAML(typ="safe").load_all(canary("install", "--export", *GIVEN).stdout):
        api.apply(body)
    install()
    assert container(api)["image"] == "registry.example.com/canarycore:2"


def test_the_settings_of_every_option_are_read_again():
    install = InstallOptions(
        namespace="delivery",
        providers=("istio", "nginx"),
        watched="shop",
        image="other:3",
        replicas=3,
        metrics_server="http://prom",
        monitored=True,
        flags=("--log-level=debug",),
        isolated=True,
        api_server=("10.0.0.1/32",),
        destinations=(Destination(namespace="test", port=80), Destination(cidr="10.0.0.0/8", port=443)),
    )
    for observe in (False, True):
        expected = evolve(install, observe=observe)
        settings = json.loads(json.dumps(expected.settings()))
        assert InstallOptions.from_settings(settings, namespace="delivery", observe=observe) == expected


def test_an_export_shows_letters_as_they_are(canary: Canary) -> None:
    assert "canarycore/subscribe.…" in canary("install", "--export").stdout
