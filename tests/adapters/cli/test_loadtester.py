"""`canary loadtester` as a process: its flags, its signals, its gates after the end of the process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

import pytest

from canarycore_cli import loadtester
from canarycore_loadtester.options import DEFAULT_COMMANDS, LoadtesterOptions
from tests.adapters.cli.conftest import Canary
from tests.house.projects import ROOT

PODINFO = {"name": "podinfo", "namespace": "test"}
FLAGGERS = ("-port=0", "-log-level=info", "-timeout=1h", "-namespace-regexp=", "-zap-encoding=json")
"""The flags of Flagger's own chart."""


class Process:
    """A load tester in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def post(self, path: str, payload: object) -> int:
        address = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(address, json.dumps(payload).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except HTTPError as error:
            return error.code

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@contextmanager
def running(state: Path, *flags: str) -> Iterator[Process]:
    command = [sys.executable, "-m", "canarycore_cli", "loadtester", *FLAGGERS, f"--state-file={state}", *flags]
    with subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = json.loads(process.stderr.readline())
            yield Process(process, int(re.fullmatch(r"listening on .*:(\d+)", line["msg"])[1]))
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 0), (signal.SIGINT, 0)])
def test_a_gate_survives_the_end_of_the_process(tmp_path: Path, number: int, code: int):
    state = tmp_path / "gates.json"
    with running(state) as first:
        assert first.post("/gate/open", PODINFO) == 202
        assert first.stop(number) == code
    with running(state) as second:
        assert second.post("/gate/check", PODINFO) == 200
        assert second.post("/rollback/check", PODINFO) == 403


def test_the_end_of_the_process_ends_its_tasks(tmp_path: Path):
    with running(tmp_path / "gates.json", "--allowed-commands=*") as process:
        mark = tmp_path / "pid"
        command = f"echo $$ > {mark}; exec sleep 60"
        assert process.post("/", {**PODINFO, "metadata": {"cmd": command}}) == 202
        while not (mark.exists() and mark.read_text().strip()):
            assert process.process.poll() is None
        assert process.stop(signal.SIGTERM) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(int(mark.read_text()), 0)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[LoadtesterOptions]:
    """The options of started load testers; none really runs."""
    options: list[LoadtesterOptions] = []

    def run(loadtester_options: LoadtesterOptions, **_: str) -> int:
        options.append(loadtester_options)
        return 0

    monkeypatch.setattr(loadtester, "run", run)
    return options


def test_the_defaults_are_safe(canary: Canary, started: list[LoadtesterOptions]):
    assert canary("loadtester").exit_code == 0
    (options,) = started
    assert (options.listen, options.port, options.timeout) == ("127.0.0.1", 9090, 3600.0)
    assert options.allowed_commands == DEFAULT_COMMANDS
    assert not {"sh", "bash", "kubectl", "helm", "concord", "*"} & set(DEFAULT_COMMANDS)


@pytest.mark.parametrize(
    ("value", "commands"),
    [("curl,helm", ("curl", "helm")), ("+kubectl,concord", (*DEFAULT_COMMANDS, "kubectl", "concord")), ("*", ("*",))],
)
def test_the_allowed_commands(canary: Canary, started: list[LoadtesterOptions], value: str, commands: tuple[str, ...]):
    assert canary("loadtester", f"--allowed-commands={value}").exit_code == 0
    assert started[0].allowed_commands == commands


@pytest.mark.parametrize(
    "flag", ["--timeout=soon", "--timeout=0s", "--timeout=200h", "--namespace-regexp=(", "--port=70000", "--queue=-1"]
)
def test_an_invalid_flag_is_refused(canary: Canary, started: list[LoadtesterOptions], flag: str):
    result = canary("loadtester", flag)
    assert result.exit_code == 2
    assert not started


def test_an_unreadable_file_of_gates_ends_the_start(canary: Canary, tmp_path: Path):
    state = tmp_path / "gates.json"
    state.write_text("{")
    result = canary("loadtester", "--port=0", f"--state-file={state}")
    assert result.exit_code == 1
    assert "Delete it" in result.output


def test_an_unknown_log_level_is_refused(canary: Canary):
    assert canary("loadtester", "--log-level=loud").exit_code == 2


def test_the_first_steps_of_the_page_print_what_it_shows(tmp_path: Path):
    page = (ROOT / "docs" / "loadtester.md").read_text()
    script = re.search(r"^<!-- tried: loadtester -->\n```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[1]
    printed = re.search(r"^<!-- printed: loadtester -->\n```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[1]
    with socket.create_server(("127.0.0.1", 0)) as free:
        script = script.replace("19090", str(free.getsockname()[1]))
    shell = f'set -m\ncanary() {{ exec "{sys.executable}" -m canarycore_cli "$@"; }}\n{script}wait\n'
    result = subprocess.run(["bash", "-c", shell], cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert result.stdout == printed, result.stderr
