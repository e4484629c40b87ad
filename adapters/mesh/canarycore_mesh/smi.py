"""The Service Mesh Interface: a TrafficSplit, in the versions that meshes came to know; Linkerd's and OSM's too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_list
from canarycore_mesh._objects import ref, rendered, split_of, weight_of
from canarycore_mesh._queries import built_in, percentile_99, success_rate
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
    """weight: how the version writes a weight."""

    queries: Queries = Istio.queries
    kind: Kind
    weight: Callable[[int], int | str] = int

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        return (ref(self.kind, asked, asked.apex),)

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        del found
        shares = ((asked.canary_service, routes.weight), (asked.primary, routes.primary))
        spec = {
            "service": next(iter(asked.service.get("hosts", ())), asked.apex),
            "backends": [{"service": name, "weight": self.weight(share)} for name, share in shares],
        }
        return (rendered(asked, self.kind, asked.apex, spec, {"annotations": _annotations(asked)}),)

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        split = found.get(ref(self.kind, asked, asked.apex))
        parts = split_of(get_list(split, "spec", "backends"), "service")
        weight = weight_of(parts, asked.primary, asked.canary_service)
        return None if weight is None else Routes(weight=weight)


def _annotations(asked: RenderContext) -> dict[str, str]:
    """For Istio's adapter, where the provider's name ends with the mesh behind the interface: `smi:v1alpha1:istio`."""
    gateways = asked.service.get("gateways", [])
    if not gateways or not asked.rollout.provider.endswith(":istio"):
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

    queries: Queries = built_in(
        success_rate("response_total", *_DEPLOYMENT, _NO_FAILURE, _INBOUND, good=_NO_FAILURE),
        percentile_99("response_latency_ms_bucket", *_DEPLOYMENT, _INBOUND),
    )


class OpenServiceMesh(SmiV1Alpha2):
    """Provider `osm`."""

    queries: Queries = built_in(
        success_rate("osm_request_total", *_DESTINATION, _NO_ERROR, good=_NO_ERROR),
        percentile_99("osm_request_duration_ms_bucket", *_DESTINATION),
    )
