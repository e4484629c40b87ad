"""The warden: the parent of Envoy and of all versions, which lets none escape and stops them all in the end.

Theory of operation. A rehearsal starts no process itself. It asks the warden, a small process in its own session, over
a Unix socket that only its user can open. The connection is the heartbeat: while an owner is connected, everything
runs. When the owner is killed or its terminal closes, Envoy and the versions go on serving, and the warden counts down
its patience. An owner that connects in time adopts every process by name, without trust in stored process ids. If no
owner connects, the warden stops everything and ends. If the warden itself is killed, Linux kills its children.

One warden serves one folder: it holds a lock there while it lives, and writes its socket's path beside it.

Protocol: one JSON object a line, answered by one line.

    {"do": "start", "name": n, "argv": [...], "env": {...}, "log": path, "note": {...}}   once per name
    {"do": "list"}                                  returns {"processes": {name: {...}}}
    {"do": "stop", "name": n, "grace": seconds}     SIGTERM now, SIGKILL after the grace
    {"do": "forget", "name": n}                     remove an ended process from the list
    {"do": "end"}                                   stop everything, answer, and end

From an "end" on, the warden answers nothing else: it closes the connections that ask, and its folder names it no more.
An owner that comes now waits for the lock, and starts another warden.

An answer is {} unless stated, and {"error": message} after an error.

Run as `python -m canarycore_local.processes.warden FOLDER --patience 60`.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canarycore_local.state_folder import DRAFT, FILE_MODE, RehearsalError, open_private, write_private

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RECORD = "warden.json"
LOCK = "warden.lock"
LOG = "warden.log"
FILES = (RECORD, f"{RECORD}{DRAFT}", LOG)
"""All files of a warden in its folder, except the lock, which stays."""

LOCK_HELD = 75
"""The exit code of a warden whose folder has another one."""

KILL_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL at the end."""

_PR_SET_PDEATHSIG = 1
_POLL = 0.02

Message = dict[str, Any]


def main() -> None:
    """Serve until an owner ends it, or until no owner was connected for the whole patience."""
    parser = argparse.ArgumentParser(description="The parent of a rehearsal's processes.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to run without an owner")
    options = parser.parse_args()
    with open_private(options.folder / LOCK, "a") as file:
        lock = os.dup(file.fileno())  # never closed: the end of this process releases the lock
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(LOCK_HELD)
    asyncio.run(_Warden(options.folder, options.patience).run())


class _Warden:
    """The server of the protocol."""

    def __init__(self, folder: Path, patience: float) -> None:
        self._folder = folder
        self._patience = patience
        self._processes: dict[str, _Process] = {}
        self._owners = 0
        self._countdown: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        self._ending = False
        self._server: asyncio.Server | None = None
        self._handlers: dict[str, Callable[..., Awaitable[Message]]] = {
            "start": self._start,
            "list": self._list,
            "stop": self._stop,
            "forget": self._forget,
            "end": self._end,
        }

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._over.set)
        socket = Path(tempfile.mkdtemp(prefix="canary-")) / "warden"  # a short path that only this user can open
        try:
            self._server = await asyncio.start_unix_server(self._serve, socket)
            socket.chmod(FILE_MODE)
            self._start_countdown()
            write_private(self._folder / RECORD, json.dumps({"pid": os.getpid(), "socket": str(socket)}))
            await self._over.wait()
            await self._stop_all()
        finally:
            (self._folder / RECORD).unlink(missing_ok=True)
            _discard(socket)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._owners += 1
        self._stop_countdown()
        try:
            with suppress(ConnectionError):
                while (line := await reader.readline()) and not self._ending:
                    writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                    await writer.drain()
        finally:
            self._owners -= 1
            if self._owners == 0:
                self._start_countdown()
            writer.close()

    async def _answer(self, line: bytes) -> Message:
        try:
            message = json.loads(line)
            return await self._handlers[message.pop("do")](**message)
        except (ValueError, KeyError, TypeError, OSError, RehearsalError) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def _start_countdown(self) -> None:
        self._countdown = asyncio.get_running_loop().call_later(self._patience, self._over.set)

    def _stop_countdown(self) -> None:
        if self._countdown is not None:
            self._countdown.cancel()
            self._countdown = None

    async def _start(self, name: str, argv: list[str], env: dict[str, str], log: str, note: Message) -> Message:
        if name not in self._processes:  # an owner that was killed before the answer asks again
            self._processes[name] = _Process(argv, env, log, note)
        return {}

    async def _list(self) -> Message:
        return {"processes": {name: process.to_json() for name, process in self._processes.items()}}

    async def _stop(self, name: str, grace: float) -> Message:
        if name in self._processes:
            self._processes[name].stop(grace)
        return {}

    async def _forget(self, name: str) -> Message:
        if name in self._processes and self._processes[name].running:
            raise ValueError(f"{name} is still running: stop it first")
        self._processes.pop(name, None)
        return {}

    async def _end(self) -> Message:
        await self._stop_all()
        self._over.set()
        return {}

    async def _stop_all(self) -> None:
        self._ending = True
        (self._folder / RECORD).unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        for process in self._processes.values():
            process.stop(KILL_GRACE)
        while any(process.running for process in self._processes.values()):  # noqa: ASYNC110 - a child that ends sends no event
            await asyncio.sleep(_POLL)


class _Process:
    """A child, and its owner's note."""

    def __init__(self, argv: list[str], env: dict[str, str], log: str, note: Message) -> None:
        self._note = note
        self._started = time.time()
        self._stopping = False
        with open_private(Path(log), "ab") as output:
            self._child = subprocess.Popen(
                argv,
                env=os.environ | env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_warden,  # noqa: PLW1509 - the warden has no threads
            )

    @property
    def running(self) -> bool:
        if self._child.returncode is None and self._child.poll() is not None:
            self._signal(signal.SIGKILL)  # also end the processes that the command started
        return self._child.returncode is None

    def to_json(self) -> Message:
        return {
            "pid": self._child.pid,
            "started": self._started,
            "running": self.running,
            "exit": self._child.returncode,
            "stopping": self._stopping,
            "note": self._note,
        }

    def stop(self, grace: float) -> None:
        if self.running and not self._stopping:
            self._stopping = True
            self._signal(signal.SIGTERM)
            asyncio.get_running_loop().call_later(grace, self._kill)

    def _kill(self) -> None:
        if self.running:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)


def _find_prctl() -> Any:
    """Return the C library's prctl, or None. Look it up before any fork."""
    return getattr(ctypes.CDLL(None), "prctl", None)


_prctl = _find_prctl()
_warden_pid = os.getpid()


def _die_with_warden() -> None:
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != _warden_pid:  # the warden died before prctl took effect
            os._exit(1)


def _discard(socket: Path) -> None:
    """Delete the socket and its temporary folder."""
    socket.unlink(missing_ok=True)
    socket.parent.rmdir()


if __name__ == "__main__":
    main()
