"""Traefik: a TraefikService that splits. The owner's IngressRoute leads to it by the app's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_list
from canarycore_mesh._objects import apex_metadata, ref, rendered, split_of, weight_of
from canarycore_mesh._queries import built_in, percentile_99, success_rate
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

TRAEFIK_SERVICE = Kind("traefik.io", "v1alpha1", "TraefikService", "traefikservices")

_SERVICE = 'service=~"{{ namespace }}-{{ target }}-canary-[0-9a-zA-Z-]+@kubernetescrd"'
_TIMES = "traefik_service_request_duration_seconds_bucket"
_NO_ERROR = 'code!~"5.."'


class Traefik(Mesh):
    """Provider `traefik`."""

    queries: Queries = built_in(
        success_rate(_TIMES, _SERVICE, _NO_ERROR, 'le="+Inf"', good=_NO_ERROR),
        f"{percentile_99(_TIMES, _SERVICE)} * 1000",
    )

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        return (ref(TRAEFIK_SERVICE, asked, asked.apex),)

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        """The weight of the primary is written even if it is 0: Traefik takes one that is left out for 1."""
        del found
        services = [_service(asked, asked.primary, routes.primary)]
        if routes.weight:
            services.append(_service(asked, asked.canary_service, routes.weight))
        spec = {"weighted": {"services": services}}
        return (rendered(asked, TRAEFIK_SERVICE, asked.apex, spec, apex_metadata(asked)),)

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        service = found.get(ref(TRAEFIK_SERVICE, asked, asked.apex))
        parts = split_of(get_list(service, "spec", "weighted", "services"), "name", left_out=1)
        weight = weight_of(parts, asked.primary, asked.canary_service)
        return None if weight is None else Routes(weight=weight)


def _service(asked: RenderContext, name: str, weight: int) -> Json:
    return {"name": name, "namespace": asked.namespace, "port": asked.port, "weight": weight}
