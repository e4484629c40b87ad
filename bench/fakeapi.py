"""The API server in memory, in a process of its own, so that its costs do not count as the controller's.

    with api_server() as server:
        server.api.create(…)
        connect(str(server.kubeconfig))
    with api_server(Fleet(bodies=…, copies=9_000), Fleet(bodies=…, copies=1_000)) as server:
        ...

The tests check it by the same claims as a real one (tests/controlplane/in_memory/server.py). A fleet is many copies of
the objects of one Canary, each in a namespace of its own, so the bench need not begin ten thousand rollouts.
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

from canarycore_planes.control_plane.api import Access, Api, Json
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
"""The resources of a fleet, by kind: API group and plural."""

_UID = re.compile(r'"uid": "([0-9a-f-]{36})"')


@frozen(kw_only=True)
class Fleet:
    """Copies of the objects of one namespace."""

    bodies: list[Json]
    copies: int
    namespace: str
    """The prefix of the namespaces of the copies."""


@frozen(kw_only=True)
class Server:
    """A running server."""

    api: Api
    kubeconfig: Path
    """A file for clients."""
    pid: int
    """The id of its process."""

    def counts(self) -> Counter[tuple[str, str]]:
        """Return the number of requests by verb and resource, such as ("patch", "canaries.flagger.app/status")."""
        return Counter(
            {(verb, resource): count for verb, resource, count in self.api.request("GET", "/counts")["counts"]}
        )


@contextmanager
def api_server(*fleets: Fleet) -> Iterator[Server]:
    """Run a server with these fleets. It ends with its input, so also after a kill of its owner."""
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
    """Store the copies."""
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
"""The recursion limit: a real API server takes JSON of 10,000 levels."""

if __name__ == "__main__":
    sys.setrecursionlimit(_DEEPEST)
    asyncio.run(_serve([Fleet(**fields) for fields in json.loads(sys.stdin.readline())]))
