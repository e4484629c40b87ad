"""The optional features of a routing API: which of those that routes use a gateway does not have.

A gateway may accept a route with a filter that it does not know, and then answer every request of the route with an
error. Its class lists the features that it has; a class that lists none may have any.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.errors import Refused, WorldError
from canarycore.foreign import get_list, get_text
from canarycore_runtime.mesh import Kind, Ref

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from canarycore import Rollout
    from canarycore_runtime.mesh import Json, Mesh, ObjectsByRef, RenderContext

    GetObject = Callable[[Kind, str, str], Awaitable[Json | None]]

GATEWAY_CLASS = Kind("gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", namespaced=False)

_log = logging.getLogger("canarycore.kubernetes")


EXPECTED = "a gateway with the feature: it would answer every request of the route with an error"
REMEDY = "Remove the field, or use another gateway."

EXPECTED_LIST = "a class that lists its features: a gateway without this one answers every request with an error"
REMEDY_UNLISTED = "Try the field on a test route first, and check a metric of the gateway in the analysis."


def routes_of_rungs(rollout: Rollout) -> tuple[Routes, ...]:
    """Return routes that need all features of the rollout's rungs."""
    return (Routes(), Routes(mirrored=True)) if rollout.ladder.mirror else (Routes(),)


def new_features(mesh: Mesh, context: RenderContext, every: Iterable[Routes], objects: ObjectsByRef) -> dict[str, str]:
    """Return the features that the mesh's objects need for these routes, except those that they use already.

    A route that is taken back must not be refused for what it has anyway.
    """
    if not mesh.gateways(context):
        return {}
    present = {feature for body in objects.values() for feature in mesh.features(context, body)}
    needed: dict[str, str] = {}
    for routes in every:
        with suppress(Refused):  # the write raises it with its reason
            for body in mesh.render(context, routes, objects):
                needed |= mesh.features(context, body)
    return {feature: path for feature, path in needed.items() if feature not in present}


async def find_unsupported(
    get: GetObject, mesh: Mesh, context: RenderContext, needed: Mapping[str, str]
) -> dict[str, str]:
    """Return the fields of the manifest that need a feature which a gateway lacks, each with the explanation."""
    problems: dict[str, str] = {}
    if not needed:
        return problems
    for gateway in mesh.gateways(context):
        name, features = await _supported_features(get, gateway)
        for feature, path in needed.items():
            if features and feature not in features:
                problems[path] = (
                    f"the GatewayClass {name} of the Gateway {gateway.name}.{gateway.namespace} without {feature}"
                )
    return problems


async def find_unlisted(
    get: GetObject, mesh: Mesh, context: RenderContext, needed: Mapping[str, str]
) -> dict[str, str]:
    """Return the fields of the manifest that need a feature of a gateway whose class lists none."""
    unlisted: dict[str, str] = {}
    for gateway in mesh.gateways(context) if needed else ():
        name, features = await _supported_features(get, gateway)
        if name and not features:
            found = (
                f"the GatewayClass {name} of the Gateway {gateway.name}.{gateway.namespace}, which lists no features"
            )
            unlisted |= dict.fromkeys(needed.values(), found)
    return unlisted


def format_refusal(context: RenderContext, problems: Mapping[str, str]) -> str:
    """Return the text that refuses the routes, with its remedy."""
    found = "; ".join(f"{path}: found {problem}" for path, problem in problems.items())
    return f"canary {context.rollout.full_name}, {found}, expected {EXPECTED}. {REMEDY}"


async def _supported_features(get: GetObject, gateway: Ref) -> tuple[str, frozenset[str]]:
    """Return a gateway's class and the features that it lists; an empty name where the class cannot be read."""
    try:
        body = await get(gateway.kind, gateway.namespace, gateway.name)
        name = get_text(body, "spec", "gatewayClassName")
        known = await get(GATEWAY_CLASS, "", name) if name else None
    except WorldError as error:
        _log.info("the features of gateway %s.%s are unknown: %s", gateway.name, gateway.namespace, error)
        return "", frozenset()
    entries = get_list(known, "status", "supportedFeatures")
    return name if known else "", frozenset(
        entry if isinstance(entry, str) else get_text(entry, "name") for entry in entries
    )
