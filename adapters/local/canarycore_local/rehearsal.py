"""A rehearsal: a rollout with its own policy on this machine, with real traffic between real processes.

    script = Script(rollout=rollout, versions=(old, new), traffic=TrafficPlan(rate=200), speed=20)
    async with rehearse(folder, script) as rehearsal:          # or resume(folder), after the process was killed
        async with Runner(rehearsal.parts):                    # canarycore_runtime
            status = await rehearsal.play()                    # deploys all versions, one after the other
        rehearsal.generator.total.bad                          # the number of bad requests
        rehearsal.splits()                                     # the traffic under each of the routes

Another process sends commands through the store: `SqliteStore(folder / STORE).send_command(key, CommandKind.ABORT)`.

Theory of operation. The folder has all durable state: the script and its progress, the status (SQLite), the plan of
processes, and Envoy's files. The warden owns the processes. So traffic goes on when the rehearsing process is killed,
and `resume` continues from the folder. Everything ends when no owner resumes within the warden's patience, on
`stop(folder)`, and on an orderly exit from the context of `rehearse` or `resume`. A lock in the folder lets only one
process at a time rehearse there.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Literal

import cattrs
from attrs import evolve, field, frozen
from attrs.validators import gt, min_len

from canarycore import Phase, Rollout, Routes, Status
from canarycore.codec import from_data, to_data
from canarycore.errors import CanaryError, CannotHappen, WorldError
from canarycore.phases import ACTIVE, IDLE
from canarycore_local import workload
from canarycore_local.envoy import proxy as envoy
from canarycore_local.envoy.metrics import EnvoyMetrics, open_metrics
from canarycore_local.envoy.router import EnvoyRouter
from canarycore_local.hooks import Gates, LocalHooks, PassingHooks
from canarycore_local.processes import warden
from canarycore_local.processes.supervisor import START_PATIENCE, own_processes, stop_processes
from canarycore_local.processes.versions import Version
from canarycore_local.requests.generator import Generator, TrafficPlan, TrafficWindow, open_generator
from canarycore_local.requests.loadtest import LoadTest, needs_load_test
from canarycore_local.state_folder import (
    DRAFT,
    RehearsalError,
    claim,
    demand_private,
    is_marked,
    open_private,
    read_private,
    remove,
    write_private,
)
from canarycore_local.store import FILES as STORE_FILES
from canarycore_local.store import STORE, SqliteStore, key_of
from canarycore_runtime.ports import Adapters, HookPort, MetricSource, Notifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from canarycore_local.workload import LocalWorkload

__all__ = [
    "FILES",
    "SCRIPT",
    "STORE",
    "Rehearsal",
    "RehearsalError",
    "Script",
    "Split",
    "Stage",
    "accelerate",
    "clear",
    "holds_rehearsal",
    "read_script",
    "rehearse",
    "resume",
    "stop",
]

STARTING = 10.0
"""The shortest accelerated progress deadline, in seconds: a process starts no faster in a faster rehearsal."""

Hooks = Literal["local", "pass"] | HookPort
"""The answers to webhooks: by this machine (see `canarycore_local.hooks`), always a pass, or by a port."""

SCRIPT = "script.json"
"""The file with the script and its progress. A folder with it holds a rehearsal."""

_OWNER = "owner.lock"
_ENVOY = "envoy"
_POLL = 0.1
_CHANGING = "changing"


@frozen(kw_only=True)
class Script:
    """The plan of a rehearsal."""

    rollout: Rollout
    """The rollout, with the times of production."""

    versions: tuple[Version, ...] = field(validator=min_len(1))
    """The version that runs first, and each version to roll out after it."""

    traffic: TrafficPlan = TrafficPlan()
    """The requests of users."""

    speed: float = field(default=1.0, validator=gt(0))
    """The divisor of intervals, windows and deadlines."""

    port: int = 0
    """The port of Envoy; 0: any free port."""


@frozen(kw_only=True)
class Stage:
    """The environment of a rehearsal. It may differ after a resumption."""

    hooks: Hooks = "local"
    """The answers to webhooks."""

    gates: Gates = field(factory=dict)
    """The gates for `local` hooks, by name."""

    constants: Mapping[str, float] = field(factory=dict)
    """The values of metrics that need a provider, by name."""

    fallback: MetricSource | None = None
    """The source of all other metrics that need a provider."""

    notifiers: tuple[Notifier, ...] = ()
    """The receivers of notices."""

    patience: float = field(default=START_PATIENCE, validator=gt(0))
    """Seconds that the processes run on after the rehearsing process is killed."""


@frozen(kw_only=True)
class Split:
    """The traffic under one set of routes."""

    routes: Routes
    """The routes."""

    window: TrafficWindow
    """The requests that started while the routes were in force."""


def accelerate(rollout: Rollout, speed: float) -> Rollout:
    """Return the rollout with its times divided by `speed`. Hooks keep their timeouts, as servers answer no faster."""
    deadline = min(rollout.progress_deadline, max(rollout.progress_deadline / speed, STARTING))
    return evolve(
        rollout,
        interval=rollout.interval / speed,
        progress_deadline=deadline,
        drain=rollout.drain / speed,
        checks=tuple(evolve(check, window=check.window / speed) for check in rollout.checks),
    )


class Rehearsal:
    """A rehearsal under way."""

    def __init__(
        self,
        folder: Path,
        progress: _Progress,
        *,
        store: SqliteStore,
        workload: LocalWorkload,
        router: _WatchedRouter,
        generator: Generator,
        parts: Adapters,
        address: str,
        runs_load_tests: bool,
    ) -> None:
        self._folder = folder
        self._progress = progress
        self._router = router
        self.rollout = accelerate(progress.script.rollout, progress.script.speed)
        """The accelerated rollout, as the store has it."""
        self.key = key_of(self.rollout)
        """The key of the rollout in the store."""
        self.store = store
        self.workload = workload
        self.generator = generator
        """The traffic; it starts once the first version serves."""
        self.parts = parts
        """The adapters for a Runner."""
        self.address = address
        """The URL of Envoy."""
        self._runs_load_tests = runs_load_tests

    @property
    def script(self) -> Script:
        """The script."""
        return self._progress.script

    @property
    def version(self) -> Version:
        """The last deployed version."""
        return self.script.versions[self._progress.position]

    def splits(self) -> tuple[Split, ...]:
        """Return the traffic under each of the routes so far, in order; the counts are live."""
        return tuple(self._router.splits)

    async def play(self) -> Status:
        """Deploy all versions, each after the end of the one before. Returns the final status of the last one."""
        has_load_test = self._runs_load_tests and needs_load_test(self.rollout)
        async with LoadTest(self.address, self.script.traffic.path) as load_test:
            while True:
                status = await self._status()
                if self._is_over(status) and not await self._deploy_next():
                    return status
                if status.phase is not Phase.INITIALIZING and self._serves(envoy.EnvoySide.PRIMARY):
                    self.generator.start()
                await load_test.switch(
                    on=has_load_test and status.phase in ACTIVE and self._serves(envoy.EnvoySide.CANARY)
                )
                await asyncio.sleep(_POLL)

    async def _status(self) -> Status:
        stored = await self.store.load(self.key)
        if stored is None:
            raise CannotHappen(f"{self.key} is missing in the store of the rehearsal")
        return stored.status

    def _serves(self, side: envoy.EnvoySide) -> bool:
        """Whether a side answers requests. After a resumption, processes and routes may have to start first."""
        try:
            self.workload.address(side)
        except WorldError:
            return False
        return bool(self._router.splits)

    def _is_over(self, status: Status) -> bool:
        is_idle = status.phase in IDLE and status.is_settled and status.applied == self.version.revision
        return is_idle or status.phase is Phase.TERMINATED

    async def _deploy_next(self) -> bool:
        position = self._progress.position + 1
        if position == len(self.script.versions):
            return False
        self._progress = evolve(self._progress, position=position)
        await asyncio.to_thread(_save, self._folder, self._progress)
        await self.workload.deploy(self.version)
        return True


@asynccontextmanager
async def rehearse(folder: Path, script: Script, stage: Stage = Stage()) -> AsyncIterator[Rehearsal]:
    """Begin a rehearsal in a missing, empty or cleared folder.

    Raises RehearsalError when the folder holds a rehearsal or foreign files.
    """
    await asyncio.to_thread(claim, folder)
    with _lock(folder):
        if (folder / SCRIPT).exists():
            raise RehearsalError(f"{folder}: found a rehearsal: resume it, or choose another folder")
        await asyncio.to_thread(_save, folder, _Progress(script=script))
        async with _open(folder, stage) as rehearsal:
            yield rehearsal


@asynccontextmanager
async def resume(folder: Path, stage: Stage = Stage()) -> AsyncIterator[Rehearsal]:
    """Continue the rehearsal of a killed process.

    Raises RehearsalError when the folder holds none, its process still runs, or another user owns or can write the
    folder.
    """
    await asyncio.to_thread(_demand_rehearsal, folder)
    with _lock(folder):
        async with _open(folder, stage) as rehearsal:
            yield rehearsal


def read_script(folder: Path) -> Script:
    """Return the script of the rehearsal in the folder. Raises RehearsalError as `resume` does."""
    _demand_rehearsal(folder)
    return _load(folder).script


def holds_rehearsal(folder: Path) -> bool:
    """Whether the folder holds a rehearsal."""
    return is_marked(folder) and (folder / SCRIPT).exists()


async def stop(folder: Path) -> bool:
    """End the processes of a rehearsal in the folder. Returns False if none runs."""
    if not is_marked(folder):
        return False
    await asyncio.to_thread(demand_private, folder, FILES)
    return await stop_processes(folder)


def clear(folder: Path, also: tuple[str, ...] = ()) -> None:
    """Delete the files of an ended rehearsal in the folder, and those named in `also`; nothing else.

    Do nothing in a folder that no rehearsal created. Raises RehearsalError, and deletes nothing, when another user owns
    one of the files, or a process rehearses there.
    """
    if not is_marked(folder):
        return
    demand_private(folder, FILES)
    with _lock(folder):
        remove(folder, (*_logs(folder), *FILES, *also))


FILES = (
    *warden.FILES,
    *(f"{_ENVOY}/{name}" for name in envoy.FILES),
    *workload.FILES,
    *STORE_FILES,
    f"{SCRIPT}{DRAFT}",
    SCRIPT,
)
"""All files of a rehearsal in its folder, except logs and locks. The script, which names the logs, is last."""


def _logs(folder: Path) -> tuple[str, ...]:
    """Return the names of the logs of all versions; none for an unreadable script."""
    try:
        versions = _load(folder).script.versions
    except (FileNotFoundError, ValueError, LookupError, TypeError, cattrs.BaseValidationError, CanaryError):
        return ()
    return tuple(workload.log_name(side, version.revision) for side in envoy.EnvoySide for version in versions)


def _demand_rehearsal(folder: Path) -> None:
    if not holds_rehearsal(folder):
        raise RehearsalError(f"{folder}: found no rehearsal to resume")
    demand_private(folder, FILES)


@asynccontextmanager
async def _open(folder: Path, stage: Stage) -> AsyncIterator[Rehearsal]:
    """Open all parts. They end in the opposite order: traffic first, processes last."""
    progress = await asyncio.to_thread(_load, folder)
    script = progress.script
    rollout = accelerate(script.rollout, script.speed)
    store = SqliteStore(folder / STORE)
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(own_processes(folder, patience=stage.patience))
        stack.push_async_callback(processes.end)
        proxy = await stack.enter_async_context(envoy.run_envoy(processes, folder / _ENVOY, script.port))
        local_workload = await stack.enter_async_context(
            workload.run_workload(processes, proxy, folder, key_of(rollout))
        )
        await local_workload.deploy(script.versions[progress.position])
        await store.put(rollout)
        source = EnvoyMetrics(proxy, local_workload.revision, constants=stage.constants, fallback=stage.fallback)
        metrics = await stack.enter_async_context(open_metrics(source, rollout))
        generator = await stack.enter_async_context(open_generator(proxy.address, script.traffic))
        router = _WatchedRouter(EnvoyRouter(proxy), generator)
        parts = Adapters(
            store=store,
            workload=local_workload,
            router=router,
            metrics=metrics,
            hooks=_hooks(stage, generator, local_workload),
            notifiers=stage.notifiers,
            clock=time.time,
            changes=(local_workload, store),
        )
        yield Rehearsal(
            folder,
            progress,
            store=store,
            workload=local_workload,
            router=router,
            generator=generator,
            parts=parts,
            address=proxy.address,
            runs_load_tests=stage.hooks == "local",
        )


def _hooks(stage: Stage, generator: Generator, local_workload: LocalWorkload) -> HookPort:
    if stage.hooks == "local":
        return LocalHooks(generator, lambda: local_workload.address(envoy.EnvoySide.CANARY), stage.gates)
    return PassingHooks() if stage.hooks == "pass" else stage.hooks


class _WatchedRouter:
    """A router that opens a new window of the traffic whenever other routes come into force."""

    def __init__(self, router: EnvoyRouter, generator: Generator) -> None:
        self._router = router
        self._generator = generator
        self.splits: list[Split] = []

    async def observe(self, rollout: Rollout) -> Routes | None:
        routes = await self._router.observe(rollout)
        if routes is not None and (not self.splits or self.splits[-1].routes != routes):
            self._open_split(routes)
        return routes

    async def set_routes(self, rollout: Rollout, routes: Routes) -> None:
        if not self.splits or self.splits[-1].routes != routes:
            self._generator.open_window(_CHANGING)
        await self._router.set_routes(rollout, routes)
        await self.observe(rollout)

    async def restore(self, rollout: Rollout) -> None:
        await self._router.restore(rollout)
        await self.observe(rollout)

    def _open_split(self, routes: Routes) -> None:
        self._generator.open_window(f"weight {routes.weight}")
        self.splits.append(Split(routes=routes, window=self._generator.window))


@frozen(kw_only=True)
class _Progress:
    """The script, and the index of its last deployed version."""

    script: Script
    position: int = 0


_CONVERTER = cattrs.Converter()
_CONVERTER.register_unstructure_hook(Rollout, to_data)
_CONVERTER.register_structure_hook(Rollout, from_data)


def _load(folder: Path) -> _Progress:
    return _CONVERTER.structure(json.loads(read_private(folder / SCRIPT)), _Progress)


def _save(folder: Path, progress: _Progress) -> None:
    write_private(folder / SCRIPT, json.dumps(_CONVERTER.unstructure(progress)))


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock while the context is open. The system releases it when this process is killed."""
    with open_private(folder / _OWNER, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RehearsalError(f"{folder}: another process rehearses there: stop it first") from None
        yield
