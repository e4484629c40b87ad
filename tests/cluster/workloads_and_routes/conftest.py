"""Fixtures of the tests of targets on a real API server."""

from __future__ import annotations

import pytest

from tests.cluster.workloads import Requests, opener


@pytest.fixture
def kubeconfig(plane, installed):
    """Return the controller's kubeconfig, with its installed rights."""
    return plane.kubeconfig(installed("knative"), "controller")


@pytest.fixture
def opened(cluster, namespace, api):
    return opener(cluster, namespace, api)


@pytest.fixture
def requests(monkeypatch):
    return Requests(monkeypatch)
