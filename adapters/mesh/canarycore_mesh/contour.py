"""Contour: an HTTPProxy whose routes split. The owner's root proxy includes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.foreign import get_items, get_list, get_text
from canarycore_mesh._objects import (
    apex_metadata,
    default_weight,
    list_headers,
    make_object,
    make_ref,
    matching_weight,
    omit_unset,
    path_prefix,
    read_routes,
    read_split,
    read_verdict,
)
from canarycore_mesh._queries import envoy_queries
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from canarycore import RouteRefusal, Routes
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

HTTP_PROXY = Kind("projectcontour.io", "v1", "HTTPProxy", "httpproxies")

_OPERATORS = {"exact": "exact", "prefix": "contains", "suffix": "contains"}
_IDLE = "5m"
_LINKERD = "l5d-dst-override"
"""The header that tells Linkerd the destination of a request from Contour."""


class Contour(Mesh):
    """Provider `contour`."""

    queries: Queries = envoy_queries('envoy_cluster_name=~"{{ namespace }}_{{ service }}-canary_[0-9a-zA-Z-]+"')

    statuses: frozenset[Kind] = frozenset({HTTP_PROXY})

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        return (make_ref(HTTP_PROXY, context, context.apex),)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        del objects
        all_paths = [{"prefix": path_prefix(context)}]
        if context.match_on(routes):
            rules = [
                _route(context, _conditions(context, routes), matching_weight(context, routes)),
                _route(context, all_paths, default_weight(context, routes)),
            ]
        else:
            rules = [_route(context, all_paths, routes.weight)]
        spec = {**omit_unset(ingressClassName=context.ingress_class), "routes": rules}
        return (make_object(context, HTTP_PROXY, context.apex, spec, apex_metadata(context)),)

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        rules = get_items(objects.get(make_ref(HTTP_PROXY, context, context.apex)), "spec", "routes")
        return read_routes(context, (read_split(get_list(rule, "services"), "name") for rule in rules))

    def refusal(self, context: RenderContext, objects: ObjectsByRef) -> RouteRefusal | None:
        """Return Contour's verdict. A proxy that no root includes yet gets no requests, so none fail."""
        proxy = objects.get(make_ref(HTTP_PROXY, context, context.apex))
        if get_text(proxy, "status", "currentStatus") == "orphaned":
            return None
        description = get_text(proxy, "status", "description")
        return read_verdict(proxy, "Valid", is_always_written=True, message=description)


def _conditions(context: RenderContext, routes: Routes) -> list[Json]:
    """Return the conditions, all of which must hold. Contour matches any part of a header, not a prefix or suffix."""
    return [
        {"prefix": path_prefix(context), "header": {"name": name, _OPERATORS[kind]: text}}
        for name, kind, text in list_headers(context, routes, *_OPERATORS)
    ]


def _route(context: RenderContext, conditions: list[Json], weight: int) -> Json:
    return {
        "conditions": conditions,
        **omit_unset(timeoutPolicy=_timeouts(context), retryPolicy=_retries(context)),
        "services": [
            _service(context, context.primary, 100 - weight),
            _service(context, context.canary_service, weight),
        ],
    }


def _service(context: RenderContext, name: str, weight: int) -> Json:
    port = context.port
    header = {"name": _LINKERD, "value": f"{name}.{context.namespace}.svc.cluster.local:{port}"}
    weight_field = {"weight": weight} if weight else {}  # an absent weight is 0
    return {"name": name, "port": port, "requestHeadersPolicy": {"set": [header]}, **weight_field}


def _timeouts(context: RenderContext) -> Json | None:
    timeout = context.service.timeout
    return {"response": timeout, "idle": _IDLE} if timeout else None


def _retries(context: RenderContext) -> Json | None:
    """Return the retry policy. The API rejects an empty `retryOn`, so the policy omits it if the owner gives none."""
    retries = context.service.retries
    if retries is None:
        return None
    events = retries.retry_on.split(",") if retries.retry_on else []
    return {"count": max(retries.attempts or 1, 1), **omit_unset(perTryTimeout=retries.per_try_timeout, retryOn=events)}
