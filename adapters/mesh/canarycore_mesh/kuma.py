"""Kuma: a TrafficRoute, which is in no namespace. Its mesh is told by an annotation of the Canary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_list
from canarycore_mesh._objects import apex_metadata, ref, rendered, split_of, weight_of
from canarycore_mesh._queries import of_envoy
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

TRAFFIC_ROUTE = Kind("kuma.io", "v1alpha1", "TrafficRoute", "trafficroutes", namespaced=False)

_MESH = "kuma.io/mesh"
_SERVICE = "kuma.io/service"


class Kuma(Mesh):
    """Provider `kuma`."""

    queries: Queries = of_envoy('service=~"{{ target }}-canary_{{ namespace }}_svc_[0-9a-zA-Z-]+"')

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        return (ref(TRAFFIC_ROUTE, asked, asked.apex),)

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        del found
        spec = {
            "sources": [{"match": {_SERVICE: "*"}}],
            "destinations": [{"match": _service(asked, asked.apex)}],
            "conf": {
                "split": [
                    {"weight": routes.primary, "destination": _service(asked, asked.primary)},
                    {"weight": routes.weight, "destination": _service(asked, asked.canary_service)},
                ]
            },
        }
        mesh = dict(asked.canary.metadata.annotations).get(_MESH, "default")
        return ({**rendered(asked, TRAFFIC_ROUTE, asked.apex, spec, apex_metadata(asked)), "mesh": mesh},)

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        route = found.get(ref(TRAFFIC_ROUTE, asked, asked.apex))
        if not asked.service:
            return None
        parts = split_of(get_list(route, "spec", "conf", "split"), "destination", _SERVICE)
        sides = (_service(asked, name)[_SERVICE] for name in (asked.primary, asked.canary_service))
        weight = weight_of(parts, *sides)
        return None if weight is None else Routes(weight=weight)


def _service(asked: RenderContext, name: str) -> Json:
    """A Service as Kuma names it."""
    return {_SERVICE: f"{name}_{asked.namespace}_svc_{asked.port}"}
