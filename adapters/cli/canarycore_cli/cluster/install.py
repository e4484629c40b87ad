"""canary install: print the controller's objects as YAML, or apply them to a cluster.

An installation keeps its settings in an annotation of the Deployment. The command starts from those of the earlier
installation and changes the ones that it gets, so without options it changes nothing.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from contextlib import aclosing
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from canarycore.errors import UnknownProvider
from canarycore_cli.console import BAD_INPUT, OK, BadInput, err, fail, out
from canarycore_cli.manifests.write import write_yaml
from canarycore_kubernetes.api.client import NotFound
from canarycore_kubernetes.api.kinds import DEPLOYMENT, by_object
from canarycore_kubernetes.deploy.network_policy import EVERYWHERE, Destination, demand_no_metadata
from canarycore_kubernetes.deploy.objects import (
    NAME,
    OBSERVER,
    ROUTING_RIGHTS,
    SETTINGS,
    InstallOptions,
    objects,
    objects_with_settings,
    routing_rights,
)
from canarycore_runtime.plugins import find_installed_providers, load_declaration, parse_plugin_name
from canarycore_runtime.registry import BrokenAdapter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_kubernetes.api.client import Client
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
        try:
            routing_rights(name)
        except UnknownProvider:
            known = dict.fromkeys((*ROUTING_RIGHTS, *find_installed_providers().meshes))
            raise BadInput(f"--provider {name}: found no such provider, expected one of {', '.join(known)}") from None
        except BrokenAdapter as error:
            raise BadInput(f"--provider {name}: {error}") from None
    return providers


def parse_plugins(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the names of plug-ins, as KIND/NAME. Raises BadInput for one that is not installed or cannot be loaded."""
    plugins = tuple(texts)
    for text in plugins:
        try:
            load_declaration(*parse_plugin_name(text))
        except (ValueError, UnknownProvider, BrokenAdapter) as error:
            raise BadInput(f"--plugin {text}: {error}") from None
    return plugins


def parse_destinations(texts: Iterable[str]) -> tuple[Destination, ...]:
    """Parse destinations such as `monitoring:9090` or `10.0.0.0/8:443`. Raises BadInput."""
    destinations = []
    for text in texts:
        try:
            destinations.append(Destination.parse(text))
        except ValueError as error:
            raise BadInput(f"--destination {text}: {error}") from None
    return tuple(destinations)


def parse_networks(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the networks of the API server; all networks without any. Raises BadInput."""
    networks = tuple(texts) or EVERYWHERE
    for network in networks:
        try:
            demand_no_metadata(network)
        except ValueError as error:
            raise BadInput(f"--api-server {network}: {error}") from None
    return networks


@frozen(kw_only=True)
class InstallRequest:
    """The wishes of a user for an installation."""

    changes: Mapping[str, Any]
    """The given options of `InstallOptions`; the other ones stay as they are."""
    namespace: str = ""
    """The namespace of the controller; empty for that of the earlier installation, or else the default."""
    observe: bool = False
    """Whether the request is about an observer."""
    skip_definitions: bool = False
    """Whether to leave the CustomResourceDefinitions alone."""
    dry_run: bool = False
    """Whether to show the changes and make none."""

    @property
    def name(self) -> str:
        """The name of the Deployment."""
        return OBSERVER if self.observe else NAME

    def options(self, settings: Json, namespace: str) -> InstallOptions:
        """Return the options of an installation with these earlier settings."""
        earlier = InstallOptions.from_settings(settings, namespace=namespace, observe=self.observe)
        return evolve(earlier, **self.changes)

    def objects(self, install: InstallOptions) -> Iterator[Json]:
        """Yield the objects to install."""
        for body in objects_with_settings(install):
            if not (self.skip_definitions and body["kind"] == DEFINITION):
                yield body


def export(request: InstallRequest) -> int:
    """Print all objects as YAML."""
    write_yaml(request.objects(request.options({}, request.namespace or NAME)), sys.stdout)
    return OK


def apply(request: InstallRequest, options: ClusterOptions) -> int:
    """Apply all objects to the cluster, and print the result for each."""
    return asyncio.run(_apply_all(request, options))


async def _apply_all(request: InstallRequest, options: ClusterOptions) -> int:
    definitions: list[Json] = []
    async with options.client() as client:
        namespace, settings = await _earlier(client, request)
        install = request.options(settings or {}, namespace)
        for body in request.objects(install):
            if request.dry_run:
                await _preview(client, body)
                continue
            if body["kind"] == DEFINITION:
                definitions.append(body)
            elif definitions:  # later objects may be of these kinds
                await _wait_until_established(client, definitions)
                definitions.clear()
            out().print(f"{_full_name(body)}: {await _apply(client, body)}", markup=False)
        if settings is not None:
            before = InstallOptions.from_settings(settings, namespace=namespace, observe=request.observe)
            await _remove(client, _left_over(before, install), dry_run=request.dry_run)
    return OK


def _left_over(before: InstallOptions, after: InstallOptions) -> Iterator[Json]:
    """Yield the objects of the earlier installation that the new one does without, such as the roles of its scope."""
    remaining = {_full_name(body) for body in objects(after)}
    return (body for body in objects(before) if _full_name(body) not in remaining)


async def _remove(client: Client, bodies: Iterable[Json], *, dry_run: bool) -> None:
    for body in bodies:
        kind, namespace, name = by_object(body), body["metadata"].get("namespace", ""), body["metadata"]["name"]
        if await client.get(kind, namespace, name) is None:
            continue
        if not dry_run:
            await client.delete(kind, namespace, name)
        out().print(f"{_full_name(body)}: {'would be removed' if dry_run else 'removed'}", markup=False)


async def _earlier(client: Client, request: InstallRequest) -> tuple[str, Json | None]:
    """Return the namespace of the installation and its settings; None if it is new. Raises BadInput if not ours."""
    deployments: list[Json] = []
    if request.namespace:
        deployment = await client.get(DEPLOYMENT, request.namespace, request.name)
        deployments = [deployment] if deployment else []
    else:
        async with aclosing(client.list(DEPLOYMENT, selector=f"app.kubernetes.io/name={request.name}")) as pages:
            deployments = [body async for page in pages for body in page["items"]]
    if not deployments:
        return request.namespace or NAME, None
    if len(deployments) > 1:
        names = ", ".join(sorted(_full_name(body) for body in deployments))
        raise BadInput(f"found several installations ({names}), expected one: give its namespace by --namespace")
    (deployment,) = deployments
    settings = (deployment["metadata"].get("annotations") or {}).get(SETTINGS)
    if settings is None:
        raise BadInput(
            f"{_full_name(deployment)}: found no settings of canary install, so Helm or another tool installed it."
            " Change it with that tool, or give another namespace for an installation beside it by --namespace"
        )
    return deployment["metadata"]["namespace"], json.loads(settings)


async def _preview(client: Client, body: Json) -> None:
    """Print the result that an installation would have for an object, and the difference."""
    name, console = _full_name(body), out()
    if body["kind"] in OPTIONAL and not await _is_served(client, body):
        console.print(f"{name}: skipped, {OPTIONAL[body['kind']]}", markup=False)
        return
    before = await client.get(by_object(body), body["metadata"].get("namespace", ""), body["metadata"]["name"])
    after = body if before is None else await client.apply(body, dry_run=True)
    difference = list(unified_diff(_lines(before), _lines(after), "on the cluster", "to install", n=2, lineterm=""))
    result = "would be created" if before is None else "would change" if difference else "unchanged"
    console.print(f"{name}: {result}", markup=False)
    for line in difference:
        style = "green" if line.startswith("+") else "red" if line.startswith("-") else None
        console.print(f"  {line}", style=style, markup=False, highlight=False)


async def _is_served(client: Client, body: Json) -> bool:
    """Return whether the cluster knows the kind of an object."""
    try:
        async with aclosing(client.list(by_object(body), body["metadata"].get("namespace", ""), limit=1)) as pages:
            async for _ in pages:
                break
    except NotFound:
        return False
    return True


SERVER_FIELDS = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")
"""Fields of an object's metadata that the server sets."""


def _lines(body: Json | None) -> list[str]:
    """Return the lines of an object in YAML, in order and without the fields that the server sets."""
    if body is None:
        return []
    metadata = {name: value for name, value in body["metadata"].items() if name not in SERVER_FIELDS}
    return yaml_lines(
        _sorted({name: value for name, value in body.items() if name != "status"} | {"metadata": metadata})
    )


def yaml_lines(body: Json) -> list[str]:
    """Return the lines of an object in YAML, without the separator of documents."""
    text = io.StringIO()
    write_yaml([body], text)
    return text.getvalue().splitlines()[1:]


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


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
