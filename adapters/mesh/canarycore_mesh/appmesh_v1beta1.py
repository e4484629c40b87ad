"""AWS App Mesh, API v1beta1: VirtualNodes, and VirtualServices that split. Clients call `app.namespace`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.foreign import get_items, get_list
from canarycore_mesh._objects import (
    apex_metadata,
    default_weight,
    make_object,
    make_ref,
    matching_weight,
    omit_unset,
    path_prefix,
    read_routes,
    read_split,
    read_verdict,
    refuse,
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
    from canarycore import RouteRefusal, Routes
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

VIRTUAL_NODE = Kind("appmesh.k8s.aws", "v1beta1", "VirtualNode", "virtualnodes")
VIRTUAL_SERVICE = Kind("appmesh.k8s.aws", "v1beta1", "VirtualService", "virtualservices")

_ALL = 100


class AppMeshV1Beta1(Mesh):
    """Provider `appmesh`, as Flagger has it, and `appmesh:v1beta1`."""

    queries: Queries = QUERIES
    before_pods: frozenset[Kind] = frozenset({VIRTUAL_NODE})
    statuses: frozenset[Kind] = frozenset({VIRTUAL_SERVICE})

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        nodes = (
            make_ref(VIRTUAL_NODE, context, name) for name in (context.apex, context.primary, context.canary_service)
        )
        services = (
            make_ref(VIRTUAL_SERVICE, context, _full_name(context, name))
            for name in (context.apex, context.canary_service)
        )
        return (*nodes, *services)

    def is_route(self, context: RenderContext, ref: Ref) -> bool:
        return ref.name in (context.apex, _full_name(context, context.apex))

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        del objects
        if not context.service.mesh_name:
            refuse(context, "nothing", "the name of the App Mesh", "spec.service.meshName", "Add it.")
        canary_routes = [{"name": context.canary_service, "http": _route(context, _split(context, _ALL))}]
        return (
            _node(context, context.apex, context.primary),
            _node(context, context.primary, context.primary),
            _node(context, context.canary_service, context.canary_service),
            _service(context, context.apex, _routes(context, routes), gateway_annotations(context)),
            _service(context, context.canary_service, canary_routes, {}),
        )

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        service = objects.get(make_ref(VIRTUAL_SERVICE, context, _full_name(context, context.apex)))
        rules = get_items(service, "spec", "routes")
        targets = (get_list(rule, "http", "action", "weightedTargets") for rule in rules)
        return read_routes(context, (read_split(destinations, "virtualNodeName") for destinations in targets))

    def refusal(self, context: RenderContext, objects: ObjectsByRef) -> RouteRefusal | None:
        """Return App Mesh's verdict on the service that splits, where its controller has written one."""
        service = objects.get(make_ref(VIRTUAL_SERVICE, context, _full_name(context, context.apex)))
        return read_verdict(service, "VirtualServiceActive")


def _full_name(context: RenderContext, name: str) -> str:
    return f"{name}.{context.namespace}"


def _node(context: RenderContext, name: str, host: str) -> Json:
    backends = [{"virtualService": {"virtualServiceName": name}} for name in context.service.backends]
    spec = {
        "meshName": context.service.mesh_name,
        "listeners": [{"portMapping": _port(context)}],
        "serviceDiscovery": {"dns": {"hostName": _full_name(context, host)}},
        **omit_unset(logging=access_log(context), backends=backends),
    }
    return make_object(context, VIRTUAL_NODE, name, spec, apex_metadata(context, selectable=False))


def _service(context: RenderContext, name: str, routes: list[Json], annotations: Json) -> Json:
    spec = {
        "meshName": context.service.mesh_name,
        "virtualRouter": {"name": name, "listeners": [{"portMapping": _port(context)}]},
        "routes": routes,
    }
    return make_object(context, VIRTUAL_SERVICE, _full_name(context, name), spec, {"annotations": annotations})


def _routes(context: RenderContext, routes: Routes) -> list[Json]:
    weighted = _split(context, matching_weight(context, routes))
    if not context.match:
        return [{"name": context.apex, "http": _route(context, weighted)}]
    weight, matching = default_weight(context, routes), header_conditions(context, routes)
    others = _split(context, weight) if weight else [_target(context.primary, 100)]
    return [
        {"name": f"{context.apex}-a", "priority": 10, "http": _route(context, weighted, matching)},
        {"name": f"{context.apex}-b", "priority": 20, "http": _route(context, others)},
    ]


def _route(context: RenderContext, targets: list[Json], matching: list[Json] | None = None) -> Json:
    return {
        "match": {"prefix": path_prefix(context), **omit_unset(headers=matching)},
        "action": {"weightedTargets": targets},
        **omit_unset(retryPolicy=_retries(context)),
    }


def _split(context: RenderContext, weight: int) -> list[Json]:
    return [_target(context.canary_service, weight), _target(context.primary, 100 - weight)]


def _target(node: str, weight: int) -> Json:
    return {"virtualNodeName": node, "weight": weight}


def _port(context: RenderContext) -> Json:
    return {"port": context.port, "protocol": protocol(context)}


def _retries(context: RenderContext) -> Json | None:
    retries = retry_policy(context)
    if retries is None:
        return None
    timeout, attempts, events = retries
    return {"perRetryTimeoutMillis": timeout, "maxRetries": attempts, "httpRetryEvents": events}
