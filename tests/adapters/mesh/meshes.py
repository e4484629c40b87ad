"""The installed meshes, as the distribution's pyproject names them, and Canaries to route."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from canarycore.manifest import parse, resolve
from canarycore_runtime.mesh import Asked, Mesh
from tests.house.projects import ROOT, Project

Json = dict[str, Any]

ENTRIES: dict[str, str] = Project(ROOT / "adapters" / "mesh").table["entry-points"]["canarycore.meshes"]
"""Provider name -> where the mesh is."""


@cache
def mesh_of(provider: str) -> Mesh:
    module, _, name = ENTRIES[provider].partition(":")
    mesh: Mesh = getattr(import_module(module), name)()
    return mesh


def asked(provider: str, *, service: Json | None = None, analysis: Json | None = None, **fields: Any) -> Asked:
    """A Canary `podinfo` on that provider, with what each of them needs."""
    annotations = fields.pop("annotations", {})
    spec = {
        "provider": provider,
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
        "service": {"port": 9898, **_NEEDED.get(provider, {}), **(service or {})},
        "analysis": {"interval": "30s", "threshold": 3, "stepWeight": 20, "maxWeight": 60, **(analysis or {})},
        **_REFERENCES.get(provider, {}),
        **fields,
    }
    metadata = {"name": "podinfo", "namespace": "test", "annotations": annotations}
    canary = parse({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": metadata, "spec": spec})
    assert not canary.warnings, canary.warnings
    return Asked(canary=canary, rollout=resolve(canary), pods=("app", "podinfo"))


AB = {"iterations": 3, "stepWeight": 0, "match": [{"headers": {"x-canary": {"exact": "insider"}}}]}
"""An analysis that routes by a header."""

_GATEWAYS: Json = {"gatewayRefs": [{"name": "gateway", "namespace": "ingress"}]}
_NEEDED: dict[str, Json] = {
    "gatewayapi:v1": _GATEWAYS,
    "gatewayapi:v1beta1": _GATEWAYS,
    "appmesh": {"meshName": "global"},
    "appmesh:v1beta1": {"meshName": "global"},
}
_INGRESS: Json = {"ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "web"}}
_REFERENCES: dict[str, Json] = {
    "nginx": _INGRESS,
    "skipper": _INGRESS,
    "apisix": {"routeRef": {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "name": "web"}},
    "knative": {"targetRef": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "podinfo"}},
}
