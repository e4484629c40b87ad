"""The port Notifier: Kubernetes Events about the Canary, with Flagger's types, reason, component and texts.

An Event's name is made of the notice's key, so a notice that is told again after a crash is the Event that is there
already. A text that is told again and again (a gate that stays closed, pods that are not ready) is one Event whose
count rises. Nothing is ever left out to spare the server: what a rollout tells last is what people look for first.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING

from attrs import define, field, frozen

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
"""Bytes of a message that the API server takes."""

LONGEST_BEGINNING = 253 - len(".0123456789abcdef")
"""Characters of a Canary's name that fit into the name of an Event."""

REPEAT_AFTER = 600.0
"""Seconds after which a warning is repeated for as long as it holds: Events are kept for an hour or so."""

REMEMBERED_EVENTS = 10_000
"""Texts of one namespace that a notifier remembers having told; one that it forgot is a new Event when it is told
again."""


def _message(text: str) -> str:
    """A text as an Event's message: a name or an error in it may hold anything."""
    shown = escape_controls(text, LONGEST_MESSAGE)
    encoded = shown.encode()
    if len(encoded) <= LONGEST_MESSAGE:
        return shown
    return encoded[: LONGEST_MESSAGE - len("…".encode())].decode(errors="ignore") + "…"


@frozen(kw_only=True)
class RecordedEvent:
    """One thing told about a Canary. `key` is the same when it is told again after a crash.

    text: on one line, and short enough for an Event, whatever was given.
    """

    namespace: str
    name: str
    uid: str
    type: str
    text: str = field(converter=_message)
    key: str

    @property
    def event_name(self) -> str:
        """The Event's name."""
        identity = f"{self.uid}/{self.key}".encode(errors="surrogatepass")
        name = self.name[:LONGEST_BEGINNING].rstrip("-.")  # no part of a name may end with one of these
        return f"{name}.{blake2b(identity, digest_size=8).hexdigest()}"


class Events:
    """Writes Events about Canaries."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._told: dict[str, OrderedDict[tuple[str, str, str], _Series]] = {}

    async def record(self, told: RecordedEvent) -> None:
        """Write it down, once; raises WorldError when the server did not take it."""
        place = (told.uid, told.type, told.text)
        known = self._told.setdefault(told.namespace, OrderedDict())
        series = known.get(place)
        if series is None:
            series = await self._begin(told)
        elif told.key != series.last:
            series = await self._repeat(told, series)
        known[place] = series
        known.move_to_end(place)
        if len(known) > REMEMBERED_EVENTS:
            known.popitem(last=False)

    async def warn(self, namespace: str, name: str, uid: str, text: str) -> None:
        """Tell what is wrong with a Canary: now, and every now and then while it is told here."""
        key = f"{text} {self._clock() // REPEAT_AFTER:.0f}"
        await self.record(RecordedEvent(namespace=namespace, name=name, uid=uid, type="Warning", text=text, key=key))

    async def _begin(self, told: RecordedEvent) -> _Series:
        with suppress(AlreadyExists):  # it was told before a crash
            await self._client.create(_event(told, _rfc3339(self._clock())))
        return _Series(event=told.event_name, last=told.key)

    async def _repeat(self, told: RecordedEvent, series: _Series) -> _Series:
        count = series.count + 1
        patch = {"count": count, "lastTimestamp": _rfc3339(self._clock())}
        try:
            await self._client.merge(EVENT, told.namespace, series.event, patch)
        except NotFound:  # events are kept for an hour or so
            return await self._begin(told)
        return _Series(event=series.event, last=told.key, count=count)


@define
class _Series:
    """One Event and its repeats. It says how to count the next repeat; the runner records deliveries."""

    event: str
    """The name of the Event."""

    last: str
    """The key of the last notice. An attempt that repeats it, after a time limit, changes nothing."""

    count: int = 1
    """Notices so far with this text."""


class EventNotifier:
    """The port Notifier for what is told as events; alerts are others' to tell."""

    def __init__(self, events: Events, canaries: Canaries) -> None:
        self._events = events
        self._canaries = canaries

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        """Write the notice down as an Event about the Canary. Raises WorldError when the server did not take it."""
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


def _event(told: RecordedEvent, now: str) -> Json:
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": told.event_name, "namespace": told.namespace},
        "involvedObject": {
            "apiVersion": CANARY.api_version,
            "kind": CANARY.kind,
            "namespace": told.namespace,
            "name": told.name,
            "uid": told.uid,
        },
        "type": told.type,
        "reason": REASON,
        "message": told.text,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
