"""AWS App Mesh, API v1beta1: VirtualNodes, and VirtualServices that split; callers name `app.namespace`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.foreign import get_items, get_list
from canarycore_mesh._objects import (
    apex_metadata,
    beside_matching,
    given_fields,
    parse_fraction,
    prefix,
    ref,
    refuse,
    rendered,
    routes_of,
    split_of,
    weight_of,
)
from canarycore_mesh.appmesh import (
    QUERIES,
    access_log,
    gateway_annotations,
    header_conditions,
    protocol,
    retry_policy,
)
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from canarycore import Routes
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

VIRTUAL_NODE = Kind("appmesh.k8s.aws", "v1beta1", "VirtualNode", "virtualnodes")
VIRTUAL_SERVICE = Kind("appmesh.k8s.aws", "v1beta1", "VirtualService", "virtualservices")

_ONLY_CANARY = 100


class AppMeshV1Beta1(Mesh):
    """Provider `appmesh`, as Flagger has it, and `appmesh:v1beta1`."""

    queries: Queries = QUERIES
    before_pods: frozenset[Kind] = frozenset({VIRTUAL_NODE})

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        nodes = (ref(VIRTUAL_NODE, asked, name) for name in (asked.apex, asked.primary, asked.canary_service))
        services = (ref(VIRTUAL_SERVICE, asked, _called(asked, name)) for name in (asked.apex, asked.canary_service))
        return (*nodes, *services)

    def is_route(self, asked: RenderContext, ref: Ref) -> bool:
        return ref.name in (asked.apex, _called(asked, asked.apex))

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        del found
        if not asked.service.get("meshName"):
            refuse(asked, "nothing", "the name of the App Mesh", "spec.service.meshName", "Add it.")
        only_canary = [{"name": asked.canary_service, "http": _route(asked, _split(asked, _ONLY_CANARY))}]
        return (
            _node(asked, asked.apex, asked.primary),
            _node(asked, asked.primary, asked.primary),
            _node(asked, asked.canary_service, asked.canary_service),
            _service(asked, asked.apex, _routes(asked, routes), gateway_annotations(asked)),
            _service(asked, asked.canary_service, only_canary, {}),
        )

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        service = found.get(ref(VIRTUAL_SERVICE, asked, _called(asked, asked.apex)))
        targets = (
            get_list(route, "http", "action", "weightedTargets") for route in get_items(service, "spec", "routes")
        )
        parts = [split_of(several, "virtualNodeName") for several in targets]
        return routes_of(asked, [weight_of(several, asked.primary, asked.canary_service) for several in parts])


def _called(asked: RenderContext, name: str) -> str:
    return f"{name}.{asked.namespace}"


def _node(asked: RenderContext, name: str, host: str) -> Json:
    backends = [{"virtualService": {"virtualServiceName": name}} for name in asked.service.get("backends", [])]
    spec = {
        "meshName": asked.service["meshName"],
        "listeners": [{"portMapping": _port(asked)}],
        "serviceDiscovery": {"dns": {"hostName": _called(asked, host)}},
        **given_fields(logging=access_log(asked), backends=backends),
    }
    return rendered(asked, VIRTUAL_NODE, name, spec, apex_metadata(asked, selectable=False))


def _service(asked: RenderContext, name: str, routes: list[Json], annotations: Json) -> Json:
    spec = {
        "meshName": asked.service["meshName"],
        "virtualRouter": {"name": name, "listeners": [{"portMapping": _port(asked)}]},
        "routes": routes,
    }
    return rendered(asked, VIRTUAL_SERVICE, _called(asked, name), spec, {"annotations": annotations})


def _routes(asked: RenderContext, routes: Routes) -> list[Json]:
    weighted = _split(asked, parse_fraction(routes))
    if not asked.match:
        return [{"name": asked.apex, "http": _route(asked, weighted)}]
    weight = beside_matching(asked, routes)
    others = _split(asked, weight) if weight else [_target(asked.primary, 100)]
    return [
        {"name": f"{asked.apex}-a", "priority": 10, "http": _route(asked, weighted, header_conditions(asked))},
        {"name": f"{asked.apex}-b", "priority": 20, "http": _route(asked, others)},
    ]


def _route(asked: RenderContext, targets: list[Json], matching: list[Json] | None = None) -> Json:
    return {
        "match": {"prefix": prefix(asked), **given_fields(headers=matching)},
        "action": {"weightedTargets": targets},
        **given_fields(retryPolicy=_retries(asked)),
    }


def _split(asked: RenderContext, weight: int) -> list[Json]:
    return [_target(asked.canary_service, weight), _target(asked.primary, 100 - weight)]


def _target(node: str, weight: int) -> Json:
    return {"virtualNodeName": node, "weight": weight}


def _port(asked: RenderContext) -> Json:
    return {"port": asked.port, "protocol": protocol(asked)}


def _retries(asked: RenderContext) -> Json | None:
    retries = retry_policy(asked)
    if retries is None:
        return None
    timeout, attempts, events = retries
    return {"perRetryTimeoutMillis": timeout, "maxRetries": attempts, "httpRetryEvents": events}
