"""A process that does one thing to a rehearsal's world, and is killed: `python doomed.py FOLDER EXPRESSION`.

It says `begins` and `has done it`, a line each, and then waits for its end.
"""

import asyncio
import sys
from pathlib import Path

import canarycore
from canarycore import effects
from canarycore_local import workload
from canarycore_local.envoy import proxy as envoy
from canarycore_local.envoy.router import EnvoyRouter
from canarycore_local.processes.supervisor import own
from canarycore_local.store import STORE, SqliteStore
from canarycore_local.workload import LocalWorkload
from canarycore_runtime.ports import Adapters
from canarycore_runtime.testing.contracts.simulation_fidelity import carry_out
from tests.adapters.local.conftest import KEY


def parts_of(folder: Path, proxy: envoy.Envoy, working: LocalWorkload) -> Adapters:
    """A store, a workload and a router; nobody is asked or told anything."""
    nobody = dict.fromkeys(("metrics", "hooks", "notifiers", "clock"))
    return Adapters(store=SqliteStore(folder / STORE), workload=working, router=EnvoyRouter(proxy), **nobody)


async def main(folder: Path, expression: str) -> None:
    doing = eval(expression, vars(canarycore) | vars(effects))
    async with (
        own(folder) as processes,
        envoy.running(processes, folder / "envoy") as proxy,
        workload.running(processes, proxy, folder, KEY) as working,
    ):
        say("begins")
        await carry_out(parts_of(folder, proxy, working), doing)
        say("has done it")
        await asyncio.sleep(60)


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
