"""Acme's mesh: a TrafficShare gives the canary its share of the requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canarycore import CheckKind, Routes
from canarycore.foreign import get_value
from canarycore.manifest.routing import ProviderCapabilities
from canarycore_runtime.mesh import Kind, Mesh, Ref
from canarycore_runtime.plugins import AccessRight, PluginDeclaration

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, RenderContext

TRAFFIC_SHARE = Kind("acme.example", "v1", "TrafficShare", "trafficshares")

DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{TRAFFIC_SHARE.plural}.{TRAFFIC_SHARE.group}"},
    "spec": {
        "group": TRAFFIC_SHARE.group,
        "scope": "Namespaced",
        "names": {"kind": TRAFFIC_SHARE.kind, "plural": TRAFFIC_SHARE.plural},
        "versions": [
            {
                "name": TRAFFIC_SHARE.version,
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                    }
                },
            }
        ],
    },
}


QUERIES = {
    CheckKind.SUCCESS_RATE: 'acme_success_percent{service="{{ service }}"}',
    CheckKind.DURATION: 'acme_milliseconds{service="{{ service }}"}',
}


class AcmeMesh(Mesh):
    """Provider `acme`."""

    declaration = PluginDeclaration(
        capabilities=ProviderCapabilities(mirror=True),
        rights=(AccessRight(TRAFFIC_SHARE.group, TRAFFIC_SHARE.plural),),
        definitions=(DEFINITION,),
    )

    queries: Queries = QUERIES

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        return (_ref(context),)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        del objects
        return (
            {
                "apiVersion": TRAFFIC_SHARE.api_version,
                "kind": TRAFFIC_SHARE.kind,
                "metadata": {"name": context.apex, "namespace": context.namespace},
                "spec": {
                    "stable": context.primary,
                    "canary": context.canary_service,
                    "percent": routes.weight,
                    "mirror": routes.mirrored,
                },
            },
        )

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        share = objects.get(_ref(context))
        percent, mirror = get_value(share, "spec", "percent"), get_value(share, "spec", "mirror")
        if type(percent) is not int or not 0 <= percent <= 100 or type(mirror) is not bool:
            return None
        return Routes(weight=percent, mirrored=mirror)


def _ref(context: RenderContext) -> Ref:
    return Ref(kind=TRAFFIC_SHARE, namespace=context.namespace, name=context.apex)
