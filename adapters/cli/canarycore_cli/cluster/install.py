"""canary install: what the controller needs, as YAML to keep or applied at once."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from canarycore_cli.console import BAD_INPUT, OK, BadInput, err, fail, out
from canarycore_kubernetes.api.client import NotFound
from canarycore_kubernetes.api.kinds import by_object
from canarycore_kubernetes.deploy.network_policy import EVERYWHERE, Destination, demand_no_metadata
from canarycore_kubernetes.deploy.objects import ROUTING_RIGHTS, objects

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from canarycore_cli.cluster.connect import Where
    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.deploy.objects import InstallOptions
    from canarycore_runtime.mesh import Json

DEFINITION = "CustomResourceDefinition"

OPTIONAL = {
    "ValidatingAdmissionPolicy": "the cluster is older than Kubernetes 1.30: run canary lint before you apply",
    "ValidatingAdmissionPolicyBinding": "the same",
    "ServiceMonitor": "the cluster has no Prometheus operator: scrape the Service canarycore yourself",
}
"""Kinds that a cluster may lack, and what becomes of that."""

APPLY_PATIENCE = 60.0
"""Seconds until the cluster must have taken a definition up."""

_POLL = 0.1


def known(providers: Iterable[str]) -> tuple[str, ...]:
    """The providers, each of which there is. Raises BadInput."""
    chosen = tuple(providers)
    for name in chosen:
        if name not in ROUTING_RIGHTS:
            raise BadInput(f"--provider {name}: found no such provider, expected one of {', '.join(ROUTING_RIGHTS)}")
    return chosen


def parse_destinations(texts: Iterable[str]) -> tuple[Destination, ...]:
    """Read servers such as `monitoring:9090` or `10.0.0.0/8:443`. Raises BadInput."""
    found = []
    for text in texts:
        try:
            found.append(Destination.parse(text))
        except ValueError as error:
            raise BadInput(f"--destination {text}: {error}") from None
    return tuple(found)


def parse_networks(texts: Iterable[str] | None) -> tuple[str, ...]:
    """Read the networks of an API server; all if none are given. Raises BadInput."""
    networks = tuple(texts or EVERYWHERE)
    for network in networks:
        try:
            demand_no_metadata(network)
        except ValueError as error:
            raise BadInput(f"--api-server {network}: {error}") from None
    return networks


def export(install: InstallOptions) -> int:
    """Print everything as YAML."""
    write(objects(install), sys.stdout)
    return OK


def write(bodies: Iterable[Json], to: TextIO) -> None:
    """Objects as a stream of YAML documents."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.explicit_start = True
    yaml.width = 120
    yaml.representer.ignore_aliases = lambda *_: True
    for body in bodies:
        yaml.dump(body, to)


def apply(install: InstallOptions, where: Where) -> int:
    """Put everything on the cluster, and tell what was done."""
    return asyncio.run(_applied(objects(install), where))


async def _applied(bodies: Iterable[Json], where: Where) -> int:
    console = out()
    definitions: list[Json] = []
    async with where.client() as client:
        for body in bodies:
            if body["kind"] == DEFINITION:
                definitions.append(body)
            elif definitions:  # the first object after them
                await _established(client, definitions)
                definitions.clear()
            console.print(f"{_full_name(body)}: {await _apply(client, body)}", markup=False)
    return OK


async def _apply(client: Client, body: Json) -> str:
    """Make the object so; what was done."""
    metadata = body["metadata"]
    try:
        before = await client.get(by_object(body), metadata.get("namespace", ""), metadata["name"])
        after = await client.apply(body)
    except NotFound as error:
        if body["kind"] in OPTIONAL:
            return f"skipped, {OPTIONAL[body['kind']]}"
        namespace = metadata.get("namespace", "")
        fail(f"{_full_name(body)}: {error}. Expected the namespace {namespace}: make it first.", BAD_INPUT)
    if before is None:
        return "created"
    unchanged = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    return "unchanged" if unchanged else "changed"


async def _established(client: Client, definitions: Iterable[Json]) -> None:
    """Wait until the cluster serves these kinds."""
    for body in definitions:
        try:
            async with asyncio.timeout(APPLY_PATIENCE):
                while True:
                    if await _is_established(client, body):
                        break
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            err().print(
                f"{_full_name(body)} is not served yet, after {APPLY_PATIENCE:g} s", style="yellow", markup=False
            )


async def _is_established(client: Client, body: Json) -> bool:
    found = await client.get(by_object(body), "", body["metadata"]["name"]) or {}
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def _full_name(body: Json) -> str:
    metadata = body["metadata"]
    return f"{body['kind']} {metadata.get('namespace', '')}/{metadata['name']}".replace(" /", " ")
