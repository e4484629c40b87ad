"""Who may write: one replica at a time, by a Lease, and none that cannot prove it.

    leader = Leader(client, namespace="flagger-system", identity="pod-1")
    fenced = client.fenced(leader.fence)        # what all others write with
    async with leader:
        while True:
            await leader.elected()
            …                                   # work, until
            await leader.deposed()

Theory of operation. Whoever holds the Lease renews it; whoever does not takes it once it has seen it unrenewed for its
whole duration, by its own clock, as clocks of machines differ. So a holder is alone for that duration, counted from the
moment before it *sent* the last renewal that the server took. `fence` lets a write begin only while there is time for
it to end within that. A replica that is deposed, or was stopped for a while without noticing, writes nothing.

The Lease has Flagger's name and its times, so that a Flagger with leader election and we are never both at work.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from attrs import field, frozen
from attrs.validators import gt

from canarycore.errors import Conflict, WorldError
from canarycore_kubernetes.api.client import TIMEOUT, NotFound
from canarycore_kubernetes.api.kinds import LEASE

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from canarycore_kubernetes.api.client import Client
    from canarycore_runtime.mesh import Json

_log = logging.getLogger("canarycore.kubernetes")

LEASE_NAME = "flagger-leader-election"


class NotLeader(WorldError):
    """We are not the leader, or cannot prove it: nothing is written."""


@frozen(kw_only=True)
class LeaseTimes:
    """In seconds. duration: how long a Lease holds after a renewal. retry: between renewals, and between attempts.

    write: how long a write may take; it must be begun that long before the Lease is over.
    """

    duration: int = field(default=60, validator=gt(0))
    retry: float = field(default=5.0, validator=gt(0))
    write: float = field(default=TIMEOUT, validator=gt(0))


class LeaderElection:
    """Stands for election while its context is open, and gives the Lease back at its end.

    `client` is one without our fence. `identity` is made unique: a process of the same name is another candidate.
    `clock` counts seconds, also while the machine sleeps.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        identity: str,
        name: str = LEASE_NAME,
        times: LeaseTimes | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.identity: str = f"{identity}_{uuid4()}"
        self._client = client
        self._namespace, self._name = namespace, name
        self._times = times or LeaseTimes()
        self._now = clock or _uptime
        self._version = ""
        self._others: tuple[object, float] = (None, 0.0)
        self._until = 0.0
        self._elected = asyncio.Event()
        self._deposed = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._task = self._group.create_task(self._stand(), name="leader election")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """All that is written with the fence must have ended before."""
        if self._task is not None:
            self._task.cancel()
        try:
            if isinstance(error, asyncio.CancelledError):
                await self._group.__aexit__(kind, error, trace)
            else:
                await self._group.__aexit__(None, None, None)
        finally:
            if self._elected.is_set():
                self._lose("it is given back")
                with suppress(WorldError):  # it runs out by itself
                    await self._write({"holderIdentity": None})

    async def elected(self) -> None:
        """Wait until we lead."""
        await self._elected.wait()

    async def deposed(self) -> None:
        """Wait until we no longer lead."""
        await self._deposed.wait()

    def fence(self) -> None:
        """Raises Deposed unless a write that begins now ends while we surely lead."""
        if not self._elected.is_set() or self._now() >= self._until:
            raise NotLeader(f"{self.identity} is not surely the leader, so it writes nothing. The leader will.")

    # standing for election --------------------------------------------------------------------------------------

    async def _stand(self) -> None:
        times = self._times
        while True:
            asked = self._now()
            try:
                async with asyncio.timeout(times.retry):
                    leads = await self._hold_or_take()
            except (WorldError, TimeoutError) as error:
                _log.warning("leader election: %s: %s", type(error).__name__, error)
            else:
                if leads:
                    self._win(asked + times.duration - times.write)
                else:
                    self._lose("another one leads")
            if self._now() >= self._until:
                self._lose("the lease could not be renewed")
            left = self._until - self._now() if self._elected.is_set() else times.retry
            await asyncio.sleep(min(left, times.retry * random.uniform(0.8, 1.0)))  # noqa: S311 - it keeps no secret

    async def _hold_or_take(self) -> bool:
        """Renew the Lease, or take it if it is free; returns whether it is ours now."""
        with suppress(Conflict, NotFound):
            if self._elected.is_set():
                await self._write({})
                return True
        lease = await self._client.get(LEASE, self._namespace, self._name)
        if lease is None:
            return await self._make()
        spec = lease.get("spec") or {}
        ours = spec.get("holderIdentity") == self.identity
        if not ours and not self._is_free(spec):
            return False
        self._version = lease["metadata"]["resourceVersion"]
        transitions = spec.get("leaseTransitions", 0) + (not ours)
        try:
            await self._write({"acquireTime": _micro_time(), "leaseTransitions": transitions})
        except (Conflict, NotFound):
            return False
        return True

    def _is_free(self, spec: Json) -> bool:
        """Whether nobody holds it, or whoever did has not renewed it for as long as it holds, while we looked."""
        holder, now = spec.get("holderIdentity"), self._now()
        record = (holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        if record != self._others[0]:
            self._others = (record, now)
        return not holder or now >= self._others[1] + spec.get("leaseDurationSeconds", self._times.duration)

    async def _make(self) -> bool:
        body = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": {**self._renewal(), "acquireTime": _micro_time(), "leaseTransitions": 0},
        }
        try:
            made = await self._client.create(body)
        except Conflict:
            return False
        self._version = made["metadata"]["resourceVersion"]
        return True

    async def _write(self, changes: Json) -> None:
        """Change the Lease, if it is as we last saw it."""
        patch = {"metadata": {"resourceVersion": self._version}, "spec": {**self._renewal(), **changes}}
        lease = await self._client.merge(LEASE, self._namespace, self._name, patch)
        self._version = lease["metadata"]["resourceVersion"]

    def _renewal(self) -> Json:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._times.duration,
            "renewTime": _micro_time(),
        }

    def _win(self, until: float) -> None:
        self._until = until
        if not self._elected.is_set():
            _log.info("leader election: %s leads", self.identity)
            self._deposed.clear()
            self._elected.set()

    def _lose(self, why: str) -> None:
        if self._elected.is_set():
            _log.warning("leader election: %s no longer leads: %s", self.identity, why)
            self._elected.clear()
            self._deposed.set()


def _uptime() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
