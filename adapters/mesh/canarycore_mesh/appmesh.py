"""AWS App Mesh, API v1beta2: a VirtualNode for each side, a VirtualRouter that splits, VirtualServices to call.

The canary has its own router and service too, which reach only the canary, for tests. A pod joins the mesh through the
VirtualNode that selects it, so the nodes must exist before the pods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.foreign import get_items, get_list
from canarycore_mesh._objects import (
    apex_metadata,
    default_weight,
    list_headers,
    make_object,
    make_ref,
    matching_weight,
    milliseconds,
    omit_unset,
    path_prefix,
    read_routes,
    read_split,
    read_verdict,
)
from canarycore_mesh._queries import (
    ENVOY_NO_ERROR,
    ENVOY_RESPONSES,
    ENVOY_TIMES,
    PODS,
    built_in_queries,
    percentile_99,
    success_rate,
)
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canarycore import RouteRefusal, Routes
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

VIRTUAL_NODE = Kind("appmesh.k8s.aws", "v1beta2", "VirtualNode", "virtualnodes")
VIRTUAL_ROUTER = Kind("appmesh.k8s.aws", "v1beta2", "VirtualRouter", "virtualrouters")
VIRTUAL_SERVICE = Kind("appmesh.k8s.aws", "v1beta2", "VirtualService", "virtualservices")

QUERIES = built_in_queries(
    success_rate(ENVOY_RESPONSES, *PODS, ENVOY_NO_ERROR, good=ENVOY_NO_ERROR),
    percentile_99(ENVOY_TIMES, *PODS),
)

HEADER_KINDS = ("exact", "prefix", "suffix", "regex")

_ACCESS_LOG = "appmesh.flagger.app/accesslog"
_GATEWAY = "gateway.appmesh.k8s.aws"
_ALL = 100
_RETRY_TIMEOUT = 250
"""The default timeout of one attempt, in milliseconds."""
_RETRY_EVENTS = "gateway-error"


class AppMesh(Mesh):
    """Provider `appmesh:v1beta2`."""

    queries: Queries = QUERIES
    before_pods: frozenset[Kind] = frozenset({VIRTUAL_NODE})
    statuses: frozenset[Kind] = frozenset({VIRTUAL_ROUTER})

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        nodes = (make_ref(VIRTUAL_NODE, context, name) for name in (context.primary, context.canary_service))
        names = (context.apex, context.canary_service)
        return (
            *nodes,
            *(make_ref(kind, context, name) for name in names for kind in (VIRTUAL_ROUTER, VIRTUAL_SERVICE)),
        )

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        del objects
        canary_routes = [{"name": context.canary_service, "httpRoute": _route(context, _split(context, _ALL))}]
        return (
            _node(context, context.primary, context.pods.primary),
            _node(context, context.canary_service, context.pods.canary),
            _router(context, context.apex, _routes(context, routes)),
            _service(context, context.apex, gateway_annotations(context)),
            _router(context, context.canary_service, canary_routes),
            _service(context, context.canary_service, {}),
        )

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        router = objects.get(make_ref(VIRTUAL_ROUTER, context, context.apex))
        rules = get_items(router, "spec", "routes")
        targets = (get_list(rule, "httpRoute", "action", "weightedTargets") for rule in rules)
        return read_routes(context, (read_split(destinations, "virtualNodeRef", "name") for destinations in targets))

    def refusal(self, context: RenderContext, objects: ObjectsByRef) -> RouteRefusal | None:
        """Return App Mesh's verdict on the router that splits, where its controller has written one."""
        return read_verdict(objects.get(make_ref(VIRTUAL_ROUTER, context, context.apex)), "VirtualRouterActive")


def _node(context: RenderContext, name: str, pods: Mapping[str, str]) -> Json:
    timeout = _timeout(context)
    listener = {"portMapping": _port(context), **omit_unset(timeout=timeout and {"http": timeout})}
    spec = {
        "listeners": [listener],
        "serviceDiscovery": {"dns": {"hostname": f"{name}.{context.namespace}.svc.cluster.local."}},
        "podSelector": {"matchLabels": dict(pods)},
        **omit_unset(logging=access_log(context), backends=[_backend(name) for name in context.service.backends]),
    }
    return make_object(context, VIRTUAL_NODE, name, spec, apex_metadata(context, selectable=False))


def _backend(name: str) -> Json:
    by_arn = name.startswith("arn:aws")
    return {"virtualService": {"virtualServiceARN": name} if by_arn else {"virtualServiceRef": {"name": name}}}


def _service(context: RenderContext, name: str, annotations: Json) -> Json:
    spec = {"provider": {"virtualRouter": {"virtualRouterRef": {"name": name}}}}
    return make_object(context, VIRTUAL_SERVICE, name, spec, {"annotations": annotations})


def _router(context: RenderContext, name: str, routes: list[Json]) -> Json:
    return make_object(
        context, VIRTUAL_ROUTER, name, {"listeners": [{"portMapping": _port(context)}], "routes": routes}
    )


def _routes(context: RenderContext, routes: Routes) -> list[Json]:
    weighted = _split(context, matching_weight(context, routes))
    if not context.match:
        return [{"name": context.apex, "httpRoute": _route(context, weighted)}]
    matching = header_conditions(context, routes)
    weight = default_weight(context, routes)
    others = _split(context, weight) if weight else [_target(context.primary, 100)]
    return [
        {"name": f"{context.apex}-a", "priority": 10, "httpRoute": _route(context, weighted, matching)},
        {"name": f"{context.apex}-b", "priority": 20, "httpRoute": _route(context, others)},
    ]


def _route(context: RenderContext, targets: list[Json], matching: list[Json] | None = None) -> Json:
    return {
        "match": {"prefix": path_prefix(context), **omit_unset(headers=matching)},
        "action": {"weightedTargets": targets},
        **omit_unset(timeout=_timeout(context), retryPolicy=_retries(context)),
    }


def _split(context: RenderContext, weight: int) -> list[Json]:
    return [_target(context.canary_service, weight), _target(context.primary, 100 - weight)]


def _target(node: str, weight: int) -> Json:
    return {"virtualNodeRef": {"name": node}, "weight": weight}


def _port(context: RenderContext) -> Json:
    """Return the port that the app listens on: the target port if it is a number, or else the Service's port."""
    target = context.service.target_port
    number = target if isinstance(target, int) and target else context.port
    return {"port": number, "protocol": protocol(context)}


def _timeout(context: RenderContext) -> Json | None:
    timeout = milliseconds(context.service.timeout)
    return None if timeout is None else {"perRequest": {"unit": "ms", "value": timeout}}


def _retries(context: RenderContext) -> Json | None:
    retries = retry_policy(context)
    if retries is None:
        return None
    timeout, attempts, events = retries
    return {
        "perRetryTimeout": {"unit": "ms", "value": timeout},
        "maxRetries": attempts,
        "httpRetryEvents": events,
    }


# shared by both versions of the API -----------------------------------------------------------------------------------


def protocol(context: RenderContext) -> str:
    """Return the listener's protocol, which follows from the port's name."""
    return "grpc" if "grpc" in context.service.port_name else "http"


def access_log(context: RenderContext) -> Json | None:
    """Return the file of Envoy's access log, if an annotation of the Canary enables the log."""
    if dict(context.canary.metadata.annotations).get(_ACCESS_LOG) != "enabled":
        return None
    return {"accessLog": {"file": {"path": "/dev/stdout"}}}


def retry_policy(context: RenderContext) -> tuple[int, int, list[str]] | None:
    """Return the timeout of one attempt in milliseconds, the number of attempts, and the events to retry after."""
    retries = context.service.retries
    if retries is None:
        return None
    timeout = milliseconds(retries.per_try_timeout)
    attempts = max(retries.attempts or 1, 1)
    return _RETRY_TIMEOUT if timeout is None else timeout, attempts, (retries.retry_on or _RETRY_EVENTS).split(",")


def header_conditions(context: RenderContext, routes: Routes) -> list[Json]:
    """Return all header conditions of the analysis. A request must meet every one."""
    headers = list_headers(context, routes, *HEADER_KINDS)
    return [{"name": name, "match": {kind: text}} for name, kind, text in headers]


def gateway_annotations(context: RenderContext) -> Json:
    """Return the annotations of a VirtualService that App Mesh Gateway exposes."""
    service = context.service
    if not service.hosts:
        return {}
    attempts = service.retries.attempts if service.retries else None
    return {
        f"{_GATEWAY}/expose": "true",
        f"{_GATEWAY}/domain": "".join(f"{host}," for host in service.hosts),
        **omit_unset(
            **{
                f"{_GATEWAY}/timeout": service.timeout,
                f"{_GATEWAY}/retries": str(attempts) if attempts else None,
            }
        ),
    }
