"""The web page of a cluster's Canaries: the source of its views, its viewers, and the door by which they sign in.

    async with serve_locally(ClusterPageSource(cluster, canaries), ClusterViewer(client, "jane")) as address:
        print(address)

The page reads from caches, with the rights of its process. It writes nothing by itself: each command goes to the API
server with the credentials of the viewer who gave it, so the cluster's own rules decide. With a `TokenDoor` these are a
bearer token; its client has no credentials of the process, so the process cannot lend its rights.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from contextlib import aclosing, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import uuid4

from attrs import evolve

from canarycore.errors import WorldError
from canarycore.policy import describe_policy
from canarycore_kubernetes.api.client import ApiError
from canarycore_kubernetes.api.kinds import CANARY, EVENT
from canarycore_kubernetes.overview import EVENTS, UNUSABLE
from canarycore_kubernetes.resources.canaries import ValidCanary, send_command
from canarycore_kubernetes.resources.status_codec import MEMORY
from canarycore_kubernetes.workloads.facts import ReadingOptions
from canarycore_kubernetes.workloads.port import ClusterWorkloads
from canarycore_runtime.page.history import RolloutHistory
from canarycore_runtime.page.rendering import SHOWN_EVENTS
from canarycore_runtime.page.server import SignInRefused
from canarycore_runtime.page.views import (
    ConditionView,
    EventView,
    RolloutDetails,
    WeightPoint,
    make_broken_row,
    make_details,
    make_row,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from canarycore import CommandKind
    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.overview import CanaryEvent
    from canarycore_kubernetes.resources.canaries import Canaries, InvalidCanary
    from canarycore_runtime.mesh import Json, Kind
    from canarycore_runtime.page.server import Viewer
    from canarycore_runtime.page.views import RolloutRow

T = TypeVar("T")

FRESH = 2.0
"""Seconds for which viewers share the conditions and events of a Canary, and answers about rights."""

MOST_SHARED = 256
"""Most answers that viewers share."""

READINGS_AT_ONCE = 4
"""Requests to the API server at once for all visitors."""

LONGEST_VIEWER_TOKEN = 2**14
"""Most characters of a bearer token."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


class _Shared(Generic[T]):
    """Answers of the last FRESH seconds, at most MOST_SHARED."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def find(self, key: str) -> T | None:
        read_at, answer = self._answers.get(key, (-FRESH, None))
        return answer if time.monotonic() - read_at < FRESH else None

    def put(self, key: str, answer: T) -> T:
        while self._answers and (len(self._answers) >= MOST_SHARED or self._is_oldest_stale()):
            self._answers.popitem(last=False)
        self._answers.pop(key, None)
        self._answers[key] = time.monotonic(), answer
        return answer

    def _is_oldest_stale(self) -> bool:
        read_at, _ = next(iter(self._answers.values()))
        return time.monotonic() - read_at >= FRESH


class ClusterViewer:
    """A viewer with an account of the cluster. `client` has the credentials of that account and no others."""

    def __init__(self, client: Client, name: str) -> None:
        self.client: Client = client
        self.name: str = name
        self.session: str = uuid4().hex
        """A unique name: viewers share no answers with others."""
        self._rights: _Shared[bool] = _Shared()

    async def may_command(self, key: str) -> bool:
        """Return whether the account may annotate the Canaries of the namespace."""
        namespace = key.partition("/")[0]
        answer = self._rights.find(namespace)
        if answer is None:
            answer = self._rights.put(namespace, await self.client.may("patch", CANARY, namespace))
        return answer

    async def send_command(self, key: str, kind: CommandKind) -> None:
        """Annotate the Canary, as `canary promote` does. Raise WorldError if the API server refuses."""
        namespace, _, name = key.partition("/")
        await send_command(self.client, namespace, name, kind)


class TokenDoor:
    """The door of a page on a cluster: a bearer token of the cluster. `client` has no credentials."""

    prompt = "Token"
    help_text = (
        "A bearer token of your account, such as kubectl create token prints. The page uses it for your commands "
        "and your reading of events, and forgets it after an hour without a request."
    )

    def __init__(self, client: Client) -> None:
        self._client = client

    async def admit(self, secret: str) -> Viewer:
        """Return the viewer with this token if the API server accepts it."""
        if len(secret) > LONGEST_VIEWER_TOKEN or not _TOKEN.fullmatch(secret):
            raise SignInRefused("This is not a bearer token.")
        client = self._client.with_token(secret)
        try:
            name = await client.identify()
        except ApiError as error:
            if error.status == 401:
                raise SignInRefused("The API server does not accept this token.") from None
            raise
        return ClusterViewer(client, name or "signed in")


class ClusterPageSource:
    """The Canaries of an open cluster, for the page."""

    def __init__(self, cluster: Cluster, canaries: Canaries) -> None:
        self.title: str = f"Canaries in {cluster.namespace}" if cluster.namespace else "Canaries"
        self._cluster, self._canaries = cluster, canaries
        self._workloads = ClusterWorkloads(cluster, canaries, ReadingOptions(tracked=False))
        self._history = RolloutHistory()
        self._conditions: _Shared[tuple[ConditionView, ...]] = _Shared()
        self._events: _Shared[tuple[EventView, ...]] = _Shared()
        self._reading = asyncio.Semaphore(READINGS_AT_ONCE)
        canaries.follow(self._record)

    def _record(self, key: str, canary: ValidCanary | InvalidCanary | None) -> None:
        if canary is None:
            self._history.forget(key)
        elif isinstance(canary, ValidCanary):
            self._history.record(key, canary.status, at=time.time())

    async def read_rows(self) -> list[RolloutRow]:
        """Return all Canaries."""
        found = [(key, self._canaries.get(key)) for key in await self._canaries.keys()]
        return [self._row(key, canary) for key, canary in found if canary is not None]

    async def read_details(self, key: str, viewer: Viewer | None) -> RolloutDetails | None:
        """Return one Canary. Conditions come with the rights of the process, events also with the viewer's."""
        canary = await self._canaries.find(key)
        if canary is None:
            return None
        conditions = await self._read_conditions(key)
        events, note = await self._read_events(key, viewer)
        row = self._row(key, canary)
        if not isinstance(canary, ValidCanary):
            return RolloutDetails(row=row, conditions=conditions, events=events, events_note=note)
        facts, trouble = await self._read_pods(canary)
        if trouble and not row.trouble:
            row = self._row(key, canary, trouble)
        row = evolve(row, weights=(*find_earlier_weights(events, row.weights), *row.weights))
        command = canary.command
        return make_details(
            canary.rollout,
            canary.status,
            row,
            now=time.time(),
            facts=(("Policy", describe_policy(canary.rollout)), *facts),
            analyses=self._history.analyses(key),
            conditions=conditions,
            events=events,
            events_note=note,
            pending=command.kind.value if command is not None and command.id != canary.status.handled else "",
        )

    def _row(self, key: str, canary: ValidCanary | InvalidCanary, trouble: str = "") -> RolloutRow:
        if isinstance(canary, ValidCanary):
            trouble = trouble or canary.block_reason
            return make_row(canary.rollout, canary.status, trouble=trouble, weights=self._history.weights(key))
        problems = (str(problem) for problem in canary.problems if problem.severity == "error")
        return make_broken_row(key, UNUSABLE.capitalize(), "; ".join(problems))

    async def _read_pods(self, canary: ValidCanary) -> tuple[list[tuple[str, str]], str]:
        """Return the ready pods of both versions, and the trouble that hides them."""
        try:
            workloads = await self._workloads.observe(canary.rollout)
        except WorldError as error:
            return [], str(error)
        sides = (("Pods of the primary", workloads.primary), ("Pods of the new version", workloads.target))
        return [(name, f"{side.ready} of {side.desired} ready") for name, side in sides if side is not None], ""

    async def _read_conditions(self, key: str) -> tuple[ConditionView, ...]:
        conditions = self._conditions.find(key)
        if conditions is None:
            namespace, _, name = key.partition("/")
            try:
                bodies = await self._list(self._cluster.client, CANARY, namespace, f"metadata.name={name}")
            except WorldError:
                return ()  # the caches have what matters most
            stored = ((bodies[0] if bodies else {}).get("status") or {}).get("conditions") or ()
            shown = (_condition(body) for body in stored if body.get("type") != MEMORY)
            conditions = self._conditions.put(key, tuple(shown))
        return conditions

    async def _read_events(self, key: str, viewer: Viewer | None) -> tuple[tuple[EventView, ...], str]:
        """Return the newest events first, and why there are none."""
        account, client = "", self._cluster.client
        if isinstance(viewer, ClusterViewer):
            account, client = viewer.session, viewer.client
        events = self._events.find(f"{account} {key}")
        if events is not None:
            return events, ""
        namespace, _, name = key.partition("/")
        fields = f"involvedObject.kind={CANARY.kind},involvedObject.name={name}"
        try:
            bodies = await self._list(client, EVENT, namespace, fields)
        except ApiError as error:
            hint = "" if viewer is not None else " Sign in to read them with your own rights."
            return (), f"The events cannot be read: {error.answer}.{hint}"
        except WorldError as error:
            return (), f"The events cannot be read: {error}"
        newest = sorted((EVENTS.project(body, None) for body in bodies), key=lambda event: -event.version)
        shown = tuple(map(_event, newest[:SHOWN_EVENTS]))
        return self._events.put(f"{account} {key}", shown), ""

    async def _list(self, client: Client, kind: Kind, namespace: str, fields: str) -> list[Json]:
        """Return the first objects of a list from the server."""
        async with self._reading, aclosing(client.list(kind, namespace, fields=fields)) as pages:
            async for page in pages:
                bodies: list[Json] = page["items"]
                return bodies
        return []


def find_earlier_weights(events: Iterable[EventView], weights: Sequence[WeightPoint]) -> list[WeightPoint]:
    """Return the weights before the first of `weights`, oldest first, as the events of the rollout tell them.

    A page that has just begun has no weights of its own. Events with the same text count once, with their last time.
    """
    points: list[WeightPoint] = []
    for event in events:
        match = _WEIGHT.match(event.text)
        if match is None:
            continue
        with suppress(ValueError):
            at = datetime.fromisoformat(event.at).timestamp()
            if not weights or at < weights[0].at:
                points.append(WeightPoint(at, min(int(match["weight"] or 0), 100)))
    return sorted(points, key=lambda point: point.at)


_WEIGHT = re.compile(r"Advance \S+ canary weight (?P<weight>\d{1,3})|Starting canary analysis|New revision detected")
"""The events that tell a weight; those without one tell the weight 0."""


def _event(event: CanaryEvent) -> EventView:
    return EventView(at=event.at, text=event.text, is_warning=event.type == "Warning", count=event.count)


def _condition(body: Json) -> ConditionView:
    return ConditionView(
        type=str(body.get("type", "")),
        status=str(body.get("status", "")),
        reason=str(body.get("reason", "")),
        message=str(body.get("message", "")),
    )
