"""The client of the warden: start, list and stop processes by name (see `canarycore_local.processes.warden`)."""

from __future__ import annotations

import asyncio
import fcntl
import json
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

from attrs import frozen

from canarycore.errors import WorldError
from canarycore_local.processes.warden import KILL_GRACE, LOCK, LOCK_HELD, LOG, RECORD
from canarycore_local.state_folder import open_private, read_private

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

START_PATIENCE = 60.0
"""The default number of seconds that processes run without an owner."""

_START = 20.0
_POLL = 0.02


class _WardenGoneError(WorldError):
    """The warden has closed the connection: it was killed, or it ends."""


@frozen(kw_only=True)
class Process:
    """A process, as the warden reports it."""

    name: str
    """The name that its owner gave it."""

    pid: int
    """The process id."""

    started: float
    """The time of its start, in seconds since the epoch."""

    running: bool
    """Whether it runs."""

    exit: int | None
    """The exit code; None while it runs."""

    stopping: bool
    """Whether its owner has stopped it."""

    note: Mapping[str, Any]
    """The note that its owner gave with the start."""


class Processes:
    """The connection to a warden. While it is open, the warden keeps all processes running."""

    def __init__(self, folder: Path, warden: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.warden = warden
        """The process id of the warden."""
        self._folder = folder
        self._reader = reader
        self._writer = writer
        self._exchange_lock = asyncio.Lock()
        self.ended = False

    async def start(
        self, name: str, argv: tuple[str, ...], log: Path, *, env: Mapping[str, str], note: Mapping[str, Any]
    ) -> None:
        """Start a process, unless one of this name exists."""
        await self._request(do="start", name=name, argv=argv, env=dict(env), log=str(log), note=dict(note))

    async def all(self) -> dict[str, Process]:
        """Return every started process that was not forgotten, running or not."""
        answer = await self._request(do="list")
        return {name: Process(name=name, **about) for name, about in answer["processes"].items()}

    async def stop(self, name: str, grace: float = KILL_GRACE) -> None:
        """Send SIGTERM now, and SIGKILL after `grace` seconds. Returns at once."""
        await self._request(do="stop", name=name, grace=grace)

    async def forget(self, name: str) -> None:
        """Remove an ended process from the list, so that its name is free."""
        await self._request(do="forget", name=name)

    async def end(self) -> None:
        """Stop all processes and the warden. Returns when all have ended."""
        with suppress(_WardenGoneError):  # it was killed, or somebody else has asked for the end
            await self._request(do="end")
        with open_private(self._folder / LOCK, "a") as lock:
            # a warden that ends removes its record first: a record names the next warden, which holds the lock
            while not (_is_free(lock) or (self._folder / RECORD).exists()):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(_POLL)
        self.ended = True

    def close(self) -> None:
        """Close the connection. The processes run on for the warden's patience."""
        self._writer.close()

    async def _request(self, **message: Any) -> dict[str, Any]:
        # a cancelled owner must not leave half an exchange in the connection for the next request
        answer = await asyncio.shield(asyncio.ensure_future(self._exchange(message)))
        if "error" in answer:
            raise WorldError(f"the warden could not {message['do']} {message.get('name', '')}: {answer['error']}")
        return answer

    async def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        async with self._exchange_lock:
            try:
                self._writer.write(json.dumps(message).encode() + b"\n")
                line = await self._reader.readline()
            except ConnectionError as error:
                raise _WardenGoneError(f"the warden of the processes is gone: {error}") from error
        if not line:
            raise _WardenGoneError("the warden of the processes is gone: it was killed, and its processes with it")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def own_processes(folder: Path, *, patience: float = START_PATIENCE) -> AsyncIterator[Processes]:
    """Connect to the warden of `folder`, or start one. Its processes outlive the context."""
    processes, starter = await _connect(folder, patience)
    try:
        yield processes
    finally:
        processes.close()
        if starter is not None and processes.ended:
            await asyncio.to_thread(starter.wait)


async def find_processes(folder: Path) -> Processes | None:
    """Connect to the warden of `folder`; None if there is none, or one that ends."""
    try:
        record = json.loads(read_private(folder / RECORD))
        reader, writer = await asyncio.open_unix_connection(record["socket"])
    except (FileNotFoundError, ConnectionError):
        return None
    processes = Processes(folder, record["pid"], reader, writer)
    try:
        await processes.all()
    except _WardenGoneError:
        processes.close()
        return None
    return processes


async def stop_processes(folder: Path) -> bool:
    """End all processes of `folder` and its warden. Returns False if there is no warden."""
    processes = await find_processes(folder)
    if processes is None:
        return False
    try:
        await processes.end()
    finally:
        processes.close()
    return True


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_warden(folder: Path, patience: float) -> subprocess.Popen[bytes]:
    with open_private(folder / LOG, "ab") as log:
        return subprocess.Popen(
            (sys.executable, "-m", "canarycore_local.processes.warden", str(folder), "--patience", str(patience)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # the owner handles Ctrl-C
        )


async def _end_late_warden(starter: subprocess.Popen[bytes]) -> None:
    """End a warden that was not needed: if it still starts, it would serve nobody once the other one has ended."""
    starter.terminate()
    await asyncio.to_thread(starter.wait)


async def _connect(folder: Path, patience: float) -> tuple[Processes, subprocess.Popen[bytes] | None]:
    """Return a connection to a warden, and the warden's process if it was started for it."""
    starter = None
    with suppress(TimeoutError):
        async with asyncio.timeout(_START):
            while (processes := await find_processes(folder)) is None:
                if starter is None or starter.poll() == LOCK_HELD:  # the holder of the lock ends, or is still starting
                    starter = _start_warden(folder, patience)
                elif starter.returncode is not None:
                    break
                await asyncio.sleep(_POLL)
            else:
                if starter is None or starter.pid == processes.warden:
                    return processes, starter
                await _end_late_warden(starter)
                return processes, None
    raise WorldError(f"the warden of the processes did not start: see {folder / LOG}")
