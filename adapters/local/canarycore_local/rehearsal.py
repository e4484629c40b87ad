"""A rehearsal: a rollout's own policy, carried out on this machine, on real traffic between real processes.

    script = Script(rollout=rollout, versions=(old, new), traffic=Traffic(rate=200), speed=20)
    async with rehearse(folder, script) as rehearsal:          # or resume(folder), after the process was killed
        async with Runner(rehearsal.parts):                    # canarycore_runtime
            status = await rehearsal.play()                    # deploys version after version, to the last one's end
        rehearsal.generator.total.bad                          # what users saw
        rehearsal.splits()                                     # what each rung's routes did with the traffic

Another process gives commands through the store: `SqliteStore(folder / STORE).give(key, CommandKind.ABORT)`.

Theory of operation. All that must survive is in the folder: the script and how far it has come, the status (SQLite),
the plan of processes, Envoy's files. The processes themselves are the warden's. So when the rehearsing process is
killed, traffic goes on; `resume` finds everything by the folder and continues; and if nobody resumes within the
warden's patience, or on `stop(folder)`, everything ends. When the context of `rehearse` or `resume` is left in any
orderly way, everything has ended too. Only one process rehearses in a folder at a time: it holds a lock there.
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
from canarycore_local.envoy.metrics import EnvoyMetrics, measuring
from canarycore_local.envoy.router import EnvoyRouter
from canarycore_local.hooks import Gates, LocalHooks, PassingHooks
from canarycore_local.processes import warden
from canarycore_local.processes.supervisor import START_PATIENCE, own, stop_everything
from canarycore_local.processes.versions import Version
from canarycore_local.requests.generator import Generator, TrafficPlan, TrafficWindow, generating
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
"""Seconds: no progress deadline is shortened below, for a process starts no faster in a faster rehearsal."""

Hooks = Literal["local", "pass"] | HookPort
"""Who answers webhooks: this machine (see `canarycore_local.hooks`), nobody, or a port that really calls them."""

SCRIPT = "script.json"
"""The file that says what is rehearsed, and by which a folder that holds a rehearsal is known."""

_OWNER = "owner.lock"
_ENVOY = "envoy"
_POLL = 0.1
_MOVING = "moving"


@frozen(kw_only=True)
class Script:
    """What is rehearsed.

    rollout: as its owner wrote it. versions: the one that runs at first, then each that is rolled out. speed: how much
    faster than in production intervals pass. traffic: what users send meanwhile. port: where Envoy listens (0: any).
    """

    rollout: Rollout
    versions: tuple[Version, ...] = field(validator=min_len(1))
    traffic: TrafficPlan = TrafficPlan()
    speed: float = field(default=1.0, validator=gt(0))
    port: int = 0


@frozen(kw_only=True)
class Stage:
    """What is around a rehearsal, and may differ when it is resumed.

    hooks: who answers webhooks. gates: which of them are open, by name (for "local"). constants: answers to checks that
    need a provider, by name. elsewhere: who answers the others. notifiers: who is told. patience: seconds that the
    processes live on without us.
    """

    hooks: Hooks = "local"
    gates: Gates = field(factory=dict)
    constants: Mapping[str, float] = field(factory=dict)
    elsewhere: MetricSource | None = None
    notifiers: tuple[Notifier, ...] = ()
    patience: float = field(default=START_PATIENCE, validator=gt(0))


@frozen(kw_only=True)
class Split:
    """What routes did: `window` counts the requests that were started while they were in force."""

    routes: Routes
    window: TrafficWindow


def accelerate(rollout: Rollout, speed: float) -> Rollout:
    """The same policy with its times divided by `speed`. Hooks keep their timeouts: nobody answers faster for it."""
    deadline = min(rollout.progress_deadline, max(rollout.progress_deadline / speed, STARTING))
    return evolve(
        rollout,
        interval=rollout.interval / speed,
        progress_deadline=deadline,
        drain=rollout.drain / speed,
        checks=tuple(evolve(check, window=check.window / speed) for check in rollout.checks),
    )


class Rehearsal:
    """A rehearsal under way.

    rollout: accelerated, as the store has it. key: its name in the store. parts: for a Runner. generator: the traffic;
    it starts once the first version serves. address: where Envoy listens. workload, router, metrics: the adapters.
    """

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
        plays_load_tests: bool,
    ) -> None:
        self._folder = folder
        self._progress = progress
        self._router = router
        self.rollout = accelerate(progress.script.rollout, progress.script.speed)
        self.key = key_of(self.rollout)
        self.store = store
        self.workload = workload
        self.generator = generator
        self.parts = parts
        self.address = address
        self._plays_load_tests = plays_load_tests

    @property
    def script(self) -> Script:
        """What is rehearsed."""
        return self._progress.script

    @property
    def version(self) -> Version:
        """The version that was deployed last."""
        return self.script.versions[self._progress.position]

    def splits(self) -> tuple[Split, ...]:
        """What each of the routes that were in force did with the traffic, in order; live."""
        return tuple(self._router.splits)

    async def play(self) -> Status:
        """Deploy version after version, each when the one before has come to its end; the last one's final status."""
        tested = self._plays_load_tests and needs_load_test(self.rollout)
        async with LoadTest(self.address, self.script.traffic.path) as load_test:
            while True:
                status = await self._status()
                if self._is_over(status) and not await self._deploy_next():
                    return status
                if status.phase is not Phase.INITIALIZING and self._serves(envoy.EnvoySide.PRIMARY):
                    self.generator.start()
                await load_test.switch(on=tested and status.phase in ACTIVE and self._serves(envoy.EnvoySide.CANARY))
                await asyncio.sleep(_POLL)

    async def _status(self) -> Status:
        stored = await self.store.load(self.key)
        if stored is None:
            raise CannotHappen(f"{self.key} vanished from the store of the rehearsal")
        return stored.status

    def _serves(self, side: envoy.EnvoySide) -> bool:
        """Whether requests can be sent there: after a resumption everything may have to be started first."""
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
    """A new rehearsal in a folder that is empty or was cleared, and is made if need be.

    Raises RehearsalError when there is a rehearsal in the folder already, or somebody's files that are not ours.
    """
    await asyncio.to_thread(claim, folder)
    with _only_owner(folder):
        if (folder / SCRIPT).exists():
            raise RehearsalError(f"{folder} holds a rehearsal already: resume it, or choose another folder")
        await asyncio.to_thread(_save, folder, _Progress(script=script))
        async with _running(folder, stage) as rehearsal:
            yield rehearsal


@asynccontextmanager
async def resume(folder: Path, stage: Stage = Stage()) -> AsyncIterator[Rehearsal]:
    """Go on with the rehearsal of a process that was killed.

    Raises RehearsalError when there is none in the folder, its process still lives, or another user owns the folder or
    could have written in it.
    """
    await asyncio.to_thread(_demand_rehearsal, folder)
    with _only_owner(folder):
        async with _running(folder, stage) as rehearsal:
            yield rehearsal


def read_script(folder: Path) -> Script:
    """The script of the rehearsal in the folder. Raises RehearsalError as `resume` does."""
    _demand_rehearsal(folder)
    return _load(folder).script


def holds_rehearsal(folder: Path) -> bool:
    """Whether a rehearsal was begun in the folder, and its files are still there."""
    return is_marked(folder) and (folder / SCRIPT).exists()


async def stop(folder: Path) -> bool:
    """End whatever a rehearsal left running in the folder; False when there was nothing."""
    if not is_marked(folder):
        return False
    await asyncio.to_thread(demand_private, folder, FILES)
    return await stop_everything(folder)


def clear(folder: Path, also: tuple[str, ...] = ()) -> None:
    """Delete the files that an ended rehearsal made in the folder, and those named in `also`; nothing else.

    Raises RehearsalError, and deletes nothing, when one of them is not this user's, or a process rehearses there. A
    folder that no rehearsal made is left alone.
    """
    if not is_marked(folder):
        return
    demand_private(folder, FILES)
    with _only_owner(folder):
        remove(folder, (*_logs(folder), *FILES, *also))


FILES = (
    *warden.FILES,
    *(f"{_ENVOY}/{name}" for name in envoy.FILES),
    *workload.FILES,
    *STORE_FILES,
    f"{SCRIPT}{DRAFT}",
    SCRIPT,
)
"""All files that a rehearsal makes in its folder, beside logs and locks. The script, which names the logs, is last."""


def _logs(folder: Path) -> tuple[str, ...]:
    """Name the logs of the versions in the script; none when it cannot be read."""
    try:
        versions = _load(folder).script.versions
    except (FileNotFoundError, ValueError, LookupError, TypeError, cattrs.BaseValidationError, CanaryError):
        return ()
    return tuple(workload.log_name(side, version.revision) for side in envoy.EnvoySide for version in versions)


def _demand_rehearsal(folder: Path) -> None:
    if not holds_rehearsal(folder):
        raise RehearsalError(f"{folder} holds no rehearsal to resume")
    demand_private(folder, FILES)


@asynccontextmanager
async def _running(folder: Path, stage: Stage) -> AsyncIterator[Rehearsal]:
    """Each thing is entered after what it needs, so that everything ends in the opposite order: traffic first."""
    progress = await asyncio.to_thread(_load, folder)
    script = progress.script
    rollout = accelerate(script.rollout, script.speed)
    store = SqliteStore(folder / STORE)
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(own(folder, patience=stage.patience))
        stack.push_async_callback(processes.end)
        proxy = await stack.enter_async_context(envoy.running(processes, folder / _ENVOY, script.port))
        working = await stack.enter_async_context(workload.running(processes, proxy, folder, key_of(rollout)))
        await working.deploy(script.versions[progress.position])
        await store.put(rollout)
        counted = EnvoyMetrics(proxy, working.revision, constants=stage.constants, elsewhere=stage.elsewhere)
        metrics = await stack.enter_async_context(measuring(counted, rollout))
        generator = await stack.enter_async_context(generating(proxy.address, script.traffic))
        router = _WatchedRouter(EnvoyRouter(proxy), generator)
        parts = Adapters(
            store=store,
            workload=working,
            router=router,
            metrics=metrics,
            hooks=_hooks(stage, generator, working),
            notifiers=stage.notifiers,
            clock=time.time,
            changes=(working, store),
        )
        yield Rehearsal(
            folder,
            progress,
            store=store,
            workload=working,
            router=router,
            generator=generator,
            parts=parts,
            address=proxy.address,
            plays_load_tests=stage.hooks == "local",
        )


def _hooks(stage: Stage, generator: Generator, working: LocalWorkload) -> HookPort:
    if stage.hooks == "local":
        return LocalHooks(generator, lambda: working.address(envoy.EnvoySide.CANARY), stage.gates)
    return PassingHooks() if stage.hooks == "pass" else stage.hooks


class _WatchedRouter:
    """A router that opens a window of the traffic whenever other routes have come into force."""

    def __init__(self, router: EnvoyRouter, generator: Generator) -> None:
        self._router = router
        self._generator = generator
        self.splits: list[Split] = []

    async def observe(self, rollout: Rollout) -> Routes | None:
        routes = await self._router.observe(rollout)
        if routes is not None and (not self.splits or self.splits[-1].routes != routes):
            self._open(routes)
        return routes

    async def set_routes(self, rollout: Rollout, routes: Routes) -> None:
        if not self.splits or self.splits[-1].routes != routes:
            self._generator.open_window(_MOVING)
        await self._router.set_routes(rollout, routes)
        await self.observe(rollout)

    async def restore(self, rollout: Rollout) -> None:
        await self._router.restore(rollout)
        await self.observe(rollout)

    def _open(self, routes: Routes) -> None:
        self._generator.open_window(f"weight {routes.weight}")
        self.splits.append(Split(routes=routes, window=self._generator.window))


@frozen(kw_only=True)
class _Progress:
    """The script, and which of its versions was deployed last."""

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
def _only_owner(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; it is released even if this process is killed."""
    with open_private(folder / _OWNER, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RehearsalError(f"another process rehearses in {folder}: stop it first") from None
        yield
