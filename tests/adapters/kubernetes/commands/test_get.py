"""The commands `canary get` and `canary abort` on an API server in memory, and `kubectl canary`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from canarycore import Phase, Rollout, Rung, Status, TargetRef
from canarycore_cli.cluster import operator
from canarycore_cli.cluster.get import format_age
from canarycore_cli.main import ON_CLUSTER, app, run_kubectl_plugin
from canarycore_kubernetes.api.kinds import CANARY
from canarycore_kubernetes.resources.canaries import COMMAND
from canarycore_kubernetes.resources.status_codec import write_status
from tests.cluster.controller.test_controller import canary, target

NAMESPACE = "shop"
STARTED_AT = 1_700_000_000.0
WEIGHTS = {"stepWeight": 10, "maxWeight": 50}
BLUE_GREEN = {"iterations": 10}
AB = {"iterations": 10, "match": [{"headers": {"x-canary": {"exact": "yes"}}}]}


def progress(**changes):
    """Return the status of a rollout under way."""
    status = Status(
        phase=Phase.PROGRESSING, since=STARTED_AT, analysed_at=STARTED_AT, applied="revision2", promoted="revision1"
    )
    return status.but(**changes)


class Cluster:
    """Canaries on an API server in memory, without a controller."""

    def __init__(self, api, kubeconfig):
        self.api, self.kubeconfig = api, kubeconfig

    def add(self, name="podinfo", *, analysis=None, labels=None, status=None):
        body, workload = canary(NAMESPACE), target(NAMESPACE)
        workload["metadata"]["name"] = body["metadata"]["name"] = body["spec"]["targetRef"]["name"] = name
        body["metadata"]["labels"] = labels or {}
        body["spec"]["provider"] = "istio"
        body["spec"]["analysis"] = {"interval": "10s", "threshold": 5, **(analysis or WEIGHTS)}
        self.api.create(workload, NAMESPACE)
        self.api.create(body, NAMESPACE)
        if status is not None:
            self.put(status, name)

    def put(self, status, name="podinfo"):
        rollout = Rollout(name=name, namespace=NAMESPACE, target=TargetRef(name=name), skip_analysis=True)
        self.api.patch(
            f"{CANARY.path(NAMESPACE, name)}/status", {"status": write_status(rollout, status, generation=1)}
        )

    def run(self, *arguments, obj=None, namespace=NAMESPACE):
        options = ["--kubeconfig", str(self.kubeconfig), *(["--namespace", namespace] if namespace else [])]
        return CliRunner().invoke(app, [*arguments, *options], obj=obj, env={"NO_COLOR": "1", "COLUMNS": "200"})

    def answer(self, **changes):
        """Record the next command as a controller would."""

        def handle():
            body = self.api.eventually(
                CANARY.path(NAMESPACE, "podinfo"), lambda body: COMMAND in body["metadata"].get("annotations", {})
            )
            self.put(progress(handled=body["metadata"]["annotations"][COMMAND], **changes))

        thread = threading.Thread(target=handle)
        thread.start()
        return thread


@pytest.fixture
def shop(api, kubeconfig):
    return Cluster(api, kubeconfig)


def test_a_canary_is_shown_with_its_image_and_age(shop):
    shop.add(status=progress(rung=Rung(weight=20)))
    output = shop.run("get").stdout
    assert re.search(r"shop/podinfo  Progressing  █+░+ 20%  0/5 failed checks  age \d+[smhd]", output)
    assert "podinfo  podinfo:6.0.0" in output
    (state,) = json.loads(shop.run("get", "--json").stdout)
    assert (state["revision"], state["canary"]["image"], state["iterations"]) == ("revision2", "podinfo:6.0.0", 0)
    assert state["created_at"]


@pytest.mark.parametrize("analysis", [BLUE_GREEN, AB], ids=["blue/green", "A/B"])
def test_a_rollout_by_iterations_has_a_bar_of_its_iterations(shop, analysis):
    shop.add(analysis=analysis, status=progress(rung=Rung(iteration=5, matched="match" in analysis)))
    assert "██████████░░░░░░░░░░ iteration 5/10" in shop.run("get").stdout


def test_names_and_labels_select_canaries(shop):
    for name, team in (("cart", "shop"), ("search", "find"), ("user", "shop")):
        shop.add(name, labels={"team": team})

    def keys(*arguments):
        result = shop.run("get", "--json", *arguments)
        assert result.exit_code == 0, result.output
        return [state["key"].removeprefix("shop/") for state in json.loads(result.stdout)]

    assert keys() == ["cart", "search", "user"]
    assert keys("user", "cart", "user") == ["user", "cart"]
    assert keys("-l", "team=shop") == ["cart", "user"]
    assert keys("-l", "team=nobody") == []
    assert "found no Canary nothing" in shop.run("get", "cart", "nothing").stderr
    both = shop.run("get", "cart", "-l", "team=shop")
    assert (both.exit_code, "expected one of them" in both.stderr) == (2, True)


def test_the_labels_without_a_canary_are_named(shop):
    assert shop.run("get", "-l", "team=shop").stdout == "no Canary with the labels team=shop in the namespace shop\n"


@pytest.mark.parametrize(
    ("seconds", "age"), [(0, "age 0s"), (119, "age 119s"), (120, "age 2m"), (7200, "age 2h"), (172_800, "age 2d")]
)
def test_an_age_has_one_unit(seconds, age):
    assert format_age("2026-01-01T00:00:00Z", 1_767_225_600 + seconds) == age


def test_an_unknown_time_of_creation_has_no_age():
    assert format_age("", 0.0) == ""


def test_a_refused_command_fails_and_says_why(shop):
    shop.add(status=progress())
    thread = shop.answer(refusal="no rollout is under way in phase Initialized")
    result = shop.run("abort", "podinfo")
    thread.join()
    assert result.exit_code == 1
    assert "shop/podinfo: abort was refused: no rollout is under way in phase Initialized" in result.stderr
    assert "handled" not in result.stdout
    for command in ("describe", "explain"):
        assert "no rollout is under way in phase Initialized" in shop.run(command, "podinfo").stdout


def test_a_command_that_is_carried_out_succeeds(shop):
    shop.add(status=progress())
    thread = shop.answer(paused=True)
    result = shop.run("pause", "podinfo")
    thread.join()
    assert (result.exit_code, "pause was handled" in result.stdout) == (0, True), result.output


def test_a_command_without_an_answer_fails_in_time(shop, monkeypatch):
    monkeypatch.setattr(operator, "COMMAND_PATIENCE", 0.5)
    shop.add(status=progress())
    result = shop.run("abort", "podinfo")
    assert result.exit_code == 1
    assert "has not handled abort within 0.5 s" in result.stderr


def test_no_wait_only_writes_the_command(shop):
    shop.add(status=progress())
    result = shop.run("skip-to", "30", "podinfo", "--no-wait")
    assert (result.exit_code, "skip-to was written" in result.stdout) == (0, True), result.output
    written = shop.api.get(CANARY.path(NAMESPACE, "podinfo"))["metadata"]["annotations"][COMMAND]
    assert written.startswith("skip-to 30 ")


# ------------------------------------------------------------------------------------------------------------ kubectl

PLUGIN = """#!/bin/sh
exec "{python}" -c 'import sys; from {module} import {function}; sys.exit({function}())' "$@"
"""


def test_kubectl_runs_the_plugin(shop, tmp_path):
    """The program is the entry point of the distribution, as an installation makes it."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("found no kubectl on the PATH")
    project = tomllib.loads((Path(__file__).parents[4] / "adapters" / "cli" / "pyproject.toml").read_text())
    module, _, function = project["project"]["scripts"]["kubectl-canary"].partition(":")
    program = tmp_path / "kubectl-canary"
    program.write_text(PLUGIN.format(python=sys.executable, module=module, function=function))
    program.chmod(0o755)
    shop.add(status=progress())
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECONFIG": str(shop.kubeconfig)}
    command = [kubectl, "canary", "get", "-A"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "shop/podinfo" in done.stdout) == (0, True), done.stderr


def test_commands_of_the_plugin_are_about_the_cluster_without_an_option(shop, monkeypatch):
    shop.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    monkeypatch.setenv("KUBECONFIG", str(shop.kubeconfig))
    for command in ("abort", "explain"):
        result = CliRunner().invoke(app, [command, "podinfo"], obj=ON_CLUSTER)
        assert (result.exit_code, "no Canary podinfo in the namespace default" in result.stderr) == (2, True)


def test_the_plugin_calls_itself_by_its_name(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kubectl-canary", "--help"])
    with pytest.raises(SystemExit):
        run_kubectl_plugin()
    assert "kubectl canary" in capsys.readouterr().out
