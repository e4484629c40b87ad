"""Leader election by a Lease: at most one replica writes, and only while it can prove that it leads.

    leader = LeaderElection(client, namespace="flagger-system", identity="pod-1")
    fenced = client.fenced(leader.fence)        # the client for all other parts
    async with leader:
        while True:
            await leader.elected()
            …                                   # work, until
            await leader.deposed()

Theory of operation. The holder renews the Lease. Another replica takes the Lease after it has seen no renewal for the
whole duration by its own clock, because clocks of machines differ. So a holder leads alone for that duration, counted
from the moment before it *sent* the last successful renewal. `fence` lets a write begin only if the write can end
within that time. A replica that was deposed, or paused without noticing, writes nothing.

The Lease has Flagger's name and durations, so this controller and a Flagger with leader election never run at the same
time.
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
from canarycore_kubernetes.api.client import REQUEST_TIMEOUT, NotFound, Rejected
from canarycore_kubernetes.api.kinds import LEASE

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from canarycore_kubernetes.api.client import Client
    from canarycore_runtime.mesh import Json

_log = logging.getLogger("canarycore.kubernetes")

LEASE_NAME = "flagger-leader-election"
"""Name of the Lease; Flagger uses it too."""


class NotLeader(WorldError):
    """This replica cannot prove that it holds the Lease, so it must not write."""


@frozen(kw_only=True)
class LeaseTimes:
    """The durations of a leader election."""

    duration: int = field(default=60, validator=gt(0))
    """Time for which a Lease is valid after a renewal, in seconds."""
    retry: float = field(default=5.0, validator=gt(0))
    """Time between renewals, and between attempts to take the Lease, in seconds."""
    write: float = field(default=REQUEST_TIMEOUT, validator=gt(0))
    """Longest time for a write, in seconds; a write must begin that long before the Lease expires."""


class LeaderElection:
    """A candidate in the leader election while its context is open; it releases the Lease at the end.

    `client` must not be fenced by this election. A random suffix makes `identity` unique, so two processes of one name
    are two candidates. `clock` counts seconds, also while the machine sleeps.
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
        self.obstacle: str = ""
        """The reason why this replica can never lead, with the remedy; empty after an attempt without one."""
        self._client = client
        self._namespace, self._name = namespace, name
        self._times = times or LeaseTimes()
        self._now = clock or _uptime
        self._version = ""
        self._others: tuple[tuple[object, ...], float] = ((None,), 0.0)
        self._reported = ""
        self._until = 0.0
        self._elected = asyncio.Event()
        self._deposed = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._task = self._group.create_task(self._campaign(), name="leader election")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the Lease. All fenced writes must have ended before."""
        if self._task is not None:
            self._task.cancel()
        try:
            if isinstance(error, asyncio.CancelledError):
                await self._group.__aexit__(kind, error, trace)
            else:
                await self._group.__aexit__(None, None, None)
        finally:
            if self._elected.is_set():
                self._lose("the lease is released")
                with suppress(WorldError):  # the Lease expires by itself
                    await self._write({"holderIdentity": None})

    async def elected(self) -> None:
        """Wait until this replica leads."""
        await self._elected.wait()

    async def deposed(self) -> None:
        """Wait until this replica no longer leads."""
        await self._deposed.wait()

    def fence(self) -> None:
        """Raise NotLeader unless a write that begins now ends while this replica provably holds the Lease."""
        if not self._elected.is_set() or self._now() >= self._until:
            raise NotLeader(f"write refused: {self.identity} cannot prove that it holds the lease")

    # the election -----------------------------------------------------------------------------------------------

    async def _campaign(self) -> None:
        times = self._times
        while True:
            began = self._now()
            try:
                async with asyncio.timeout(times.retry):
                    leads = await self._hold_or_take()
            except (Rejected, NotFound) as error:
                self.obstacle = (
                    f"this replica can never lead: {error}. Expected the rights to create the Lease"
                    f" {self._namespace}/{self._name}, and to get and patch it: repeat the installation, or correct"
                    f" --namespace or --leader-election-namespace"
                )
                self._report(logging.WARNING, self.obstacle)
            except (WorldError, TimeoutError) as error:
                self._report(logging.WARNING, f"{type(error).__name__}: {error}")
            else:
                self.obstacle = ""
                if leads:
                    self._win(began + times.duration - times.write)
                else:
                    self._lose("another replica leads")
                    holder = self._others[0][0] or "another replica"
                    self._report(logging.INFO, f"{self.identity} stands by: {holder} leads")
            if self._now() >= self._until:
                self._lose("the lease was not renewed in time")
            left = self._until - self._now() if self._elected.is_set() else times.retry
            await asyncio.sleep(min(left, times.retry * random.uniform(0.8, 1.0)))  # noqa: S311 - jitter is no secret

    async def _hold_or_take(self) -> bool:
        """Renew the Lease, or take it if it is free; return whether this replica holds it now."""
        with suppress(Conflict, NotFound):
            if self._elected.is_set():
                await self._write({})
                return True
        lease = await self._client.get(LEASE, self._namespace, self._name)
        if lease is None:
            return await self._create()
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
        """Return whether the Lease has no holder, or its holder has not renewed it for its whole duration."""
        holder, now = spec.get("holderIdentity"), self._now()
        record = (holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        if record != self._others[0]:
            self._others = (record, now)
        return not holder or now >= self._others[1] + spec.get("leaseDurationSeconds", self._times.duration)

    async def _create(self) -> bool:
        body = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": {**self._renewal(), "acquireTime": _micro_time(), "leaseTransitions": 0},
        }
        try:
            lease = await self._client.create(body)
        except Conflict:
            return False
        self._version = lease["metadata"]["resourceVersion"]
        return True

    async def _write(self, changes: Json) -> None:
        """Renew the Lease with these changes, if its version is still the last known one."""
        patch = {"metadata": {"resourceVersion": self._version}, "spec": {**self._renewal(), **changes}}
        lease = await self._client.merge(LEASE, self._namespace, self._name, patch)
        self._version = lease["metadata"]["resourceVersion"]

    def _renewal(self) -> Json:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._times.duration,
            "renewTime": _micro_time(),
        }

    def _report(self, level: int, text: str) -> None:
        """Log the state of this candidate once, and its repeats at debug."""
        _log.log(logging.DEBUG if text == self._reported else level, "leader election: %s", text)
        self._reported = text

    def _win(self, until: float) -> None:
        self._until = until
        if self._elected.is_set():
            self._reported = ""  # the same trouble after a renewal is a new one
        else:
            self._report(logging.INFO, f"{self.identity} leads")
            self._deposed.clear()
            self._elected.set()

    def _lose(self, why: str) -> None:
        if self._elected.is_set():
            self._report(logging.WARNING, f"{self.identity} no longer leads: {why}")
            self._elected.clear()
            self._deposed.set()


def _uptime() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
