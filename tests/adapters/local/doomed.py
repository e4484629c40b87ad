"""A process that carries out one request of a driver, for tests that kill it: `python doomed.py FOLDER EXPRESSION`.

It prints the lines `begins` and `has done it`, and then waits.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from canarycore.simulation._program import with_imports
from canarycore_local import workload
from canarycore_local.envoy import proxy as envoy
from canarycore_local.envoy.router import EnvoyRouter
from canarycore_local.processes.supervisor import own_processes
from canarycore_local.store import STORE, SqliteStore
from canarycore_local.workload import LocalWorkload
from canarycore_runtime.ports import Adapters
from canarycore_runtime.testing.contracts.simulation_fidelity import carry_out
from tests.adapters.local.conftest import KEY


def make_adapters(folder: Path, proxy: envoy.Envoy, local_workload: LocalWorkload) -> Adapters:
    """Return adapters with a store, a workload and a router, and nothing else."""
    others = dict.fromkeys(("metrics", "hooks", "notifiers", "clock"))
    return Adapters(store=SqliteStore(folder / STORE), workload=local_workload, router=EnvoyRouter(proxy), **others)


async def main(folder: Path, expression: str) -> None:
    names: dict[str, Any] = {}
    exec(with_imports(f"request = {expression}"), names)
    async with (
        own_processes(folder) as processes,
        envoy.run_envoy(processes, folder / "envoy") as proxy,
        workload.run_workload(processes, proxy, folder, KEY) as local_workload,
    ):
        print_line("begins")
        await carry_out(make_adapters(folder, proxy, local_workload), names["request"])
        print_line("has done it")
        await asyncio.sleep(60)


def print_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
