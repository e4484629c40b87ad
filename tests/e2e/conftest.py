"""The command `canary` in processes of its own, and a policy that is over in seconds."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from canarycore import CommandKind
from canarycore_local.store import STORE, SqliteStore

MANIFEST = """\
apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: app
  namespace: test
spec:
  provider: istio
  progressDeadlineSeconds: 120
  targetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: app
  service:
    port: 80
  analysis:
    interval: 30s
    threshold: 2
    stepWeights: [20, 50]
    metrics:
      - name: request-success-rate
        thresholdRange:
          min: 97
        interval: 30s
    webhooks:
      - name: acceptance
        type: pre-rollout
        url: http://tester/
      - name: load
        url: http://tester/
"""

Line = dict[str, Any]


@define
class Rehearsal:
    """A rehearsal in a process of its own. `lines` is what it has printed so far."""

    process: subprocess.Popen[str]
    lines: list[Line] = field(factory=list)

    def until(self, **wanted: object) -> Line:
        """Read on to a line with these values."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            line = json.loads(text)
            self.lines.append(line)
            if all(line.get(key) == value for key, value in wanted.items()):
                return line
        raise AssertionError(f"it ended without {wanted}: {self.lines[-3:]}, {self._said()}")

    def end(self) -> tuple[int, Line]:
        """The exit code and the last line."""
        assert self.process.stdout is not None
        self.lines += map(json.loads, self.process.stdout)
        code = self.process.wait(timeout=60)
        assert self.lines, self._said()
        return code, self.lines[-1]

    def all(self, kind: str) -> list[Line]:
        return [line for line in self.lines if line.get("kind") == kind]

    def _said(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()


@define
class Canary:
    """Runs `canary` with a cache of its own."""

    folder: Path
    started: list[Rehearsal] = field(factory=list)

    @property
    def manifest(self) -> Path:
        path = self.folder / "canary.yaml"
        path.write_text(MANIFEST)
        return path

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def rehearse(self, *options: str | Path) -> Rehearsal:
        """Begin a rehearsal with --json. Of an option that is given twice the last one counts."""
        common = ("--json", "--speed", "20", "--rps", "80", "--state-dir", self.state)
        rehearsal = Rehearsal(self._popen("rehearse", *common, *options))
        self.started.append(rehearsal)
        return rehearsal

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        process = self._popen(*arguments)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def give(self, kind: CommandKind, weight: int = 0) -> None:
        """Give a command as `canary` does, without the second or more in which its process starts."""
        asyncio.run(SqliteStore(self.state / STORE).send_command("test/app", kind, weight))

    def held_at(self, weight: int) -> Rehearsal:
        """A rehearsal that stays at a weight for as long as it is wanted: behind a gate, which a command has passed."""
        manifest = self.manifest
        gate = "      - name: higher\n        type: confirm-traffic-increase\n        url: http://tester/\n"
        manifest.write_text(manifest.read_text() + gate)
        rehearsal = self.rehearse(manifest, "--gate", "higher=deny")
        rehearsal.until(kind="event", text="Halt app.test advancement waiting for traffic increase approval higher")
        self.give(CommandKind.SKIP_TO, weight)
        rehearsal.until(kind="weight", weight=weight)
        return rehearsal

    def left_behind(self) -> list[str]:
        """Command lines of processes that still work for the rehearsal, once they had a moment to end."""
        for _ in range(50):
            found = [line for line in _command_lines() if str(self.state) in line]
            if not found:
                return []
            time.sleep(0.1)
        return found

    def _popen(self, *arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "canarycore_cli", *map(str, arguments)]
        env = os.environ | {"XDG_CACHE_HOME": str(self.folder / "cache"), "NO_COLOR": "1", "COLUMNS": "200"}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=env, text=True, stdout=pipe, stderr=pipe)


@define
class Heard:
    """What a receiver of webhooks was told, by the last part of the path. `answers` are given in turn, then 200."""

    answers: dict[str, list[int]]
    url: str = ""
    calls: defaultdict[str, list[Line]] = field(factory=lambda: defaultdict(list))


@contextmanager
def receiver(**answers: list[int]) -> Iterator[Heard]:
    """A server that receives webhooks."""
    heard = Heard(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            name = self.path.rpartition("/")[2]
            heard.calls[name].append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            left = heard.answers.get(name)
            self.send_response(left.pop(0) if left else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        heard.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield heard
        server.shutdown()
        thread.join()


def _command_lines() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    command = Canary(tmp_path)
    yield command
    for rehearsal in command.started:
        if rehearsal.process.poll() is None:
            rehearsal.process.terminate()
            rehearsal.process.wait(timeout=30)
