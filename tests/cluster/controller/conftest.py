"""The controller as users run it: a process of its own under the installed rights, and a metrics server."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, asynccontextmanager, contextmanager

import pytest
from aiohttp import web

from canarycore_planes.background import in_background
from tests.servers import read_query, serving, vector


@pytest.fixture(scope="session")
def metrics_server():
    """Return the address of a metrics server on which every check passes."""

    async def answer(request):
        query = await read_query(request)
        return vector(1 if query == "vector(1)" else 0.1 if "bucket" in query else 100)

    address = []

    @asynccontextmanager
    async def served():
        app = web.Application()
        app.router.add_route("*", "/api/v1/query", answer)
        async with serving(app) as url:
            address.append(url)
            yield

    with in_background(served):
        yield address[0]


@pytest.fixture(scope="session")
def start_controller():
    """Return a context in which a controller runs; its log goes to the folder."""

    @contextmanager
    def run(kubeconfig, namespace, metrics_server, folder, *flags):
        where = (f"-kubeconfig={kubeconfig}", f"-namespace={namespace}", f"-metrics-server={metrics_server}")
        command = [sys.executable, "-m", "canarycore_cli", "controller", *where, *flags, "-listen=127.0.0.1"]
        number = len([*folder.glob("*.log")])
        with (folder / f"{number}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    return run


@pytest.fixture
def access(installed):
    return installed("istio")


@pytest.fixture
def start(plane, namespace, access, metrics_server, start_controller, tmp_path):
    """Start a controller; more may be started beside it."""
    config = plane.kubeconfig(access, "controller")
    with ExitStack() as stack:

        def begin(*flags):
            running = start_controller(config, namespace, metrics_server, tmp_path, *flags)
            return stack.enter_context(running)

        yield begin
