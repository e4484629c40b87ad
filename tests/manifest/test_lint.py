"""The linter: each rule has a case that it reports, and a similar one that it accepts."""

import json
import re

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from canarycore.argo import read_templates
from canarycore.manifest import check_files, documents, lint, parse, resolve
from canarycore.manifest._lint import ALERT_RULES, CANARY_RULES, TEMPLATE_RULES, TYPE_RULES
from canarycore.manifest.routing import OWN_PROVIDERS, PROVIDER_CAPABILITIES, SPLIT_ONLY, InstalledProviders
from tests.manifest.samples import AB, BASE, BLUE_GREEN, alert_provider, annotated, canary, metric, shared, template

KNATIVE = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "podinfo"}
KEDA = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "podinfo"}
SCALER = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"}


def hook(**fields) -> dict:
    return {"webhooks": [{"name": "load", "url": "http://loadtester.test/"} | fields]}


def at_gateway(kind: str, analysis: dict | None = None, **service) -> dict:
    """Return a Canary with a route of that kind."""
    service = {"port": 80, "gatewayRefs": [{"name": "gateway"}], "routeKind": kind, **service}
    return canary(provider="gatewayapi:v1", service=service, analysis=analysis)


def alert(name: str = "on-call") -> dict:
    return {"alerts": [{"name": "dev", "providerRef": {"name": name}}]}


def ab(*headers: dict, **fields) -> dict:
    return AB | {"match": [{"headers": header} for header in headers] or AB["match"]} | fields


def other(kind: str, **spec) -> dict:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "podinfo", "namespace": "test"}, "spec": spec}


BY_PODS = canary(provider="replicas", analysis={"match": None})
"""A Canary that splits by numbers of pods."""

STATEFUL = canary(
    provider="replicas",
    targetRef={"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "podinfo"},
    analysis={"metrics": [{"name": "errors", "templateRef": {"name": "errors"}, "thresholdRange": {"max": 1}}]},
)
STATEFUL["spec"] = {name: part for name, part in STATEFUL["spec"].items() if name != "service"}


def stateful_set(**spec):
    return other("StatefulSet", **{"replicas": 3, "selector": {"matchLabels": {"db": "app"}}, **spec})


def rolling(**fields):
    return {"type": "RollingUpdate", "rollingUpdate": fields}


def app(length: int) -> dict:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a" * length}


def behind(provider: str, *, target: str = "podinfo", ingress: str = "web") -> dict:
    """Return a Canary behind an Ingress."""
    reference = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": ingress}
    return canary(provider=provider, ingressRef=reference, targetRef=app(1) | {"name": target})


def deployment(labels: dict, *ports: dict) -> dict:
    containers = [{"name": "app", "ports": list(ports)}]
    return other("Deployment", selector={"matchLabels": labels}, template={"spec": {"containers": containers}})


def named(name: str, document: dict) -> dict:
    return document | {"metadata": document["metadata"] | {"name": name}}


def by_argo(*names: str) -> dict:
    """Return a Canary whose checks an AnalysisTemplate of Argo defines."""
    reference = {"kind": "AnalysisTemplate", "name": "quality"}
    return canary(analysis={"metrics": [{"name": name, "templateRef": reference} for name in names]})


def argos(*names: str, provider: str = "prometheus") -> dict:
    """Return an AnalysisTemplate with these metrics."""
    source = {provider: {"address": "http://prometheus:9090", "query": "up"}}
    metrics = [{"name": name, "successCondition": "result[0] > 0", "provider": source} for name in names]
    metadata = {"name": "quality", "namespace": "test"}
    return other("AnalysisTemplate", metrics=metrics) | {"apiVersion": "argoproj.io/v1alpha1", "metadata": metadata}


def without_analysis(**spec) -> dict:
    document = canary(**spec)
    del document["spec"]["analysis"]
    return document


def old_analysis() -> dict:
    document = canary()
    document["spec"]["canaryAnalysis"] = document["spec"].pop("analysis")
    return document


def conditional(success: str, failure: str = "") -> dict:
    return metric(thresholdRange=None, successCondition=success, failureCondition=failure)


RATE = {"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}}
SERVICE = {"apiVersion": "v1", "kind": "Service", "name": "podinfo"}
FOLLOW = {"stepWeight": 10, "follow": "capacity"}
STEPS = [{"weight": 5, "hold": "10m"}, {"weight": 50}]
SIZES = [{"weight": 5, "size": 1}, {"weight": 50, "size": "50%"}]

CASES = [
    # rule, what it catches (documents), what it leaves alone
    ("pruned-field", [canary(analysis={"drain": "9s"})], [canary()]),
    ("pruned-field", [canary(analysis={"match": [{"port": 80}]})], [canary(analysis=AB)]),
    ("no-analysis", [without_analysis()], [canary(skipAnalysis=True)]),
    ("no-analysis", [without_analysis(skipAnalysis=True)], [old_analysis()]),
    ("deprecated-analysis", [old_analysis()], [canary()]),
    ("no-step", [canary(analysis={"stepWeight": 0})], [canary(analysis={"stepWeight": 0, "stepWeights": [5]})]),
    ("no-step", [canary(analysis={"stepWeight": None})], [canary(analysis={"stepWeight": None}, skipAnalysis=True)]),
    ("no-step", [canary(analysis={"stepWeight": None})], [canary(analysis=BLUE_GREEN)]),
    ("max-below-step", [canary(analysis={"maxWeight": 9})], [canary(analysis={"maxWeight": 10})]),
    ("overshoot", [canary(analysis={"stepWeight": 20})], [canary(analysis={"stepWeight": 25})]),
    ("overshoot", [canary(analysis={"stepWeight": 40, "maxWeight": 60})], [canary(analysis={"maxWeight": 0})]),
    ("overshoot", [canary(analysis={"stepWeight": 20})], [canary(analysis={"stepWeight": 30, "maxWeight": 100})]),
    (
        "step-fields",
        [canary(analysis={"stepWeights": [10, 50]})],
        [canary(analysis={"stepWeights": [10, 50], "stepWeight": None})],
    ),
    ("step-fields", [canary(analysis={"iterations": 5})], [canary(analysis=BLUE_GREEN)]),
    ("step-fields", [canary(analysis={"iterations": 0})], [canary(analysis={"stepWeight": None})]),
    ("step-fields", [canary(analysis={"stepWeight": None}, skipAnalysis=True)], [canary(skipAnalysis=True)]),
    ("max-ignored", [canary(analysis=BLUE_GREEN | {"maxWeight": 50})], [canary(analysis=BLUE_GREEN)]),
    ("max-ignored", [canary(analysis={"stepWeights": [10, 50], "stepWeight": None})], [canary()]),
    ("step-fields", [canary(analysis=BLUE_GREEN | {"steps": STEPS})], [canary(analysis={"steps": STEPS})]),
    (
        "unknown-metric",
        [canary(analysis={"steps": [{"weight": 5, "metrics": ["p99"]}]})],
        [canary(analysis={"steps": [{"weight": 5, "metrics": ["request-success-rate"]}]})],
    ),
    (
        "unknown-step",
        [canary(analysis={"rollbackWindow": {"revisions": 2, "steps": [15]}})],
        [
            canary(analysis={"rollbackWindow": {"revisions": 2, "steps": [20]}}),
            canary(analysis={"rollbackWindow": {"revisions": 2}}),
            canary(analysis=BLUE_GREEN | {"rollbackWindow": {"revisions": 2, "steps": [100]}}),
        ],
    ),
    (
        "return-ignored",
        [canary(analysis=AB | {"rollback": {"stepWeight": 10}})],
        [canary(analysis=BLUE_GREEN | {"rollback": {"stepWeight": 10}})],
    ),
    (
        "follow-ignored",
        [canary(analysis={"rollback": FOLLOW}, targetRef=SERVICE)],
        [canary(analysis={"rollback": FOLLOW}), canary(targetRef=SERVICE)],
    ),
    (
        "short-return",
        [canary(analysis={"rollback": {"stepWeight": 10, "interval": "1m", "deadline": "3m"}})],
        [
            canary(analysis={"rollback": {"stepWeight": 10, "interval": "1m", "deadline": "4m"}}),
            canary(analysis={"rollback": {"stepWeight": 50, "deadline": "10s"}}),
            canary(analysis={"rollback": {"stepWeight": 10}}),
        ],
    ),
    (
        "unrouted-steps",
        [canary(analysis={"steps": STEPS}, provider="kubernetes")],
        [canary(analysis={"steps": STEPS}), canary(analysis=BLUE_GREEN, provider="kubernetes")],
    ),
    (
        "long-analysis",
        [canary(analysis={"steps": [{"weight": 5, "hold": "2m"}], "metrics": [RATE | {"count": 4}]})],
        [
            canary(analysis={"steps": [{"weight": 5, "hold": "3m"}], "metrics": [RATE | {"count": 4}]}),
            canary(analysis={"steps": [{"weight": 5}], "metrics": [RATE | {"count": 4}]}),
        ],
    ),
    (
        "tolerant-check",
        [canary(analysis={"metrics": [RATE | {"count": 3, "failureLimit": 3}]})],
        [canary(analysis={"metrics": [RATE | {"count": 3, "failureLimit": 2}]})],
    ),
    (
        "late-check",
        [canary(analysis={"metrics": [RATE | {"fromWeight": 100}]})],
        [canary(analysis={"metrics": [RATE | {"fromWeight": 50}]})],
    ),
    (
        "range-and-condition",
        [canary(analysis=metric(successCondition="result >= 99"))],
        [canary(analysis=metric(successCondition="result >= 99", thresholdRange=None))],
    ),
    (
        "range-and-condition",
        [canary(analysis=metric(failureCondition="result < 99", thresholdRange=None, threshold=99))],
        [canary(analysis=metric(failureCondition="", thresholdRange=None, threshold=99))],
    ),
    (
        "condition-never",
        [canary(analysis=conditional("result > 5 && result < 1"))],
        [canary(analysis=conditional("result > 1 && result < 5"))],
    ),
    (
        "condition-never",
        [canary(analysis=conditional("result >= 99", "result * 2 - 3 > result + result"))],
        [canary(analysis=conditional("result >= 99", "isNaN(result)"))],
    ),
    (
        "condition-always",
        [canary(analysis=conditional("result > 1 || result < 5"))],
        [canary(analysis=conditional("result > 5 || result < 1"))],
    ),
    (
        "condition-always",
        [canary(analysis=conditional("result >= 99", "!(result * 0 != 0)"))],
        [canary(analysis=conditional("result >= 99", "result * result < 0"))],
    ),
    (
        "condition-overlap",
        [canary(analysis=conditional("result >= 95", "result < 99"))],
        [canary(analysis=conditional("result >= 99", "result < 95"))],
    ),
    (
        "step-match",
        [canary(analysis={"steps": [{"weight": 5, "match": AB["match"]}]}, provider="linkerd")],
        [canary(analysis={"steps": [{"weight": 5, "match": AB["match"]}]})],
    ),
    (
        "step-mirror",
        [canary(analysis={"steps": [{"weight": 5, "mirror": 10}]}, provider="contour")],
        [canary(analysis={"steps": [{"weight": 5, "mirror": 10}]})],
    ),
    (
        "step-size",
        [
            canary(analysis={"steps": SIZES}, provider="replicas"),
            canary(analysis={"steps": SIZES}, targetRef=SERVICE),
            canary(analysis={"steps": SIZES}, targetRef=SERVICE | {"apiVersion": "apps/v1", "kind": "DaemonSet"}),
            canary(
                analysis={"steps": SIZES},
                autoscalerRef={"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"},
            ),
        ],
        [canary(analysis={"steps": SIZES}), canary(analysis={"steps": STEPS}, targetRef=SERVICE)],
    ),
    (
        "small-size",
        [canary(analysis={"steps": [{"weight": 5, "size": "10%"}, {"weight": 50}]})],
        [canary(analysis={"steps": [{"weight": 5, "size": "10%"}, {"weight": 50, "size": "50%"}]})],
    ),
    (
        "no-bake",
        [canary(analysis=BLUE_GREEN | {"bake": "30m"}, provider="kubernetes")],
        [canary(analysis=BLUE_GREEN | {"bake": "30m"})],
    ),
    ("short-hold", [canary(analysis={"bake": "30s"})], [canary(analysis={"bake": "30m"})]),
    (
        "short-hold",
        [canary(analysis={"steps": [{"weight": 5, "hold": "30s"}]})],
        [canary(analysis={"steps": STEPS}), canary(analysis={"steps": [{"weight": 5}]})],
    ),
    ("no-interval", [canary(analysis={"interval": None})], [canary()]),
    ("no-threshold", [canary(analysis={"threshold": None})], [canary(analysis={"threshold": 0})]),
    ("match-ignored", [canary(analysis={"match": AB["match"]})], [canary(analysis=AB)]),
    (
        "promotion-steps-ignored",
        [canary(analysis=AB | {"stepWeightPromotion": 10})],
        [canary(analysis={"stepWeightPromotion": 10})],
    ),
    ("unrouted-weights", [canary(provider="kubernetes")], [canary(provider="kubernetes", analysis=BLUE_GREEN)]),
    ("short-interval", [canary(analysis={"interval": "9s"})], [canary(analysis={"interval": "10s"})]),
    ("odd-duration", [canary(analysis={"interval": "1h"})], [canary(analysis={"interval": "60m"})]),
    ("odd-duration", [canary(analysis=metric(interval="1.5m"))], [canary(analysis=metric(interval="1m30s"))]),
    ("odd-duration", [canary(analysis=hook(timeout=".5m"))], [canary(analysis=hook(timeout="500ms"))]),
    ("no-tolerance", [canary(analysis={"threshold": 0})], [canary(analysis={"threshold": 1})]),
    ("no-tolerance", [canary(analysis={"threshold": -1})], [canary(analysis={"threshold": 2})]),
    ("short-deadline", [canary(progressDeadlineSeconds=59)], [canary(progressDeadlineSeconds=60)]),
    ("no-checks", [canary(analysis={"metrics": []})], [canary(analysis={"metrics": []} | hook())]),
    ("no-checks", [canary(analysis={"metrics": []} | hook(type="event"))], [canary()]),
    ("no-checks", [canary(analysis={"metrics": []})], [canary(analysis={"metrics": []}, skipAnalysis=True)]),
    ("no-range", [canary(analysis=metric(thresholdRange=None))], [canary(analysis=metric())]),
    (
        "no-range",
        [canary(analysis=metric(thresholdRange={}))],
        [canary(analysis=metric(thresholdRange=None, threshold=99))],
    ),
    (
        "empty-range",
        [canary(analysis=metric(thresholdRange={"min": 2, "max": 1}))],
        [canary(analysis=metric(thresholdRange={"min": 2, "max": 2}))],
    ),
    ("deprecated-threshold", [canary(analysis=metric(threshold=99))], [canary(analysis=metric())]),
    ("no-query", [canary(analysis=metric(name="success-rate"))], [canary(analysis=metric(name="x", query="up"))]),
    ("built-in-template", [canary(analysis=metric(query="up"))], [canary(analysis=metric(name="own", query="up"))]),
    (
        "unit",
        [canary(analysis=metric(thresholdRange={"min": 0.99}))],
        [canary(analysis=metric(thresholdRange={"min": 90}))],
    ),
    (
        "unit",
        [canary(analysis=metric(name="request-duration", thresholdRange={"max": 0.5}))],
        [canary(analysis=metric(name="request-duration", thresholdRange={"max": 500}))],
    ),
    ("long-window", [canary(analysis=metric(interval="2m"))], [canary(analysis=metric(interval="2m") | AB)]),
    ("long-window", [canary(analysis=metric(interval="61s"))], [canary(analysis=metric(interval="60s"))]),
    ("short-window", [canary(analysis=metric(interval="29s"))], [canary(analysis=metric(interval="30s"))]),
    (
        "missing-template",
        [canary(analysis=metric(name="e", templateRef={"name": "erors"})), template()],
        [canary(analysis=metric(name="e", templateRef={"name": "errors"})), template()],
    ),
    (
        "missing-template",
        [canary(analysis=metric(name="e", templateRef={"name": "erors"})), template()],
        [canary(analysis=metric(name="e", templateRef={"name": "erors", "namespace": "other"})), template()],
    ),
    (
        "unseen-template",
        [canary(analysis=metric(name="e", templateRef={"name": "errors", "namespace": "other"})), template()],
        [canary(analysis=metric(name="e", templateRef={"name": "errors", "namespace": "test"})), template()],
    ),
    (
        "unseen-template",
        [canary(analysis=metric(name="e", templateRef={"name": "errors"}))],
        [canary(analysis=metric(name="e", templateRef={"name": "errors"})), template()],
    ),
    ("missing-alert-provider", [canary(analysis=alert())], [canary(analysis=alert()), alert_provider()]),
    (
        "missing-alert-provider",
        [canary(analysis=alert("nobody")), alert_provider()],
        [canary(analysis=alert()), alert_provider()],
    ),
    (
        "missing-alert-provider",
        [annotated(canary(), subscribe__warn__nobody="dev"), alert_provider()],
        [annotated(canary(), **{"subscribe__warn__on-call": "dev"}), alert_provider()],
    ),
    (
        "unused-channel",
        [annotated(canary(), **{"subscribe__warn__on-call": "dev"}), alert_provider(type="msteams")],
        [annotated(canary(), **{"subscribe__warn__on-call": ""}), alert_provider(type="msteams")],
    ),
    ("duplicate-name", [canary(analysis={"metrics": metric()["metrics"] * 2})], [canary()]),
    ("duplicate-name", [canary(analysis={"webhooks": hook()["webhooks"] * 2})], [canary(analysis=hook())]),
    ("long-hook", [canary(analysis=hook(timeout="61s"))], [canary(analysis=hook(timeout="60s"))]),
    ("long-hook", [canary(analysis=hook(timeout="61s"))], [canary(analysis=hook(timeout="2m", type="pre-rollout"))]),
    (
        "endless-hook",
        [canary(analysis=hook(timeout="61m", type="pre-rollout"))],
        [canary(analysis=hook(timeout="1h", type="pre-rollout"))],
    ),
    ("clipped-timeout", [canary(analysis=hook(timeout="5"))], [canary(analysis=hook(timeout="5s"))]),
    ("bad-url", [canary(analysis=hook(url="loadtester/"))], [canary(analysis=hook(url="https://loadtester/"))]),
    (
        "placeholder-address",
        [canary(analysis=hook(url="http://<name>.test/"))],
        [canary(analysis=hook(url="http://your-app.test/"))],
    ),
    ("placeholder-address", [canary(metricsServer="http://CHANGE_ME/")], [canary(metricsServer="http://prom:9090")]),
    (
        "placeholder-address",
        [alert_provider(secretRef=None, address="https://hooks.example.com/services/YOUR/SLACK/WEBHOOK")],
        [alert_provider(secretRef=None, address="https://hooks.example.com/services/T0/B0")],
    ),
    ("placeholder-address", [template(address="http://<prometheus>:9090")], [template()]),
    ("unknown-metric-provider", [template(type="promethes")], [template(type="datadog")]),
    ("template-word", [template(query="up[{{ intervall }}]")], [template(query="{{ if true }}{{name}}{{ end }}")]),
    ("template-dot", [template(query="up[{{ .Interval }}]")], [template(query="up[{{- interval -}}]")]),
    ("template-dot", [template(query="{{ .name }}")], [template(query="{{ with variables }}{{ .code }}{{ end }}")]),
    ("template-syntax", [template(query="{{ if name }}")], [template(query="{{ if name }}{{ name }}{{ end }}")]),
    ("template-syntax", [template(query="{{ printf `%s` nmae }}")], [template(query="{{ `a` | print name }}")]),
    ("unknown-alert-provider", [alert_provider(type="slak")], [alert_provider(type="msteams")]),
    (
        "unknown-annotation",
        [annotated(canary(), **{"subscription__warn__on-call": "dev"}), alert_provider()],
        [annotated(canary(), **{"subscribe__warn__on-call": "dev", "command": "abort 1"}), alert_provider()],
    ),
    (
        "unknown-annotation",
        [annotated(alert_provider(), alert__txt="{{ .name }}")],
        [annotated(alert_provider(), alert__text="{{ .name }}")],
    ),
    (
        "alert-text",
        [annotated(alert_provider(), alert__text="{{ .nmae }}")],
        [annotated(alert_provider(), alert__text="{{ .name }}{{ with .reason }}: {{ . }}{{ end }}")],
    ),
    (
        "alert-links",
        [annotated(alert_provider(), alert__links="https://page.test/{{ .name }}")],
        [annotated(alert_provider(), alert__links="Page=https://page.test/{{ .name }}")],
    ),
    ("no-address", [alert_provider(secretRef=None)], [alert_provider()]),
    (
        "address-and-secret",
        [alert_provider(address="https://hooks.example.com/x")],
        [alert_provider(secretRef=None, address="https://hooks.example.com/x")],
    ),
    ("unknown-provider", [canary(provider="istoi")], [canary(provider="istio")]),
    ("no-ab-routing", [canary(provider="linkerd", analysis=AB)], [canary(provider="istio", analysis=AB)]),
    ("unrouted-match", [canary(provider="kubernetes", analysis=AB)], [canary(provider="kubernetes")]),
    (
        "match-kind",
        [canary(provider="contour", analysis=ab({"user-agent": {"regex": ".*"}}))],
        [canary(provider="contour", analysis=ab({"user-agent": {"prefix": "Fire"}}))],
    ),
    (
        "match-kind",
        [canary(analysis=ab({"user-agent": {"suffix": "x"}}))],
        [canary(provider="appmesh", analysis=ab({"user-agent": {"suffix": "x"}}))],
    ),
    (
        "nginx-cookie",
        [canary(provider="nginx", analysis=ab({"cookie": {"regex": "a=b"}}))],
        [canary(provider="nginx", analysis=ab({"cookie": {"exact": "a"}}))],
    ),
    (
        "nginx-headers",
        [canary(provider="nginx", analysis=ab({"a": {"exact": "1"}}, {"b": {"exact": "1"}}))],
        [canary(provider="nginx", analysis=ab({"a": {"exact": "1"}}, {"cookie": {"exact": "b"}}))],
    ),
    (
        "merged-match",
        [canary(provider="appmesh:v1beta2", analysis=ab({"a": {"exact": "1"}}, {"b": {"exact": "1"}}))],
        [canary(provider="istio", analysis=ab({"a": {"exact": "1"}}, {"b": {"exact": "1"}}))],
    ),
    (
        "header-case",
        [canary(analysis=ab({"X-Canary": {"exact": "1"}}))],
        [canary(provider="appmesh", analysis=ab({"X-Canary": {"exact": "1"}}))],
    ),
    ("match-everything", [canary(analysis=AB | {"match": [{}]})], [canary(analysis=AB)]),
    (
        "match-everything",
        [canary(analysis=AB | {"match": [{"name": "all"}]})],
        [canary(analysis=AB | {"match": [{"queryParams": {"v": {"exact": "2"}}}]})],
    ),
    (
        "dropped-match",
        [canary(analysis=AB | {"match": [{"uri": {"prefix": "/"}}]})],
        [canary(analysis=AB | {"match": [{"sourceLabels": {"app": "x"}}]})],
    ),
    ("no-mirror", [canary(provider="contour", analysis={"mirror": True})], [canary(analysis={"mirror": True})]),
    ("mirror-ignored", [canary(analysis=AB | {"mirror": True})], [canary(analysis=BLUE_GREEN | {"mirror": True})]),
    (
        "mirror-weight-ignored",
        [canary(analysis={"mirrorWeight": 20})],
        [canary(analysis={"mirrorWeight": 20, "mirror": True})],
    ),
    (
        "no-affinity",
        [canary(provider="nginx", analysis={"sessionAffinity": {"cookieName": "c"}})],
        [canary(provider="istio", analysis={"sessionAffinity": {"cookieName": "c"}})],
    ),
    (
        "affinity-ignored",
        [canary(analysis=AB | {"sessionAffinity": {"cookieName": "c"}})],
        [canary(analysis={"sessionAffinity": {"cookieName": "c"}})],
    ),
    (
        "same-cookie",
        [canary(analysis={"sessionAffinity": {"cookieName": "c", "primaryCookieName": "c"}})],
        [canary(analysis={"sessionAffinity": {"cookieName": "c", "primaryCookieName": "p"}})],
    ),
    (
        "no-blue-green",
        [canary(provider="knative", targetRef=KNATIVE, analysis=BLUE_GREEN)],
        [canary(provider="knative", targetRef=KNATIVE)],
    ),
    (
        "missing-reference",
        [canary(provider="gatewayapi:v1", service={"port": 80, "routeRefs": []})],
        [canary(provider="gatewayapi:v1", service={"port": 80, "routeRefs": [{"name": "web"}]})],
    ),
    (
        "missing-reference",
        [canary(provider="gatewayapi:v1")],
        [canary(provider="gatewayapi:v1", service={"port": 80, "gatewayRefs": [{"name": "gateway"}]})],
    ),
    (
        "missing-reference",
        [canary(provider="nginx")],
        [canary(provider="nginx", ingressRef={"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "a"})],
    ),
    ("ended-provider", [canary(provider="appmesh:v1beta2")], [at_gateway("")]),
    (
        "route-kind",
        [at_gateway("TCPRoute", timeout="5s")],
        [at_gateway("HTTPRoute", timeout="5s"), at_gateway("TCPRoute"), at_gateway("GRPCRoute", analysis=AB)],
    ),
    (
        "route-kind",
        [at_gateway("TLSRoute")],
        [at_gateway("TLSRoute", hosts=["app.example.com"])],
    ),
    (
        "route-kind",
        [at_gateway("GRPCRoute", match=[{"queryParams": {"a": {"exact": "b"}}}])],
        [at_gateway("GRPCRoute", match=[{"uri": {"prefix": "/shop.v1.Cart/"}}])],
    ),
    (
        "route-refs",
        [at_gateway("", routeRefs=[{"name": "podinfo"}])],
        [at_gateway("", routeRefs=[{"name": "internal"}]), at_gateway("GRPCRoute", routeRefs=[{"name": "podinfo"}])],
    ),
    (
        "route-refs",
        [at_gateway("", routeRefs=[{"name": "internal"}], analysis=AB)],
        [at_gateway("", routeRefs=[{"name": "internal"}], analysis=BLUE_GREEN)],
    ),
    ("no-service", [canary(service=None)], [canary(service=None, provider="knative", targetRef=KNATIVE)]),
    ("knative", [canary(targetRef=KNATIVE)], [canary(targetRef=KNATIVE, provider="knative")]),
    (
        "knative-autoscaler",
        [canary(targetRef=KNATIVE, provider="knative", autoscalerRef=SCALER)],
        [canary(autoscalerRef=SCALER)],
    ),
    (
        "cluster-ip-target",
        [canary(targetRef={"apiVersion": "v1", "kind": "Service", "name": "podinfo"}), other("Service", ports=[])],
        [
            canary(targetRef={"apiVersion": "v1", "kind": "Service", "name": "podinfo"}),
            other("Service", type="ExternalName"),
        ],
    ),
    (
        "selector-label",
        [canary(), deployment({"component": "podinfo"})],
        [canary(), deployment({"app.kubernetes.io/name": "podinfo"})],
    ),
    (
        "container-port",
        [canary(service={"port": 80}), deployment({"app": "podinfo"}, {"containerPort": 9898, "name": "http"})],
        [
            canary(service={"port": 80, "targetPort": "http"}),
            deployment({"app": "podinfo"}, {"containerPort": 9898, "name": "http"}),
        ],
    ),
    (
        "container-port",
        [canary(), deployment({"app": "x"}, {"containerPort": 1})],
        [canary(), deployment({"app": "x"})],
    ),
    (
        "old-autoscaling",
        [canary(autoscalerRef=SCALER | {"apiVersion": "autoscaling/v2beta2"})],
        [canary(autoscalerRef=SCALER)],
    ),
    (
        "one-replica",
        [canary(autoscalerRef=SCALER), other("HorizontalPodAutoscaler", minReplicas=1)],
        [canary(autoscalerRef=SCALER), other("HorizontalPodAutoscaler", minReplicas=2)],
    ),
    (
        "one-replica",
        [canary(autoscalerRef=SCALER), other("HorizontalPodAutoscaler", maxReplicas=4)],
        [canary(autoscalerRef=SCALER, analysis={"maxWeight": 40}), other("HorizontalPodAutoscaler", minReplicas=1)],
    ),
    (
        "scaler-limits",
        [canary(autoscalerRef=SCALER | {"primaryScalerReplicas": {"minReplicas": 3, "maxReplicas": 2}})],
        [canary(autoscalerRef=SCALER | {"primaryScalerReplicas": {"minReplicas": 2, "maxReplicas": 2}})],
    ),
    ("same-name", [canary(), canary()], [canary(), named("other", canary())]),
    (
        "shared-target",
        [canary(), named("other", canary())],
        [canary(), named("other", canary(targetRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}))],
    ),
    (
        "shared-service",
        [canary(), named("other", canary(targetRef=app(3), service={"port": 80, "name": "podinfo"}))],
        [canary(), named("other", canary(targetRef=app(3), service={"port": 80, "name": "other"}))],
    ),
    (
        "shared-service",
        [canary(targetRef=app(3)), named("other", canary(targetRef=app(3) | {"kind": "DaemonSet"}))],
        [canary(targetRef=app(3)), named("other", canary(targetRef=app(4) | {"kind": "DaemonSet"}))],
    ),
    (
        "shared-ingress",
        [behind("nginx"), named("other", behind("nginx", target="other"))],
        [behind("nginx"), named("other", behind("nginx", target="other", ingress="other"))],
    ),
    (
        "shared-ingress",
        [behind("skipper"), named("other", behind("nginx", target="other"))],
        [behind("skipper"), named("other", behind("istio", target="other"))],
    ),
    ("pods-target", [canary(provider="replicas", targetRef=app(3) | {"kind": "DaemonSet"})], [BY_PODS]),
    ("pods-autoscaler", [canary(provider="replicas", autoscalerRef=SCALER)], [BY_PODS]),
    ("stateful-set", [STATEFUL | {"spec": {**STATEFUL["spec"], "service": {"port": 80}}}], [STATEFUL]),
    ("partition-obstacle", [STATEFUL, stateful_set(replicas=1)], [STATEFUL, stateful_set()]),
    ("partition-obstacle", [STATEFUL, stateful_set(updateStrategy={"type": "OnDelete"})], [STATEFUL, stateful_set()]),
    ("partition-obstacle", [STATEFUL, stateful_set(updateStrategy=rolling(maxUnavailable=2))], [STATEFUL]),
    ("written-partition", [STATEFUL, stateful_set(updateStrategy=rolling(partition=0))], [STATEFUL, stateful_set()]),
    ("pods-match", [canary(provider="replicas", analysis={"match": AB["match"]})], [BY_PODS]),
    ("long-name", [canary(targetRef=app(56))], [canary(targetRef=app(55))]),
    ("long-name", [canary(targetRef=app(60))], [canary(targetRef=app(60), service={"port": 80, "name": "short"})]),
    ("long-name", [canary(targetRef=app(246), service={"port": 80, "name": "short"})], [canary()]),
    ("long-name", [canary(service={"port": 80, "name": "a.b"})], [canary(service={"port": 80, "name": "a-b"})]),
    ("long-name", [canary(autoscalerRef=SCALER | {"name": "a" * 246})], [canary(autoscalerRef=SCALER)]),
    (
        "long-name",
        [canary(autoscalerRef=KEDA | {"name": "a" * 56})],
        [canary(autoscalerRef=KEDA | {"name": "a" * 55})],
    ),
    ("long-name", [behind("nginx", ingress="a" * 247)], [behind("nginx", ingress="a" * 246)]),
    ("unseen-template", [by_argo("errors")], [by_argo("errors"), argos("errors")]),
    ("template-check", [by_argo("errors"), argos("latency")], [by_argo("errors"), argos("errors", "latency")]),
    ("template-check", [by_argo("errors"), argos("errors", provider="web")], [by_argo("errors")]),
    ("unnamed-metric", [by_argo("a"), argos("a", "b")], [by_argo("b", "a"), argos("a", "b")]),
]
IDS = [f"{rule}-{index}" for index, (rule, _, _) in enumerate(CASES)]
RULES = {rule.name: rule for rule in (*CANARY_RULES, *TEMPLATE_RULES, *ALERT_RULES, *TYPE_RULES)}


@pytest.mark.parametrize(("rule", "caught", "spared"), CASES, ids=IDS)
def test_a_rule_reports_its_case_and_accepts_a_similar_one(rule, caught, spared):
    found = [problem for problem in lint(caught, templates=read_templates(caught)) if problem.rule == rule]
    assert found
    assert {problem.severity for problem in found} == {RULES[rule].severity}
    assert all(problem.path and problem.found and problem.expected and problem.remedy for problem in found)
    assert not any(re.search(r"\{\w+\}", problem.expected + problem.remedy) for problem in found)
    assert rule not in {problem.rule for problem in lint(spared, templates=read_templates(spared))}


@pytest.mark.parametrize(("rule", "caught", "spared"), CASES, ids=IDS)
def test_the_parser_accepts_the_cases(rule, caught, spared):
    for document in (*caught, *spared):
        if document.get("apiVersion") == "flagger.app/v1beta1":
            parse(document)


def test_every_rule_has_a_case():
    assert set(RULES) == {rule for rule, _, _ in CASES}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_has_a_name_and_a_remedy_that_ends(rule):
    assert rule.name == rule.name.lower().replace(" ", "-")
    assert rule.remedy.endswith((".", "}", "?"))
    assert not rule.expected.endswith(".")


def test_the_base_of_the_cases_has_no_problem():
    assert lint([BASE]) == ()


def test_the_overshoot_rule_names_the_last_weight():
    (problem,) = lint([canary(analysis={"stepWeight": 15, "maxWeight": 61})])
    assert "the last weight is 75" in problem.expected
    assert "Use 60 or 75" in problem.remedy


def test_the_range_rule_names_the_verdict_of_the_metric():
    verdicts = {
        name: lint([canary(analysis=metric(name=name, thresholdRange=None))])[0].expected
        for name in ("request-success-rate", "request-duration")
    }
    assert "always passes" in verdicts["request-success-rate"]
    assert "0 or less only" in verdicts["request-duration"]


def test_a_canary_without_a_provider_has_the_controllers():
    assert "no-ab-routing" in {problem.rule for problem in lint([canary(analysis=AB)], provider="linkerd")}


def test_a_problem_does_not_show_a_secret_in_an_address():
    documents_ = [
        alert_provider(secretRef=None, address="https://hooks.example.com/YOUR/s3cret"),
        canary(analysis=hook(url="ftp://user:s3cret@host/")),
    ]
    assert len(lint(documents_)) == 2
    assert not any("s3cret" in str(problem) for problem in lint(documents_))


def test_the_routing_table_has_flaggers_providers_and_few_others():
    yaml = pytest.importorskip("ruamel.yaml").YAML(typ="safe", pure=True)
    definition = next(iter(yaml.load_all((shared("crds") / "flagger.yaml").read_text())))
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert set(PROVIDER_CAPABILITIES) - OWN_PROVIDERS == set(spec["properties"]["provider"]["enum"])


def test_an_installed_mesh_is_known():
    manifest = canary(provider="acme")
    assert {problem.rule for problem in lint([manifest])} == {"unknown-provider"}
    assert lint([manifest], installed=InstalledProviders(meshes={"acme": SPLIT_ONLY})) == ()


def test_the_capabilities_of_an_installed_mesh_count():
    manifest = canary(provider="acme", analysis={"mirror": True})
    plain, mirroring = SPLIT_ONLY, evolve(SPLIT_ONLY, mirror=True)
    assert [problem.rule for problem in lint([manifest], installed=_with_mesh(plain))] == ["no-mirror"]
    assert lint([manifest], installed=_with_mesh(mirroring)) == ()
    assert not resolve(parse(manifest), installed=_with_mesh(plain)).ladder.mirror
    assert resolve(parse(manifest), installed=_with_mesh(mirroring)).ladder.mirror


def _with_mesh(capabilities):
    return InstalledProviders(meshes={"acme": capabilities})


def test_installed_providers_of_metrics_and_alerts_are_known():
    documents_ = [template(type="acme"), alert_provider(type="acme")]
    installed = InstalledProviders(metrics=frozenset({"acme"}), notifiers=frozenset({"acme"}))
    assert {problem.rule for problem in lint(documents_)} == {"unknown-metric-provider", "unknown-alert-provider"}
    assert lint(documents_, installed=installed) == ()


def test_the_scheme_of_an_installed_hook_is_known():
    manifest = canary(analysis=hook(url="acme://gates/smoke"))
    assert {problem.rule for problem in lint([manifest])} == {"bad-url"}
    assert lint([manifest], installed=InstalledProviders(hooks=frozenset({"acme"}))) == ()


def test_a_policy_whose_only_webhook_rolls_back_checks_nothing():
    (problem,) = lint([canary(analysis={"metrics": []} | hook(type="rollback"))])
    assert (problem.rule, problem.found) == ("no-checks", "no metrics, and only webhooks of the type rollback")


def test_lint_reports_two_failures_of_flaggers_traces():
    """These are the golden traces 25 (it never initialises) and 27 (two conditions become one)."""
    told = {}
    for name in ("25-istio-service-target", "27-appmesh-ab", "01-istio-canary-promote"):
        trace = json.loads((shared("golden") / name / "trace.json").read_text())
        provider = next(flag.partition("=")[2] for flag in trace["flags"] if flag.startswith("-mesh-provider"))
        objects = [trace["input"]["canary"], *trace["input"]["objects"]]
        told[name] = {problem.rule for problem in lint(objects, provider=provider)} - {"long-window"}
    assert told == {
        "25-istio-service-target": {"cluster-ip-target"},
        "27-appmesh-ab": {"merged-match", "ended-provider"},
        "01-istio-canary-promote": set(),
    }


# files --------------------------------------------------------------------------------------------------------------

TEXT = """\
apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: podinfo
  namespace: test
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo}
  service:
    port: 9898
  analysis:
    interval: 5s
    threshold: 5
    stepWieght: 10
    metrics:
      - name: request-success-rate
"""


def test_problems_of_files_come_with_file_and_line():
    report = check_files([("podinfo/canary.yaml", TEXT)])
    told = {(problem.rule, problem.file, problem.line) for problem in report.problems}
    assert told == {
        ("unknown-field", "podinfo/canary.yaml", 13),
        ("no-step", "podinfo/canary.yaml", 10),
        ("no-range", "podinfo/canary.yaml", 15),
        ("short-interval", "podinfo/canary.yaml", 11),
        ("long-window", "podinfo/canary.yaml", 15),
    }


def test_a_problem_reads_as_sentences():
    problem = next(problem for problem in check_files([("a.yaml", TEXT)]).problems if problem.rule == "short-interval")
    assert str(problem) == (
        "a.yaml:11: spec.analysis.interval: found '5s', expected at least 10s: a shorter interval counts as 10s. "
        "Write 10s or more. [warning: short-interval]"
    )


def test_an_invalid_document_does_not_hide_problems_of_others():
    broken = TEXT.replace("port: 9898", "port: <port>")
    report = check_files([("a.yaml", broken), ("b.yaml", "a: ["), ("c.yaml", TEXT), ("d.yaml", "spec: {}\n")])
    assert {(problem.file, problem.rule) for problem in report.problems if problem.file != "c.yaml"} == {
        ("a.yaml", "placeholder"),
        ("a.yaml", "unknown-field"),
        ("b.yaml", "yaml-syntax"),
        ("d.yaml", "fragment"),
    }
    assert len(report.canaries) == 1


def test_a_report_is_plain_data_for_programs():
    report = check_files(
        [("a.yaml", TEXT), ("t.yaml", json.dumps(template())), ("p.yaml", json.dumps(alert_provider()))]
    )
    data = json.loads(json.dumps(report.to_json()))
    assert (data["errors"], data["warnings"]) == (2, 3)
    assert (data["canaries"], data["templates"], data["providers"]) == (
        ["podinfo.test"],
        ["errors.test"],
        ["on-call.test"],
    )
    assert set(data["problems"][0]) == {
        *("path", "found", "expected", "remedy", "rule", "severity", "line", "file"),
    }


def test_documents_with_lines_can_be_linted_one_by_one():
    assert {problem.line for problem in lint(documents(TEXT)) if problem.rule == "short-interval"} == {11}


def test_lint_accepts_every_seed_without_an_exception():
    files = [(path.name, path.read_text()) for path in sorted(shared("seeds").glob("*/*.yaml"))]
    report = check_files(files)
    assert len(report.canaries) == 1
    assert {"Mesh", "Namespace", "GatewayRoute", "Kustomization", "HelmRelease"} <= {
        other.get("kind") for other in report.others
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    place=st.sampled_from(
        [
            *(("metadata",), ("metadata", "name"), ("metadata", "namespace"), ("spec",), ("spec", "selector")),
            *(("spec", "selector", "matchLabels"), ("spec", "template", "spec", "containers")),
            *(("spec", "minReplicas"), ("spec", "type"), ("kind",), ("apiVersion",)),
        ]
    ),
    kind=st.sampled_from(["Deployment", "HorizontalPodAutoscaler", "Service"]),
    value=JSON,
)
def test_nothing_in_a_foreign_document_makes_the_linter_raise(place, kind, value):
    foreign = other(kind)
    inner = foreign
    for key in place[:-1]:
        inner = inner.setdefault(key, {})
    inner[place[-1]] = value
    files = [("all.yaml", json.dumps(document)) for document in (canary(autoscalerRef=SCALER), foreign)]
    report = check_files(files)
    assert len(report.canaries) == 1
    assert json.dumps(report.to_json())


def test_a_problem_shows_the_beginning_of_a_long_name():
    document = canary(analysis={"stepWeight": 5, "metrics": [{"name": "x" * 4000}]})
    (found,) = (problem.found for problem in lint([document]) if problem.rule == "no-range")
    assert len(found) <= 300
