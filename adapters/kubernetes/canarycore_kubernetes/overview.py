"""The state of all Canaries of a cluster: phase, weight, failed checks, pods and events.

    async with connect() as client, open_overview(client, namespace="shop") as overview:
        for canary in await overview.read_all():
            print(canary.key, canary.describe())

Reads come from caches, so each repetition is cheap. Nothing is written.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from attrs import frozen

from canarycore.errors import WorldError
from canarycore.phases import MAY_DRAIN, Approval
from canarycore.text import describe_state, describe_traffic
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CANARY, EVENT
from canarycore_kubernetes.resources.canaries import Canaries, ValidCanary
from canarycore_kubernetes.workloads.facts import ReadingOptions
from canarycore_kubernetes.workloads.port import ClusterWorkloads

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from canarycore import Rollout, Workload
    from canarycore_kubernetes.api.cache import Cache
    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.resources.canaries import InvalidCanary
    from canarycore_runtime.mesh import Json
    from canarycore_runtime.ports import WorkloadPort

UNUSABLE = "cannot be used"
"""The phase of an invalid Canary."""

NEW = "not looked at yet"
"""The description of a Canary before its first decision."""


@frozen(kw_only=True)
class CanaryEvent:
    """An event about a Canary."""

    key: str
    """The Canary, as `namespace/name`."""

    at: str
    """The last time of the event (RFC 3339, whole seconds)."""

    type: str
    """`Normal` or `Warning`."""

    text: str
    """The message."""

    count: int
    """The number of repetitions, at least 1."""

    version: int
    """The resource version, which orders the events of one second."""


@runtime_checkable
class ImageSource(Protocol):
    """A WorkloadPort that knows the images of workloads."""

    async def images(self, rollout: Rollout) -> tuple[str, str]:
        """Return the images of the target and of the primary; an empty text for one without."""


@frozen(kw_only=True)
class PodCounts:
    """The pods of one Deployment, or of another workload."""

    name: str
    """The workload's name."""

    ready: int
    """The number of ready pods."""

    desired: int
    """The number of desired pods."""

    image: str = ""
    """The image of their first container; empty where the workload has no pods of its own."""


@frozen(kw_only=True)
class CanaryOverview:
    """The state of one Canary."""

    key: str
    """The Canary, as `namespace/name`."""

    phase: str = ""
    """Flagger's phase; empty before the first decision, `UNUSABLE` for an invalid Canary."""

    reason: str = ""
    """The reason for the phase."""

    weight: int = 0
    """Percent of requests to the new version."""

    iteration: int = 0
    """The iteration of an A/B test or a blue/green rollout."""

    iterations: int = 0
    """The number of iterations of an A/B test or a blue/green rollout; 0 for a rollout by weights."""

    failed_checks: int = 0
    """The number of failed checks."""

    threshold: int = 0
    """The number of failed checks that rolls back; 0 for an invalid Canary."""

    revision: str = ""
    """The revision under test, or the last one; empty before the first decision."""

    created_at: str = ""
    """When the Canary was created (RFC 3339, whole seconds)."""

    paused: bool = False
    """Whether a command has paused the rollout."""

    frozen: bool = False
    """Whether a failed analysis has frozen it."""

    waiting_for_approval: bool = False
    """Whether the step waits for the command approve."""

    suspended: bool = False
    """Whether `spec.suspend` is set."""

    draining: bool = False
    """Whether pods keep running only for proxies that follow new routes late."""

    primary: PodCounts | None = None
    """The pods of the primary; None where there is none, or where they cannot be read."""

    canary: PodCounts | None = None
    """The pods of the target."""

    trouble: str = ""
    """The problems of an invalid Canary, the trouble of a rollout, or the error that hides the pods."""

    event: str = ""
    """The last event's message."""

    @property
    def flags(self) -> tuple[str, ...]:
        """`paused`, `frozen`, `waiting for approval`, `suspended` and `draining`, where they hold."""
        names = ("paused", "frozen", "waiting_for_approval", "suspended", "draining")
        return tuple(name.replace("_", " ") for name in names if getattr(self, name))

    def describe(self) -> str:
        """Return the state in words, such as `Progressing, weight 30, 1 of 5 checks failed, paused`."""
        if not self.threshold:
            return describe_state(self.phase or NEW, reason=self.reason, flags=self.flags)
        return describe_state(
            self.phase or NEW,
            describe_traffic(self.weight, iteration=self.iteration),
            reason=self.reason,
            checks=(self.failed_checks, self.threshold),
            flags=self.flags,
        )


class ClusterOverview:
    """The Canaries of an open cluster."""

    def __init__(self, cluster: Cluster, canaries: Canaries, workloads: WorkloadPort) -> None:
        self.cluster = cluster
        self.canaries = canaries
        self._workloads = workloads
        self._events: Cache[CanaryEvent] = cluster.cache(EVENTS)
        self._events.subscribe(lambda namespace, _: cluster.wake(namespace))

    async def read_all(self) -> list[CanaryOverview]:
        """Return the state of all Canaries, sorted by key."""
        states = [await self.read(key) for key in sorted(await self.canaries.keys())]
        return [state for state in states if state is not None]

    async def read(self, key: str) -> CanaryOverview | None:
        """Return the state of one Canary; None if it does not exist."""
        canary = await self.canaries.find(key)
        if canary is None:
            return None
        events = await self.events(key)
        event = events[-1].text if events else ""
        return (
            await self._valid(key, canary, event) if isinstance(canary, ValidCanary) else _invalid(key, canary, event)
        )

    async def events(self, key: str) -> list[CanaryEvent]:
        """Return the events about a Canary, oldest first; none where the user has no right to read events."""
        try:
            cache = await self._events.ready()
        except WorldError:
            return []
        return sorted((event for _, event in cache.all() if event.key == key), key=lambda event: event.version)

    async def _valid(self, key: str, canary: ValidCanary, event: str) -> CanaryOverview:
        rollout, status = canary.rollout, canary.status
        primary_pods = target_pods = None
        trouble = canary.block_reason
        try:
            workloads = await self._workloads.observe(rollout)
            target_image = primary_image = ""
            if isinstance(self._workloads, ImageSource):
                target_image, primary_image = await self._workloads.images(rollout)
            primary_pods = _pods(f"{rollout.target.name}-primary", workloads.primary, primary_image)
            target_pods = _pods(rollout.target.name, workloads.target, target_image)
        except WorldError as error:
            trouble = trouble or str(error)
        return CanaryOverview(
            key=key,
            phase=status.phase.value if status.since is not None else "",
            reason=status.reason.value,
            weight=status.rung.weight,
            iteration=status.rung.iteration,
            iterations=rollout.ladder.iterations,
            revision=status.applied,
            created_at=canary.created_at,
            failed_checks=status.failed_checks,
            threshold=rollout.threshold,
            paused=status.paused and not status.is_frozen,
            frozen=status.is_frozen,
            waiting_for_approval=status.approval is Approval.ASKED,
            suspended=rollout.suspend,
            draining=status.phase in MAY_DRAIN and time.time() < status.drain_until,
            primary=primary_pods,
            canary=target_pods,
            trouble=trouble,
            event=event,
        )


@asynccontextmanager
async def open_overview(
    client: Client, *, namespace: str = "", selector: str = "", provider: str = "istio"
) -> AsyncGenerator[ClusterOverview, None]:
    """Watch the Canaries of a namespace (empty: all) while the context is open.

    `selector` is a label selector (empty: all). `provider` is the provider of Canaries that name none. Reads no
    ConfigMap and no Secret, so it needs no right to.
    """
    async with Cluster(client, namespace=namespace) as cluster:
        canaries = Canaries(cluster, provider=provider, selector=selector)
        yield ClusterOverview(cluster, canaries, ClusterWorkloads(cluster, canaries, ReadingOptions(tracked=False)))


def _invalid(key: str, canary: InvalidCanary, event: str) -> CanaryOverview:
    problems = "; ".join(str(problem) for problem in canary.problems if problem.severity == "error")
    return CanaryOverview(key=key, phase=UNUSABLE, created_at=canary.created_at, trouble=problems, event=event)


def _pods(name: str, workload: Workload | None, image: str) -> PodCounts | None:
    if workload is None:
        return None
    return PodCounts(name=name, ready=workload.ready, desired=workload.desired, image=image)


def _read_event(body: Json, _: CanaryEvent | None) -> CanaryEvent:
    canary: dict[str, Any] = body["involvedObject"]
    return CanaryEvent(
        key=f"{canary.get('namespace', '')}/{canary.get('name', '')}",
        at=next(_times(body), ""),
        type=body.get("type", ""),
        text=body.get("message", ""),
        count=body.get("count") or 1,
        version=int(body["metadata"]["resourceVersion"]),
    )


def _times(body: Json) -> Iterator[str]:
    yield from (body[name] for name in ("lastTimestamp", "eventTime", "firstTimestamp") if body.get(name))
    yield body["metadata"].get("creationTimestamp", "")


EVENTS: View[CanaryEvent] = View(kind=EVENT, project=_read_event, fields=f"involvedObject.kind={CANARY.kind}")
"""The cached view of the events about Canaries."""
