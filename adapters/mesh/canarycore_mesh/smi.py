"""The Service Mesh Interface: a TrafficSplit, in each of its versions; Linkerd and OSM read it too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_list
from canarycore_mesh._objects import make_object, make_ref, read_split, read_weight
from canarycore_mesh._queries import built_in_queries, percentile_99, success_rate
from canarycore_mesh.istio import Istio
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

GROUP = "split.smi-spec.io"

_ISTIOS_GATEWAYS = "VirtualService.v1alpha3.networking.istio.io/spec.gateways"

_DEPLOYMENT = ('namespace="{{ namespace }}"', 'deployment=~"{{ target }}"')
_NO_FAILURE = 'classification!="failure"'
_INBOUND = 'direction="inbound"'

_DESTINATION = (
    'destination_namespace="{{ namespace }}"',
    'destination_kind="Deployment"',
    'destination_name="{{ target }}"',
)
_NO_ERROR = 'response_code!~"5.*"'


class _Smi(Mesh):
    """A version of the interface."""

    queries: Queries = Istio.queries
    kind: Kind
    weight: Callable[[int], int | str] = int
    """The version's type of a weight."""

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        return (make_ref(self.kind, context, context.apex),)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        del objects
        weights = ((context.canary_service, routes.weight), (context.primary, routes.primary))
        spec = {
            "service": next(iter(context.service.hosts), context.apex),
            "backends": [{"service": name, "weight": self.weight(weight)} for name, weight in weights],
        }
        return (make_object(context, self.kind, context.apex, spec, {"annotations": _annotations(context)}),)

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        traffic_split = objects.get(make_ref(self.kind, context, context.apex))
        split = read_split(get_list(traffic_split, "spec", "backends"), "service")
        weight = read_weight(split, context.primary, context.canary_service)
        return None if weight is None else Routes(weight=weight)


def _annotations(context: RenderContext) -> dict[str, str]:
    """Return the gateways for Istio's SMI adapter, where the provider names it: `smi:v1alpha1:istio`."""
    gateways = context.service.gateways
    if not gateways or not context.rollout.provider.endswith(":istio"):
        return {}
    return {_ISTIOS_GATEWAYS: json.dumps(gateways, separators=(",", ":"))}


class SmiV1Alpha1(_Smi):
    """Provider `smi:v1alpha1`."""

    kind: Kind = Kind(GROUP, "v1alpha1", "TrafficSplit", "trafficsplits")
    weight: Callable[[int], int | str] = str  # a quantity


class SmiV1Alpha2(_Smi):
    """Provider `smi:v1alpha2`."""

    kind: Kind = Kind(GROUP, "v1alpha2", "TrafficSplit", "trafficsplits")


class SmiV1Alpha3(_Smi):
    """Provider `smi:v1alpha3`."""

    kind: Kind = Kind(GROUP, "v1alpha3", "TrafficSplit", "trafficsplits")


class Linkerd(SmiV1Alpha1):
    """Provider `linkerd`."""

    queries: Queries = built_in_queries(
        success_rate("response_total", *_DEPLOYMENT, _NO_FAILURE, _INBOUND, good=_NO_FAILURE),
        percentile_99("response_latency_ms_bucket", *_DEPLOYMENT, _INBOUND),
    )


class OpenServiceMesh(SmiV1Alpha2):
    """Provider `osm`."""

    queries: Queries = built_in_queries(
        success_rate("osm_request_total", *_DESTINATION, _NO_ERROR, good=_NO_ERROR),
        percentile_99("osm_request_duration_ms_bucket", *_DESTINATION),
    )
