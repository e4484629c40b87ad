"""Samples to mutate: objects, manifests and answers from Flagger's recordings, the examples and our own tests.

The recordings are beside the checkout (../shared); without them there are fewer samples, and the rest is the same.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canarycore import Routes
from canarycore.errors import CanaryError
from canarycore.manifest import Canary, documents, dump, parse
from tests.adapters.mesh import meshes, recordings
from tests.conformance.trace import Trace, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore_runtime.mesh import ObjectsByRef, RenderContext

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT.parent / "shared" / "golden"
MANIFESTS = ROOT / "examples" / "manifests"

MOST = 8
"""Samples of one kind and mesh."""

AFFINITY = {"sessionAffinity": {"cookieName": "user", "primaryCookieName": "primary-user", "maxAge": 60}}
POLICY: Json = {
    "metadata": {
        "name": "podinfo",
        "namespace": "test",
        "labels": {"team": "web"},
        "annotations": {"kuma.io/mesh": "m"},
    },
    "apiVersion": "flagger.app/v1beta1",
    "kind": "Canary",
    "spec": {
        "provider": "istio",
        "metricsServer": "http://prometheus:9090",
        "progressDeadlineSeconds": 60,
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
        "autoscalerRef": {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "name": "podinfo",
            "primaryScalerReplicas": {"minReplicas": 2, "maxReplicas": 5},
        },
        "service": {
            "port": 9898,
            "targetPort": "http",
            "portDiscovery": True,
            "timeout": "15s",
            "hosts": ["app.example.com"],
            "gateways": ["mesh", "public"],
            "gatewayRefs": [{"name": "gateway", "namespace": "ingress"}],
            "backends": ["backend.test"],
            "meshName": "global",
            "match": [{"uri": {"prefix": "/"}, "headers": {"x-user": {"exact": "me"}}, "method": {"exact": "GET"}}],
            "rewrite": {"uri": "/", "authority": "app"},
            "retries": {"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx"},
            "headers": {"request": {"add": {"x-some": "v"}, "remove": ["x-other"]}, "response": {"set": {"a": "b"}}},
            "mirror": [{"backendRef": {"name": "mirror", "port": 80}}],
            "corsPolicy": {"allowOrigin": ["example.com"], "allowMethods": ["GET"], "maxAge": "24h"},
            "trafficPolicy": {"tls": {"mode": "DISABLE"}},
            "apex": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "unmanagedMetadata": {"labels": ["x"], "annotations": ["y"]},
        },
        "analysis": {
            "interval": "30s",
            "threshold": 3,
            "stepWeights": [10, 20, 50],
            "match": [{"headers": {"x-canary": {"exact": "insider"}}, "sourceLabels": {"app": "x"}}],
            "metrics": [
                {"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}},
                {
                    "name": "conditional",
                    "interval": "1m",
                    "templateRef": {"name": "errors"},
                    "successCondition": "len(result) == 0 || result[0] / 2 < 0.5",
                    "failureCondition": "isNaN(result) || !(result <= 5)",
                },
                {"name": "own", "interval": "1m", "thresholdRange": {"max": 1}, "query": 'up{ns="{{ namespace }}"}'},
                {"name": "other", "templateRef": {"name": "errors", "namespace": "x"}, "templateVariables": {"a": "b"}},
                {
                    "name": "quality",
                    "templateRef": {"kind": "AnalysisTemplate", "name": "quality"},
                    "templateVariables": {"series": "errors"},
                    "dryRun": True,
                },
            ],
            "webhooks": [
                {"name": "load", "type": "rollout", "url": "http://x/", "timeout": "5s", "metadata": {"a": "b"}}
            ],
            "alerts": [{"name": "chat", "severity": "error", "providerRef": {"name": "slack"}}],
            **AFFINITY,
        },
    },
}
"""A Canary with nearly every field."""

TEMPLATE: Json = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "MetricTemplate",
    "metadata": {"name": "errors", "namespace": "test"},
    "spec": {
        "provider": {
            "type": "prometheus",
            "address": "http://prometheus:9090",
            "headers": {"x-org": ["1"]},
            "secretRef": {"name": "token"},
            "region": "eu-west-1",
            "insecureSkipVerify": True,
        },
        "query": 'sum(rate(x{ns="{{ namespace }}"}[{{ interval }}]))',
    },
}
ANALYSIS_TEMPLATE: Json = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AnalysisTemplate",
    "metadata": {"name": "quality", "namespace": "test"},
    "spec": {
        "args": [
            {"name": "series", "value": "requests"},
            {"name": "token", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}},
        ],
        "dryRun": [{"metricName": "other"}],
        "measurementRetention": [{"metricName": "*", "limit": 5}],
        "metrics": [
            {
                "name": "quality",
                "interval": "1m",
                "initialDelay": "30s",
                "count": "3",
                "failureLimit": 1,
                "inconclusiveLimit": 2,
                "consecutiveErrorLimit": 3,
                "successCondition": "result[0] >= 0.95",
                "failureCondition": "isNaN(result[0]) || result[0] < 0.9",
                "provider": {
                    "prometheus": {
                        "address": "http://prometheus:9090",
                        "query": "sum(rate({{args.series}}[1m]))",
                        "headers": [{"key": "Authorization", "value": "Bearer {{ args.token }}"}],
                        "insecure": True,
                    }
                },
            },
            {"name": "other", "provider": {"cloudWatch": {"metricDataQueries": [{"id": "rate", "expression": "a"}]}}},
        ],
    },
}
"""A template with nearly every field that has an equivalent."""
ALERT_PROVIDER: Json = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "AlertProvider",
    "metadata": {"name": "slack", "namespace": "test"},
    "spec": {
        "type": "slack",
        "channel": "general",
        "username": "flagger",
        "address": "http://127.0.0.1/hook",
        "proxy": "http://127.0.0.1:3128",
        "secretRef": {"name": "slack"},
    },
}

_FROM_SERVER: Json = {
    "uid": "6f6e4b1a-0000-4000-8000-000000000001",
    "resourceVersion": "12",
    "generation": 2,
    "creationTimestamp": "2024-01-01T00:00:00Z",
    "labels": {"app": "podinfo", "kustomize.toolkit.fluxcd.io/name": "x"},
    "annotations": {"canarycore/revision": "abc", "canarycore/kept": "a,b", "canarycore/configs": "configmap/a:1"},
    "ownerReferences": [{"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "podinfo", "uid": "u"}],
    "managedFields": [
        {
            "manager": "canarycore",
            "operation": "Apply",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}, "f:ports": {".": {}, 'k:{"port":80}': {"f:port": {}}}}},
        }
    ],
}
_POD_SPEC: Json = {
    "serviceAccountName": "app",
    "nodeSelector": {"disk": "ssd"},
    "containers": [
        {
            "name": "podinfod",
            "image": "podinfo:6.0.0",
            "ports": [{"name": "http", "containerPort": 9898, "protocol": "TCP"}],
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "a", "optional": True}}}],
            "envFrom": [{"secretRef": {"name": "secret"}}],
            "livenessProbe": {"httpGet": {"path": "/", "port": 9898}, "periodSeconds": 10},
        }
    ],
    "volumes": [
        {"name": "a", "configMap": {"name": "files"}},
        {"name": "b", "projected": {"sources": [{"secret": {"name": "more"}}]}},
    ],
    "topologySpreadConstraints": [{"labelSelector": {"matchLabels": {"app": "podinfo"}}, "maxSkew": 1}],
    "affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"labelSelector": {"matchExpressions": [
                    {"key": "app", "operator": "In", "values": ["podinfo"]}
                ]}}}
            ]
        }
    },
}  # fmt: skip
_TEMPLATE_OF_PODS: Json = {"metadata": {"labels": {"app": "podinfo"}, "annotations": {"a": "b"}}, "spec": _POD_SPEC}


def _of_server(version: str, kind: str, name: str = "podinfo", **more: Any) -> Json:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "test", **_FROM_SERVER},
        **more,
    }


OBJECTS: dict[str, Json] = {
    "Deployment": _of_server(
        "apps/v1",
        "Deployment",
        spec={
            "replicas": 2,
            "selector": {"matchLabels": {"app": "podinfo"}},
            "template": _TEMPLATE_OF_PODS,
        },
        status={
            "observedGeneration": 2,
            "replicas": 2,
            "updatedReplicas": 2,
            "availableReplicas": 1,
            "conditions": [
                {
                    "type": "Available",
                    "status": "False",
                    "reason": "MinimumReplicasUnavailable",
                    "lastUpdateTime": "2024-01-01T00:00:00Z",
                },
                {"type": "Progressing", "status": "True", "reason": "ProgressDeadlineExceeded"},
            ],
        },
    ),
    "DaemonSet": _of_server(
        "apps/v1",
        "DaemonSet",
        name="podinfo-primary",
        spec={"selector": {"matchLabels": {"app": "podinfo-primary"}}, "template": _TEMPLATE_OF_PODS},
        status={
            "observedGeneration": 2,
            "desiredNumberScheduled": 2,
            "updatedNumberScheduled": 2,
            "numberAvailable": 1,
            "currentNumberScheduled": 2,
            "numberMisscheduled": 0,
        },
    ),
    "Service": _of_server(
        "v1",
        "Service",
        spec={
            "type": "ClusterIP",
            "clusterIP": "10.0.0.1",
            "selector": {"app": "podinfo"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP", "nodePort": 30000}],
        },
    ),
    "ConfigMap": _of_server("v1", "ConfigMap", name="env-primary", data={"a": "b<>&"}, binaryData={"c": "AA=="}),
    "Secret": _of_server("v1", "Secret", type="Opaque", data={"token": "AA=="}),
    "HorizontalPodAutoscaler": _of_server(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        spec={
            "minReplicas": 2,
            "maxReplicas": 4,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu"}}],
        },
    ),
    "ScaledObject": _of_server(
        "keda.sh/v1alpha1",
        "ScaledObject",
        spec={
            "minReplicaCount": 2,
            "maxReplicaCount": 4,
            "scaleTargetRef": {"name": "podinfo"},
            "advanced": {"horizontalPodAutoscalerConfig": {"name": "podinfo"}},
            "triggers": [{"type": "prometheus", "name": "q", "metadata": {"query": "rate(podinfo[1m])"}}],
        },
    ),
    "KnativeService": _of_server(
        "serving.knative.dev/v1",
        "Service",
        spec={
            "template": {"spec": {"containers": [{"image": "podinfo:6.0.0"}]}},
            "traffic": [{"latestRevision": True, "percent": 10}, {"revisionName": "podinfo-1", "percent": 90}],
        },
        status={"latestCreatedRevisionName": "podinfo-2", "conditions": [{"type": "Ready", "status": "True"}]},
    ),
    "KnativeRevision": _of_server(
        "serving.knative.dev/v1",
        "Revision",
        status={"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2024-01-01T00:00:00Z"}]},
    ),
    "MetricTemplate": {**TEMPLATE, "metadata": {**TEMPLATE["metadata"], **_FROM_SERVER}},
    "AnalysisTemplate": {**ANALYSIS_TEMPLATE, "metadata": {**ANALYSIS_TEMPLATE["metadata"], **_FROM_SERVER}},
    "AlertProvider": {**ALERT_PROVIDER, "metadata": {**ALERT_PROVIDER["metadata"], **_FROM_SERVER}},
    "Canary": {
        **POLICY,
        "metadata": {
            **POLICY["metadata"],
            **_FROM_SERVER,
            "annotations": {"canarycore/command": "skip-to 50 1a2b3c4d", "a": "b"},
            "finalizers": ["finalizer.flagger.app"],
        },
        "status": {
            "phase": "Progressing",
            "canaryWeight": 10,
            "failedChecks": 1,
            "iterations": 0,
            "lastAppliedSpec": "abc",
            "lastPromotedSpec": "def",
            "lastTransitionTime": "2024-01-01T00:00:00Z",
            "trackedConfigs": {"configmap/env": "1"},
            "sessionAffinityCookie": "user=abc",
            "conditions": [
                {
                    "type": "Promoted",
                    "status": "Unknown",
                    "reason": "Progressing",
                    "message": "New revision detected, progressing canary analysis.",
                    "lastUpdateTime": "2024-01-01T00:00:00Z",
                    "lastTransitionTime": "2024-01-01T00:00:00Z",
                }
            ],
        },
    },
}
"""One object of each kind that is cached, as a server gives it."""


# -------------------------------------------------------------------------------------------------------- the manifests


@cache
def traces() -> tuple[Trace, ...]:
    """Flagger's recordings; none where they are not beside the checkout."""
    return tuple(map(read, sorted(path.parent for path in GOLDEN.glob("*/trace.json"))))


@cache
def manifests() -> tuple[Json, ...]:
    """Canaries, MetricTemplates and AlertProviders."""
    found = [POLICY, TEMPLATE, ALERT_PROVIDER, *(trace.canary for trace in traces())]
    for path in sorted(MANIFESTS.rglob("*.yaml")):
        try:
            found += [json.loads(json.dumps(document.content)) for document in documents(path.read_text())]
        except CanaryError:  # templates of Helm, which are no manifests yet
            continue
    return tuple(body for body in found if body.get("kind") in {"Canary", "MetricTemplate", "AlertProvider"})


# ------------------------------------------------------------------------------------------------------- the meshes


@cache
def routed(provider: str) -> tuple[Json, ...]:
    """Cases of a mesh: {canary, pods, found, routes}, with found objects in the order of `refs`."""
    cases = [_case(context, objects) for context, objects in (*_recorded(provider), *_rendered(provider))]
    return tuple({repr(case): case for case in cases}.values())[: 2 * MOST]


def _recorded(provider: str) -> Iterator[tuple[RenderContext, ObjectsByRef]]:
    for trace in traces():
        if (trace.canary["spec"].get("provider") or trace.flag("mesh-provider")) != provider:
            continue
        written = list(recordings.writes(trace))
        yield from ((write.context, write.objects) for write in written[:: max(1, len(written) // MOST)])


_ANALYSES: tuple[Json, ...] = ({}, meshes.AB, AFFINITY, {"mirror": True}, {"match": meshes.AB["match"]})
_ROUTES = (Routes(), Routes(weight=40), Routes(matched=True), Routes(weight=20, cookie="abc", expired="old"))


def _rendered(provider: str) -> Iterator[tuple[RenderContext, ObjectsByRef]]:
    """Return our own objects, written over those of the owner."""
    mesh = meshes.mesh_of(provider)
    service = {name: value for name, value in POLICY["spec"]["service"].items() if name not in {"gateways", "hosts"}}
    if provider in {*meshes.VARIANTS, *meshes.REFERENCES}:
        service = {"apex": service["apex"]}
    for analysis in _ANALYSES:
        try:
            context = meshes.render_context(provider, service=service, analysis=analysis)
        except CanaryError:  # a kind of route without such conditions, or the manifest is refused
            continue
        for routes in _ROUTES:
            found: dict[Any, Json] = {}
            for body in meshes.sources(provider):
                found |= {ref: body for ref in mesh.refs(context) if _names(ref, body)}
            try:
                written = mesh.render(context, routes, found)
            except CanaryError:
                continue
            found |= {ref: body for body in written for ref in mesh.refs(context) if _names(ref, body)}
            yield context, found


def _names(ref: Any, body: Json) -> bool:
    return (ref.kind.kind, ref.name) == (body["kind"], body["metadata"]["name"])


def _case(context: RenderContext, found: ObjectsByRef) -> Json:
    places = meshes.mesh_of(context.rollout.provider).refs(context)
    return {
        "canary": {
            **dump(context.canary),
            "spec": {**dump(context.canary)["spec"], "provider": context.rollout.provider},
        },
        "pods": [context.pods.label, context.pods.canary.get(context.pods.label, "")],
        "found": [found.get(ref) for ref in places],
        "routes": {"weight": 30},
    }


def canary_of(body: Json) -> Canary:
    """The Canary of a manifest. Raises ManifestError."""
    found = parse(body)
    assert isinstance(found, Canary)
    return found
