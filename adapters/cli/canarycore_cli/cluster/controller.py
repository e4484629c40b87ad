"""canary controller: run the controller of a cluster's Canaries until the process gets SIGTERM or SIGINT."""

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
from canarycore_cli.signals import cancel_on_signals
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.observer.observer import observe
from canarycore_kubernetes.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from canarycore_kubernetes.options import Options

GC_THRESHOLDS = (20_000, 20, 20)
"""The thresholds of Python's garbage collector. The controller makes few cycles of garbage; with Python's default
thresholds the search for them takes a quarter of the time."""


def run(options: Options, *, only_observe: bool = False) -> int:
    """Run the controller, or with `only_observe` the observer, until a signal ends it. Returns the exit code."""
    logs.set_up(options.log_level, options.log_encoding, options.log_format)
    gc.set_threshold(*GC_THRESHOLDS)
    with suppress(asyncio.CancelledError):
        asyncio.run(_run_until_signal(options, observe if only_observe else run_controller))
    return OK


async def _run_until_signal(options: Options, work: Callable[..., Awaitable[None]]) -> None:
    # a burst of requests first, then the rate that the options allow
    limit = AsyncLimiter(options.kubeconfig_burst, options.kubeconfig_burst / options.kubeconfig_qps)
    async with AsyncExitStack() as stack:
        stack.enter_context(cancel_on_signals(signal.SIGTERM, signal.SIGINT))
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
