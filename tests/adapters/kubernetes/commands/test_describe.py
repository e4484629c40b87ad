"""The command `canary describe` on an API server in memory."""

from __future__ import annotations

from typer.testing import CliRunner

from canarycore_cli.main import app
from canarycore_kubernetes.api.kinds import EVENT
from tests.cluster.controller.test_controller import canary, target

NAMESPACE = "shop"


def test_describe_writes_nothing_about_what_it_cannot_observe(api, kubeconfig, plane):
    """The controller warns of a missing Secret by an Event; a user who only looks must not."""
    body = target(NAMESPACE)
    body["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "missing"}}]
    api.create(body, NAMESPACE)
    api.create(canary(NAMESPACE), NAMESPACE)
    mark = plane.audit.mark()
    arguments = ["describe", "podinfo", "--namespace", NAMESPACE, "--kubeconfig", str(kubeconfig)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    title, trouble, *_ = result.output.splitlines()
    assert (title, trouble.strip()[:46]) == ("Trouble", "secret missing.shop get query error: not found")
    assert {verb for verb, _ in plane.audit.since(mark)} <= {"get", "list", "watch"}
    assert api.list(EVENT.path(NAMESPACE)) == []
