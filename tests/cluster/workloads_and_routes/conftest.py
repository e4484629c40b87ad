"""Fixtures of the tests of targets on a real API server."""

from __future__ import annotations

import pytest

from canarycore_kubernetes.api.kinds import CANARY
from canarycore_kubernetes.deploy.objects import definitions
from canarycore_planes.control_plane.api import RequestError, eventually
from tests.cluster.workloads import Requests, canary, opener
from tests.controlplane import crds


@pytest.fixture(scope="module")
def own_definitions(plane):
    """Let the API server take the provider `replicas`, which Flagger's definition of Canaries does not have."""
    for body in definitions():
        plane.api.apply(body)
    eventually(lambda: _takes_own_providers(plane.api))
    yield
    crds.install(plane.api, "flagger")


def _takes_own_providers(api):
    body = canary(provider="replicas") | {"metadata": {"name": "probe"}}
    try:
        api.create(body, "default")
    except RequestError:
        return False
    api.delete(CANARY.path("default", "probe"))
    return True


@pytest.fixture
def kubeconfig(plane, installed):
    """Return the controller's kubeconfig, with its installed rights."""
    return plane.kubeconfig(installed("knative", "replicas"), "controller")


@pytest.fixture
def opened(cluster, namespace, api):
    return opener(cluster, namespace, api)


@pytest.fixture
def requests(monkeypatch):
    return Requests(monkeypatch)
