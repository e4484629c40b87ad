"""Contour: an HTTPProxy whose routes split. The owner's root proxy includes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.foreign import get_items, get_list
from canarycore_mesh._objects import (
    apex_metadata,
    beside_matching,
    given_fields,
    known_headers,
    parse_fraction,
    prefix,
    ref,
    rendered,
    routes_of,
    split_of,
    weight_of,
)
from canarycore_mesh._queries import of_envoy
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from canarycore import Routes
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

HTTP_PROXY = Kind("projectcontour.io", "v1", "HTTPProxy", "httpproxies")

_OPERATORS = {"exact": "exact", "prefix": "contains", "suffix": "contains"}
_IDLE = "5m"
_LINKERD = "l5d-dst-override"
"""The header by which Linkerd learns where a request goes that came in through Contour."""


class Contour(Mesh):
    """Provider `contour`."""

    queries: Queries = of_envoy('envoy_cluster_name=~"{{ namespace }}_{{ service }}-canary_[0-9a-zA-Z-]+"')

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        return (ref(HTTP_PROXY, asked, asked.apex),)

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        del found
        everything = [{"prefix": prefix(asked)}]
        if asked.match:
            others = _route(asked, everything, beside_matching(asked, routes))
            written = [_route(asked, _conditions(asked), parse_fraction(routes)), others]
        else:
            written = [_route(asked, everything, routes.weight)]
        spec = {**given_fields(ingressClassName=asked.ingress_class), "routes": written}
        return (rendered(asked, HTTP_PROXY, asked.apex, spec, apex_metadata(asked)),)

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        written = get_items(found.get(ref(HTTP_PROXY, asked, asked.apex)), "spec", "routes")
        return routes_of(asked, [_weight(asked, route) for route in written])


def _conditions(asked: RenderContext) -> list[Json]:
    """All of them must hold; of a prefix and of a suffix Contour knows only that it is contained."""
    return [
        {"prefix": prefix(asked), "header": {"name": name, _OPERATORS[kind]: text}}
        for name, kind, text in known_headers(asked, *_OPERATORS)
    ]


def _route(asked: RenderContext, conditions: list[Json], weight: int) -> Json:
    return {
        "conditions": conditions,
        **given_fields(timeoutPolicy=_timeouts(asked), retryPolicy=_retries(asked)),
        "services": [
            _service(asked, asked.primary, 100 - weight),
            _service(asked, asked.canary_service, weight),
        ],
    }


def _service(asked: RenderContext, name: str, weight: int) -> Json:
    port = asked.port
    header = {"name": _LINKERD, "value": f"{name}.{asked.namespace}.svc.cluster.local:{port}"}
    share_of_it = {"weight": weight} if weight else {}  # left out is 0
    return {"name": name, "port": port, "requestHeadersPolicy": {"set": [header]}, **share_of_it}


def _timeouts(asked: RenderContext) -> Json | None:
    timeout = asked.service.get("timeout")
    return {"response": timeout, "idle": _IDLE} if timeout else None


def _retries(asked: RenderContext) -> Json | None:
    """The API refuses an empty name of what is tried again, so none is written where the owner gives none."""
    retries = asked.service.get("retries")
    if retries is None:
        return None
    events = retries.get("retryOn")
    return {
        "count": retries.get("attempts") or 1,
        **given_fields(perTryTimeout=retries.get("perTryTimeout"), retryOn=events and events.split(",")),
    }


def _weight(asked: RenderContext, route: Json) -> int | None:
    return weight_of(split_of(get_list(route, "services"), "name"), asked.primary, asked.canary_service)
