"""The API server in memory, in a process of its own: what it costs is not counted as ours.

    with api_server() as server:
        server.api.create(…)
        connect(str(server.kubeconfig))
    with api_server(Fleet(bodies=…, copies=9_000), Fleet(bodies=…, copies=1_000)) as server:
        ...

It is the one that the tests hold to the same claims as a real one (tests/controlplane/in_memory/server.py). A fleet is
what one Canary owns, again and again, each time in a namespace of its own: ten thousand rollouts need not be begun one
by one.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import asdict, frozen

from tests.controlplane.api import Access, Api, Json
from tests.controlplane.in_memory.server import fake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.controlplane.in_memory.objects import Objects, Resource

RESOURCES: dict[str, Resource] = {
    "Canary": ("flagger.app", "canaries"),
    "Deployment": ("apps", "deployments"),
    "Service": ("", "services"),
    "VirtualService": ("networking.istio.io", "virtualservices"),
    "DestinationRule": ("networking.istio.io", "destinationrules"),
}
"""What a Canary's fleet is made of."""

_UID = re.compile(r'"uid": "([0-9a-f-]{36})"')


@frozen(kw_only=True)
class Fleet:
    """So many copies of these objects, all of one namespace. namespace: what those of the copies begin with."""

    bodies: list[Json]
    copies: int
    namespace: str


@frozen(kw_only=True)
class Server:
    """A running server. `kubeconfig` is a file for clients, `pid` its process."""

    api: Api
    kubeconfig: Path
    pid: int

    def counts(self) -> Counter[tuple[str, str]]:
        """How often which verb was asked of what since the start, as in ("patch", "canaries.flagger.app/status")."""
        return Counter({(verb, what): count for verb, what, count in self.api.request("GET", "/counts")["counts"]})


@contextmanager
def api_server(*fleets: Fleet) -> Iterator[Server]:
    """A server with nothing but these in it. It ends with its input, so also when its owner is killed."""
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, "-m", "bench.fakeapi"], stdin=pipe, stdout=pipe, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([asdict(fleet) for fleet in fleets]) + "\n")
        process.stdin.flush()
        access = Access(process.stdout.readline().strip(), "anybody")
        kubeconfig = Path(folder, "kubeconfig")
        kubeconfig.write_text(json.dumps(access.kubeconfig))
        yield Server(api=Api(access), kubeconfig=kubeconfig, pid=process.pid)


# --------------------------------------------------------------------------------------------------- in its process


async def _serve(fleets: list[Fleet]) -> None:
    server = fake()
    for fleet in fleets:
        _place(fleet, server.objects)
    async with server.serving():
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


def _place(fleet: Fleet, objects: Objects) -> None:
    """Put the copies there, as if they had always been."""
    text = json.dumps(fleet.bodies)
    (namespace,) = {body["metadata"]["namespace"] for body in fleet.bodies}
    uids = sorted({*_UID.findall(text)})
    for number in range(fleet.copies):
        copy = text.replace(f'"{namespace}"', f'"{fleet.namespace}-{number}"').replace(
            f".{namespace}.", f".{fleet.namespace}-{number}."
        )
        for uid in uids:
            copy = copy.replace(uid, f"{uid[:-8]}{number:08x}")
        for body in json.loads(copy):
            metadata = body["metadata"]
            objects.version += 1
            metadata["resourceVersion"] = str(objects.version)
            objects.table(RESOURCES[body["kind"]]).objects[metadata["namespace"], metadata["name"]] = body


_DEEPEST = 20_000
"""Calls inside one another: a real API server takes JSON of 10,000 levels."""

if __name__ == "__main__":
    sys.setrecursionlimit(_DEEPEST)
    asyncio.run(_serve([Fleet(**given) for given in json.loads(sys.stdin.readline())]))
