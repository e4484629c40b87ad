"""The port StatusStore: rollouts from Canary resources, their statuses in the status subresource.

A commit is one merge patch under the resourceVersion that was loaded: the optimistic lock. What was committed is in the
cache when `commit` returns, so a load never answers with less than what was committed here.

Beside the status there is some upkeep, done when a rollout is loaded, and only where something has to be changed:

- A Canary with revertOnDeletion carries our finalizer (Flagger's name) before its first commit, or its objects could be
  gone before they are given back. It is taken off once the end of the rollout is stored and was told, or when the owner
  no longer wants it; after a crash in between, whoever loads next takes it off.
- A rollout that is blocked by what is not its own says so: by an Event, and by a condition for as long as it is so.
- A Canary that cannot be used is not run. Why is told by an Event, again every now and then, and by a condition for
  as long as it is so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import CommandKind, Phase
from canarycore.errors import WorldError
from canarycore.text import escape_controls
from canarycore_kubernetes.api.kinds import CANARY
from canarycore_kubernetes.resources.canaries import COMMAND, VALID, InvalidCanary, ValidCanary
from canarycore_kubernetes.resources.events import RecordedEvent
from canarycore_kubernetes.resources.refusals import BlockedRollouts, make_blocked_condition
from canarycore_kubernetes.resources.status_codec import write_status
from canarycore_kubernetes.telemetry.lateness import LatenessTracker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from canarycore import Rollout, Status
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.resources.canaries import Canaries
    from canarycore_kubernetes.resources.events import Events
    from canarycore_runtime.mesh import Json
    from canarycore_runtime.ports import StoredRollout

FINALIZER = "finalizer.flagger.app"

LONGEST_WHY = 4096
"""Characters of the condition that says why a Canary cannot be used."""


class CanaryStore:
    """The rollouts that the cluster's Canaries ask for.

    tracked: the configs that belong to a target's revision, which Flagger compares when it takes a Canary back.
    refusals: what holds rollouts up.
    """

    def __init__(
        self,
        cluster: Cluster,
        canaries: Canaries,
        events: Events,
        lateness: LatenessTracker | None = None,
        tracked: Callable[[Rollout], Awaitable[Mapping[str, str]]] | None = None,
        refusals: BlockedRollouts | None = None,
    ) -> None:
        self._cluster = cluster
        self._canaries = canaries
        self._events = events
        self._lateness = lateness or LatenessTracker()
        self._tracked = tracked
        self._refusals = refusals or BlockedRollouts()
        self._ended: set[str] = set()

    # the port ---------------------------------------------------------------------------------------------------

    async def keys(self) -> tuple[str, ...]:
        """The Canaries there are. One that cannot be used is told so when it is loaded."""
        return await self._canaries.keys()

    async def load(self, key: str) -> StoredRollout | None:
        """The rollout and its status; None when there is none, or when its Canary cannot be used."""
        held = await self._canaries.find(key)
        if isinstance(held, InvalidCanary):
            await self._tell_broken(key, held)
        elif isinstance(held, ValidCanary):
            await self._keep_up(key, held)
        else:
            self._refusals.drop(key)
        return await self._canaries.load(key)

    async def commit(self, key: str, status: Status, version: str) -> str:
        """Store `status` durably if the stored version is still `version`; returns the new one, or raises Conflict."""
        held = await self._canaries.find(key)
        if not isinstance(held, ValidCanary):
            raise WorldError(f"canary {key} is gone, or cannot be used any more")
        namespace, _, name = key.partition("/")
        stored = write_status(held.rollout, status, self._conditions(key, status, held))
        if self._tracked is not None:
            stored["trackedConfigs"] = {**dict.fromkeys(held.tracked_configs), **await self._tracked(held.rollout)}
        patch = {"metadata": {"resourceVersion": version}, "status": stored}
        body = await self._cluster.merge(CANARY, namespace, name, patch, subresource="status")
        return str(body["metadata"]["resourceVersion"])

    def _conditions(self, key: str, status: Status, held: ValidCanary) -> tuple[Json, ...]:
        blocked = self._refusals.text(key, held.block_reason)
        return (*self._lateness.conditions(key, status), *((make_blocked_condition(blocked),) if blocked else ()))

    # upkeep -----------------------------------------------------------------------------------------------------

    async def _tell_blocked(self, key: str, held: ValidCanary) -> None:
        """Report the object that blocks the rollout, or that none does. A status of Flagger's is not written again."""
        text = self._refusals.text(key, held.block_reason)
        if text:
            namespace, _, name = key.partition("/")
            await self._events.warn(namespace, name, held.uid, text)
        if text != held.block_reason and not held.is_flagger_status:
            await self.commit(key, held.status, self._canaries.version(key))
        self._refusals.forget(key)

    async def _keep_up(self, key: str, held: ValidCanary) -> None:
        await self._tell_blocked(key, held)
        if held.unknown_command:
            kinds = ", ".join(kind.value for kind in CommandKind)
            form = f"<kind>[ <weight>] <anything unique>; kinds are {kinds}"
            text = f"{COMMAND} is '{held.unknown_command}', expected {form}"
            await self._warn(key, held, text, f"command {held.unknown_command}")
        if held.conditions:
            others = [condition for condition in held.conditions if condition["type"] != VALID]
            await self._patch(key, {"status": {"conditions": others}}, subresource="status")
        carried = FINALIZER in held.finalizers
        if not held.is_deleted and carried is not held.rollout.revert_on_deletion:
            await self._finalize(key, held, carry=not carried)
        elif held.is_deleted and carried and held.status.phase is Phase.TERMINATED:
            await self._release(key, held)

    async def _release(self, key: str, held: ValidCanary) -> None:
        """Let the Canary go at the second look: at the first what its end has to tell may not have been told yet."""
        if held.uid in self._ended:
            await self._finalize(key, held, carry=False)
            self._ended.discard(held.uid)
        else:
            self._ended.add(held.uid)
            self._cluster.wake(key)

    async def _finalize(self, key: str, held: ValidCanary, *, carry: bool) -> None:
        others = [finalizer for finalizer in held.finalizers if finalizer != FINALIZER]
        await self._patch(key, {"metadata": {"finalizers": [*others, *([FINALIZER] if carry else [])]}})

    async def _tell_broken(self, key: str, broken: InvalidCanary) -> None:
        why = "; ".join(str(problem) for problem in broken.problems if problem.severity == "error")
        why += f"; {broken.rollout_summary} until it can" if broken.rollout_summary else ""
        why = escape_controls(why, LONGEST_WHY)
        namespace, _, name = key.partition("/")
        await self._events.warn(namespace, name, broken.uid, f"The canary cannot be used: {why}")
        told = {"type": VALID, "status": "False", "reason": "InvalidManifest", "message": why}
        if broken.conditions is not None and told not in broken.conditions:
            others = [condition for condition in broken.conditions if condition["type"] != VALID]
            await self._patch(key, {"status": {"conditions": [*others, told]}}, subresource="status")

    async def _warn(self, key: str, about: ValidCanary | InvalidCanary, text: str, event: str) -> None:
        namespace, _, name = key.partition("/")
        told = RecordedEvent(namespace=namespace, name=name, uid=about.uid, type="Warning", text=text, key=event)
        await self._events.record(told)

    async def _patch(self, key: str, patch: Json, *, subresource: str = "") -> None:
        """Change what is held, if it is still what the server has."""
        namespace, _, name = key.partition("/")
        metadata = {**patch.get("metadata", {}), "resourceVersion": self._canaries.version(key)}
        await self._cluster.merge(CANARY, namespace, name, {**patch, "metadata": metadata}, subresource=subresource)
