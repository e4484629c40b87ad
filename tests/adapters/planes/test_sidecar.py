"""The sidecar of a pod: it hands requests to a command, and says which version answered."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from urllib3 import PoolManager, Retry
from urllib3.response import BaseHTTPResponse

ECHO = """
import http.server, os, sys
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("X-Own", self.headers["Host"] + self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"""


@contextmanager
def running(*command: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a sidecar with a command. Yields its process and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"POD_IP": "127.0.0.1", "PORT": str(port), "VERSION": "v7"}
    process = subprocess.Popen([sys.executable, "-m", "canarycore_planes.sidecar", *command], env=environment)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def ask(url: str, method: str = "GET", body: bytes | None = None) -> BaseHTTPResponse:
    retries = Retry(total=None, connect=200, backoff_factor=0.05, backoff_max=0.2)
    return PoolManager(retries=retries).request(method, url, body=body, headers={"Host": "shop.test"})


def eventually_ready(url: str) -> bool:
    end = time.monotonic() + 20
    while ask(f"{url}/readyz").status != 200:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_a_request_reaches_the_command_and_its_answer_names_the_version():
    with running(sys.executable, "-c", ECHO, "${PORT}") as (_, url):
        ask(f"{url}/readyz")
        end = time.monotonic() + 20
        while (answer := ask(f"{url}/a%20b?c=d", "POST", b"abc")).status == 502 and time.monotonic() < end:
            time.sleep(0.05)
        assert (answer.status, answer.data) == (201, b"cba")
        assert answer.headers["X-Own"] == "shop.test/a%20b?c=d"
        assert answer.headers["X-Version"] == "v7"


def test_a_command_without_a_path_for_readiness_is_ready():
    with running(sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "$PORT") as (_, url):
        assert eventually_ready(url)


@pytest.mark.parametrize(("end", "code"), [("import sys; sys.exit(3)", 3), ("import time; time.sleep(60)", 15)])
def test_it_ends_with_its_command(end: str, code: int):
    with running(sys.executable, "-c", end) as (process, url):
        if code == signal.SIGTERM:
            assert ask(f"{url}/").status == 502
            assert ask(f"{url}/readyz").status == 503
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == code
