"""The meshes that copy an Ingress of the owner's: the copy routes to the canary, beside the original."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.foreign import get_items, get_list, get_mapping, get_text
from canarycore_mesh._objects import make_ref, refuse, require
from canarycore_runtime.mesh import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore_runtime.mesh import Json, ObjectsByRef, Ref, RenderContext

INGRESS = Kind("networking.k8s.io", "v1", "Ingress", "ingresses")
PATH = "spec.ingressRef"
"""The manifest's field that names the owner's Ingress."""


def source_ref(context: RenderContext) -> Ref:
    """Return the reference to the owner's Ingress."""
    return make_ref(INGRESS, context, _name(context))


def copy_ref(context: RenderContext) -> Ref:
    """Return the reference to the copy."""
    return make_ref(INGRESS, context, f"{_name(context)}-canary")


def copy_spec(context: RenderContext, objects: ObjectsByRef, route: Callable[[list[Json]], list[Json]]) -> Json:
    """Return the source's spec with the paths of each rule replaced by `route`.

    Raises Refused when the source is missing or has no path to the apex Service.
    """
    spec = get_mapping(require(context, objects, source_ref(context), PATH), "spec")
    rules = get_list(spec, "rules")
    if not any(is_backend(path, context.apex) for rule in rules for path in _paths(rule)):
        refuse(
            context,
            f"no path to the Service {context.apex} in the Ingress {_name(context)}",
            "one",
            PATH,
            "Add a rule whose backend is that Service.",
        )
    new_rules = [
        {**rule, "http": {**rule["http"], "paths": route(paths)}} if (paths := _paths(rule)) else rule for rule in rules
    ]
    return {**spec, "rules": new_rules}


def is_backend(path: Json, service: str) -> bool:
    """Check whether the backend of a path is that Service."""
    return get_text(path, "backend", "service", "name") == service


def replace_backend(path: Json, service: str) -> Json:
    """Return the path with that Service as its backend."""
    backend = path["backend"]
    return {**path, "backend": {**backend, "service": {**backend["service"], "name": service}}}


def _paths(rule: object) -> list[Json]:
    return get_items(rule, "http", "paths")


def _name(context: RenderContext) -> str:
    reference = context.canary.spec.ingress_ref
    if reference is None:
        refuse(context, "nothing", "the Ingress that routes to the app", PATH, "Add it.")
    return reference.name
