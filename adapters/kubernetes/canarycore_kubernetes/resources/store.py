"""The port StatusStore: rollouts from Canary resources, with their statuses in the status subresource.

A commit is one merge patch under the loaded resourceVersion, which is the optimistic lock. The cache has the new status
when `commit` returns, so a later load never returns an older status than this process committed.

A load also maintains the Canary, and writes only if something must change:

- A command that only the status says was handled gets its record (see `commands`).
- A Canary with revertOnDeletion gets a finalizer (with Flagger's name) before its first commit; otherwise its objects
  could be gone before the controller gives them back. The store removes the finalizer after it has stored and reported
  the end of the rollout, or when the owner turns the option off. After a crash in between, the next load removes it.
- A rollout may be in trouble. An Event reports this, and a condition while it lasts.
- The definition may have dropped fields of the manifest. An Event reports it once, a condition while it lasts.
- The controller does not run an invalid Canary. A repeated Event reports the problems, and a condition while they last.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from canarycore import CommandKind, Phase
from canarycore.errors import Conflict, WorldError
from canarycore.text import escape_controls
from canarycore_kubernetes.api.kinds import CANARY
from canarycore_kubernetes.resources.canaries import COMMAND, VALID, InvalidCanary, ValidCanary
from canarycore_kubernetes.resources.commands import HANDLED, is_recorded, make_record
from canarycore_kubernetes.resources.events import RecordedEvent, format_time
from canarycore_kubernetes.resources.refusals import BLOCKED, BlockedRollouts, make_blocked_condition
from canarycore_kubernetes.resources.status_codec import write_status
from canarycore_kubernetes.telemetry.conditions import READINESS_TYPES, make_stalled_conditions
from canarycore_kubernetes.telemetry.dropped_fields import DROPPED, DroppedFields
from canarycore_kubernetes.telemetry.lateness import LatenessTracker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from canarycore import Command, Rollout, Status
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.resources.canaries import Canaries
    from canarycore_kubernetes.resources.events import Events
    from canarycore_runtime.mesh import Json
    from canarycore_runtime.ports import StoredRollout

FINALIZER = "finalizer.flagger.app"
"""Finalizer of Canaries with revertOnDeletion; Flagger uses it too."""

LONGEST_REASON = 4096
"""Most characters of the condition that reports why a Canary is invalid."""


class CanaryStore:
    """The rollouts of the cluster's Canaries.

    `tracked` returns the configs of a target's revision, which Flagger compares when it takes a Canary back. `refusals`
    has the reasons of blocked rollouts. `diverted` is `MeshRouter.diverted`.
    """

    def __init__(
        self,
        cluster: Cluster,
        canaries: Canaries,
        events: Events,
        lateness: LatenessTracker | None = None,
        tracked: Callable[[Rollout], Awaitable[Mapping[str, str]]] | None = None,
        refusals: BlockedRollouts | None = None,
        diverted: Callable[[str, int | None], int | None] = lambda _, known: known,
    ) -> None:
        self._cluster = cluster
        self._canaries = canaries
        self._events = events
        self._lateness = lateness or LatenessTracker()
        self._tracked = tracked
        self._refusals = refusals or BlockedRollouts()
        self._diverted = diverted
        self._dropped = DroppedFields(cluster)
        self._ended: set[str] = set()

    # the port ---------------------------------------------------------------------------------------------------

    async def keys(self) -> tuple[str, ...]:
        """Return the keys of all Canaries. A load reports the problems of an invalid one."""
        return await self._canaries.keys()

    async def load(self, key: str) -> StoredRollout | None:
        """Return a rollout and its status; None if its Canary is invalid or does not exist."""
        canary = await self._canaries.find(key)
        if isinstance(canary, InvalidCanary):
            await self._report_invalid(key, canary)
        elif isinstance(canary, ValidCanary):
            await self._maintain(key, canary)
        else:
            self._refusals.drop(key)
            self._dropped.drop(key)
        return await self._canaries.load(key)

    async def commit(self, key: str, status: Status, version: str) -> str:
        """Store `status` under the version `version` and return the new version. Raise Conflict if it changed."""
        canary = await self._canaries.find(key)
        if not isinstance(canary, ValidCanary):
            raise WorldError(f"canary {key} is gone or has become invalid")
        namespace, _, name = key.partition("/")
        if status.handled not in ("", canary.status.handled):
            version = await self._record_handling(key, canary, status.handled, version)
        weight = self._shown_weight(key, canary, status)
        stored = write_status(
            canary.rollout,
            status,
            self._conditions(key, status),
            weight=weight,
            generation=max(0, canary.generation),
            trouble=self._refusals.text(key),
        )
        if self._tracked is not None:
            stored["trackedConfigs"] = {**dict.fromkeys(canary.tracked_configs), **await self._tracked(canary.rollout)}
        patch = {"metadata": {"resourceVersion": version}, "status": stored}
        body = await self._cluster.merge(CANARY, namespace, name, patch, subresource="status")
        return str(body["metadata"]["resourceVersion"])

    async def _record_handling(self, key: str, canary: ValidCanary, command: str, version: str) -> str:
        """Record a command as handled, before the status that carries it out. Return the new version of the Canary.

        Otherwise another controller could remove the memory from the status before the record was stored, and the
        command would be carried out again.
        """
        if self._canaries.version(key) != version:
            raise Conflict(f"canary {key} has changed since version {version}")
        record = make_record(command, canary.seal)
        if canary.handled_record == record:
            return version
        body = await self._patch(key, {"metadata": {"annotations": {HANDLED: record}}})
        return str(body["metadata"]["resourceVersion"])

    def _shown_weight(self, key: str, canary: ValidCanary, status: Status) -> int:
        """Return the canary's share of the requests: the rung's weight, unless a failover diverts them."""
        shown = canary.shown_weight
        is_rungs = canary.is_flagger_status or shown == canary.status.rung.weight
        diverted = self._diverted(key, None if is_rungs else shown)
        return status.rung.weight if diverted is None else diverted

    def _conditions(self, key: str, status: Status) -> tuple[Json, ...]:
        return (*self._lateness.conditions(key, status), *self._own_conditions(key))

    def _own_conditions(self, key: str) -> tuple[Json, ...]:
        """Return the conditions about a trouble and about dropped fields."""
        blocked, dropped = self._refusals.text(key), self._dropped.report(key)
        return (
            *((make_blocked_condition(blocked, self._refusals.reason(key)),) if blocked else ()),
            *((dropped.condition,) if dropped.text else ()),
        )

    # maintenance ------------------------------------------------------------------------------------------------

    async def _report(self, key: str, canary: ValidCanary) -> None:
        """Report the trouble of a rollout, dropped fields, the weight of a failover, and the generation.

        Do not write to a status that Flagger wrote. A server that takes no Event gets the condition all the same.
        """
        self._refusals.resume(key, canary.block_reason)
        text = self._refusals.text(key)
        if text:
            namespace, _, name = key.partition("/")
            with suppress(WorldError):
                await self._events.warn(namespace, name, canary.uid, text, interval=canary.rollout.interval)
        annotations = (name for name, _ in canary.manifest.metadata.annotations)
        dropped = await self._dropped.look(key, canary.lost_fields, annotations)
        if dropped.text:
            kind = "Warning" if dropped.is_certain else "Normal"
            await self._record(key, canary, kind, dropped.text, dropped.text)
        shown = canary.shown_weight
        has_other_weight = shown is not None and shown != self._shown_weight(key, canary, canary.status)
        is_news = (text, dropped.text) != (canary.block_reason, canary.dropped_reason)
        is_outdated = is_news or has_other_weight or _has_other_generation(canary)
        if is_outdated and not canary.is_flagger_status:
            if canary.status.since is None:
                await self._store_conditions(key, canary)
            else:
                await self.commit(key, canary.status, self._canaries.version(key))
        self._refusals.forget(key)

    async def _store_conditions(self, key: str, canary: ValidCanary) -> None:
        """Store or remove the conditions of a rollout that has no status yet: it must not begin by this."""
        now = format_time(time.time())
        times = {"lastTransitionTime": now, "lastUpdateTime": now}
        others = [condition for condition in canary.conditions if condition["type"] not in {BLOCKED, DROPPED}]
        ours = [{**condition, **times} for condition in self._own_conditions(key)]
        await self._patch(key, {"status": {"conditions": [*others, *ours]}}, subresource="status")

    async def _maintain(self, key: str, canary: ValidCanary) -> None:
        await self._report(key, canary)
        if canary.unknown_command:
            kinds = ", ".join(kind.value for kind in CommandKind)
            form = f"<kind>[ <weight>] <anything unique>; kinds are {kinds}"
            text = f"{COMMAND} is '{canary.unknown_command}', expected {form}"
            await self._record(key, canary, "Warning", text, f"command {canary.unknown_command}")
        if canary.command is not None and _lacks_record(canary, canary.command):
            await self._patch(key, {"metadata": {"annotations": {HANDLED: make_record(canary.command.id)}}})
        if canary.was_invalid and (canary.is_flagger_status or canary.status.since is None):
            others = [condition for condition in canary.conditions if condition["type"] not in _OF_INVALID]
            await self._patch(key, {"status": {"conditions": others}}, subresource="status")
        has_finalizer = FINALIZER in canary.finalizers
        if not canary.is_deleted and has_finalizer is not canary.rollout.revert_on_deletion:
            await self._finalize(key, canary, carry=not has_finalizer)
        elif canary.is_deleted and has_finalizer and canary.status.phase is Phase.TERMINATED:
            await self._release(key, canary)

    async def _release(self, key: str, canary: ValidCanary) -> None:
        """Remove the finalizer at the second load: at the first, the notices of the end may not be delivered yet."""
        if canary.uid in self._ended:
            await self._finalize(key, canary, carry=False)
            self._ended.discard(canary.uid)
        else:
            self._ended.add(canary.uid)
            self._cluster.wake(key)

    async def _finalize(self, key: str, canary: ValidCanary, *, carry: bool) -> None:
        others = [finalizer for finalizer in canary.finalizers if finalizer != FINALIZER]
        await self._patch(key, {"metadata": {"finalizers": [*others, *([FINALIZER] if carry else [])]}})

    async def _report_invalid(self, key: str, invalid: InvalidCanary) -> None:
        reason = "; ".join(str(problem) for problem in invalid.problems if problem.severity == "error")
        reason += f"; {invalid.rollout_summary} until it can" if invalid.rollout_summary else ""
        reason = escape_controls(reason, LONGEST_REASON)
        namespace, _, name = key.partition("/")
        await self._events.warn(namespace, name, invalid.uid, f"The canary is invalid: {reason}")
        condition = {"type": VALID, "status": "False", "reason": "InvalidManifest", "message": reason}
        if invalid.conditions is not None and condition not in invalid.conditions:
            others = [other for other in invalid.conditions if other["type"] not in _OF_INVALID]
            stalled = make_stalled_conditions("InvalidManifest", reason)
            fields = {"conditions": [*others, *stalled, condition], "observedGeneration": max(0, invalid.generation)}
            begun = {} if invalid.has_phase else _NO_PHASE
            await self._patch(key, {"status": {**begun, **fields}}, subresource="status")

    async def _record(self, key: str, canary: ValidCanary, kind: str, text: str, event: str) -> None:
        namespace, _, name = key.partition("/")
        recorded = RecordedEvent(namespace=namespace, name=name, uid=canary.uid, type=kind, text=text, key=event)
        await self._events.record(recorded)

    async def _patch(self, key: str, patch: Json, *, subresource: str = "") -> Json:
        """Patch a Canary and return it, if the server still has the version in the cache."""
        namespace, _, name = key.partition("/")
        metadata = {**patch.get("metadata", {}), "resourceVersion": self._canaries.version(key)}
        whole = {**patch, "metadata": metadata}
        return await self._cluster.merge(CANARY, namespace, name, whole, subresource=subresource)


def _has_other_generation(canary: ValidCanary) -> bool:
    """Return whether the stored status is about another generation, or still has the conditions of an invalid one."""
    is_other = canary.generation > 0 and canary.generation != canary.observed_generation
    return canary.status.since is not None and (is_other or canary.was_invalid)


_NO_PHASE = {"phase": "", "canaryWeight": 0}
"""The status of a rollout that has not begun. The health script of Argo CD fails where a status lacks these fields."""

_OF_INVALID = frozenset({VALID, *READINESS_TYPES})
"""Types of the conditions that an invalid Canary has."""


def _lacks_record(canary: ValidCanary, command: Command) -> bool:
    """Return whether only the status says that a command was handled: an earlier version wrote no annotation."""
    return canary.status.handled == command.id and not is_recorded(canary.handled_record, command)
