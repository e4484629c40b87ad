"""Each kind of fault has the effect of its name."""

from __future__ import annotations

import re
from itertools import islice

import pytest
import urllib3

from canarycore_planes.control_plane.api import Api, Json, RequestError
from tests.controlplane.proxy import Fault, Harm, Passage, Proxy

LOST = urllib3.exceptions.ProtocolError


@pytest.fixture
def through(proxy: Proxy) -> Api:
    return Api(proxy.access)


@pytest.fixture
def path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.fixture
def config(namespace: str):
    """The body of a ConfigMap by its name."""

    def named(name: str) -> Json:
        meta = {"name": name, "namespace": namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"key": "value"}}

    return named


def test_a_lost_write_is_not_applied(api: Api, proxy: Proxy, through: Api, config):
    proxy.inject(Fault(Harm.LOSE, methods=("POST",)))
    with pytest.raises(LOST):
        through.create(config("lost"))
    assert api.get(api.path(config("lost"))) is None


def test_a_write_whose_answer_is_lost_is_applied(api: Api, proxy: Proxy, through: Api, config):
    proxy.inject(Fault(Harm.LOSE_ANSWER, methods=("POST",)))
    with pytest.raises(LOST):
        through.create(config("applied"))
    assert api.get(api.path(config("applied"))) is not None


def test_too_many_requests_get_a_retry_after(proxy: Proxy):
    proxy.inject(Fault(Harm.ANSWER, status=429, retry_after=7))
    answer = urllib3.request("GET", f"{proxy.url}/version", retries=False)
    assert (answer.status, answer.headers["Retry-After"], answer.json()["reason"]) == (429, "7", "TooManyRequests")


def test_a_fault_lets_the_first_requests_pass_and_ends(proxy: Proxy, through: Api, path: str):
    proxy.inject(Fault(Harm.ANSWER, status=500, path="/configmaps", skip=1, times=2))
    found = []
    for _ in range(4):
        try:
            through.list(path)
            found.append(200)
        except RequestError as error:
            found.append(error.status)
    assert found == [200, 500, 500, 200]
    assert [passage.harm for passage in proxy.log] == [None, Harm.ANSWER, Harm.ANSWER, None]
    assert not proxy.pending


def test_a_watch_breaks_in_the_middle(api: Api, proxy: Proxy, through: Api, path: str, config):
    for name in ("one", "two"):
        api.create(config(name))
    proxy.inject(Fault(Harm.CUT, path="/configmaps", events=1))
    watch = through.watch(path)
    next(watch)
    with pytest.raises(LOST):
        next(watch)


def test_a_watch_is_told_that_its_version_is_too_old(proxy: Proxy, through: Api, path: str):
    proxy.inject(Fault(Harm.EXPIRE))
    (event,) = through.watch(path, resourceVersion=1)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_a_stale_list_is_the_first_one_again(api: Api, proxy: Proxy, through: Api, path: str, config):
    before = names(through.list(path))
    api.create(config("later"))
    proxy.inject(Fault(Harm.STALE))
    assert names(through.list(path)) == before
    assert names(through.list(path)) == before | {"later"}


def test_a_watch_goes_through_as_it_happens(api: Api, through: Api, path: str, config):
    made = api.create(config("seen"))
    watch = through.watch(path, fieldSelector="metadata.name=seen")
    first = next(watch)
    api.delete(api.path(made))
    assert [event["type"] for event in [first, *islice(watch, 1)]] == ["ADDED", "DELETED"]


def test_each_write_is_told_before_and_after_it_is_applied(api: Api, proxy: Proxy, through: Api, path: str, config):
    told: list[tuple[str, int, bool]] = []

    def there(moment: str):
        return lambda write: told.append((moment, write.number, bool(names(api.list(path)) & {name(write)})))

    proxy.before_write = there("before")
    proxy.after_write = there("after")
    for each in ("one", "two"):
        through.apply(config(each))
        through.list(path)
    assert told == [("before", 1, False), ("after", 1, True), ("before", 2, False), ("after", 2, True)]


def name(write: Passage) -> str:
    found = re.search(r"/configmaps/(\w+)$", write.path)
    assert found is not None
    return found[1]


def names(bodies: list[Json]) -> set[str]:
    return {body["metadata"]["name"] for body in bodies}
