"""The control plane that these tests share, and what each of them has of its own.

Where a part of it cannot be had the tests are skipped; in CI (env CI is set) that is a failure.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from canarycore_kubernetes.api.client import Client, connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_planes.control_plane.api import Access, Api, Json
from canarycore_planes.control_plane.binaries import binaries
from canarycore_planes.control_plane.plane import Plane
from canarycore_planes.go_programs import MissingProgram
from tests.controlplane import crds, rights
from tests.controlplane.plane import plane as started
from tests.controlplane.proxy import Proxy, proxied

LAST = "test_role.py"
"""Looks back on what the others did."""

KEPT_LOGS = "CANARYCORE_AUDIT_LOGS"
"""The environment variable with a folder for the audit logs, where several processes run the tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    own = {path for path in {item.path for item in items} if path.is_relative_to(Path(__file__).parent)}
    for item in items:
        if item.path in own:
            item.add_marker("cluster")
    items.sort(key=lambda item: item.path.name == LAST)


@pytest.fixture(scope="session")
def plane() -> Iterator[Plane]:
    """A running control plane with the kinds of all meshes."""
    try:
        binaries()
        list(crds.definitions("flagger"))
    except (MissingProgram, FileNotFoundError) as error:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(error))
    with started() as running:
        yield running
        if KEPT_LOGS in os.environ:
            running.audit.mark()
            shutil.copy(running.audit.path, Path(os.environ[KEPT_LOGS], f"{os.getpid()}.jsonl"))


@pytest.fixture
def api(plane: Plane) -> Api:
    """The administrator's requests."""
    return plane.api


@pytest.fixture
def namespace(plane: Plane) -> Iterator[str]:
    """A namespace of its own; its pods are ready at once, unless the test says otherwise."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    plane.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    plane.kubelet.rules()
    plane.api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def kubeconfig(plane: Plane) -> Path:
    """The administrator's."""
    return plane.kubeconfig()


@pytest.fixture
def access_of(plane: Plane, namespace: str) -> Callable[[list[Json]], Access]:
    """The access of a service account `controller` that may do what the rules of a ClusterRole say."""
    return lambda rules: plane.api.service_account(namespace, "controller", rules)


@pytest.fixture
def installed(plane: Plane, namespace: str) -> Callable[..., Access]:
    """The access of a controller that was installed for these providers, with the rights that it is shipped with."""
    return lambda *providers: rights.installed(plane.api, namespace, providers)


@pytest.fixture
def proxy(plane: Plane) -> Iterator[Proxy]:
    """A way to the API server that faults are injected on."""
    with proxied(plane.api.access) as running:
        yield running


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[Client]:
    """The administrator's."""
    async with connect(str(kubeconfig)) as connected:
        yield connected


@pytest.fixture
async def cluster(client: Client, namespace: str) -> AsyncIterator[Cluster]:
    """The test's namespace, as the administrator sees it."""
    async with Cluster(client, namespace=namespace) as opened:
        yield opened
