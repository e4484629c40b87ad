"""Where the Canaries of a cluster stand: what `get` shows of each, from caches."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from attrs import frozen

from canarycore.errors import WorldError
from canarycore_cli.cluster.connect import one
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import CANARY, EVENT
from canarycore_kubernetes.resources.canaries import ValidCanary
from canarycore_kubernetes.workloads.facts import ReadingOptions
from canarycore_kubernetes.workloads.port import ClusterWorkloads

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from canarycore import Workload
    from canarycore_cli.cluster.connect import Where
    from canarycore_kubernetes.api.cache import Cache
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.resources.canaries import Canaries, InvalidCanary
    from canarycore_runtime.mesh import Json
    from canarycore_runtime.ports import WorkloadPort


@frozen(kw_only=True)
class EventLine:
    """An event about a Canary, by its key.

    at: when it was told last (RFC 3339). count: how often. version: of the object; times are whole seconds, and what
    was told within one is in order by this.
    """

    key: str
    at: str
    type: str
    text: str
    count: int
    version: int


@frozen(kw_only=True)
class PodCounts:
    """One side's pods."""

    name: str
    ready: int
    desired: int


@frozen(kw_only=True)
class CanaryOverview:
    """One Canary. phase: empty before its first decision. weight: percent of requests to the new version.

    trouble: why it cannot be used, or why its pods are not known. event: what was told last.
    """

    key: str
    phase: str = ""
    reason: str = ""
    weight: int = 0
    iteration: int = 0
    failed_checks: int = 0
    threshold: int = 0
    paused: bool = False
    suspended: bool = False
    primary: PodCounts | None = None
    canary: PodCounts | None = None
    trouble: str = ""
    event: str = ""

    @property
    def words(self) -> str:
        """The phase and what goes with it, such as `Progressing, weight 30, 1 of 5 checks failed, paused`."""
        parts = [self.phase or "not looked at yet"]
        if self.reason:
            parts[0] += f" ({self.reason})"
        if self.threshold:
            parts += [f"weight {self.weight}", f"{self.failed_checks} of {self.threshold} checks failed"]
        parts += [name for name in ("paused", "suspended") if getattr(self, name)]
        return ", ".join(parts)


class ClusterView:
    """Looks at the Canaries of an open cluster; `name` empty: at all of them."""

    def __init__(
        self, where: Where, cluster: Cluster, canaries: Canaries, workloads: WorkloadPort, name: str = ""
    ) -> None:
        self._where = where
        self._name = name
        self.canaries = canaries
        self._workloads = workloads
        self._events: Cache[EventLine] = cluster.cache(EVENTS)
        self._events.subscribe(lambda namespace, _: cluster.wake(namespace))

    async def stands(self) -> list[CanaryOverview]:
        """Where they stand now. Raises BadInput when the one that is meant is not there."""
        if self._name:
            key, held = await one(self.canaries, self._where, self._name)
            return [await self.stand(key, held)]
        found = [(key, await self.canaries.find(key)) for key in sorted(await self.canaries.keys())]
        return [await self.stand(key, held) for key, held in found if held is not None]

    async def events(self, key: str) -> list[EventLine]:
        """What was told about a Canary, the last at the end."""
        try:
            cache = await self._events.ready()
        except WorldError:  # not everybody may read events
            return []
        return sorted((told for _, told in cache.all() if told.key == key), key=lambda told: told.version)

    async def stand(self, key: str, held: ValidCanary | InvalidCanary) -> CanaryOverview:
        """Where this one stands."""
        events = await self.events(key)
        event = events[-1].text if events else ""
        if not isinstance(held, ValidCanary):
            problems = "; ".join(str(problem) for problem in held.problems if problem.severity == "error")
            return CanaryOverview(key=key, phase="cannot be used", trouble=problems, event=event)
        rollout, status = held.rollout, held.status
        primary = canary = None
        trouble = ""
        try:
            seen = await self._workloads.observe(rollout)
            primary = _pods(f"{rollout.target.name}-primary", seen.primary)
            canary = _pods(rollout.target.name, seen.target)
        except WorldError as error:
            trouble = str(error)
        return CanaryOverview(
            key=key,
            phase=status.phase.value if status.since is not None else "",
            reason=status.reason.value,
            weight=status.rung.weight,
            iteration=status.rung.iteration,
            failed_checks=status.failed_checks,
            threshold=rollout.threshold,
            paused=status.paused,
            suspended=rollout.suspend,
            primary=primary,
            canary=canary,
            trouble=trouble,
            event=event,
        )


@asynccontextmanager
async def looking(where: Where, name: str = "") -> AsyncGenerator[tuple[Cluster, ClusterView], None]:
    """A look at the Canaries that are meant, as long as the context is open."""
    async with where.canaries() as (cluster, canaries):
        # how many pods are ready has nothing to do with ConfigMaps and Secrets: no right to read them is needed here
        workloads = ClusterWorkloads(cluster, canaries, ReadingOptions(tracked=False))
        yield cluster, ClusterView(where, cluster, canaries, workloads, name)


def _pods(name: str, workload: Workload | None) -> PodCounts | None:
    return None if workload is None else PodCounts(name=name, ready=workload.ready, desired=workload.desired)


def _told(body: Json, _: EventLine | None) -> EventLine:
    about: dict[str, Any] = body["involvedObject"]
    return EventLine(
        key=f"{about.get('namespace', '')}/{about.get('name', '')}",
        at=next(_times(body), ""),
        type=body.get("type", ""),
        text=body.get("message", ""),
        count=body.get("count") or 1,
        version=int(body["metadata"]["resourceVersion"]),
    )


def _times(body: Json) -> Iterator[str]:
    yield from (body[name] for name in ("lastTimestamp", "eventTime", "firstTimestamp") if body.get(name))
    yield body["metadata"].get("creationTimestamp", "")


EVENTS: View[EventLine] = View(kind=EVENT, project=_told, fields=f"involvedObject.kind={CANARY.kind}")
"""The events about Canaries."""
