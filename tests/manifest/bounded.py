"""Canaries at their bounds: for each bound, the path and a function that makes a Canary with so much content there."""

from __future__ import annotations

from typing import Any

from canarycore import bounds
from tests.manifest.samples import canary

A_HOOK = {"name": "load", "url": "http://loadtester/"}
A_METRIC = {"name": "request-success-rate", "thresholdRange": {"min": 99}}
KNATIVE = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "app"}
AN_ALERT = {"name": "dev", "providerRef": {"name": "on-call"}}


def numbered(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{**fields, "name": f"n{place}"} for place in range(count)]


def pairs(count: int, value: Any = "x") -> dict[str, Any]:
    return {f"k{place}": value for place in range(count)}


def in_analysis(name: str, make: Any) -> Any:
    return lambda size: canary(analysis={"stepWeight": 10, name: make(size)})


def in_service(name: str, make: Any) -> Any:
    return lambda size: canary(service={"port": 80, name: make(size)})


def text(size: int) -> str:
    return "x" * size


def hooked(make: Any) -> Any:
    return in_analysis("webhooks", lambda size: [{**A_HOOK, **make(size)}])


BOUNDED = {
    "spec.analysis.iterations": (bounds.ITERATIONS, in_analysis("iterations", int)),
    "spec.analysis.threshold": (bounds.COUNT, in_analysis("threshold", int)),
    "spec.analysis.minSamples": (bounds.COUNT, in_analysis("minSamples", int)),
    "spec.analysis.interval": (bounds.WAIT, in_analysis("interval", lambda size: f"{size}s")),
    "spec.analysis.drain": (bounds.WAIT, in_analysis("drain", lambda size: f"{size}s")),
    "spec.analysis.metrics": (bounds.CHECKS, in_analysis("metrics", lambda size: [A_METRIC] * size)),
    "spec.analysis.webhooks": (bounds.CHECKS, in_analysis("webhooks", lambda size: [A_HOOK] * size)),
    "spec.analysis.alerts": (bounds.CHECKS, in_analysis("alerts", lambda size: [AN_ALERT] * size)),
    "spec.analysis.match": (bounds.CHECKS, in_analysis("match", lambda size: [{}] * size)),
    "spec.analysis.match[0].headers": (
        bounds.ITEMS,
        in_analysis("match", lambda size: [{"headers": pairs(size, {"exact": "x"})}]),
    ),
    "spec.analysis.match[0].uri.regex": (
        bounds.QUERY,
        in_analysis("match", lambda size: [{"uri": {"regex": text(size)}}]),
    ),
    "spec.analysis.metrics[0].query": (
        bounds.QUERY,
        in_analysis("metrics", lambda size: [{**A_METRIC, "query": text(size)}]),
    ),
    "spec.analysis.metrics[0].interval": (
        bounds.WAIT,
        in_analysis("metrics", lambda size: [{**A_METRIC, "interval": f"{size}s"}]),
    ),
    "spec.analysis.metrics[0].templateVariables": (
        bounds.ITEMS,
        in_analysis("metrics", lambda size: [{**A_METRIC, "templateVariables": pairs(size)}]),
    ),
    "spec.analysis.webhooks[0].url": (bounds.TEXT, hooked(lambda size: {"url": text(size)})),
    "spec.analysis.webhooks[0].retries": (bounds.RETRIES, hooked(lambda size: {"retries": size})),
    "spec.analysis.webhooks[0].timeout": (bounds.WAIT, hooked(lambda size: {"timeout": f"{size}s"})),
    "spec.analysis.webhooks[0].metadata": (bounds.ITEMS, hooked(lambda size: {"metadata": pairs(size)})),
    "spec.analysis.webhooks[0].metadata.cmd": (bounds.QUERY, hooked(lambda size: {"metadata": {"cmd": text(size)}})),
    "spec.service.hosts": (bounds.ITEMS, in_service("hosts", lambda size: ["a.example.com"] * size)),
    "spec.service.gateways": (bounds.ITEMS, in_service("gateways", lambda size: ["mesh"] * size)),
    "spec.service.gatewayRefs": (bounds.ITEMS, in_service("gatewayRefs", lambda size: [{"name": "a"}] * size)),
    "spec.service.routeRefs": (
        bounds.ROUTES,
        lambda size: canary(
            provider="gatewayapi:v1",
            service={"port": 80, "routeRefs": [{"name": f"a{number}"} for number in range(size)]},
        ),
    ),
    "spec.service.match": (bounds.ITEMS, in_service("match", lambda size: [{}] * size)),
    "spec.service.corsPolicy.allowMethods": (
        bounds.ITEMS,
        in_service("corsPolicy", lambda size: {"allowMethods": ["GET"] * size}),
    ),
    "spec.service.headers.request.add": (
        bounds.ITEMS,
        in_service("headers", lambda size: {"request": {"add": pairs(size)}}),
    ),
    "spec.service.trafficPolicy": (bounds.ITEMS, in_service("trafficPolicy", pairs)),
    "spec.service.name": (
        bounds.NAME,
        lambda size: canary(provider="knative", targetRef=KNATIVE, service={"port": 80, "name": text(size)}),
    ),
    "spec.service.portName": (bounds.TEXT, in_service("portName", text)),
    "spec.progressDeadlineSeconds": (bounds.COUNT, lambda size: canary(progressDeadlineSeconds=size)),
}
