"""A process that has imported the libraries, and runs each request's tests in a fork of itself.

    python fork_server.py

To import pytest, aiohttp and the others takes as long as most tests. The server imports them once. It imports nothing
of the project, so each fork imports the sources as they are on the disk at that time, and no request sees another's.

A request is a line on the standard input, and its answer a line on the standard output (see `Request` and `Answer`).
The standard library suffices for this file: it runs as a program, so that no package of the tests is imported.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import tempfile
from importlib import import_module
from typing import TYPE_CHECKING, TextIO, TypedDict

if TYPE_CHECKING:
    import pytest

LIBRARIES = (
    *("pytest", "hypothesis", "hypothesis.stateful", "hypothesis.extra._patching"),
    *("attrs", "cattrs", "structlog", "stamina", "prometheus_client", "transitions"),
    *("aiohttp.web", "aiohttp.test_utils", "kubernetes_asyncio.client", "kubernetes_asyncio.config"),
    *("ruamel.yaml", "yaml", "typer", "rich.console", "urllib3"),
)
"""The libraries that tests import most. Each fork imports those that are missing here anew."""


_KNOWN_WARNINGS = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
"""The server imports pytest's plug-ins before pytest, which warns that their asserts explain less."""


class Request(TypedDict):
    """The tests to run, by their node ids, and the seconds that they get."""

    tests: list[str]
    patience: float


class Answer(TypedDict):
    """The first test that failed, how pytest ended (None: it was killed or died), and the end of its output."""

    failed: str
    code: int | None
    output: str


class FirstFailure:
    """A plug-in of pytest that keeps the name of the first failure, at a collection too."""

    node = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._keep(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._keep(report)

    def _keep(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and not self.node:
            self.node = report.nodeid


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer each request in turn until the input ends."""
    for library in LIBRARIES:
        import_module(library)
    gc.collect()
    gc.freeze()  # a fork shares the pages of the libraries, and its collector does not go through them
    for line in requests:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


def answer(request: Request) -> Answer:
    """Run the tests in a fork, and kill all its processes at the end or when the patience ends."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        reading, writing = os.pipe()
        fork = os.fork()
        if fork == 0:
            _run_in_fork(request["tests"], output.fileno(), writing)
        os.close(writing)
        try:
            ready, _, _ = select.select([reading], [], [], request["patience"])
            report = os.read(reading, select.PIPE_BUF) if ready else b""
        finally:
            os.close(reading)
            os.killpg(fork, signal.SIGKILL)
            os.waitpid(fork, 0)
        output.seek(0)
        failed, code = json.loads(report or b'["", null]')
        return Answer(failed=failed, code=code, output=output.read()[-2000:])


def _run_in_fork(tests: list[str], output: int, report: int) -> None:
    """Run pytest in a process group of its own, and end without the server's exit handlers."""
    try:
        os.setsid()
        for stream, target in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
            os.dup2(target, stream)
        pytest_main = import_module("pytest").main
        first = FirstFailure()
        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", *_KNOWN_WARNINGS]
        code = int(pytest_main([*options, *tests], plugins=[first]))
        os.write(report, json.dumps([first.node, code]).encode())
    finally:
        os._exit(0)


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
