"""What the meshes have in common that copy an Ingress of the owner's: the copy routes to the canary, beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.foreign import get_items, get_list, get_mapping, get_text
from canarycore_mesh._objects import ref, refuse, require
from canarycore_runtime.mesh import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore_runtime.mesh import Json, ObjectsByRef, Ref, RenderContext

INGRESS = Kind("networking.k8s.io", "v1", "Ingress", "ingresses")
WHERE = "spec.ingressRef"


def source(asked: RenderContext) -> Ref:
    """The owner's Ingress."""
    return ref(INGRESS, asked, _name(asked))


def copy(asked: RenderContext) -> Ref:
    """The Ingress that is made of it."""
    return ref(INGRESS, asked, f"{_name(asked)}-canary")


def copied_spec(asked: RenderContext, found: ObjectsByRef, route: Callable[[list[Json]], list[Json]]) -> Json:
    """The source's spec, in which `route` has replaced the paths of each rule.

    Raises Refused when the source is missing or has no path to the apex Service.
    """
    spec = get_mapping(require(asked, found, source(asked), WHERE), "spec")
    rules = get_list(spec, "rules")
    if not any(leads_to(path, asked.apex) for rule in rules for path in _paths(rule)):
        refuse(
            asked,
            f"no path to the Service {asked.apex} in the Ingress {_name(asked)}",
            "one",
            WHERE,
            "Add a rule whose backend is that Service.",
        )
    routed = [
        {**rule, "http": {**rule["http"], "paths": route(paths)}} if (paths := _paths(rule)) else rule for rule in rules
    ]
    return {**spec, "rules": routed}


def leads_to(path: Json, service: str) -> bool:
    """Whether the backend of a path is that Service."""
    return get_text(path, "backend", "service", "name") == service


def led_to(path: Json, service: str) -> Json:
    """The same path with that Service as backend."""
    backend = path["backend"]
    return {**path, "backend": {**backend, "service": {**backend["service"], "name": service}}}


def _paths(rule: object) -> list[Json]:
    return get_items(rule, "http", "paths")


def _name(asked: RenderContext) -> str:
    reference = asked.canary.spec.ingress_ref
    if reference is None:
        refuse(asked, "nothing", "the Ingress that routes to the app", WHERE, "Add it.")
    return reference.name
