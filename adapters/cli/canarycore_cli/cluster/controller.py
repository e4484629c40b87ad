"""canary controller: the process that runs a cluster's Canaries, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
from contextlib import AsyncExitStack, suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

from aiolimiter import AsyncLimiter

from canarycore_cli.console import OK
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.observer.observer import observe
from canarycore_kubernetes.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from canarycore_kubernetes.options import Options

GARBAGE = (20_000, 20, 20)
"""Thresholds of Python's garbage collector: hardly anything here is garbage in cycles, and looking for it at the usual
pace takes a quarter of all time."""


def run(options: Options, *, only_observe: bool = False) -> int:
    """Control the cluster, or only look on; returns when told to end, once what is under way has ended."""
    logs.set_up(options.log_level, options.log_encoding)
    gc.set_threshold(*GARBAGE)
    with suppress(asyncio.CancelledError):
        asyncio.run(_at_work(options, observe if only_observe else run_controller))
    return OK


async def _at_work(options: Options, work: Callable[..., Awaitable[None]]) -> None:
    this = asyncio.current_task()
    assert this is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, this.cancel)
    # so many at once, and then as many a second as the options allow
    limit = AsyncLimiter(options.kubeconfig_burst, options.kubeconfig_burst / options.kubeconfig_qps)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(options.kubeconfig, server=options.master, limit=limit))
        mesh = None
        if options.kubeconfig_service_mesh:
            mesh = await stack.enter_async_context(connect(options.kubeconfig_service_mesh, limit=limit))
        await work(client, options, version=_version(), mesh=mesh)


def _version() -> str:
    try:
        return installed_version("canarycore-kubernetes")
    except PackageNotFoundError:
        return "unknown"
