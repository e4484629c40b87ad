"""The fixtures of tests/cluster for an API server in memory."""

from __future__ import annotations

import json
import uuid

import pytest

from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import KINDS, REPLICA_SET
from canarycore_planes.control_plane.api import Api
from tests.controlplane.in_memory.server import faked
from tests.controlplane.proxy import proxied


class Audit:
    """Counts requests, as the audit log does."""

    def __init__(self, server):
        self._server = server

    def mark(self):
        return self._server.counts.copy()

    def since(self, mark, **_):
        return self._server.counts - mark


class Plane:
    def __init__(self, server, folder):
        self._folder = folder
        self.api = Api(server.access)
        self.audit = Audit(server)

    def kubeconfig(self, access=None, name="admin"):
        path = self._folder / f"{name}.kubeconfig"
        path.write_text(json.dumps((access or self.api.access).kubeconfig))
        return path


@pytest.fixture
def server():
    with faked((*KINDS, REPLICA_SET), bookmark=0.5) as running:
        yield running


@pytest.fixture
def plane(server, tmp_path):
    return Plane(server, tmp_path)


@pytest.fixture
def api(plane):
    return plane.api


@pytest.fixture
def namespace():
    return f"test-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def kubeconfig(plane):
    return plane.kubeconfig()


@pytest.fixture
def installed(plane):
    return lambda *_: plane.api.access


@pytest.fixture
def access_of():
    pytest.skip("everybody may do everything here")


@pytest.fixture
def proxy(server):
    with proxied(server.access) as running:
        yield running


@pytest.fixture
async def client(kubeconfig):
    async with connect(str(kubeconfig)) as connected:
        yield connected


@pytest.fixture
async def cluster(client, namespace):
    async with Cluster(client, namespace=namespace) as opened:
        yield opened
