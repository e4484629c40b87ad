"""The bounds of one object: it costs at most its budget, and an unreadable one hides no other."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore.errors import WorldError
from canarycore_kubernetes.api import client as clients
from canarycore_kubernetes.api.budget import (
    DEEPEST,
    LARGE,
    LARGEST,
    MOST_VALUES,
    UNREADABLE,
    BoundExceeded,
    decode,
    demand_small,
    demand_whole,
)
from canarycore_kubernetes.api.cache import UnreadableError, View
from canarycore_kubernetes.api.kinds import CONFIG_MAP
from canarycore_kubernetes.api.snapshots import make_snapshot
from tests.cluster.patience import until

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def nested(levels: int, text: str = "1") -> str:
    return "[" * levels + text + "]" * levels


def item(name: str, spec: str) -> str:
    metadata = f'{{"name": "{name}", "namespace": "shop", "resourceVersion": "7", "managedFields": {spec}}}'
    return f'{{"metadata": {metadata}, "spec": {spec}}}'


@given(JSON)
async def test_readable_data_is_decoded_unchanged(data):
    assert await decode(json.dumps(data).encode()) == data


@pytest.mark.parametrize("wrapped", ['{{"items": [{}, {}]}}', '{{"type": "ADDED", "object": {}, "other": {}}}'])
async def test_an_object_that_is_nested_too_deeply_is_marked_and_the_others_are_whole(wrapped):
    text = wrapped.format(item("deep", nested(5_000, r'"\"[["')), item("flat", "[1]"))
    data = await decode(text.encode())
    deep, flat = data.get("items") or (data["object"], data["other"])
    with pytest.raises(BoundExceeded, match="nested deeper"):
        demand_whole(deep)
    assert deep["metadata"] == {"name": "deep", "namespace": "shop", "resourceVersion": "7"}
    demand_whole(flat)
    assert flat["spec"] == [1]


async def test_a_number_of_many_digits_is_read_as_one_that_is_too_large():
    assert await decode(b'{"items": [{"a": 12, "b": %s}]}' % (b"9" * 5_000)) == {
        "items": [{"a": 12, "b": float("inf")}]
    }


@pytest.mark.parametrize(
    "text",
    [b"", b"[" * 100_000, b'{"a":' * 100_000, b'"' + b'\\"' * 300_000, b"]" * 100_000, b'"' + b"\\" * 100_001],
    ids=["nothing", "open lists", "open mappings", "quotes without end", "closed lists", "backslashes"],
)
async def test_invalid_json_is_refused(text):
    with pytest.raises(ValueError, match="line 1"):
        await decode(text)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": "x" * (LARGEST + 1)}, "characters"),
        ({"x" * (LARGEST + 1): 1}, "characters"),
        ([10 ** (4 * LARGEST)], "digits"),
        (list(range(MOST_VALUES + 1)), "values"),
        ({str(number): {} for number in range(MOST_VALUES)}, "values"),
        (json.loads(nested(DEEPEST + 1)), "deeper"),
    ],
    ids=["text", "name", "digits", "list", "mapping", "levels"],
)
def test_a_value_beyond_the_budget_is_refused(value, reason):
    with pytest.raises(BoundExceeded, match=reason):
        demand_small(value)


def test_a_value_within_the_budget_is_taken():
    demand_small({"a": ["x" * 1_000] * 200, "b": list(range(2_000)), "c": json.loads(nested(DEEPEST - 2))})


# ------------------------------------------------------------------------------------------------- through the client


def config(namespace, name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def project(body, before):
    return body["data"]["a"]


DATA = View(kind=CONFIG_MAP, project=project)


async def test_a_list_of_large_objects_comes_in_small_pages(client, api, plane, namespace, monkeypatch):
    monkeypatch.setattr(clients, "LONGEST_ANSWER", 50_000)
    monkeypatch.setattr(clients, "PAGE_BYTES", 20_000)
    for number in range(30):
        api.create(config(namespace, f"c{number}", a="x" * (10_000 if number < 20 else 10)))
    pages = [page async for page in client.list(CONFIG_MAP, namespace)]
    found = [body for page in pages for body in page["items"]]
    assert len(found) == 30
    assert max(len(json.dumps(page)) for page in pages) < 50_000
    assert not any(UNREADABLE in body for body in found)


async def test_of_large_answers_a_few_are_decoded_at_once_and_small_ones_do_not_wait(
    client, api, namespace, monkeypatch
):
    under_way, most, may_go_on = 0, 0, asyncio.Event()

    async def decode_when_told(text):
        nonlocal under_way, most
        if len(text) > LARGE:
            under_way += 1
            most = max(most, under_way)
            await may_go_on.wait()
            under_way -= 1
        return await decode(text)

    monkeypatch.setattr(clients, "decode", decode_when_told)
    for number in range(12):
        api.create(config(namespace, f"large-{number}", a="x" * (LARGE + 1)))
    api.create(config(namespace, "small", a="x"))
    async with asyncio.TaskGroup() as group:
        reads = [group.create_task(client.get(CONFIG_MAP, namespace, f"large-{number}")) for number in range(12)]
        await until(lambda: under_way == clients.LARGE_AT_ONCE)
        assert await client.get(CONFIG_MAP, namespace, "small")
        may_go_on.set()
    assert all(read.result() for read in reads)
    assert most == clients.LARGE_AT_ONCE


async def test_an_object_that_is_longer_than_an_answer_is_marked_and_hides_no_other(
    client, api, namespace, monkeypatch
):
    monkeypatch.setattr(clients, "LONGEST_ANSWER", 5_000)
    for name, size in (("a", 10), ("large", 10_000), ("z", 10)):
        api.create(config(namespace, name, a="x" * size))
    found = {
        body["metadata"]["name"]: body async for page in client.list(CONFIG_MAP, namespace) for body in page["items"]
    }
    assert [name for name, body in found.items() if UNREADABLE in body] == ["large"]
    assert found.keys() == {"a", "large", "z"}


async def test_an_event_that_is_too_long_is_found_by_the_next_list(cluster, api, namespace, monkeypatch):
    api.create(config(namespace, "one", a="1"))
    cache = await cluster.cache(DATA).ready()
    monkeypatch.setattr(clients, "LONGEST_ANSWER", 5_000)
    api.create(config(namespace, "large", a="x" * 10_000))
    api.create(config(namespace, "two", a="2"))
    await until(lambda: cache.get(namespace, "two") == "2")
    with pytest.raises(UnreadableError, match="more than 5,000 bytes"):
        cache.get(namespace, "large")


# -------------------------------------------------------------------------------------------------- through the cache


async def test_an_unreadable_object_is_an_error_for_its_readers(cluster, api, namespace, caplog):
    api.create(config(namespace, "good", a="1"))
    api.create(config(namespace, "bad", b="1"))
    cache = await cluster.cache(DATA).ready()
    with pytest.raises(WorldError, match=f"configmap bad.{namespace} cannot be read: it has a field"):
        cache.look(namespace, "bad", "shop/podinfo")
    assert cache.get(namespace, "good") == "1"
    assert [place for place, _ in cache.all()] == [(namespace, "good")]


async def test_a_rollout_wakes_when_its_unreadable_object_becomes_readable(cluster, api, namespace):
    api.create(config(namespace, "bad", b="1"))
    cache = await cluster.cache(DATA).ready()
    with pytest.raises(UnreadableError):
        cache.look(namespace, "bad", "shop/podinfo")
    changes = cluster.changes()
    api.apply(config(namespace, "bad", a="2"))
    assert await anext(changes) == "shop/podinfo"
    assert cache.get(namespace, "bad") == "2"


async def test_why_an_object_cannot_be_read_is_logged_once(cluster, api, namespace, caplog):
    api.create(config(namespace, "bad", b="1"))
    cache = await cluster.cache(DATA).ready()
    for number in range(3):
        api.apply(config(namespace, "bad", b=str(number)))
    api.create(config(namespace, "last", a="1"))
    await until(lambda: cache.get(namespace, "last"))
    assert sum("cannot be read" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    "written", [[{"fieldsV1": {"f:a": {}}}] * 30_000, [{"fieldsV1": {f"f:{number}": {} for number in range(30_000)}}]]
)
def test_an_object_with_too_many_notes_of_writers_is_refused(written):
    with pytest.raises(BoundExceeded, match="characters of managedFields"):
        make_snapshot((), False, {"metadata": {"managedFields": written}})
