"""The client on any API server, and on one that fails."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from canarycore.errors import Conflict, Refused, WorldError
from canarycore_kubernetes.api.client import (
    UNUSED_VERSION,
    AlreadyExists,
    ApiError,
    Gone,
    NotFound,
    Outdated,
    Rejected,
    Unreachable,
    connect,
)
from canarycore_kubernetes.api.kinds import CONFIG_MAP, DEPLOYMENT, EVENT, KNATIVE_SERVICE, LEASE
from canarycore_runtime.mesh import Kind
from tests.controlplane.proxy import Fault, Harm


def config(namespace, name="one", **data):
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def names(client, kind, namespace, **options):
    async with aclosing(client.list(kind, namespace, **options)) as pages:
        return [item["metadata"]["name"] async for page in pages for item in page["items"]]


# objects ------------------------------------------------------------------------------------------------------------


# watches ------------------------------------------------------------------------------------------------------------


async def version_of(client, namespace):
    page = await anext(client.list(CONFIG_MAP, namespace))
    return page["metadata"]["resourceVersion"]


# errors -------------------------------------------------------------------------------------------------------------


class ClientContract:
    """The promises of the client, on any API server."""

    @pytest.fixture
    async def through(self, plane, proxy):
        """A client whose requests pass the proxy."""
        path = plane.kubeconfig(proxy.access, "proxied")
        async with connect(str(path)) as client:
            yield client

    async def test_a_created_object_is_found_and_a_missing_one_is_none(self, client, namespace):
        made = await client.create(config(namespace, a="1"))
        assert made["metadata"]["uid"]
        found = await client.get(CONFIG_MAP, namespace, "one")
        assert found["data"] == {"a": "1"}
        assert await client.get(CONFIG_MAP, namespace, "two") is None

    async def test_creating_an_existing_object_is_a_conflict(self, client, namespace):
        await client.create(config(namespace))
        with pytest.raises(AlreadyExists, match='configmaps "one" already exists'):
            await client.create(config(namespace))

    async def test_a_create_that_is_refused_as_outdated_is_none_that_exists(self, through, proxy, namespace):
        """An API server says so where somebody else uses up a quota at the same time."""
        proxy.inject(Fault(Harm.ANSWER, status=409))
        with pytest.raises(Outdated) as refused:
            await through.create(config(namespace))
        assert not isinstance(refused.value, AlreadyExists)

    async def test_an_apply_leaves_fields_of_others_and_takes_back_its_own(self, client, api, namespace):
        api.apply(config(namespace, theirs="1"))
        await client.apply(config(namespace, ours="2", more="3"))
        changed = await client.apply(config(namespace, ours="2"))
        assert changed["data"] == {"theirs": "1", "ours": "2"}

    async def test_an_apply_under_an_old_version_is_a_conflict(self, client, namespace):
        made = await client.apply(config(namespace, a="1"))
        await client.apply(config(namespace, a="2"))
        stale = config(namespace, a="3")
        stale["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
        with pytest.raises(Outdated):
            await client.apply(stale)

    async def test_an_apply_under_the_unused_version_creates_and_never_changes(self, client, namespace):
        unborn = config(namespace, a="1")
        unborn["metadata"]["resourceVersion"] = UNUSED_VERSION
        made = await client.apply(unborn)
        with pytest.raises(Outdated):
            await client.apply(unborn | {"data": {"a": "2"}})
        assert await client.get(CONFIG_MAP, namespace, "one") == made

    async def test_a_delete_of_a_version_deletes_no_other(self, client, namespace):
        made = await client.create(config(namespace, a="1"))
        changed = await client.merge(CONFIG_MAP, namespace, "one", {"data": {"a": "2"}})
        with pytest.raises(Outdated):
            await client.delete(CONFIG_MAP, namespace, "one", version=made["metadata"]["resourceVersion"])
        assert await client.delete(CONFIG_MAP, namespace, "one", version=changed["metadata"]["resourceVersion"])

    async def test_a_merge_changes_named_fields_removes_none_and_leaves_the_rest(self, client, namespace):
        await client.create(config(namespace, a="1", b="2", c="3"))
        changed = await client.merge(CONFIG_MAP, namespace, "one", {"data": {"a": "4", "b": None}})
        assert changed["data"] == {"a": "4", "c": "3"}

    async def test_a_merge_under_an_old_version_is_a_conflict_and_changes_nothing(self, client, namespace):
        made = await client.create(config(namespace, a="1"))
        await client.merge(CONFIG_MAP, namespace, "one", {"data": {"a": "2"}})
        stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "3"}}
        with pytest.raises(Conflict):
            await client.merge(CONFIG_MAP, namespace, "one", stale)
        assert (await client.get(CONFIG_MAP, namespace, "one"))["data"] == {"a": "2"}

    async def test_a_deletion_tells_whether_there_was_anything(self, client, namespace):
        await client.create(config(namespace))
        assert not await client.delete(CONFIG_MAP, namespace, "one", uid="of-another")
        assert await client.delete(CONFIG_MAP, namespace, "one")
        assert not await client.delete(CONFIG_MAP, namespace, "one")

    async def test_a_list_comes_in_pages_and_each_object_says_its_kind(self, client, namespace):
        for number in range(5):
            await client.create(config(namespace, f"c{number}"))
        pages = [
            page async for page in client.list(CONFIG_MAP, namespace, fields="metadata.name!=kube-root-ca.crt", limit=2)
        ]
        assert [len(page["items"]) for page in pages] == [2, 2, 1]
        assert {item["kind"] for page in pages for item in page["items"]} == {"ConfigMap"}

    async def test_a_list_of_metadata_has_no_data(self, client, namespace):
        await client.create(config(namespace, a="1"))
        (page,) = [page async for page in client.list(CONFIG_MAP, namespace, metadata_only=True)]
        assert all("data" not in item for item in page["items"])
        assert "one" in [item["metadata"]["name"] for item in page["items"]]

    async def test_selectors_choose(self, client, namespace):
        for name in ("one", "two"):
            body = config(namespace, name)
            body["metadata"]["labels"] = {"app": name}
            await client.create(body)
        assert await names(client, CONFIG_MAP, namespace, selector="app=two") == ["two"]
        assert await names(client, CONFIG_MAP, namespace, fields="metadata.name=one") == ["one"]

    async def test_a_watch_yields_the_changes_after_its_version(self, client, namespace):
        version = await version_of(client, namespace)
        await client.create(config(namespace, a="1"))
        await client.merge(CONFIG_MAP, namespace, "one", {"data": {"a": "2"}})
        await client.delete(CONFIG_MAP, namespace, "one")
        seen = []
        async with client.watch(CONFIG_MAP, namespace, version=version, fields="metadata.name=one") as events:
            async for event, body in events:
                seen.append((event, body["data"]["a"]))
                if event == "DELETED":
                    break
        assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]

    async def test_a_watch_of_a_forgotten_version_is_gone(self, through, proxy, namespace):
        version = await version_of(through, namespace)
        proxy.inject(Fault(Harm.EXPIRE))
        with pytest.raises(Gone):
            async with through.watch(CONFIG_MAP, namespace, version=version) as events:
                await anext(events)

    async def test_a_watch_of_a_kind_that_is_not_there_is_missing(self, client, namespace):
        kind = Kind("nowhere.example.com", "v1", "Thing", "things")
        with pytest.raises(NotFound):
            async with client.watch(kind, namespace, version="1") as events:
                await anext(events)

    async def test_a_watch_that_breaks_off_says_so(self, through, proxy, namespace):
        version = await version_of(through, namespace)
        await through.create(config(namespace))
        proxy.inject(Fault(Harm.CUT, path="watch=true", events=0))
        with pytest.raises(Unreachable):
            async with through.watch(CONFIG_MAP, namespace, version=version) as events:
                await anext(events)

    async def test_an_invalid_object_is_refused_with_the_servers_message(self, client, namespace):
        body = config(namespace, "Not A Name")
        with pytest.raises(Refused, match="lowercase RFC 1123"):
            await client.create(body)

    async def test_a_forbidden_request_is_refused(self, plane, namespace, access_of):
        path = plane.kubeconfig(access_of([]), "nobody")
        async with connect(str(path)) as nobody:
            with pytest.raises(Rejected, match='cannot get resource "configmaps"'):
                await nobody.get(CONFIG_MAP, namespace, "one")

    async def test_a_read_is_tried_again(self, through, proxy, namespace):
        proxy.inject(
            Fault(Harm.ANSWER, status=503, methods=("GET",)),
            Fault(Harm.LOSE, methods=("GET",)),
            Fault(Harm.ANSWER, status=429, retry_after=0, methods=("GET",)),
        )
        assert await through.get(CONFIG_MAP, namespace, "one") is None
        assert proxy.harmed() == 3

    async def test_a_write_that_was_turned_away_is_tried_again(self, through, proxy, namespace):
        proxy.inject(Fault(Harm.ANSWER, status=429, retry_after=0, methods=("POST",), times=2))
        await through.create(config(namespace))
        assert proxy.harmed() == 2

    async def test_a_write_that_may_have_happened_is_not_repeated(self, through, proxy, client, namespace):
        proxy.inject(Fault(Harm.LOSE_ANSWER, methods=("POST",)))
        with pytest.raises(Unreachable):
            await through.create(config(namespace))
        assert await client.get(CONFIG_MAP, namespace, "one") is not None
        assert sum(passage.method == "POST" for passage in proxy.log) == 1

    async def test_an_error_of_the_server_names_the_request(self, through, proxy, namespace):
        proxy.inject(Fault(Harm.ANSWER, status=500, methods=("POST",)))
        with pytest.raises(ApiError, match=f"POST /api/v1/namespaces/{namespace}/configmaps: 500 the fault proxy"):
            await through.create(config(namespace))

    async def test_a_fence_keeps_every_write_back_and_lets_reads_pass(self, client, namespace):
        def closed():
            raise WorldError("closed")

        await client.create(config(namespace, "two"))
        fenced = client.fenced(closed)
        writes = (
            lambda: fenced.create(config(namespace)),
            lambda: fenced.apply(config(namespace)),
            lambda: fenced.merge(CONFIG_MAP, namespace, "two", {"data": {}}),
            lambda: fenced.delete(CONFIG_MAP, namespace, "two"),
        )
        for write in writes:
            with pytest.raises(WorldError, match="closed"):
                await write()
        assert await fenced.get(CONFIG_MAP, namespace, "one") is None
        assert await fenced.get(CONFIG_MAP, namespace, "two") is not None

    @pytest.mark.parametrize("kind", [DEPLOYMENT, EVENT, LEASE, KNATIVE_SERVICE], ids=lambda kind: kind.plural)
    async def test_a_kind_is_found_under_its_path(self, client, namespace, kind):
        assert await names(client, kind, namespace) == []
