"""The installed meshes, as the distribution's pyproject names them, and Canaries to route."""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from typing import Any

from canarycore.manifest import Canary, parse, resolve
from canarycore_runtime.mesh import Mesh, PodSelectors, RenderContext
from tests.house.projects import ROOT, Project

Json = dict[str, Any]

ENTRIES: dict[str, str] = Project(ROOT / "adapters" / "mesh").table["entry-points"]["canarycore.meshes"]
"""The module and class of each provider's mesh, by the provider's name."""


VARIANTS: dict[str, Json] = {
    **{
        f"{provider} {kind}": {"routeKind": kind}
        for provider in ("gatewayapi:v1", "gatewayapi:v1beta1")
        for kind in ("GRPCRoute", "TCPRoute")
    },
    **{
        f"{provider} TLSRoute": {"routeKind": "TLSRoute", "hosts": ["app.example.com"]}
        for provider in ("gatewayapi:v1", "gatewayapi:v1beta1")
    },
}
"""Further kinds of routes of a provider: its name and a word, and the fields of the service that choose the kind."""


REFERENCES: dict[str, Json] = {
    "gatewayapi:v1 routeRefs": {"routeRefs": [{"name": "internal"}, {"kind": "TCPRoute", "name": "raw"}]}
}
"""A provider with routes of the owner beside the Canary's own, as a variant."""


def provider_of(name: str) -> str:
    """Return the provider of a name, which may be that of a variant."""
    return name.partition(" ")[0]


@cache
def mesh_of(provider: str) -> Mesh:
    module, _, name = ENTRIES[provider_of(provider)].partition(":")
    mesh: Mesh = getattr(import_module(module), name)()
    return mesh


def manifest(
    provider: str, *, service: Json | None = None, analysis: Json | None = None, namespace: str = "test", **spec: Any
) -> Json:
    """Return a Canary `podinfo` on that provider or variant, with the fields that it needs."""
    annotations, chosen = spec.pop("annotations", {}), {**VARIANTS, **REFERENCES}.get(provider, {})
    provider = provider_of(provider)
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "podinfo", "namespace": namespace, "annotations": annotations},
        "spec": {
            "provider": provider,
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "service": {"port": 9898, **_SERVICE_FIELDS.get(provider, {}), **chosen, **(service or {})},
            "analysis": {"interval": "30s", "threshold": 3, "stepWeight": 20, "maxWeight": 60, **(analysis or {})},
            **_SPEC_FIELDS.get(provider, {}),
            **spec,
        },
    }


def render_context(provider: str, **fields: Any) -> RenderContext:
    """Return what a mesh gets for such a Canary."""
    canary = parse(manifest(provider, **fields))
    assert isinstance(canary, Canary)
    assert not canary.warnings, canary.warnings
    pods = PodSelectors() if canary.spec.target_ref.kind == "Service" else PodSelectors.by_label("app", "podinfo")
    return RenderContext(canary=canary, rollout=resolve(canary), pods=pods)


AB = {"iterations": 3, "stepWeight": 0, "match": [{"headers": {"x-canary": {"exact": "insider"}}}]}
"""An analysis that routes by a header."""

_GATEWAYS: Json = {"gatewayRefs": [{"name": "gateway", "namespace": "ingress"}]}
_SERVICE_FIELDS: dict[str, Json] = {
    "gatewayapi:v1": _GATEWAYS,
    "gatewayapi:v1beta1": _GATEWAYS,
    "appmesh": {"meshName": "global"},
    "appmesh:v1beta1": {"meshName": "global"},
}
_INGRESS: Json = {"ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "web"}}
_SPEC_FIELDS: dict[str, Json] = {
    "nginx": _INGRESS,
    "skipper": _INGRESS,
    "alb": _INGRESS,
    "apisix": {"routeRef": {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "name": "web"}},
    "knative": {"targetRef": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "podinfo"}},
}


def sources(provider: str, namespace: str = "test") -> list[Json]:
    """Return the owner's objects for that provider: those that it copies, or the target."""
    if provider in REFERENCES:
        return [_owners(**reference, namespace=namespace) for reference in REFERENCES[provider]["routeRefs"]]
    of_provider = _SOURCES.get(provider_of(provider), ())
    owned = (of_provider,) if isinstance(of_provider, dict) else of_provider
    return [{**source, "metadata": {**source["metadata"], "namespace": namespace}} for source in owned]


def _owners(name: str, kind: str = "HTTPRoute", *, namespace: str) -> Json:
    """Return a route of the owner that leads to the apex."""
    backend = {"group": "", "kind": "Service", "name": "podinfo", "port": 9898, "weight": 1}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"parentRefs": [{"name": "mine"}], "rules": [{"backendRefs": [backend]}]},
    }


_PATHS = [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "podinfo", "port": {"number": 9898}}}}]
_BY_ANNOTATION = {**_PATHS[0], "backend": {"service": {"name": "podinfo", "port": {"name": "use-annotation"}}}}
_WEB = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {"name": "web", "labels": {"team": "web"}, "annotations": {"example.com/kept": "yes"}},
    "spec": {"rules": [{"host": "app.example.com", "http": {"paths": _PATHS}}]},
}
_ACTION = {
    "type": "forward",
    "forwardConfig": {"targetGroups": [{"serviceName": "podinfo", "servicePort": 9898, "weight": 100}]},
}


def _deployment(name: str, replicas: int) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"canarycore/split": "weight=20,replicas=5"}},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": name, "team": "web"}}}},
        "status": {"replicas": replicas, "availableReplicas": replicas},
    }


_SOURCES: dict[str, Json | tuple[Json, ...]] = {
    "replicas": (_deployment("podinfo", 1), _deployment("podinfo-primary", 4)),
    "nginx": _WEB,
    "skipper": _WEB,
    "alb": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "web",
            "annotations": {
                "example.com/kept": "yes",
                "alb.ingress.kubernetes.io/actions.podinfo": json.dumps(_ACTION),
            },
        },
        "spec": {"rules": [{"host": "app.example.com", "http": {"paths": [_BY_ANNOTATION]}}]},
    },
    "apisix": {
        "apiVersion": "apisix.apache.org/v2",
        "kind": "ApisixRoute",
        "metadata": {"name": "web", "labels": {"team": "web"}},
        "spec": {
            "http": [
                {
                    "name": "app",
                    "match": {"hosts": ["app.example.com"], "paths": ["/*"]},
                    "backends": [{"serviceName": "podinfo", "servicePort": 9898}],
                }
            ]
        },
    },
    "knative": {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "podinfo", "annotations": {"flagger.app/primary-revision": "podinfo-00001"}},
        "spec": {"template": {"spec": {"containers": [{"image": "podinfo:6.0.0"}]}}},
        "status": {"latestCreatedRevisionName": "podinfo-00002"},
    },
}
