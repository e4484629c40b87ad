"""The API server in memory behaves like a real one towards our clients."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from canarycore_planes.control_plane.api import Api, Json
from tests.controlplane.contract import ServerContract, told
from tests.controlplane.in_memory.server import Fake, faked

CONFIGS = "/api/v1/namespaces/test/configmaps"


@pytest.fixture
def fake() -> Iterator[Fake]:
    with faked(bookmark=0.2, remembered=2) as server:
        yield server


@pytest.fixture
def small(fake: Fake) -> Api:
    return Api(fake.access)


@pytest.fixture(scope="module")
def server() -> Iterator[Fake]:
    with faked() as running:
        yield running


class TestFake(ServerContract):
    """With one server for all claims."""

    @pytest.fixture
    def api(self, server: Fake) -> Api:
        return Api(server.access)

    @pytest.fixture
    def namespace(self) -> str:
        return f"test-{uuid.uuid4().hex[:8]}"


def test_a_watch_of_a_forgotten_version_is_an_error(small: Api):
    for number in range(4):
        small.create(config(f"config-{number}"))
    (event,) = told(small, CONFIGS, 1, resourceVersion=2)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_a_quiet_watch_gets_a_bookmark(small: Api):
    begin = small.request("GET", CONFIGS)["metadata"]["resourceVersion"]
    small.create(config("elsewhere", "other"))
    (event,) = told(small, CONFIGS, 1, resourceVersion=begin, allowWatchBookmarks="true")
    assert event["type"] == "BOOKMARK"
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(begin)


def test_requests_are_counted_by_verb_and_resource(small: Api):
    made = small.create(config("counted"))
    small.list(CONFIGS)
    small.patch(f"{CONFIGS}/{made['metadata']['name']}", {"data": {}})
    counts = small.request("GET", "/counts")["counts"]
    assert sorted(counts) == [["create", "configmaps", 1], ["list", "configmaps", 1], ["patch", "configmaps", 1]]


def test_a_write_to_another_path_changes_nothing(small: Api):
    """The status is written under its own path, all else under the object's."""
    made = small.create(custom() | {"status": {"phase": "Ignored"}})
    path = small.path(custom())
    assert "status" not in made
    small.patch(f"{path}/status", {"spec": {"size": 2}, "status": {"phase": "Ready"}})
    found = small.patch(path, {"spec": {"size": 3}, "status": {"phase": "Ignored"}})
    assert (found["spec"], found["status"]) == ({"size": 3}, {"phase": "Ready"})
    assert found["metadata"]["generation"] == 2


def test_a_request_for_metadata_gets_metadata_only(small: Api):
    small.create(config("small"))
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    answer = small._pool.request("GET", f"{small.access.server}{CONFIGS}/small", headers={"Accept": accept})
    assert {"data", "kind"} & set(answer.json()) == {"kind"}


def config(name: str, namespace: str = "test") -> Json:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"key": "value"}}


def custom() -> Json:
    meta = {"name": "lease", "namespace": "test"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {"size": 1}}
