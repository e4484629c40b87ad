"""canary install: print the controller's objects as YAML, or apply them to a cluster."""

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

    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.deploy.objects import InstallOptions
    from canarycore_runtime.mesh import Json

DEFINITION = "CustomResourceDefinition"

OPTIONAL = {
    "ValidatingAdmissionPolicy": "the cluster is older than Kubernetes 1.30: run canary lint before you apply",
    "ValidatingAdmissionPolicyBinding": "the cluster is older than Kubernetes 1.30",
    "ServiceMonitor": "the cluster has no Prometheus operator: scrape the Service canarycore yourself",
}
"""The kinds that a cluster may lack, and the message when it does."""

DEFINITION_PATIENCE = 60.0
"""Seconds that the cluster has to serve a new definition, before `canary install` warns and goes on."""

_POLL = 0.1
"""Seconds between reads of a new definition."""


def parse_providers(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of mesh providers. Raises BadInput for an unknown one."""
    providers = tuple(names)
    for name in providers:
        if name not in ROUTING_RIGHTS:
            raise BadInput(f"--provider {name}: found no such provider, expected one of {', '.join(ROUTING_RIGHTS)}")
    return providers


def parse_destinations(texts: Iterable[str]) -> tuple[Destination, ...]:
    """Parse destinations such as `monitoring:9090` or `10.0.0.0/8:443`. Raises BadInput."""
    destinations = []
    for text in texts:
        try:
            destinations.append(Destination.parse(text))
        except ValueError as error:
            raise BadInput(f"--destination {text}: {error}") from None
    return tuple(destinations)


def parse_networks(texts: Iterable[str] | None) -> tuple[str, ...]:
    """Return the networks of the API server; all networks without any. Raises BadInput."""
    networks = tuple(texts or EVERYWHERE)
    for network in networks:
        try:
            demand_no_metadata(network)
        except ValueError as error:
            raise BadInput(f"--api-server {network}: {error}") from None
    return networks


def export(install: InstallOptions) -> int:
    """Print all objects as YAML."""
    write(objects(install), sys.stdout)
    return OK


def write(bodies: Iterable[Json], file: TextIO) -> None:
    """Write objects as a stream of YAML documents."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.explicit_start = True
    yaml.width = 120
    yaml.representer.ignore_aliases = lambda *_: True
    for body in bodies:
        yaml.dump(body, file)


def apply(install: InstallOptions, options: ClusterOptions) -> int:
    """Apply all objects to the cluster, and print the result for each."""
    return asyncio.run(_apply_all(objects(install), options))


async def _apply_all(bodies: Iterable[Json], options: ClusterOptions) -> int:
    console = out()
    definitions: list[Json] = []
    async with options.client() as client:
        for body in bodies:
            if body["kind"] == DEFINITION:
                definitions.append(body)
            elif definitions:  # later objects may be of these kinds
                await _wait_until_established(client, definitions)
                definitions.clear()
            console.print(f"{_full_name(body)}: {await _apply(client, body)}", markup=False)
    return OK


async def _apply(client: Client, body: Json) -> str:
    """Apply one object, and return the result: created, changed, unchanged or skipped."""
    metadata = body["metadata"]
    try:
        before = await client.get(by_object(body), metadata.get("namespace", ""), metadata["name"])
        after = await client.apply(body)
    except NotFound as error:
        if body["kind"] in OPTIONAL:
            return f"skipped, {OPTIONAL[body['kind']]}"
        namespace = metadata.get("namespace", "")
        fail(f"{_full_name(body)}: {error}. Expected the namespace {namespace}: create it first.", BAD_INPUT)
    if before is None:
        return "created"
    unchanged = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    return "unchanged" if unchanged else "changed"


async def _wait_until_established(client: Client, definitions: Iterable[Json]) -> None:
    """Wait until the cluster serves these definitions; warn about each that it does not serve in time."""
    for body in definitions:
        try:
            async with asyncio.timeout(DEFINITION_PATIENCE):
                while True:
                    if await _is_established(client, body):
                        break
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            err().print(
                f"{_full_name(body)}: the cluster does not serve it after {DEFINITION_PATIENCE:g} s",
                style="yellow",
                markup=False,
            )


async def _is_established(client: Client, body: Json) -> bool:
    definition = await client.get(by_object(body), "", body["metadata"]["name"]) or {}
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)


def _full_name(body: Json) -> str:
    metadata = body["metadata"]
    return f"{body['kind']} {metadata.get('namespace', '')}/{metadata['name']}".replace(" /", " ")
