"""The installed objects: an observer may only read, and changes nothing that others need."""

from __future__ import annotations

import pytest

from canarycore_kubernetes.deploy.objects import (
    OBSERVER,
    ROUTING_RIGHTS,
    InstallOptions,
    objects,
    observer_rules,
    rules,
)

LOOKS = {"get", "list", "watch"}


def places(granted):
    return {(rule["apiGroups"][0], rule["resources"][0]) for rule in granted if "watch" in rule["verbs"]}


@pytest.mark.parametrize("provider", ROUTING_RIGHTS)
def test_an_observer_may_only_read_and_reads_no_secrets(provider):
    granted = observer_rules([provider])
    assert {verb for rule in granted for verb in rule["verbs"]} <= LOOKS
    assert places(granted) == places(rules([provider])) - {("", "secrets")}
    assert not any("secrets" in rule["resources"] for rule in granted)


def test_an_observer_comes_without_definitions_and_stands_beside_the_controller():
    controller, observer = (
        {_name(body) for body in objects(InstallOptions(observe=observe))} for observe in (False, True)
    )
    assert {kind for kind, _ in observer} == {
        *("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Deployment", "Service"),
    }
    assert observer & controller == {("Namespace", "canarycore")}


def test_an_observer_is_one_replica_that_stands_for_no_election():
    (deployment,) = (body for body in objects(InstallOptions(observe=True)) if body["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert deployment["spec"]["replicas"] == 1
    assert "--observe" in container["args"]
    assert not [flag for flag in container["args"] if "election" in flag]
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == OBSERVER


def _name(body):
    return body["kind"], body["metadata"]["name"]
