"""Kuma: a TrafficRoute, which has no namespace. An annotation of the Canary names its mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_list
from canarycore_mesh._objects import apex_metadata, make_object, make_ref, read_split, read_weight
from canarycore_mesh._queries import envoy_queries
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

TRAFFIC_ROUTE = Kind("kuma.io", "v1alpha1", "TrafficRoute", "trafficroutes", namespaced=False)

_MESH = "kuma.io/mesh"
_SERVICE = "kuma.io/service"


class Kuma(Mesh):
    """Provider `kuma`."""

    queries: Queries = envoy_queries('service=~"{{ service }}-canary_{{ namespace }}_svc_[0-9a-zA-Z-]+"')

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        return (make_ref(TRAFFIC_ROUTE, context, context.apex),)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        del objects
        spec = {
            "sources": [{"match": {_SERVICE: "*"}}],
            "destinations": [{"match": _service(context, context.apex)}],
            "conf": {
                "split": [
                    {"weight": routes.primary, "destination": _service(context, context.primary)},
                    {"weight": routes.weight, "destination": _service(context, context.canary_service)},
                ]
            },
        }
        mesh = dict(context.canary.metadata.annotations).get(_MESH, "default")
        return ({**make_object(context, TRAFFIC_ROUTE, context.apex, spec, apex_metadata(context)), "mesh": mesh},)

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        route = objects.get(make_ref(TRAFFIC_ROUTE, context, context.apex))
        if context.canary.spec.service is None:
            return None
        split = read_split(get_list(route, "spec", "conf", "split"), "destination", _SERVICE)
        sides = (_service(context, name)[_SERVICE] for name in (context.primary, context.canary_service))
        weight = read_weight(split, *sides)
        return None if weight is None else Routes(weight=weight)


def _service(context: RenderContext, name: str) -> Json:
    """Return the tag that Kuma gives a Service."""
    return {_SERVICE: f"{name}_{context.namespace}_svc_{context.port}"}
