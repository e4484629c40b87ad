"""Claims about an API server, for the real one and the one in memory.

A class of tests that inherits from `ServerContract` needs the fixtures `api` and `namespace`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from canarycore_planes.control_plane.api import Api, Json, RequestError, eventually

Make = Callable[..., Json]


def path_of(body: Json, part: str = "") -> str:
    """Return the path of a Deployment or a ConfigMap."""
    root = {"Deployment": "/apis/apps/v1", "ConfigMap": "/api/v1"}[body["kind"]]
    meta = body["metadata"]
    return f"{root}/namespaces/{meta['namespace']}/{body['kind'].lower()}s/{meta['name']}" + (part and f"/{part}")


class ServerContract:
    """The claims, a test each."""

    @pytest.fixture
    def config(self, namespace: str) -> Make:
        """Return the body of a ConfigMap."""

        def made(name: str = "config", **more: Any) -> Json:
            meta = {"name": name, "namespace": namespace, **more.pop("metadata", {})}
            return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"key": "value"}} | more

        return made

    @pytest.fixture
    def deployment(self, namespace: str) -> Json:
        labels = {"app": "podinfo"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "podinfo", "image": "podinfo:1"}]}}
        meta = {"name": "podinfo", "namespace": namespace}
        spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}

    @pytest.fixture
    def configs(self, namespace: str) -> str:
        """Return the path of the collection."""
        return f"/api/v1/namespaces/{namespace}/configmaps"

    # reading ----------------------------------------------------------------------------------------------------

    def test_an_object_that_is_not_there_is_not_found(self, api: Api, config: Make):
        assert status_of(lambda: api.request("GET", path_of(config()))) == 404

    def test_a_list_comes_page_by_page(self, api: Api, config: Make, configs: str):
        for name in "abcde":
            api.create(config(name, metadata={"labels": {"of": "ours"}}))
        found, more = [], {}
        for _ in range(3):
            page = api.request("GET", configs, limit=2, labelSelector="of=ours", **more)
            found += [body["metadata"]["name"] for body in page["items"]]
            more = {"continue": page["metadata"].get("continue", "")}
        assert found == [*"abcde"]
        assert not more["continue"]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"labelSelector": "app=a"}, "a"),
            ({"labelSelector": "app!=a"}, "bc"),
            ({"labelSelector": "app in (a, b)"}, "ab"),
            ({"labelSelector": "app notin (a),app"}, "b"),
            ({"labelSelector": "!app"}, "c"),
            ({"fieldSelector": "metadata.name=b"}, "b"),
        ],
        ids=str,
    )
    def test_a_selector_selects(self, api: Api, config: Make, configs: str, query: dict[str, str], expected: str):
        for name, labels in {"a": {"app": "a", "t": ""}, "b": {"app": "b", "t": ""}, "c": {"t": ""}}.items():
            api.create(config(name, metadata={"labels": labels}))
        ours = {"labelSelector": f"t,{query['labelSelector']}"} if "labelSelector" in query else query
        assert "".join(body["metadata"]["name"] for body in api.list(configs, **ours)) == expected

    # writing ----------------------------------------------------------------------------------------------------

    def test_an_object_is_created_once(self, api: Api, config: Make):
        made = api.create(config())
        assert made["metadata"]["uid"]
        assert status_of(lambda: api.create(config())) == 409

    def test_each_change_has_a_later_version_and_no_change_has_none(self, api: Api, config: Make):
        made = api.create(config())
        same = api.patch(path_of(made), {"data": {"key": "value"}})
        other = api.patch(path_of(made), {"data": {"key": "other"}})
        assert version(same) == version(made)
        assert version(other) > version(made)

    def test_a_write_under_an_old_version_is_a_conflict(self, api: Api, config: Make):
        made = api.create(config())
        api.patch(path_of(made), {"data": {"key": "other"}})
        stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"key": "mine"}}
        assert status_of(lambda: api.patch(path_of(made), stale)) == 409
        assert status_of(lambda: api.request("PUT", path_of(made), made)) == 409

    def test_an_update_replaces_and_a_patch_of_nothing_removes(self, api: Api, config: Make):
        made = api.create(config())
        replaced = api.request("PUT", path_of(made), made | {"data": {"other": "1"}})
        assert replaced["data"] == {"other": "1"}
        assert not api.patch(path_of(made), {"data": {"other": None}}).get("data")

    def test_an_apply_creates_and_removes_what_it_no_longer_names(self, api: Api, config: Make):
        api.apply(config(data={"a": "1", "b": "1"}))
        api.patch(path_of(config()), {"data": {"theirs": "1"}})
        found = api.apply(config(data={"a": "2"}))
        assert found["data"] == {"a": "2", "theirs": "1"}

    def test_an_apply_that_changes_nothing_makes_no_version(self, api: Api, config: Make):
        assert version(api.apply(config())) == version(api.apply(config()))

    def test_a_patch_of_what_is_not_there_is_not_found(self, api: Api, config: Make):
        assert status_of(lambda: api.patch(path_of(config()), {"data": {}})) == 404

    def test_a_change_of_the_spec_is_a_new_generation_and_one_of_metadata_is_not(self, api: Api, deployment: Json):
        made = api.create(deployment)
        labelled = api.patch(path_of(made), {"metadata": {"labels": {"a": "b"}}})
        scaled = api.patch(path_of(made), {"spec": {"replicas": 1}})
        assert [body["metadata"]["generation"] for body in (made, labelled, scaled)] == [1, 1, 2]

    def test_a_change_of_a_deployments_annotations_is_a_new_generation(self, api: Api, deployment: Json):
        made = api.create(deployment)
        noted = api.patch(path_of(made), {"metadata": {"annotations": {"a": "b"}}})
        assert [body["metadata"]["generation"] for body in (made, noted)] == [1, 2]

    def test_a_deployment_gets_ready(self, api: Api, deployment: Json):
        made = api.create(deployment)
        found = api.eventually(path_of(made), lambda body: body["status"].get("readyReplicas") == 2)
        assert found["status"]["observedGeneration"] == 1
        api.patch(path_of(made), {"spec": {"replicas": 0}})
        api.eventually(path_of(made), lambda body: "readyReplicas" not in body["status"])

    # deletion ---------------------------------------------------------------------------------------------------

    def test_an_object_is_deleted_only_under_its_uid(self, api: Api, config: Make):
        made = api.create(config())
        other = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
        assert status_of(lambda: api.request("DELETE", path_of(made), other)) == 409
        api.request("DELETE", path_of(made), {"preconditions": {"uid": made["metadata"]["uid"]}})
        assert api.get(path_of(made)) is None

    def test_an_object_with_a_finalizer_stays_until_it_is_removed(self, api: Api, config: Make):
        made = api.create(config(metadata={"finalizers": ["example.com/ours"]}))
        api.delete(path_of(made))
        found = api.get(path_of(made))
        assert found is not None
        assert "deletionTimestamp" in found["metadata"]
        api.patch(path_of(made), {"metadata": {"finalizers": None}})
        assert api.get(path_of(made)) is None

    def test_what_an_object_owns_goes_with_it(self, api: Api, config: Make):
        owner = api.create(config("owner"))
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        owned = api.create(config("owned", metadata={"ownerReferences": [reference]}))
        api.delete(path_of(owner))
        eventually(lambda: api.get(path_of(owned)) is None)

    # watches ----------------------------------------------------------------------------------------------------

    def test_a_watch_tells_what_happened_since_a_version(self, api: Api, config: Make, configs: str):
        api.create(config("before"))
        begin = api.request("GET", configs)["metadata"]["resourceVersion"]
        made = api.create(config("after"))
        api.patch(path_of(made), {"data": {"key": "other"}})
        api.delete(path_of(made))
        events = told(api, configs, 3, resourceVersion=begin)
        assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
        versions = [version(event["object"]) for event in events]
        assert versions == sorted(set(versions))
        assert versions[0] > int(begin)

    def test_a_watch_from_version_0_begins_with_what_there_is(self, api: Api, config: Make, configs: str):
        api.create(config("there"))
        (event,) = told(api, configs, 1, fieldSelector="metadata.name=there")
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "there")

    def test_what_is_no_longer_selected_is_told_as_deleted(self, api: Api, config: Make, configs: str):
        made = api.create(config(metadata={"labels": {"app": "a"}}))
        api.patch(path_of(made), {"metadata": {"labels": {"app": "b"}}})
        api.patch(path_of(made), {"metadata": {"labels": {"app": "a"}}})
        begin = made["metadata"]["resourceVersion"]
        events = told(api, configs, 2, resourceVersion=begin, labelSelector="app=a")
        assert [event["type"] for event in events] == ["DELETED", "ADDED"]

    def test_a_watch_ends_when_its_time_is_over(self, api: Api, configs: str):
        begin = api.request("GET", configs)["metadata"]["resourceVersion"]
        assert list(api.watch(configs, resourceVersion=begin, timeoutSeconds=1)) == []


def told(api: Api, path: str, count: int, **query: Any) -> list[Json]:
    """Return the first events of a watch."""
    watch: Iterator[Json] = api.watch(path, **query)
    return list(islice(watch, count))


def version(body: Json) -> int:
    return int(body["metadata"]["resourceVersion"])


def status_of(ask: Callable[[], object]) -> int:
    """Return the HTTP status of a request, 200 for a success."""
    try:
        ask()
    except RequestError as error:
        return error.status
    return 200
