"""Caches on any API server: their requests, and their behaviour when the server fails."""

from __future__ import annotations

import asyncio

import pytest

from canarycore.errors import WorldError
from canarycore_kubernetes.api import cache as caches
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CONFIG_MAP
from canarycore_planes.control_plane.plane import ADMIN
from canarycore_runtime.mesh import Kind
from tests.cluster.patience import until
from tests.controlplane.proxy import Fault, Harm

DATA = View(kind=CONFIG_MAP, project=lambda body, _: body.get("data"), fields="metadata.name!=kube-root-ca.crt")


def config(namespace, name="one", **data):
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def path(namespace, name="one"):
    return CONFIG_MAP.path(namespace, name)


def holds(cache, namespace, **wanted):
    """Return a condition: the cache has these projections, by the object's name."""
    return lambda: {name: data for (_, name), data in cache.all()} == wanted


def is_established(definition):
    conditions = definition.get("status", {}).get("conditions") or []
    return any(found["type"] == "Established" and found["status"] == "True" for found in conditions)


class CacheContract:
    """The promises of a cache, on any API server."""

    @pytest.fixture
    async def behind(self, plane, proxy, namespace):
        """A cluster behind the proxy."""
        path = plane.kubeconfig(proxy.access, "proxied")
        async with connect(str(path)) as client, Cluster(client, namespace=namespace) as opened:
            yield opened

    async def test_a_cache_lists_all_objects_and_follows_their_changes(self, cluster, api, namespace):
        api.create(config(namespace, a="1"))
        cache = await cluster.cache(DATA).ready()
        assert cache.get(namespace, "one") == {"a": "1"}
        api.patch(path(namespace), {"data": {"a": "2"}})
        api.create(config(namespace, "two", b="1"))
        await until(holds(cache, namespace, one={"a": "2"}, two={"b": "1"}))
        api.delete(path(namespace))
        await until(holds(cache, namespace, two={"b": "1"}))
        assert len(cache) == 1

    async def test_a_cache_makes_no_request_while_nothing_changes(self, cluster, plane, api, namespace):
        api.create(config(namespace, a="1"))
        cache = await cluster.cache(DATA).ready()
        api.create(config(namespace, "two"))
        await until(lambda: len(cache) == 2)  # the watch is open
        mark = plane.audit.mark()
        cache.look(namespace, "one", "test/podinfo")
        await asyncio.sleep(3)
        assert not plane.audit.since(mark, user=ADMIN, namespace=namespace)

    async def test_our_own_write_is_in_the_cache_at_once_and_wakes_no_rollout(self, cluster, namespace):
        cache = await cluster.cache(DATA).ready()
        told = []
        cache.subscribe(lambda *place: told.append(place))
        for number in range(20):
            cache.look(namespace, "one", "test/podinfo")
            await cluster.apply(config(namespace, a=str(number)))
            assert cache.get(namespace, "one") == {"a": str(number)}
        await cluster.client.apply(config(namespace, "last", z="1"))  # not through the cluster
        await until(lambda: told)
        assert told == [(namespace, "last")]

    async def test_a_watch_that_breaks_is_taken_up_where_it_stopped(self, behind, proxy, api, namespace):
        proxy.inject(Fault(Harm.CUT, path="watch=true", events=1, times=3))
        cache = await behind.cache(DATA).ready()
        for number in range(6):
            api.apply(config(namespace, f"c{number}", a="1"))
        await until(lambda: len(cache) == 6)
        assert proxy.harmed() == 3
        lists = [
            passage for passage in proxy.log if passage.path.endswith("configmaps") and "watch" not in passage.query
        ]
        assert len(lists) == 1

    async def test_a_watch_whose_version_is_forgotten_lists_again_and_misses_nothing(
        self, behind, proxy, api, namespace
    ):
        api.create(config(namespace, "old", a="1"))
        proxy.inject(
            Fault(Harm.CUT, path="watch=true", events=0),
            Fault(Harm.LOSE, path="watch=true", times=2),
            Fault(Harm.EXPIRE),
        )
        cache = await behind.cache(DATA).ready()
        api.create(config(namespace, "new", a="1"))
        api.delete(path(namespace, "old"))
        await until(holds(cache, namespace, new={"a": "1"}), 30)
        await until(lambda: not proxy.pending)

    async def test_a_stale_list_takes_nothing_back_that_was_written_here(self, behind, proxy, api, namespace):
        proxy.inject(
            Fault(Harm.CUT, path="watch=true", events=0),
            Fault(Harm.LOSE, path="watch=true"),
            Fault(Harm.EXPIRE, path="watch=true"),
            Fault(Harm.STALE, path="configmaps", skip=1),
        )
        cache = await behind.cache(DATA).ready()
        await behind.apply(config(namespace, a="1"))
        await until(lambda: not proxy.pending)
        assert cache.get(namespace, "one") == {"a": "1"}
        api.create(config(namespace, "two", b="1"))
        await until(holds(cache, namespace, one={"a": "1"}, two={"b": "1"}))

    async def test_a_failed_list_is_an_error_for_its_readers_and_is_repeated(self, behind, proxy, namespace):
        proxy.inject(Fault(Harm.ANSWER, status=403, path="configmaps", times=1))
        cache = behind.cache(DATA)
        with pytest.raises(WorldError, match=r"configmaps of the cluster are unknown.*403"):
            await cache.ready()
        await until(cache.synced.is_set)
        assert await cache.ready() is cache

    async def test_a_long_outage_is_an_error_until_the_server_is_back(self, behind, proxy, monkeypatch, api, namespace):
        monkeypatch.setattr(caches, "LONGEST_OUTAGE", 0.0)
        proxy.inject(Fault(Harm.CUT, path="watch=true", events=0), Fault(Harm.LOSE, path="watch=true", times=100))
        cache = await behind.cache(DATA).ready()
        api.create(config(namespace, "new", a="1"))

        async def unknown():
            try:
                await cache.ready()
            except WorldError:
                return True
            return False

        await until(unknown)
        proxy.inject()
        await until(holds(cache, namespace, new={"a": "1"}), 30)
        assert not await unknown()

    async def test_a_kind_that_is_not_there_is_empty(self, cluster, namespace):
        cache = await cluster.cache(Kind("nowhere.example.com", "v1", "Thing", "things")).ready()
        assert len(cache) == 0

    async def test_a_kind_that_comes_later_is_found(self, cluster, api, namespace):
        kind = Kind(f"{namespace}.example.com", "v1", "Thing", "things")
        cache = await cluster.cache(kind).ready()
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        api.create(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"things.{kind.group}"},
                "spec": {
                    "group": kind.group,
                    "scope": "Namespaced",
                    "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
                    "versions": [
                        {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}},
                    ],
                },
            }
        )
        definition = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.{kind.group}"
        api.eventually(definition, is_established)
        thing = {"apiVersion": kind.api_version, "kind": "Thing", "metadata": {"name": "a", "namespace": namespace}}
        api.request("POST", kind.path(namespace), thing)
        await until(lambda: len(cache) == 1, 30)
        api.delete(definition)
        await until(lambda: len(cache) == 0, 30)
