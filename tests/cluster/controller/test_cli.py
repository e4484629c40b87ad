"""The commands on a real API server: install, get, command and lint as a user runs them.

The controller runs as a process of its own, with the arguments and under the rights that `canary install` gives it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from canarycore_cli.main import app
from canarycore_planes.control_plane.api import Access, Api, Json, eventually
from canarycore_planes.control_plane.binaries import binaries
from canarycore_planes.control_plane.plane import Plane
from tests.controlplane.plane import plane as started

ROOT = Path(__file__).parents[3]
SHOP = "shop"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{SHOP}/deployments/app"
CANARY = f"/apis/flagger.app/v1beta1/namespaces/{SHOP}/canaries/app"

Run = Callable[..., Any]


def deployment(**labels: str) -> Json:
    labels = labels or {"app": "app"}
    container = {"name": "app", "image": "app:1", "ports": [{"containerPort": 8080}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app", "namespace": SHOP},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def canary(name: str = "app", **analysis: Any) -> Json:
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "service": {"port": 80, "targetPort": 8080},
            "analysis": {"interval": "10s", "threshold": 3, "iterations": 50, **analysis},
        },
    }


@pytest.fixture(scope="module")
def own(plane: Plane) -> Iterator[Plane]:
    """A plane of its own: the shared one has Flagger's definitions, and other tests' canaries."""
    del plane  # it has seen to it that the servers are there
    with started(kinds=()) as running:
        yield running


@pytest.fixture(scope="module")
def run(own: Plane) -> Run:
    """The command, as the administrator."""

    def command(*arguments: str, on_cluster: bool = True) -> Any:
        options = ["--kubeconfig", str(own.kubeconfig())] if on_cluster else []
        result = CliRunner().invoke(app, [*arguments, *options], catch_exceptions=False, env={"NO_COLOR": "1"})
        assert "Traceback" not in result.output
        return result

    return command


@pytest.fixture(scope="module")
def installed(own: Plane, run: Run) -> Api:
    result = run("install", "--service-monitor")
    assert result.exit_code == 0, result.output
    own.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}})
    return own.api


@pytest.fixture(scope="module")
def controlled(own: Plane, installed: Api) -> Iterator[Api]:
    """A controller is at work."""
    wanted = installed.get("/apis/apps/v1/namespaces/canarycore/deployments/canarycore")
    assert wanted is not None
    account = "/api/v1/namespaces/canarycore/serviceaccounts/canarycore/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = installed.request("POST", account, request)["status"]["token"]
    file = own.kubeconfig(Access(installed.access.server, token, installed.access.authority), "controller")
    (container,) = wanted["spec"]["template"]["spec"]["containers"]
    arguments = [argument.replace("$(POD_NAMESPACE)", "canarycore") for argument in container["args"]]
    process = subprocess.Popen(
        [sys.executable, "-m", "canarycore_cli", *arguments, f"--kubeconfig={file}", "--port=0", "--listen=127.0.0.1"],
        env={**os.environ, "CI": ""},
    )
    yield installed
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


@pytest.fixture(scope="module")
def promoted_once(controlled: Api) -> Api:
    """The first revision is on the primary."""
    controlled.apply(deployment())
    controlled.apply(canary())
    controlled.eventually(CANARY, lambda body: (body.get("status") or {}).get("phase") == "Initialized")
    return controlled


@pytest.fixture
def progressing(promoted_once: Api) -> Api:
    """Another revision is under test."""
    template = promoted_once.get(DEPLOYMENT)["spec"]["template"]
    revision = template["metadata"].get("annotations", {}).get("revision", "0")
    patch = {"spec": {"template": {"metadata": {"annotations": {"revision": f"{int(revision) + 1}"}}}}}
    promoted_once.patch(DEPLOYMENT, patch)
    promoted_once.eventually(CANARY, lambda body: body["status"]["phase"] == "Progressing")
    return promoted_once


def test_the_export_equals_the_installation(run: Run, installed: Api):
    from ruamel.yaml import YAML

    exported = list(YAML(typ="safe").load_all(run("install", "--export", on_cluster=False).stdout))
    assert len(exported) > 10
    assert [body["kind"] for body in exported if installed.get(installed.path(body)) is None] == []


def test_existing_objects_stay_unchanged(run: Run, installed: Api):
    told = run("install", "--service-monitor").stdout.splitlines()
    (other,) = (line for line in told if not line.endswith(": unchanged"))
    assert other.startswith("ServiceMonitor canarycore/canarycore: skipped, the cluster has no Prometheus operator")


def test_a_network_policy_is_taken_by_the_server(run: Run, installed: Api):
    """All networks with their exceptions, which the server checks."""
    destinations = [part for text in ("test:80", "100.64.0.0/10:443", "[::/0]:443") for part in ("--destination", text)]
    result = run("install", "--service-monitor", "--network-policy", *destinations)
    assert result.exit_code == 0
    policy = installed.get("/apis/networking.k8s.io/v1/namespaces/canarycore/networkpolicies/canarycore")
    assert len(policy["spec"]["egress"]) == 6
    assert "169.254.0.0/16" in str(policy["spec"]["egress"][1])


def test_rights_for_a_namespace_that_is_not_there_are_asked_for_in_words(run: Run, installed: Api):
    result = run("install", "--watched", "nowhere")
    assert result.exit_code == 2
    assert "Expected the namespace nowhere: create it first." in result.stderr


def test_a_canary_is_shown_with_its_pods_and_last_event(run: Run, promoted_once: Api):
    def shown() -> Any:
        (one,) = json.loads(run("get", "-n", SHOP, "--json").stdout)
        return one if one["event"] and one["canary"]["desired"] == 0 else None

    stand = eventually(shown)
    assert stand["key"] == "shop/app"
    assert stand["phase"] == "Initialized"
    assert stand["primary"] == {"name": "app-primary", "ready": 2, "desired": 2, "image": "app:1"}
    assert stand["event"] == "Initialization done! app.shop"
    told = run("get", "app", "-A").stdout
    assert "shop/app  Initialized" in told
    assert "2/2 ready  app-primary" in told


def test_a_rollout_is_paused_explained_and_promoted(run: Run, progressing: Api):
    assert "Progressing" in run("pause", "app", "-n", SHOP).stdout
    describe = ("describe", "app", "-n", SHOP, "--provider", "kubernetes")
    # its pods may not be ready yet, which comes first
    told = eventually(lambda: found if "the rollout is paused" in (found := run(*describe).stdout) else None)
    assert "New revision detected! Scaling up app.shop" in told
    assert "resume was handled" in run("resume", "app", "-n", SHOP).stdout
    result = run("promote", "app", "-n", SHOP)
    assert result.exit_code == 0, result.output
    progressing.eventually(CANARY, lambda body: body["status"]["phase"] == "Succeeded")
    assert json.loads(run(*describe, "--json").stdout)["phase"] == "Succeeded"


def test_a_rollout_is_aborted(run: Run, progressing: Api):
    assert "abort was handled" in run("abort", "app", "-n", SHOP).stdout
    progressing.eventually(CANARY, lambda body: body["status"]["phase"] == "Failed")


def test_the_error_for_a_missing_canary_lists_the_existing_ones(run: Run, promoted_once: Api):
    for command in (("describe", "other"), ("get", "other"), ("promote", "other")):
        result = run(*command, "-n", SHOP)
        assert result.exit_code == 2
        assert "found no Canary other in the namespace shop, expected one of: shop/app" in result.stderr


def test_the_lives_of_a_cluster_are_clean_or_told(run: Run, promoted_once: Api):
    clean = run("lint", "--cluster", "-n", SHOP, "--provider", "kubernetes")
    assert clean.exit_code == 0, clean.output
    alert = {"name": "chat", "severity": "warn", "providerRef": {"name": "chat"}}
    errors = {"name": "errors", "interval": "10s", "thresholdRange": {"max": 1}, "templateRef": {"name": "errors"}}
    body = canary("other", alerts=[alert], metrics=[errors], stepWeight=10)
    body["spec"]["provider"] = "istio"
    del body["spec"]["analysis"]["iterations"]
    promoted_once.apply(body)
    promoted_once.delete("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/canarycore")
    try:
        told = run("lint", "--cluster", "-A", "--provider", "kubernetes", "--json")
    finally:
        promoted_once.delete(promoted_once.path(body))
        run("install")
    found = json.loads(told.stdout)
    assert told.exit_code == 2
    assert found["canaries"] == ["shop/app", "shop/other"]
    rules = {problem["rule"] for problem in found["problems"] if problem["severity"] == "error"}
    assert rules == {"missing-object", "missing-template", "missing-alert-provider", "missing-kind", "rights"}


def test_what_changes_is_told_line_by_line_where_nobody_draws(own: Plane, progressing: Api):
    command = [sys.executable, "-u", "-m", "canarycore_cli", "get", "-w", "-n", SHOP, "--kubeconfig", own.kubeconfig()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            assert next(lines).startswith("shop/app: Progressing")
            progressing.patch(CANARY, {"metadata": {"annotations": {"canarycore/command": "pause watched"}}})
            assert any("paused" in line for line in lines)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


def test_a_new_user_gets_a_promoted_canary_by_the_commands_of_the_page_alone(own: Plane, controlled: Api):
    """The image is not run here: a controller is at work already, and pods are ready by themselves."""
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    script = "".join(re.findall(r"^<!-- tried: first -->\n```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    for place in ("namespace ", "namespace: ", "-n "):  # one of its own
        script = script.replace(f"{place}{SHOP}", f"{place}first")
    shell = f'set -e\ncanary() {{ "{sys.executable}" -m canarycore_cli "$@"; }}\n{script}'
    environment = {**os.environ, "PATH": binaries().path, "KUBECONFIG": str(own.kubeconfig()), "NO_COLOR": "1"}
    done = subprocess.run(["bash", "-c", shell], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "New revision detected!" in done.stdout
    assert "Promotion completed! Scaling down podinfo.first" in done.stdout


def test_the_file_of_another_place_is_used(run: Run, installed: Api, tmp_path: Path):
    missing = run("get", "--kubeconfig", str(tmp_path / "none"), on_cluster=False)
    assert missing.exit_code == 1
    assert "Give a kubeconfig." in missing.stderr
