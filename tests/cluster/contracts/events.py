"""Events on any API server."""

from __future__ import annotations

import time

import pytest
from attrs import evolve

from canarycore import Phase
from canarycore.notices import NoticeKind
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CANARY, EVENT
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.resources.events import EventNotifier, Events, RecordedEvent
from canarycore_runtime.testing.contracts import NotifierContract
from canarycore_runtime.testing.contracts._samples import notice, rollout
from tests.cluster.contracts.store import canary
from tests.controlplane.proxy import Fault, Harm


def told(namespace, text="Halt podinfo.test advancement", key="one", kind="Warning"):
    return RecordedEvent(namespace=namespace, name="podinfo", uid="4711", type=kind, text=text, key=key)


def found(api, namespace):
    return {event["message"]: event for event in api.list(EVENT.path(namespace))}


# the port -----------------------------------------------------------------------------------------------------------


class Bench:
    def __init__(self, adapter, api, proxy):
        self.adapter, self.secret = adapter, api.access.token
        self._api, self._proxy = api, proxy

    async def refuse(self, *, refuse):
        self._proxy.inject(*([Fault(Harm.ANSWER, path="/events", times=1000)] if refuse else []))

    async def delivered_texts(self):
        found = self._api.list(EVENT.path("default"))
        return tuple(event["message"] for event in found if event["involvedObject"]["kind"] == "Canary")


class EventFixtures:
    """Events under the rights of an installed controller."""

    @pytest.fixture
    def kubeconfig(self, plane, installed):
        """The controller's, with the rights that it is installed with."""
        return plane.kubeconfig(installed(), "controller")

    @pytest.fixture
    def events(self, client):
        return Events(client, time.time)

    @pytest.fixture
    async def bench(self, plane, api, proxy):
        """The Canary that the contract's notices are about, and a way to the server that can be blocked."""
        api.create(canary("default"))
        kubeconfig = plane.kubeconfig(proxy.access, "proxied")
        async with connect(str(kubeconfig)) as client, Cluster(client, namespace="default") as cluster:
            canaries = Canaries(cluster)
            await canaries.keys()
            yield Bench(EventNotifier(Events(client, time.time), canaries), api, proxy)
        api.delete(CANARY.path("default", "podinfo"))
        for event in api.list(EVENT.path("default")):
            api.delete(EVENT.path("default", event["metadata"]["name"]))


class EventNotifierContract(EventFixtures, NotifierContract):
    """The promises of a notifier, for Events."""


class EventsContract(EventFixtures):
    """The promises of Events, on any API server."""

    async def test_an_event_is_flaggers_but_for_its_name(self, events, api, namespace):
        await events.record(told(namespace))
        (event,) = found(api, namespace).values()
        assert (event["type"], event["reason"], event["count"]) == ("Warning", "Synced", 1)
        assert event["source"] == {"component": "flagger"}
        about = event["involvedObject"]
        assert (about["kind"], about["name"], about["uid"]) == ("Canary", "podinfo", "4711")

    async def test_a_repeated_text_is_one_event_with_a_count(self, events, api, namespace):
        for number in range(3):
            await events.record(told(namespace, key=f"poll {number}"))
        (event,) = found(api, namespace).values()
        assert event["count"] == 3

    async def test_a_notice_repeated_after_a_crash_finds_its_event(self, events, client, api, namespace):
        await events.record(told(namespace))
        await Events(client, time.time).record(told(namespace))
        (event,) = found(api, namespace).values()
        assert event["count"] == 1

    @pytest.mark.parametrize("name", ["a" * 253, "a" * 235 + "-" + "b" * 17, ".".join(["a"] * 127)])
    async def test_an_event_of_a_canary_with_the_longest_name_is_taken(self, name, events, api, namespace):
        await events.record(evolve(told(namespace), name=name))
        (event,) = found(api, namespace).values()
        assert len(event["metadata"]["name"]) <= 253
        assert all(part[0] != "-" != part[-1] for part in event["metadata"]["name"].split("."))
        assert event["involvedObject"]["name"] == name

    async def test_an_event_that_has_expired_is_written_anew(self, events, api, namespace):
        await events.record(told(namespace, key="poll 1"))
        (event,) = found(api, namespace).values()
        api.delete(EVENT.path(namespace, event["metadata"]["name"]))
        await events.record(told(namespace, key="poll 2"))
        assert found(api, namespace)

    async def test_many_events_of_one_canary_all_arrive(self, events, api, namespace):
        texts = [f"text {number}" for number in range(60)]
        for text in texts:
            await events.record(told(namespace, text, key=text))
        assert set(found(api, namespace)) == set(texts)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("Halt x\x1b[2J\nfake line\u202e", r"Halt x\x1b[2J\nfake line\u202e"),
            ("half \ud800", r"half \ud800"),
            ("ü" * 1_000, "ü" * 510 + "…"),
        ],
    )
    async def test_text_from_outside_is_one_short_line(self, events, api, namespace, text, message):
        await events.record(told(namespace, text, key=text))
        (event,) = found(api, namespace).values()
        assert event["message"] == message
        assert len(message.encode()) <= 1024

    async def test_an_alert_is_no_event(self, bench):
        await bench.adapter.publish(rollout(), notice("notice-1", kind=NoticeKind.NEW_REVISION_ALERT))
        assert await bench.delivered_texts() == ()

    async def test_a_notice_becomes_an_event_of_its_type(self, bench, api):
        told = notice("notice-1", kind=NoticeKind.PROMOTION_FAILED)
        told = type(told)(told.kind, told.key, Phase.FAILED, told.names, ("no pods",))
        await bench.adapter.publish(rollout(), told)
        (event,) = [found for found in api.list(EVENT.path("default")) if found["involvedObject"]["kind"] == "Canary"]
        assert (event["type"], event["message"]) == (
            "Warning",
            "Promotion of podinfo.default failed, primary not ready: no pods",
        )
