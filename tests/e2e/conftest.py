"""Fixtures of the end-to-end tests: `canary` in separate processes, and a policy that ends within seconds."""

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
    """A rehearsal in a separate process. `lines` are its printed lines so far."""

    process: subprocess.Popen[str]
    lines: list[Line] = field(factory=list)

    def until(self, **values: object) -> Line:
        """Read lines up to one with these values, and return it."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            line = json.loads(text)
            self.lines.append(line)
            if all(line.get(key) == value for key, value in values.items()):
                return line
        raise AssertionError(f"the rehearsal ended without {values}: {self.lines[-3:]}, {self._stderr()}")

    def end(self) -> tuple[int, Line]:
        """Wait for the end, and return the exit code and the last line."""
        assert self.process.stdout is not None
        self.lines += map(json.loads, self.process.stdout)
        code = self.process.wait(timeout=60)
        assert self.lines, self._stderr()
        return code, self.lines[-1]

    def all(self, kind: str) -> list[Line]:
        """Return all lines of a kind so far."""
        return [line for line in self.lines if line.get("kind") == kind]

    def _stderr(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()


@define
class Canary:
    """The command `canary`, with a separate cache."""

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
        """Start a rehearsal with --json. A repeated option overrides the first one."""
        common = ("--json", "--speed", "20", "--rps", "80", "--state-dir", self.state)
        rehearsal = Rehearsal(self._popen("rehearse", *common, *options))
        self.started.append(rehearsal)
        return rehearsal

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        process = self._popen(*arguments)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def send_command(self, kind: CommandKind, weight: int = 0) -> None:
        """Send a command as `canary` does, without the time that its process needs to start."""
        asyncio.run(SqliteStore(self.state / STORE).send_command("test/app", kind, weight))

    def rehearse_until(self, weight: int) -> Rehearsal:
        """Start a rehearsal that waits at a weight behind a closed gate."""
        manifest = self.manifest
        gate = "      - name: higher\n        type: confirm-traffic-increase\n        url: http://tester/\n"
        manifest.write_text(manifest.read_text() + gate)
        rehearsal = self.rehearse(manifest, "--gate", "higher=deny")
        rehearsal.until(kind="event", text="Halt app.test advancement waiting for traffic increase approval higher")
        self.send_command(CommandKind.SKIP_TO, weight)
        rehearsal.until(kind="weight", weight=weight)
        return rehearsal

    def remaining_processes(self) -> list[str]:
        """Return the command lines of the rehearsal's processes that do not end within some seconds."""
        for _ in range(50):
            lines = [line for line in _command_lines() if str(self.state) in line]
            if not lines:
                return []
            time.sleep(0.1)
        return lines

    def _popen(self, *arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "canarycore_cli", *map(str, arguments)]
        env = os.environ | {"XDG_CACHE_HOME": str(self.folder / "cache"), "NO_COLOR": "1", "COLUMNS": "200"}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=env, text=True, stdout=pipe, stderr=pipe)


@define
class WebhookReceiver:
    """The calls of webhooks by the last part of their path, and the statuses of the next answers (200 after those)."""

    answers: dict[str, list[int]]
    url: str = ""
    calls: defaultdict[str, list[Line]] = field(factory=lambda: defaultdict(list))


@contextmanager
def receiver(**answers: list[int]) -> Iterator[WebhookReceiver]:
    """Run a server that receives webhooks."""
    webhooks = WebhookReceiver(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            name = self.path.rpartition("/")[2]
            webhooks.calls[name].append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            statuses = webhooks.answers.get(name)
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        webhooks.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield webhooks
        server.shutdown()
        thread.join()


def _command_lines() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # the process has ended


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    command = Canary(tmp_path)
    yield command
    for rehearsal in command.started:
        if rehearsal.process.poll() is None:
            rehearsal.process.terminate()
        with rehearsal.process as process:  # it closes the pipes
            process.wait(timeout=30)
