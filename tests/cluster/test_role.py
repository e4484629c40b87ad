"""The shipped role: it has every verb that the controller needs in the other tests, and no other.

These come last. They read the audit logs of the whole session: a right counts as needed when a request was granted that
would have been refused without it, and no request may have been refused. So a verb more fails the first test, and a
verb less the second one. The nox session `cluster` runs the folders beside each other, each with servers of its own,
and then these tests on all kept logs.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import chain
from pathlib import Path

import pytest

from canarycore_kubernetes.deploy.objects import ELECTION, GROUP, ROUTING_RIGHTS, rules
from canarycore_planes.control_plane.api import Api, RequestError, eventually
from canarycore_planes.control_plane.audit import read
from tests.cluster.conftest import KEPT_LOGS
from tests.controlplane import rights

FINALIZERS = (GROUP, "canaries/finalizers", "update")
"""Asked about inside the server, so no log tells of it. It has a test of its own."""


@pytest.fixture
def requests(request, plane):
    """Return the requests of all tests of the folder, which ran in this process or left their logs."""
    if KEPT_LOGS in os.environ:
        logs = sorted(Path(os.environ[KEPT_LOGS]).glob("*.jsonl"))
        return list(chain.from_iterable(map(read, logs)))
    config = request.config
    files = set(Path(__file__).parent.rglob("test_*.py"))
    chosen = (
        config.option.keyword or any("::" in argument for argument in config.args) or hasattr(config, "workerinput")
    )
    if chosen or not files <= {item.path for item in request.session.items}:
        pytest.skip("only some of the tests ran: what they did not need others may")
    return plane.audit.requests(0)


def test_no_right_is_granted_that_nothing_needs(requests):
    granted = rights.rights([*rules(ROUTING_RIGHTS), *ELECTION])
    assert granted - rights.used(requests) == {FINALIZERS}


def test_nothing_that_the_controller_asked_for_was_refused(requests):
    assert rights.refused(requests) == []


def service(namespace, canary):
    owner = {
        **{name: canary[name] for name in ("apiVersion", "kind")},
        **{name: canary["metadata"][name] for name in ("name", "uid")},
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {"name": "owned", "namespace": namespace, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}


def test_without_the_right_to_a_canarys_finalizers_nothing_can_be_owned_by_it(api, namespace, access_of):
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}
    spec = {
        "targetRef": target,
        "service": {"port": 80},
        "analysis": {"interval": "10s", "iterations": 1, "threshold": 1},
    }
    metadata = {"name": "podinfo", "namespace": namespace}
    canary = api.create({"apiVersion": f"{GROUP}/v1beta1", "kind": "Canary", "metadata": metadata, "spec": spec})
    shipped = rules(["kubernetes"])
    without = [rule for rule in shipped if FINALIZERS[1] not in rule["resources"]]
    with pytest.raises(RequestError, match="blockOwnerDeletion"):
        Api(access_of(without)).create(service(namespace, canary))
    controller = Api(access_of(shipped))

    def made():
        with suppress(RequestError):
            return controller.create(service(namespace, canary))

    assert eventually(made)
