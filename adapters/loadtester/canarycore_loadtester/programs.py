"""One program, with bounded output and time, and without the secrets of the load tester.

A program gets a session of its own. At its end, or at the end of its time, all processes of the session are killed: a
task leaves nothing behind. The first process is reaped after that, so that its number cannot belong to others yet.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore_loadtester.generator.command_lines import PROGRAMS
from canarycore_runtime.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Sequence

PASSED = ("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "KUBECONFIG", "PYTHONPATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""The variables of the environment that programs get."""

PASSED_PREFIXES = ("LC_", "KUBERNETES_", "HELM_")

_DRAIN_TIMEOUT = 2.0
"""Seconds to wait for the rest of the output. A process that left the session may hold the pipe open for ever."""

_CHUNK = 64 * 1024


@frozen(kw_only=True)
class ProgramResult:
    """The end of a program."""

    exit_code: int
    """The exit code; the negative number of a signal that ended it."""
    output: str
    """The beginning of its output and errors."""

    @property
    def is_success(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0

    @property
    def end(self) -> str:
        """The exit code in Go's words: Flagger's answers contain them."""
        if self.exit_code < 0:
            return f"signal: {signal.strsignal(-self.exit_code) or -self.exit_code}".lower()
        return f"exit status {self.exit_code}"


def substitutes(*, is_limited: bool) -> str:
    """Return shell functions that run the generator in place of programs that are missing.

    `is_limited` limits the protocols of curl too, which could read files otherwise.
    """
    python = f"{shlex.quote(sys.executable)} -P -m canarycore_loadtester.generator"
    functions = [f'{name}() {{ {python} {name} "$@"; }}\n' for name in PROGRAMS if shutil.which(name) is None]
    if is_limited:
        functions.append('curl() { command curl -q --proto =http,https --proto-redir =http,https "$@"; }\n')
    return "".join(functions)


async def run_program(command: Sequence[str], output_limit: int) -> ProgramResult:
    """Run a program to its end. A cancellation kills it. Raises OSError if it cannot start."""
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: ASYNC220 - starting takes a millisecond, and the thread below waits
            command,
            stdin=subprocess.DEVNULL,
            stdout=write_end,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=True,
        )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    reader = asyncio.ensure_future(_read(read_end, output_limit))
    try:
        await Threads().run(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        exit_code = process.wait()
        output = await _finish(reader)
    return ProgramResult(exit_code=exit_code, output=output)


def environment() -> dict[str, str]:
    """Return the environment of programs."""
    return {name: value for name, value in os.environ.items() if name in PASSED or name.startswith(PASSED_PREFIXES)}


async def _read(descriptor: int, limit: int) -> str:
    """Read to the end, and return the first `limit` bytes as text. The rest is read too: the program must not hang."""
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader(limit=_CHUNK)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
    kept, dropped = bytearray(), 0
    try:
        while chunk := await stream.read(_CHUNK):
            part = chunk[: limit - len(kept)]
            kept += part
            dropped += len(chunk) - len(part)
    except asyncio.CancelledError:
        pass  # keep the beginning
    finally:
        transport.close()
    text = kept.decode(errors="replace")
    return f"{text}… ({dropped} bytes more)" if dropped else text


async def _finish(reader: asyncio.Future[str]) -> str:
    done, _ = await asyncio.wait([reader], timeout=_DRAIN_TIMEOUT)
    if not done:
        reader.cancel()
    return await reader
