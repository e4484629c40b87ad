"""Skipper: a copy of the owner's Ingress in which each path leads to both sides, by weight.

The copy goes before the original by a predicate of more weight, or is switched off by one that is never true. A weight
of 0 can be written either way; a copy that says it in one of them is left as it is.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_text, parse_json
from canarycore_mesh._ingress import INGRESS, copied_spec, copy, leads_to, led_to, source
from canarycore_mesh._objects import copied_metadata, rendered, weight_of
from canarycore_mesh._queries import built_in
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

    queries: Queries = built_in(
        f'sum(rate({_ANSWERS}{{{_ROUTE},code!~"5..",le="+Inf"}}{_WINDOW})) / '
        f'sum(rate({_ANSWERS}{{{_ROUTE},le="+Inf"}}{_WINDOW})) * 100',
        f"sum(rate({_TIMES}_sum{{{_ROUTE}}}{_WINDOW})) / sum(rate({_TIMES}_count{{{_ROUTE}}}{_WINDOW})) * 1000",
    )

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        return source(asked), copy(asked)

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        spec = copied_spec(asked, found, lambda paths: _to_both(asked, paths))
        metadata = copied_metadata(found[source(asked)])
        others = metadata["annotations"].get(_PREDICATE, "")
        weights = {asked.canary_service: routes.weight, asked.primary: routes.primary}
        metadata["annotations"] |= {
            _WEIGHTS: json.dumps(weights, separators=(",", ":")),
            _PREDICATE: _before(others, _off_or_first(asked, routes, found)),
        }
        return (rendered(asked, INGRESS, copy(asked).name, spec, metadata),)

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        weights = parse_json(get_text(found.get(copy(asked)), "metadata", "annotations", _WEIGHTS))
        weight = weight_of(weights.items(), asked.primary, asked.canary_service) if isinstance(weights, dict) else None
        return None if weight is None else Routes(weight=weight)

    def query_variables(self, asked: RenderContext, found: ObjectsByRef) -> Mapping[str, str]:
        """As Skipper writes them into the names of its routes."""
        del found
        return {name: re.sub(r"\W", "_", text) for name, text in asked.query_variables.items()}


def _to_both(asked: RenderContext, paths: list[Json]) -> list[Json]:
    """The paths, to the primary; and those of them that were the app's once more, to the canary."""
    ours = [path for path in paths if leads_to(path, asked.apex)]
    to_primary = [led_to(path, asked.primary) if path in ours else path for path in paths]
    return [*to_primary, *(led_to(path, asked.canary_service) for path in ours)]


def _off_or_first(asked: RenderContext, routes: Routes, found: ObjectsByRef) -> str:
    ingress = found.get(copy(asked))
    if routes.weight or ingress is None:
        return _FIRST
    first = get_text(ingress, "metadata", "annotations", _PREDICATE).startswith(_FIRST)
    return _FIRST if first and Skipper().routes(asked, found) == routes else _OFF


def _before(predicates: str, ours: str) -> str:
    """Our predicate, then those of the owner."""
    others = (one.strip() for one in predicates.split("&&"))
    return " && ".join([ours, *(one for one in others if one not in ("", _FIRST, _OFF))])
