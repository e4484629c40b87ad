"""Traefik: a TraefikService that splits. The owner's IngressRoute refers to it by the app's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_list
from canarycore_mesh._objects import apex_metadata, make_object, make_ref, read_split, read_weight
from canarycore_mesh._queries import built_in_queries, percentile_99, success_rate
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

TRAEFIK_SERVICE = Kind("traefik.io", "v1alpha1", "TraefikService", "traefikservices")

_SERVICE = 'service=~"{{ namespace }}-{{ service }}-canary-[0-9a-zA-Z-]+@kubernetescrd"'
_TIMES = "traefik_service_request_duration_seconds_bucket"
_NO_ERROR = 'code!~"5.."'


class Traefik(Mesh):
    """Provider `traefik`."""

    queries: Queries = built_in_queries(
        success_rate(_TIMES, _SERVICE, _NO_ERROR, 'le="+Inf"', good=_NO_ERROR),
        f"{percentile_99(_TIMES, _SERVICE)} * 1000",
    )

    proxy_delay: float = 4.0
    """Traefik applies changes every 2 s (`providers.providersThrottleDuration`), after those under way."""

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        return (make_ref(TRAEFIK_SERVICE, context, context.apex),)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        """Return the service. It gives the primary's weight even if that is 0, because Traefik's default is 1."""
        del objects
        services = [_service(context, context.primary, routes.primary)]
        if routes.weight:
            services.append(_service(context, context.canary_service, routes.weight))
        spec = {"weighted": {"services": services}}
        return (make_object(context, TRAEFIK_SERVICE, context.apex, spec, apex_metadata(context)),)

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        service = objects.get(make_ref(TRAEFIK_SERVICE, context, context.apex))
        split = read_split(get_list(service, "spec", "weighted", "services"), "name", default=1)
        weight = read_weight(split, context.primary, context.canary_service)
        return None if weight is None else Routes(weight=weight)


def _service(context: RenderContext, name: str, weight: int) -> Json:
    return {"name": name, "namespace": context.namespace, "port": context.port, "weight": weight}
