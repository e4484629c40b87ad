"""The owner's side of the warden: start, watch and stop processes by name (see `canarycore_local.processes.warden`)."""

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
"""Seconds that processes go on without an owner."""

_START = 20.0
_POLL = 0.02


@frozen(kw_only=True)
class Process:
    """A process by its warden's account. `exit` is its exit code, None while it runs. `note` is its owner's."""

    name: str
    pid: int
    started: float
    running: bool
    exit: int | None
    stopping: bool
    note: Mapping[str, Any]


class Processes:
    """The connection to a warden. As long as it is open, the warden waits for nobody else."""

    def __init__(self, folder: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._folder = folder
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()
        self.ended = False

    async def start(
        self, name: str, argv: tuple[str, ...], log: Path, *, env: Mapping[str, str], note: Mapping[str, Any]
    ) -> None:
        """Start a process; where there is one of this name already, leave it as it is."""
        await self._ask(do="start", name=name, argv=argv, env=dict(env), log=str(log), note=dict(note))

    async def all(self) -> dict[str, Process]:
        """Every process that was started and not forgotten, running or not."""
        answer = await self._ask(do="list")
        return {name: Process(name=name, **about) for name, about in answer["processes"].items()}

    async def stop(self, name: str, grace: float = KILL_GRACE) -> None:
        """Ask it to end now, and kill it after `grace` seconds. Does not wait for the end."""
        await self._ask(do="stop", name=name, grace=grace)

    async def forget(self, name: str) -> None:
        """Drop an ended process from the list, so that its name is free."""
        await self._ask(do="forget", name=name)

    async def end(self) -> None:
        """Stop every process, and the warden too. Returns when the last of them has ended."""
        await self._ask(do="end")
        with open_private(self._folder / LOCK, "a") as lock:
            while not _is_free(lock):  # noqa: ASYNC110 - the dead do not tell
                await asyncio.sleep(_POLL)
        self.ended = True

    def close(self) -> None:
        """Leave the processes to the warden's patience."""
        self._writer.close()

    async def _ask(self, **question: Any) -> dict[str, Any]:
        # a cancelled owner must not leave half an exchange in the connection for the next question to find
        answer = await asyncio.shield(asyncio.ensure_future(self._exchange(question)))
        if "error" in answer:
            raise WorldError(f"the warden could not {question['do']} {question.get('name', '')}: {answer['error']}")
        return answer

    async def _exchange(self, question: dict[str, Any]) -> dict[str, Any]:
        async with self._turn:
            try:
                self._writer.write(json.dumps(question).encode() + b"\n")
                line = await self._reader.readline()
            except ConnectionError as error:
                raise WorldError(f"the warden of the processes is gone: {error}") from error
        if not line:
            raise WorldError("the warden of the processes is gone: it was killed, and they with it")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def own(folder: Path, *, patience: float = START_PATIENCE) -> AsyncIterator[Processes]:
    """Own the processes of `folder`: those that are there, or a new warden's. They outlive the context."""
    processes = await find(folder)
    starter = None
    if processes is None:
        starter = _start_warden(folder, patience)
        processes = await _found_soon(folder, starter)
    try:
        yield processes
    finally:
        processes.close()
        if starter is not None and processes.ended:
            await asyncio.to_thread(starter.wait)


async def find(folder: Path) -> Processes | None:
    """The processes of `folder`, or None when no warden serves it."""
    try:
        record = json.loads(read_private(folder / RECORD))
        reader, writer = await asyncio.open_unix_connection(record["socket"])
    except (FileNotFoundError, ConnectionError):
        return None
    return Processes(folder, reader, writer)


async def stop_everything(folder: Path) -> bool:
    """End whatever a rehearsal left running in `folder`; False when there was nothing."""
    processes = await find(folder)
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
            start_new_session=True,  # Ctrl-C is the owner's to handle
        )


async def _found_soon(folder: Path, starter: subprocess.Popen[bytes]) -> Processes:
    with suppress(TimeoutError):
        async with asyncio.timeout(_START):
            while starter.poll() in (
                None,
                LOCK_HELD,
            ):  # held by a warden that our predecessor started: it is found soon
                if (processes := await find(folder)) is not None:
                    return processes
                await asyncio.sleep(_POLL)
    raise WorldError(f"the warden of the processes did not start: see {folder / LOG}")
