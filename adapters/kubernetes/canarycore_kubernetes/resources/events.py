"""The port Notifier: Kubernetes Events about the Canary, with Flagger's types, reason, component and texts.

The name of an Event is a hash of the notice's key, so a notice that is repeated after a crash finds its Event. A text
that repeats (a gate that stays closed, pods that are not ready) is one Event with a rising count. The notifier never
drops an Event to spare the server: operators look for the last Event of a rollout first.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import quote

from attrs import define, evolve, field, frozen

from canarycore.notices import Channel
from canarycore.text import escape_controls
from canarycore_kubernetes.api.client import AlreadyExists, NotFound
from canarycore_kubernetes.api.kinds import CANARY, EVENT

if TYPE_CHECKING:
    from canarycore import Rollout
    from canarycore.notices import Notice
    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.resources.canaries import Canaries
    from canarycore_runtime.mesh import Json
    from canarycore_runtime.ports import Clock

REASON = "Synced"
COMPONENT = "flagger"
LONGEST_MESSAGE = 1024
"""Most bytes of a message that the API server accepts."""

LONGEST_BEGINNING = 253 - len(".0123456789abcdef")
"""Most characters of a Canary's name in the name of an Event."""

FIRST_PAUSE = 60.0
"""Time until the first repeat of a lasting warning, in seconds; it doubles with each further one."""

LONGEST_PAUSE = 1800.0
"""Longest time between repeats of a warning, in seconds: the API server keeps Events for about an hour."""

REMEMBERED_EVENTS = 10_000
"""Events of one namespace that the notifier remembers; the repeat of a forgotten one is a new Event."""


def _message(text: str) -> str:
    """Escape and shorten a text for an Event: names and errors may contain any characters."""
    shown = escape_controls(text, LONGEST_MESSAGE)
    encoded = shown.encode()
    if len(encoded) <= LONGEST_MESSAGE:
        return shown
    return encoded[: LONGEST_MESSAGE - len("…".encode())].decode(errors="ignore") + "…"


def event_source(cluster_name: str, rollout: Rollout) -> str:
    """Return the source of a rollout's CloudEvents: the path of its Canary in the API, below the cluster's name."""
    authority = f"//{quote(cluster_name, safe='')}" if cluster_name else ""
    return f"{authority}{CANARY.path(rollout.namespace, rollout.name)}"


@frozen(kw_only=True)
class RecordedEvent:
    """The content of a Kubernetes Event about a Canary."""

    namespace: str
    """Namespace of the Canary."""
    name: str
    """Name of the Canary."""
    uid: str
    """UID of the Canary."""
    type: str
    """Normal or Warning."""
    text: str = field(converter=_message)
    """The message, escaped and shortened to LONGEST_MESSAGE bytes."""
    key: str
    """Identity of the occurrence: a repeat after a crash has the same key."""

    @property
    def event_name(self) -> str:
        """Name of the Event object."""
        identity = f"{self.uid}/{self.key}".encode(errors="surrogatepass")
        name = self.name[:LONGEST_BEGINNING].rstrip("-.")  # a part of a name must not end with these
        return f"{name}.{blake2b(identity, digest_size=8).hexdigest()}"


class Events:
    """A writer of Events about Canaries."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._series: dict[str, OrderedDict[tuple[str, str, str], _Series]] = {}

    async def record(self, event: RecordedEvent) -> None:
        """Write an Event, or count its repeat. Raise WorldError if the server did not accept it."""
        place = (event.uid, event.type, event.text)
        known = self._series.setdefault(event.namespace, OrderedDict())
        series = known.get(place)
        if series is None:
            series = await self._begin(event)
        elif event.key != series.last:
            series = await self._repeat(event, series)
        known[place] = series
        known.move_to_end(place)
        if len(known) > REMEMBERED_EVENTS:
            known.popitem(last=False)

    async def warn(self, namespace: str, name: str, uid: str, text: str, *, interval: float = 0.0) -> None:
        """Write a warning about a Canary. Repeated calls write it ever more rarely, and at most once an interval."""
        now, pause = self._clock(), max(FIRST_PAUSE, interval)
        key = f"{text} {now // pause:.0f}"
        event = RecordedEvent(namespace=namespace, name=name, uid=uid, type="Warning", text=text, key=key)
        place = (uid, event.type, event.text)
        before = self._series.setdefault(namespace, OrderedDict()).get(place)
        if before is not None and now < before.quiet_until:
            return
        await self.record(event)
        series = self._series[namespace][place]
        series.pause = pause if before is None else max(pause, min(2 * before.pause, LONGEST_PAUSE))
        series.quiet_until = now + series.pause

    async def _begin(self, event: RecordedEvent) -> _Series:
        with suppress(AlreadyExists):  # written before a crash
            await self._client.create(_event(event, format_time(self._clock())))
        return _Series(event=event.event_name, last=event.key)

    async def _repeat(self, event: RecordedEvent, series: _Series) -> _Series:
        count = series.count + 1
        patch = {"count": count, "lastTimestamp": format_time(self._clock())}
        try:
            await self._client.merge(EVENT, event.namespace, series.event, patch)
        except NotFound:  # the API server deletes Events after about an hour
            return await self._begin(event)
        return evolve(series, last=event.key, count=count)


@define
class _Series:
    """An Event object and its repeats. The runner, not this class, records deliveries."""

    event: str
    """The name of the Event."""

    last: str
    """The key of the last notice. An attempt that repeats it, after a time limit, changes nothing."""

    count: int = 1
    """Notices so far with this text."""

    pause: float = 0.0
    """Time between the last two repeats of a warning, in seconds."""

    quiet_until: float = 0.0
    """Until when a warning is not repeated (seconds since the epoch)."""


class EventNotifier:
    """The port Notifier for notices of the channel EVENT."""

    def __init__(self, events: Events, canaries: Canaries) -> None:
        self._events = events
        self._canaries = canaries

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        """Write a notice as an Event about the Canary. Raise WorldError if the server did not accept it."""
        if notice.channel is Channel.EVENT:
            await self._events.record(
                RecordedEvent(
                    namespace=rollout.namespace,
                    name=rollout.name,
                    uid=self._canaries.require(rollout).uid,
                    type=notice.type,
                    text=notice.text,
                    key=notice.key,
                )
            )

    async def warn(self, rollout: Rollout, text: str) -> None:
        """Warn the Canary's owner: write an Event now, and repeat it from time to time while the warning recurs.

        Raise WorldError when the Canary is gone, or when the server does not take the Event.
        """
        uid = self._canaries.require(rollout).uid
        await self._events.warn(rollout.namespace, rollout.name, uid, text)


def _event(event: RecordedEvent, now: str) -> Json:
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": event.event_name, "namespace": event.namespace},
        "involvedObject": {
            "apiVersion": CANARY.api_version,
            "kind": CANARY.kind,
            "namespace": event.namespace,
            "name": event.name,
            "uid": event.uid,
        },
        "type": event.type,
        "reason": REASON,
        "message": event.text,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def format_time(seconds: float) -> str:
    """Return a time as the API server writes it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
