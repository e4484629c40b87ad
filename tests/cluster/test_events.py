"""Events on a real API server."""

from __future__ import annotations

import time

import pytest

from canarycore_kubernetes.events import Events, Told
from canarycore_kubernetes.kinds import EVENT


@pytest.fixture
def events(client):
    return Events(client, time.time)


def told(namespace, text="Halt podinfo.test advancement", key="one", kind="Warning"):
    return Told(namespace=namespace, name="podinfo", uid="4711", type=kind, text=text, key=key)


def found(api, namespace):
    return {event["message"]: event for event in api.list(EVENT.path(namespace))}


async def test_an_event_is_flaggers_but_for_its_name(events, api, namespace):
    await events.tell(told(namespace))
    (event,) = found(api, namespace).values()
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "Synced", 1)
    assert event["source"] == {"component": "flagger"}
    about = event["involvedObject"]
    assert (about["kind"], about["name"], about["uid"]) == ("Canary", "podinfo", "4711")


async def test_a_text_that_is_told_again_is_one_event_that_counts(events, api, namespace):
    for number in range(3):
        await events.tell(told(namespace, key=f"poll {number}"))
    (event,) = found(api, namespace).values()
    assert event["count"] == 3


async def test_a_notice_told_again_after_a_crash_is_the_event_that_is_there(events, client, api, namespace):
    await events.tell(told(namespace))
    await Events(client, time.time).tell(told(namespace))
    (event,) = found(api, namespace).values()
    assert event["count"] == 1


async def test_an_event_that_has_expired_is_written_anew(events, api, namespace):
    await events.tell(told(namespace, key="poll 1"))
    (event,) = found(api, namespace).values()
    api.delete(EVENT.path(namespace, event["metadata"]["name"]))
    await events.tell(told(namespace, key="poll 2"))
    assert found(api, namespace)


async def test_many_events_of_one_canary_all_arrive(events, api, namespace):
    texts = [f"text {number}" for number in range(60)]
    for text in texts:
        await events.tell(told(namespace, text, key=text))
    assert set(found(api, namespace)) == set(texts)
