"""Skipper: a copy of the owner's Ingress in which each path leads to both sides, by weight.

A predicate of more weight puts the copy before the original; a predicate that is never true disables the copy. Both
express a weight of 0, so a copy that has one of them keeps it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_text, parse_json
from canarycore_mesh._ingress import INGRESS, copy_ref, copy_spec, is_backend, replace_backend, source_ref
from canarycore_mesh._objects import copy_metadata, make_object, read_weight
from canarycore_mesh._queries import built_in_queries
from canarycore_runtime.mesh import Mesh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

_WEIGHTS = "zalando.org/backend-weights"
_PREDICATE = "zalando.org/skipper-predicate"
_FIRST = "Weight(100)"
_OFF = "False()"

_ROUTE = 'route=~"kube(ew)?_{{ namespace }}__{{ ingress }}_canary__.*__{{ service }}_canary(_[0-9]+)?"'
_ANSWERS = "skipper_response_duration_seconds_bucket"
_TIMES = "skipper_serve_route_duration_seconds"
_WINDOW = "[{{ interval }}]"


class Skipper(Mesh):
    """Provider `skipper`."""

    queries: Queries = built_in_queries(
        f'sum(rate({_ANSWERS}{{{_ROUTE},code!~"5..",le="+Inf"}}{_WINDOW})) / '
        f'sum(rate({_ANSWERS}{{{_ROUTE},le="+Inf"}}{_WINDOW})) * 100',
        f"sum(rate({_TIMES}_sum{{{_ROUTE}}}{_WINDOW})) / sum(rate({_TIMES}_count{{{_ROUTE}}}{_WINDOW})) * 1000",
    )

    proxy_delay: float = 6.0
    """Skipper polls every 3 s (`-source-poll-timeout`), and a poll under way may still bring the old routes."""

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        return source_ref(context), copy_ref(context)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        spec = copy_spec(context, objects, lambda paths: _to_both(context, paths))
        metadata = copy_metadata(objects[source_ref(context)])
        predicates = metadata["annotations"].get(_PREDICATE, "")
        weights = {context.canary_service: routes.weight, context.primary: routes.primary}
        metadata["annotations"] |= {
            _WEIGHTS: json.dumps(weights, separators=(",", ":")),
            _PREDICATE: _put_first(predicates, _own_predicate(context, routes, objects)),
        }
        return (make_object(context, INGRESS, copy_ref(context).name, spec, metadata),)

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        weights = parse_json(get_text(objects.get(copy_ref(context)), "metadata", "annotations", _WEIGHTS))
        if not isinstance(weights, dict):
            return None
        weight = read_weight(weights.items(), context.primary, context.canary_service)
        return None if weight is None else Routes(weight=weight)

    def query_variables(self, context: RenderContext, objects: ObjectsByRef) -> Mapping[str, str]:
        """Return the variables as Skipper writes them into the names of its routes."""
        del objects
        return {name: re.sub(r"\W", "_", text) for name, text in context.query_variables.items()}


def _to_both(context: RenderContext, paths: list[Json]) -> list[Json]:
    """Return the paths with the app's paths to the primary, and then the app's paths to the canary."""
    app_paths = [path for path in paths if is_backend(path, context.apex)]
    to_primary = [replace_backend(path, context.primary) if path in app_paths else path for path in paths]
    return [*to_primary, *(replace_backend(path, context.canary_service) for path in app_paths)]


def _own_predicate(context: RenderContext, routes: Routes, objects: ObjectsByRef) -> str:
    """Return the predicate that enables or disables the copy."""
    ingress = objects.get(copy_ref(context))
    if routes.weight or ingress is None:
        return _FIRST
    is_first = get_text(ingress, "metadata", "annotations", _PREDICATE).startswith(_FIRST)
    return _FIRST if is_first and Skipper().routes(context, objects) == routes else _OFF


def _put_first(predicates: str, own: str) -> str:
    """Return our predicate, followed by the owner's."""
    others = (predicate.strip() for predicate in predicates.split("&&"))
    return " && ".join([own, *(predicate for predicate in others if predicate not in ("", _FIRST, _OFF))])
