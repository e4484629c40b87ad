"""canary migrate on a real API server: the plan from an installed Flagger, and the return of a rejected target."""

from __future__ import annotations

import json
import signal
import time

import pytest
from typer.testing import CliRunner

from canarycore_cli.main import app
from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT
from tests.adapters.kubernetes.migration.test_equivalent import deployment
from tests.cluster.controller.test_controller import canary, phase, target

FLAGGER_FLAGS = ("-mesh-provider=istio", "-metrics-server=http://prom:9090", "-threadiness=4", "-log-level=info")


@pytest.fixture
def run(plane):
    """The command, as the administrator."""

    def command(*arguments):
        options = [*arguments, "--kubeconfig", str(plane.kubeconfig())]
        result = CliRunner().invoke(app, options, catch_exceptions=False, env={"NO_COLOR": "1"})
        assert "Traceback" not in result.output
        return result

    return command


def test_the_plan_of_an_installed_flagger_is_an_installation_that_the_server_takes(run, api, namespace):
    flagger = deployment(*FLAGGER_FLAGS)
    flagger["metadata"]["namespace"] = namespace
    api.create(flagger)
    plan = json.loads(run("migrate", "-n", namespace, "--json").stdout)
    assert plan["source"] == f"Deployment {namespace}/flagger"
    assert plan["refusals"] == []
    installed = run("install", "--dry-run", "--skip-crds", *plan["install"])
    assert installed.exit_code == 0, installed.output
    assert f"Deployment {namespace}/canarycore: would be created" in installed.stdout


def test_a_rejected_target_gets_its_promoted_revision_and_no_rollout_begins(run, api, namespace, start):
    path, rollout = DEPLOYMENT.path(namespace, "podinfo"), CANARY.path(namespace, "podinfo")
    controller = start("-port=0")
    api.create(target(namespace))
    api.create(canary(namespace))
    phase(api, namespace, "Initialized")
    promoted = api.get(path)["spec"]["template"]
    api.patch(path, {"spec": {"template": target(namespace, "podinfo:bad")["spec"]["template"]}})
    phase(api, namespace, "Progressing")
    api.patch(rollout, {"metadata": {"annotations": {"canarycore/command": "abort x"}}})
    phase(api, namespace, "Failed")
    api.eventually(path, lambda body: body["spec"]["replicas"] == 0)
    controller.send_signal(signal.SIGTERM)
    assert controller.wait(20) == 0

    rejected = api.get(path)
    shown = run("migrate", "--back", "-n", namespace)
    assert shown.exit_code == 0, shown.output
    assert api.get(path)["metadata"]["resourceVersion"] == rejected["metadata"]["resourceVersion"]
    done = run("migrate", "--back", "-n", namespace, "--yes", "--json")
    assert [each["outcome"] for each in json.loads(done.stdout)["canaries"]] == ["returned"]
    assert api.get(path)["spec"]["template"] == promoted
    assert api.get(path)["spec"]["replicas"] == 0

    start("-port=0")
    known = api.eventually(
        rollout, lambda body: body["status"]["lastAppliedSpec"] == body["status"]["lastPromotedSpec"]
    )
    time.sleep(3)  # a rollout would begin within a second
    assert known["status"]["phase"] == api.get(rollout)["status"]["phase"] == "Failed"
    assert api.get(path)["spec"]["replicas"] == 0
    (each,) = json.loads(run("migrate", "--back", "-n", namespace, "--json").stdout)["canaries"]
    assert each["outcome"] == "not needed"
