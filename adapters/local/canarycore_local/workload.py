"""The port Workload: the target and its primary copy as processes.

Theory of operation. A small plan in the folder says what should run: the target's version and whether it is up, the
primary's version, and earlier versions for a restoration. The port's methods only change the plan. One loop converges
the processes to it, and may be interrupted at any point:

    start missing processes (with back-off after crashes) → probe them → route requests to each ready process, and no
    new ones to its predecessor → wait until the predecessor has answered its requests → stop it

So a promotion is a rolling restart: the old primary serves until the new instance is ready, and no request is lost. A
process is ready when /readyz answers 200, or 404 from a service without this path.

The warden (`canarycore_local.processes.warden`) has the list of processes, and Envoy has the list of endpoints. Both
outlive this process, so its successor continues the work.
"""

# ruff: noqa: ARG002 - a port's methods take what the port says

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import cattrs
from attrs import define, evolve, frozen

from canarycore import Workload
from canarycore.errors import Refused, WorldError
from canarycore_local.background import run_in_background
from canarycore_local.envoy.proxy import HOST, LONGEST_REQUEST, Endpoint, EnvoySide
from canarycore_local.processes.versions import Version
from canarycore_local.state_folder import DRAFT, make_private, read_private, write_private
from canarycore_runtime.ports import Workloads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from canarycore import Rollout
    from canarycore_local.envoy.proxy import Envoy
    from canarycore_local.processes.supervisor import Process, Processes

PLAN = "plan.json"
LOGS = "logs"
FILES = (PLAN, f"{PLAN}{DRAFT}")
"""The files of a workload in its folder, except the logs of its processes (`log_name`)."""

TICK = 0.1
"""Seconds between two steps of the loop."""

DRAIN = LONGEST_REQUEST + 5.0
"""Seconds that a replaced process has to answer its requests; Envoy's own timeout is shorter."""

_GRACE = 5.0
_PROBE = 1.0
_MISSES = 3
_FIRST_BACK_OFF = 0.25
_LONGEST_BACK_OFF = 5.0
_QUIET_TICKS = 2


@frozen(kw_only=True)
class WorkloadPlan:
    """The desired processes."""

    target: Version | None = None
    """The target's version; None before the first deployment."""

    up: bool = True
    """Whether the target runs."""

    primary: Version | None = None
    """The primary's version; None before the initialisation."""

    kept: tuple[Version, ...] = ()
    """The versions that the primary can go back to."""

    restored: bool = False
    """Whether the target has its traffic back for good."""

    def desired_version(self, side: EnvoySide) -> Version | None:
        """Return the version that should answer on that side."""
        if side is EnvoySide.PRIMARY:
            return self.primary
        return self.target if self.up else None


@define
class _Instance:
    """A live process. Times are monotonic seconds."""

    name: str
    side: EnvoySide
    revision: str
    port: int
    ready: bool
    probed_at: float = 0.0
    misses: int = 0
    draining_since: float | None = None
    quiet: int = 0

    @property
    def is_drained(self) -> bool:
        """Whether a stop loses no request."""
        overdue = self.draining_since is not None and time.monotonic() > self.draining_since + DRAIN
        return self.quiet >= _QUIET_TICKS or overdue or not self.ready


@define
class _Crashes:
    """The crashes of one version, and the time of the next start (monotonic seconds)."""

    count: int = 0
    next_start: float = 0.0


class LocalWorkload:
    """The target and the primary of one rehearsal. `run_workload` opens one."""

    def __init__(
        self,
        processes: Processes,
        envoy: Envoy,
        folder: Path,
        session: aiohttp.ClientSession,
        key: str,
    ) -> None:
        self._processes = processes
        self._envoy = envoy
        self._folder = folder
        self._session = session
        self._key = key
        self._plan = _load(folder)
        self._instances: dict[str, _Instance] = {}
        self._leaving: dict[EnvoySide, int] = dict.fromkeys(EnvoySide, 0)
        self._in_force: dict[EnvoySide, tuple[Endpoint, ...] | None] = dict.fromkeys(EnvoySide)
        self._crashes: dict[tuple[EnvoySide, str], _Crashes] = {}
        self._unready_since: dict[EnvoySide, float] = {}
        self._error = ""
        self._changed = asyncio.Event()

    # the port ---------------------------------------------------------------------------------------------------

    async def observe(self, rollout: Rollout) -> Workloads:
        """Return the processes of the last step, under the present plan. Raises WorldError."""
        if self._error:
            raise WorldError(self._error)
        plan = self._plan
        return Workloads(
            target=self._workload(EnvoySide.CANARY, plan.target, desired=int(plan.up)),
            primary=self._workload(EnvoySide.PRIMARY, plan.primary, desired=1),
            restorable=tuple(version.revision for version in plan.kept),
            is_restored=plan.restored,
        )

    async def initialise(self, rollout: Rollout, revision: str) -> None:
        """Run a copy of the target as the primary, if there is no primary."""
        if self._plan.primary is None:
            await self._change(primary=self._target_at(revision))

    async def scale_up(self, rollout: Rollout) -> None:
        """Run the target."""
        await self._change(up=True)

    async def scale_down(self, rollout: Rollout) -> None:
        """Stop the target, once it has answered its requests."""
        await self._change(up=False)
        # now, not at the next step: by then it may be scaled up with another version
        for instance in self._of(EnvoySide.CANARY):
            instance.draining_since = instance.draining_since or time.monotonic()

    async def promote(self, rollout: Rollout, revision: str) -> None:
        """Replace the primary by a copy of the target, and keep the old primary's version."""
        if self._plan.primary is None or self._plan.primary.revision != revision:
            await self._change(primary=self._target_at(revision))

    async def restore_primary(self, rollout: Rollout, revision: str) -> None:
        """Replace the primary by a kept version."""
        version = next((version for version in self._plan.kept if version.revision == revision), None)
        if version is None:
            revisions = ", ".join(version.revision for version in self._plan.kept) or "none"
            raise Refused(f"found no kept version with revision {revision}, expected one of: {revisions}")
        await self._change(primary=version)

    async def pause_scaler(self, rollout: Rollout) -> None:
        """Do nothing: no autoscaler scales processes."""

    async def resume_scaler(self, rollout: Rollout) -> None:
        """Do nothing: no autoscaler scales processes."""

    async def restore(self, rollout: Rollout) -> None:
        """Run the target again. The primary runs until everything ends, for requests under way."""
        await self._change(up=True, restored=True)

    async def changes(self) -> AsyncIterator[str]:
        """Yield the rollout's key whenever a process starts, ends, or changes its readiness."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            yield self._key

    # users ------------------------------------------------------------------------------------------------------

    async def deploy(self, version: Version) -> None:
        """Deploy another version as the target, as its owner would."""
        await self._change(target=version)

    def revision(self) -> str:
        """Return the target's revision; empty before the first deployment."""
        return "" if self._plan.target is None else self._plan.target.revision

    def versions(self) -> dict[str, str]:
        """Return the labels of all versions in the plan, by revision."""
        versions = (self._plan.target, self._plan.primary, *self._plan.kept)
        return {version.revision: version.label for version in versions if version is not None}

    def address(self, side: EnvoySide) -> str:
        """Return the URL of a ready process of that side, without Envoy. Raises WorldError if there is none."""
        version = self._plan.desired_version(side)
        for instance in self._of(side):
            if instance.ready and version is not None and instance.revision == version.revision:
                return f"http://{HOST}:{instance.port}"
        raise WorldError(f"no process of the {side.value} is ready")

    # the plan ---------------------------------------------------------------------------------------------------

    def _target_at(self, revision: str) -> Version:
        target = self._plan.target
        if target is None or target.revision != revision:
            actual = "none" if target is None else target.revision
            raise Refused(f"the target: found the revision {actual}, expected {revision}")
        return target

    async def _change(self, **changes: object) -> None:
        plan = evolve(self._plan, **changes)  # type: ignore[arg-type]
        if plan.primary is not None and plan.primary not in plan.kept:
            plan = evolve(plan, kept=(*plan.kept, plan.primary))
        if plan != self._plan:
            await asyncio.to_thread(_save, self._folder, plan)
            self._plan = plan
            self._changed.set()

    # the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Converge the processes to the plan until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(TICK)

    async def step(self) -> None:
        """Observe the processes, and take one step towards the plan."""
        before = self._state()
        try:
            await self._observe()
            for side in EnvoySide:
                await self._converge(side)
            self._error = ""
        except WorldError as error:
            self._error = str(error)
        if self._state() != before:
            self._changed.set()

    def _state(self) -> object:
        ready = sorted(
            (instance.name, instance.ready, instance.draining_since is None) for instance in self._instances.values()
        )
        return ready, dict(self._leaving), self._error

    async def _observe(self) -> None:
        """Update the live processes, their readiness, and the requests of draining ones."""
        leaving = dict.fromkeys(EnvoySide, 0)
        living: dict[str, _Instance] = {}
        hosts = await self._envoy.hosts()
        for name, process in (await self._processes.all()).items():
            if "side" not in process.note:
                continue
            side = EnvoySide(process.note["side"])
            if not process.running:
                await self._forget(side, process)
            elif process.stopping:
                leaving[side] += 1
            else:
                # a new process that Envoy has was ready when the predecessor of this process was killed
                port = process.note["port"]
                adopted = _Instance(name, side, process.note["revision"], port, ready=port in hosts[side])
                living[name] = self._instances.get(name, adopted)
        self._instances, self._leaving = living, leaving
        async with asyncio.TaskGroup() as group:
            for instance in living.values():
                group.create_task(self._probe(instance))
        for instance in living.values():
            host = hosts[instance.side].get(instance.port)
            if instance.draining_since is not None:
                instance.quiet = instance.quiet + 1 if host is None or host.active == 0 else 0

    async def _forget(self, side: EnvoySide, process: Process) -> None:
        await self._processes.forget(process.name)
        if not process.stopping:
            crashes = self._crashes.setdefault((side, process.note["revision"]), _Crashes())
            delay = min(_FIRST_BACK_OFF * 2**crashes.count, _LONGEST_BACK_OFF)
            crashes.count += 1
            crashes.next_start = time.monotonic() + delay

    async def _probe(self, instance: _Instance) -> None:
        now = time.monotonic()
        if instance.ready and now < instance.probed_at + _PROBE:
            return
        instance.probed_at = now
        try:
            async with self._session.get(f"http://{HOST}:{instance.port}/readyz", allow_redirects=False) as response:
                is_ready = response.status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND)
        except (aiohttp.ClientError, TimeoutError):
            is_ready = False
        instance.misses = 0 if is_ready else instance.misses + 1
        instance.ready = is_ready or (instance.ready and instance.misses < _MISSES)

    async def _converge(self, side: EnvoySide) -> None:
        """Take one step towards the plan on one side."""
        version = self._plan.desired_version(side)
        updated = [
            instance for instance in self._of(side) if version is not None and instance.revision == version.revision
        ]
        stale = [instance for instance in self._of(side) if instance not in updated]
        if version is not None and not updated:
            await self._start(side, version)
        is_replaced = version is None or any(instance.ready for instance in updated)
        for instance in updated:
            instance.draining_since, instance.quiet = None, 0
        for instance in stale:
            if is_replaced and instance.draining_since is None:
                instance.draining_since = time.monotonic()
        drained = [instance for instance in stale if instance.draining_since is not None and instance.is_drained]
        await self._serve(
            side, [instance for instance in (*updated, *stale) if instance.ready and instance not in drained]
        )
        for instance in drained:
            await self._processes.stop(instance.name, _GRACE)
            del self._instances[instance.name]
            self._leaving[side] += 1

    async def _start(self, side: EnvoySide, version: Version) -> None:
        crashes = self._crashes.get((side, version.revision))
        if crashes is not None and time.monotonic() < crashes.next_start:
            return
        port = _free_port()
        name = f"{side.value}-{version.revision}-{port}"
        await asyncio.to_thread(make_private, self._folder / LOGS)
        await self._processes.start(
            name,
            version.argv(port),
            self._folder / log_name(side, version.revision),
            env={"PORT": str(port)},
            note={"side": side.value, "revision": version.revision, "port": port},
        )
        self._instances[name] = _Instance(name, side, version.revision, port, ready=False)

    async def _serve(self, side: EnvoySide, instances: list[_Instance]) -> None:
        endpoints = tuple(
            Endpoint(port=instance.port, revision=instance.revision, draining=instance.draining_since is not None)
            for instance in instances
        )
        if endpoints != self._in_force[side]:
            await self._envoy.set_endpoints(side, endpoints)
            self._in_force[side] = endpoints

    # the observation ----------------------------------------------------------------------------------------------

    def _of(self, side: EnvoySide) -> list[_Instance]:
        return [instance for instance in self._instances.values() if instance.side is side]

    def _workload(self, side: EnvoySide, version: Version | None, *, desired: int) -> Workload | None:
        if version is None:
            return None
        instances = self._of(side)
        updated = sum(instance.revision == version.revision for instance in instances)
        serving = {endpoint.port for endpoint in self._in_force[side] or () if not endpoint.draining}
        ready = sum(instance.ready and instance.port in serving for instance in instances)
        total = len(instances) + self._leaving[side]
        if ready >= desired:
            self._unready_since.pop(side, None)
        else:
            self._unready_since.setdefault(side, time.time())
        return Workload(
            revision=version.revision,
            desired=desired,
            updated=updated,
            ready=ready,
            total=total,
            unready_since=self._unready_since.get(side),
        )


@asynccontextmanager
async def run_workload(processes: Processes, envoy: Envoy, folder: Path, key: str) -> AsyncIterator[LocalWorkload]:
    """Run the workload of the rollout `key` in `folder` while the context is open. Its processes outlive it."""
    timeout = aiohttp.ClientTimeout(total=_PROBE)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        workload = LocalWorkload(processes, envoy, folder, session, key)
        await workload.step()
        async with run_in_background(workload.run()):
            yield workload


def log_name(side: EnvoySide, revision: str) -> str:
    """Return the name of the log of a version's processes on one side."""
    return f"{LOGS}/{side.value}-{revision}.log"


def _load(folder: Path) -> WorkloadPlan:
    try:
        return cattrs.structure(json.loads(read_private(folder / PLAN)), WorkloadPlan)
    except FileNotFoundError:
        return WorkloadPlan()


def _save(folder: Path, plan: WorkloadPlan) -> None:
    write_private(folder / PLAN, json.dumps(cattrs.unstructure(plan)))


def _free_port() -> int:
    """Return a free port. A process whose port is taken meanwhile crashes, and starts again on another port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
