"""AWS App Mesh, API v1beta2: a VirtualNode for each side, a VirtualRouter that splits, VirtualServices to call.

The canary has a router and a service of its own besides, which reach nothing but the canary, for tests.
Pods become members of the mesh by the VirtualNode that selects them, so the nodes must be there before the pods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.foreign import get_items, get_list
from canarycore.manifest import parse_duration
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
from canarycore_mesh._queries import (
    NO_ERROR_OF_ENVOY,
    PODS,
    RESPONSES_OF_ENVOY,
    TIMES_OF_ENVOY,
    built_in,
    percentile_99,
    success_rate,
)
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from canarycore import Routes
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

VIRTUAL_NODE = Kind("appmesh.k8s.aws", "v1beta2", "VirtualNode", "virtualnodes")
VIRTUAL_ROUTER = Kind("appmesh.k8s.aws", "v1beta2", "VirtualRouter", "virtualrouters")
VIRTUAL_SERVICE = Kind("appmesh.k8s.aws", "v1beta2", "VirtualService", "virtualservices")

QUERIES = built_in(
    success_rate(RESPONSES_OF_ENVOY, *PODS, NO_ERROR_OF_ENVOY, good=NO_ERROR_OF_ENVOY),
    percentile_99(TIMES_OF_ENVOY, *PODS),
)

HEADER_KINDS = ("exact", "prefix", "suffix", "regex")

_ACCESS_LOG = "appmesh.flagger.app/accesslog"
_GATEWAY = "gateway.appmesh.k8s.aws"
_ONLY_CANARY = 100


class AppMesh(Mesh):
    """Provider `appmesh:v1beta2`."""

    queries: Queries = QUERIES
    before_pods: frozenset[Kind] = frozenset({VIRTUAL_NODE})

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        nodes = (ref(VIRTUAL_NODE, asked, name) for name in (asked.primary, asked.canary_service))
        names = (asked.apex, asked.canary_service)
        return (*nodes, *(ref(kind, asked, name) for name in names for kind in (VIRTUAL_ROUTER, VIRTUAL_SERVICE)))

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        del found
        only_canary = [{"name": asked.canary_service, "httpRoute": _route(asked, _split(asked, _ONLY_CANARY))}]
        return (
            _node(asked, asked.primary, asked.primary_pods),
            _node(asked, asked.canary_service, asked.pods),
            _router(asked, asked.apex, _routes(asked, routes)),
            _service(asked, asked.apex, gateway_annotations(asked)),
            _router(asked, asked.canary_service, only_canary),
            _service(asked, asked.canary_service, {}),
        )

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        router = found.get(ref(VIRTUAL_ROUTER, asked, asked.apex))
        targets = (
            get_list(route, "httpRoute", "action", "weightedTargets") for route in get_items(router, "spec", "routes")
        )
        parts = [split_of(several, "virtualNodeRef", "name") for several in targets]
        return routes_of(asked, [weight_of(several, asked.primary, asked.canary_service) for several in parts])


def _node(asked: RenderContext, name: str, pods: tuple[str, str]) -> Json:
    timeout = _timeout(asked)
    listener = {"portMapping": _port(asked), **given_fields(timeout=timeout and {"http": timeout})}
    label, value = pods
    spec = {
        "listeners": [listener],
        "serviceDiscovery": {"dns": {"hostname": f"{name}.{asked.namespace}.svc.cluster.local."}},
        "podSelector": {"matchLabels": {label: value}},
        **given_fields(
            logging=access_log(asked), backends=[_backend(name) for name in asked.service.get("backends", [])]
        ),
    }
    return rendered(asked, VIRTUAL_NODE, name, spec, apex_metadata(asked, selectable=False))


def _backend(name: str) -> Json:
    by_arn = name.startswith("arn:aws")
    return {"virtualService": {"virtualServiceARN": name} if by_arn else {"virtualServiceRef": {"name": name}}}


def _service(asked: RenderContext, name: str, annotations: Json) -> Json:
    spec = {"provider": {"virtualRouter": {"virtualRouterRef": {"name": name}}}}
    return rendered(asked, VIRTUAL_SERVICE, name, spec, {"annotations": annotations})


def _router(asked: RenderContext, name: str, routes: list[Json]) -> Json:
    return rendered(asked, VIRTUAL_ROUTER, name, {"listeners": [{"portMapping": _port(asked)}], "routes": routes})


def _routes(asked: RenderContext, routes: Routes) -> list[Json]:
    weighted = _split(asked, parse_fraction(routes))
    if not asked.match:
        return [{"name": asked.apex, "httpRoute": _route(asked, weighted)}]
    matching = header_conditions(asked)
    weight = beside_matching(asked, routes)
    others = _split(asked, weight) if weight else [_target(asked.primary, 100)]
    return [
        {"name": f"{asked.apex}-a", "priority": 10, "httpRoute": _route(asked, weighted, matching)},
        {"name": f"{asked.apex}-b", "priority": 20, "httpRoute": _route(asked, others)},
    ]


def _route(asked: RenderContext, targets: list[Json], matching: list[Json] | None = None) -> Json:
    return {
        "match": {"prefix": prefix(asked), **given_fields(headers=matching)},
        "action": {"weightedTargets": targets},
        **given_fields(timeout=_timeout(asked), retryPolicy=_retries(asked)),
    }


def _split(asked: RenderContext, weight: int) -> list[Json]:
    return [_target(asked.canary_service, weight), _target(asked.primary, 100 - weight)]


def _target(node: str, weight: int) -> Json:
    return {"virtualNodeRef": {"name": node}, "weight": weight}


def _port(asked: RenderContext) -> Json:
    """The port that the app listens on, if its number is known."""
    target = asked.service.get("targetPort")
    number = target if isinstance(target, int) and target else asked.port
    return {"port": number, "protocol": protocol(asked)}


def _timeout(asked: RenderContext) -> Json | None:
    text = asked.service.get("timeout")
    return {"perRequest": _milliseconds(text)} if text else None


def _retries(asked: RenderContext) -> Json | None:
    retries = retry_policy(asked)
    if retries is None:
        return None
    timeout, attempts, events = retries
    return {
        "perRetryTimeout": {"unit": "ms", "value": timeout},
        "maxRetries": attempts,
        "httpRetryEvents": events,
    }


def _milliseconds(text: str) -> Json:
    return {"unit": "ms", "value": int(parse_duration(text) * 1000)}


# what both versions of the API have -----------------------------------------------------------------------------------


def protocol(asked: RenderContext) -> str:
    """The listener's protocol, as the port's name tells."""
    return "grpc" if "grpc" in asked.service.get("portName", "") else "http"


def access_log(asked: RenderContext) -> Json | None:
    """Where Envoy logs requests, if an annotation of the Canary says that it should."""
    if dict(asked.canary.metadata.annotations).get(_ACCESS_LOG) != "enabled":
        return None
    return {"accessLog": {"file": {"path": "/dev/stdout"}}}


def retry_policy(asked: RenderContext) -> tuple[int, int, list[str]] | None:
    """The timeout of one attempt in milliseconds, how many attempts, and what is tried again."""
    retries = asked.service.get("retries")
    if retries is None:
        return None
    timeout = retries.get("perTryTimeout")
    events = retries.get("retryOn") or "gateway-error"
    return int(parse_duration(timeout) * 1000) if timeout else 250, retries.get("attempts") or 1, events.split(",")


def header_conditions(asked: RenderContext) -> list[Json]:
    """All headers of the analysis's conditions: a request must meet every one."""
    return [{"name": name, "match": {kind: text}} for name, kind, text in known_headers(asked, *HEADER_KINDS)]


def gateway_annotations(asked: RenderContext) -> Json:
    """What App Mesh Gateway reads from the VirtualService that it exposes."""
    hosts = asked.service.get("hosts", [])
    if not hosts:
        return {}
    attempts = asked.service.get("retries", {}).get("attempts")
    return {
        f"{_GATEWAY}/expose": "true",
        f"{_GATEWAY}/domain": "".join(f"{host}," for host in hosts),
        **given_fields(
            **{
                f"{_GATEWAY}/timeout": asked.service.get("timeout"),
                f"{_GATEWAY}/retries": str(attempts) if attempts else None,
            }
        ),
    }
