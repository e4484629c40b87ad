"""The port Workload: the target and its primary copy as processes.

Theory of operation. What should run is a small plan, durable in the folder: the target's version and whether it is
up, the primary's version, and versions kept to go back to. The port's methods only change the plan. One loop brings the
processes there, again and again, so it does not matter where it was interrupted:

    start what is missing (with back-off when it keeps crashing) → probe it → once it is ready, let Envoy send it
    requests and stop sending any to its predecessor → wait until the predecessor has answered all it had → stop it

So a promotion is a rolling restart: the old primary serves until the new one is ready, and no request is lost. A
process is ready when it answers at /readyz with 200, or with 404: then it answers, and does not know the path.

What runs is the warden's knowledge (`canarycore_local.processes.warden`), and what gets requests is Envoy's. Both
outlive this process, so one that comes after it takes up the work.
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
from canarycore_local.alongside import alongside
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
"""The files that a workload makes in its folder, beside the logs of its processes (`log_name`)."""

TICK = 0.1
"""Seconds between two looks at the processes."""

DRAIN = LONGEST_REQUEST + 5.0
"""Seconds that a process may take to answer what it had when it was replaced; Envoy gives up on a request earlier."""

_GRACE = 5.0
_PROBE = 1.0
_MISSES = 3
_FIRST_BACK_OFF = 0.25
_LONGEST_BACK_OFF = 5.0
_QUIET_TICKS = 2


@frozen(kw_only=True)
class WorkloadPlan:
    """What should run. `up`: whether the target does. `kept`: versions that the primary can be restored to."""

    target: Version | None = None
    up: bool = True
    primary: Version | None = None
    kept: tuple[Version, ...] = ()
    restored: bool = False

    def wanted(self, side: EnvoySide) -> Version | None:
        """The version that should answer on that side."""
        if side is EnvoySide.PRIMARY:
            return self.primary
        return self.target if self.up else None


@define
class _Instance:
    """A process that lives, as we see it. Times are monotonic seconds."""

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
    def drained(self) -> bool:
        """Whether nothing is lost when it is stopped now."""
        overdue = self.draining_since is not None and time.monotonic() > self.draining_since + DRAIN
        return self.quiet >= _QUIET_TICKS or overdue or not self.ready


@define
class _Crashes:
    count: int = 0
    again_at: float = 0.0


class LocalWorkload:
    """The target and the primary of one rehearsal. `running` gives one that works."""

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
        self._trouble = ""
        self._changed = asyncio.Event()

    # the port ---------------------------------------------------------------------------------------------------

    async def observe(self, rollout: Rollout) -> Workloads:
        """The processes as of the last look, under the plan as it is now."""
        if self._trouble:
            raise WorldError(self._trouble)
        plan = self._plan
        return Workloads(
            target=self._described(EnvoySide.CANARY, plan.target, desired=int(plan.up)),
            primary=self._described(EnvoySide.PRIMARY, plan.primary, desired=1),
            kept=tuple(version.revision for version in plan.kept),
            restored=plan.restored,
        )

    async def initialise(self, rollout: Rollout, revision: str) -> None:
        """Run a copy of the target as the primary, where there is none."""
        if self._plan.primary is None:
            await self._change(primary=self._target_carrying(revision))

    async def scale_up(self, rollout: Rollout) -> None:
        """Run the target."""
        await self._change(up=True)

    async def scale_down(self, rollout: Rollout) -> None:
        """Stop the target, once it has answered all it had."""
        await self._change(up=False)
        for one in self._of(
            EnvoySide.CANARY
        ):  # now, not at the next look: it may be scaled up with another version by then
            one.draining_since = one.draining_since or time.monotonic()

    async def promote(self, rollout: Rollout, revision: str) -> None:
        """Run a copy of the target as the primary, in place of the one there is, and keep what that carried."""
        if self._plan.primary is None or self._plan.primary.revision != revision:
            await self._change(primary=self._target_carrying(revision))

    async def restore_primary(self, rollout: Rollout, revision: str) -> None:
        """Replace the primary by a kept version."""
        found = next((version for version in self._plan.kept if version.revision == revision), None)
        if found is None:
            kept = ", ".join(version.revision for version in self._plan.kept) or "none"
            raise Refused(f"revision {revision} was not kept: kept are {kept}")
        await self._change(primary=found)

    async def pause_scaler(self, rollout: Rollout) -> None:
        """Nothing scales processes here."""

    async def resume_scaler(self, rollout: Rollout) -> None:
        """Nothing scales processes here."""

    async def restore(self, rollout: Rollout) -> None:
        """Run the target again. The primary runs on until everything ends: requests may still be on their way."""
        await self._change(up=True, restored=True)

    async def changes(self) -> AsyncIterator[str]:
        """The rollout's key, whenever a process became ready, unready, came or went."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            yield self._key

    # the owner --------------------------------------------------------------------------------------------------

    async def deploy(self, version: Version) -> None:
        """Give the target another version, as its owner would."""
        await self._change(target=version)

    def revision(self) -> str:
        """What the target carries; empty before anything was deployed."""
        return "" if self._plan.target is None else self._plan.target.revision

    def versions(self) -> dict[str, str]:
        """The labels of the versions known, by revision."""
        known = (self._plan.target, self._plan.primary, *self._plan.kept)
        return {version.revision: version.label for version in known if version is not None}

    def address(self, side: EnvoySide) -> str:
        """Where a ready process of that side answers without Envoy; raises WorldError when there is none."""
        version = self._plan.wanted(side)
        for one in self._of(side):
            if one.ready and version is not None and one.revision == version.revision:
                return f"http://{HOST}:{one.port}"
        raise WorldError(f"no process of the {side.value} is ready")

    # the plan ---------------------------------------------------------------------------------------------------

    def _target_carrying(self, revision: str) -> Version:
        target = self._plan.target
        if target is None or target.revision != revision:
            carried = "nothing" if target is None else target.revision
            raise Refused(f"the target carries {carried}, not {revision}")
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

    async def tend(self) -> None:
        """Bring the processes to the plan, for ever."""
        while True:
            await self.step()
            await asyncio.sleep(TICK)

    async def step(self) -> None:
        """Look, and do what can be done now."""
        before = self._seen()
        try:
            await self._look()
            for side in EnvoySide:
                await self._converge(side)
            self._trouble = ""
        except WorldError as trouble:
            self._trouble = str(trouble)
        if self._seen() != before:
            self._changed.set()

    def _seen(self) -> object:
        ready = sorted((one.name, one.ready, one.draining_since is None) for one in self._instances.values())
        return ready, dict(self._leaving), self._trouble

    async def _look(self) -> None:
        """Learn which processes live, which are ready, and what the leaving ones still have to answer."""
        leaving = dict.fromkeys(EnvoySide, 0)
        living: dict[str, _Instance] = {}
        hosts = await self._envoy.hosts()
        for name, process in (await self._processes.all()).items():
            if "side" not in process.note:
                continue
            side = EnvoySide(process.note["side"])
            if not process.running:
                await self._bury(side, process)
            elif process.stopping:
                leaving[side] += 1
            else:
                # one that is new to us, but not to Envoy, was ready when our predecessor was killed
                port = process.note["port"]
                adopted = _Instance(name, side, process.note["revision"], port, ready=port in hosts[side])
                living[name] = self._instances.get(name, adopted)
        self._instances, self._leaving = living, leaving
        async with asyncio.TaskGroup() as group:
            for one in living.values():
                group.create_task(self._probe(one))
        for one in living.values():
            host = hosts[one.side].get(one.port)
            if one.draining_since is not None:
                one.quiet = one.quiet + 1 if host is None or host.active == 0 else 0

    async def _bury(self, side: EnvoySide, process: Process) -> None:
        await self._processes.forget(process.name)
        if not process.stopping:
            crashes = self._crashes.setdefault((side, process.note["revision"]), _Crashes())
            delay = min(_FIRST_BACK_OFF * 2**crashes.count, _LONGEST_BACK_OFF)
            crashes.count += 1
            crashes.again_at = time.monotonic() + delay

    async def _probe(self, one: _Instance) -> None:
        now = time.monotonic()
        if one.ready and now < one.probed_at + _PROBE:
            return
        one.probed_at = now
        try:
            async with self._session.get(f"http://{HOST}:{one.port}/readyz", allow_redirects=False) as response:
                well = response.status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND)
        except (aiohttp.ClientError, TimeoutError):
            well = False
        one.misses = 0 if well else one.misses + 1
        one.ready = well or (one.ready and one.misses < _MISSES)

    async def _converge(self, side: EnvoySide) -> None:
        """One step towards the plan."""
        version = self._plan.wanted(side)
        fresh = [one for one in self._of(side) if version is not None and one.revision == version.revision]
        stale = [one for one in self._of(side) if one not in fresh]
        if version is not None and not fresh:
            await self._start(side, version)
        replaced = version is None or any(one.ready for one in fresh)
        for one in fresh:
            one.draining_since, one.quiet = None, 0
        for one in stale:
            if replaced and one.draining_since is None:
                one.draining_since = time.monotonic()
        done = [one for one in stale if one.draining_since is not None and one.drained]
        await self._serve(side, [one for one in (*fresh, *stale) if one.ready and one not in done])
        for one in done:
            await self._processes.stop(one.name, _GRACE)
            del self._instances[one.name]
            self._leaving[side] += 1

    async def _start(self, side: EnvoySide, version: Version) -> None:
        crashes = self._crashes.get((side, version.revision))
        if crashes is not None and time.monotonic() < crashes.again_at:
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
            Endpoint(port=one.port, revision=one.revision, draining=one.draining_since is not None) for one in instances
        )
        if endpoints != self._in_force[side]:
            await self._envoy.set_endpoints(side, endpoints)
            self._in_force[side] = endpoints

    # what is seen -----------------------------------------------------------------------------------------------

    def _of(self, side: EnvoySide) -> list[_Instance]:
        return [one for one in self._instances.values() if one.side is side]

    def _described(self, side: EnvoySide, version: Version | None, *, desired: int) -> Workload | None:
        if version is None:
            return None
        mine = self._of(side)
        updated = sum(one.revision == version.revision for one in mine)
        serving = {endpoint.port for endpoint in self._in_force[side] or () if not endpoint.draining}
        ready = sum(one.ready and one.port in serving for one in mine)
        total = len(mine) + self._leaving[side]
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
async def running(processes: Processes, envoy: Envoy, folder: Path, key: str) -> AsyncIterator[LocalWorkload]:
    """The workload of the rollout `key` in `folder`, tended while the context lasts. Its processes outlive it."""
    timeout = aiohttp.ClientTimeout(total=_PROBE)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        workload = LocalWorkload(processes, envoy, folder, session, key)
        await workload.step()
        async with alongside(workload.tend()):
            yield workload


def log_name(side: EnvoySide, revision: str) -> str:
    """Name the file in the folder that has what the processes of a version printed on one side."""
    return f"{LOGS}/{side.value}-{revision}.log"


def _load(folder: Path) -> WorkloadPlan:
    try:
        return cattrs.structure(json.loads(read_private(folder / PLAN)), WorkloadPlan)
    except FileNotFoundError:
        return WorkloadPlan()


def _save(folder: Path, plan: WorkloadPlan) -> None:
    write_private(folder / PLAN, json.dumps(cattrs.unstructure(plan)))


def _free_port() -> int:
    """A port that was free a moment ago; whoever finds it taken crashes, and is started again on another."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
