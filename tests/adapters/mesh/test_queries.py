"""The built-in queries ask about the names that the mesh routes to: both come from one Canary."""

from __future__ import annotations

import re

import pytest

from canarycore import CheckKind, Routes
from canarycore_metrics.template import render
from tests.adapters.mesh.exported import FAILURES, series_of
from tests.adapters.mesh.meshes import ENTRIES, mesh_of, render_context, sources

POD = "podinfo-5d8f7c9b4-x2x4z"
WORKLOAD = "podinfo"


def only(objects, kind):
    (body,) = (body for body in objects if body["kind"] == kind)
    return body


def canary_of(split):
    """Return the destination of a split that has the canary's weight."""
    (destination,) = (destination for destination in split if destination.get("weight") == 40)
    return destination


def of_gloo(objects):
    destinations = only(objects, "RouteTable")["spec"]["routes"][0]["routeAction"]["multi"]["destinations"]
    upstream = canary_of(destinations)["destination"]["upstream"]
    return {"envoy_cluster_name": f"{upstream['name']}_{upstream['namespace']}"}


def of_kuma(objects):
    split = only(objects, "TrafficRoute")["spec"]["conf"]["split"]
    return {"service": canary_of(split)["destination"]["kuma.io/service"]}


def of_traefik(objects):
    service = canary_of(only(objects, "TraefikService")["spec"]["weighted"]["services"])
    return {"service": f"{service['namespace']}-{service['name']}-{service['port']}@kubernetescrd"}


def of_contour(objects):
    service = canary_of(only(objects, "HTTPProxy")["spec"]["routes"][0]["services"])
    return {"envoy_cluster_name": f"test_{service['name']}_{service['port']}"}


def of_apisix(objects):
    route = only(objects, "ApisixRoute")
    return {"route": f"test_{route['metadata']['name']}_{route['spec']['http'][0]['name']}"}


def of_skipper(objects):
    ingress = only(objects, "Ingress")
    rule = ingress["spec"]["rules"][0]
    (backend,) = (
        path["backend"]["service"]["name"]
        for path in rule["http"]["paths"]
        if path["backend"]["service"]["name"].endswith("-canary")
    )
    parts = ("test", ingress["metadata"]["name"], rule["host"], "", backend)
    return {"route": "kube_" + "__".join(re.sub(r"\W", "_", part) for part in parts)}


def of_nginx(objects):
    """NGINX counts the requests of a canary under its original, which is the Ingress of the owner."""
    return {"namespace": only(objects, "Ingress")["metadata"]["namespace"], "ingress": "web"}


def of_workload(namespace, name):
    return lambda _: {namespace: "test", name: WORKLOAD}


def of_pods(_):
    return {"kubernetes_namespace": "test", "kubernetes_pod_name": POD}


def of_knative(objects):
    return {"envoy_cluster_name": f"{only(objects, 'Service')['metadata']['namespace']}/podinfo-00002"}


_ISTIO = of_workload("destination_workload_namespace", "destination_workload")
SERIES = {
    "apisix": of_apisix,
    "contour": of_contour,
    "gloo": of_gloo,
    "istio": _ISTIO,
    "knative": of_knative,
    "kuma": of_kuma,
    "linkerd": of_workload("namespace", "deployment"),
    "nginx": of_nginx,
    "osm": of_workload("destination_namespace", "destination_name"),
    "skipper": of_skipper,
    "traefik": of_traefik,
    **dict.fromkeys((name for name in ENTRIES if name.startswith("smi:")), _ISTIO),
    **dict.fromkeys(
        (name for name in ENTRIES if name.startswith(("alb", "appmesh", "gatewayapi", "kubernetes", "replicas"))),
        of_pods,
    ),
}
"""The labels of the canary's series as each mesh writes them for the objects that it reads."""


@pytest.mark.parametrize("apex", ["podinfo", "shop"])
@pytest.mark.parametrize("kind", [CheckKind.SUCCESS_RATE, CheckKind.DURATION])
@pytest.mark.parametrize("provider", sorted(ENTRIES))
def test_a_query_asks_about_the_names_that_are_routed(provider, kind, apex):
    context, mesh = render_context(provider, service={"name": apex}), mesh_of(provider)
    objects = {ref: route_to(body, apex) for ref, body in zip(mesh.refs(context), sources(provider), strict=False)}
    routes = Routes() if provider == "kubernetes" else Routes(weight=40)
    labels = SERIES[provider](mesh.render(context, routes, objects))
    query = render(mesh.queries[kind], {**mesh.query_variables(context, objects), "interval": "1m"}, {})
    asked = re.findall(r'(\w+)(=~|=)"([^"]*)"', query)
    assert {label for label, _, _ in asked} >= labels.keys()
    for label, operator, text in asked:
        if label in labels:
            assert re.fullmatch(text if operator == "=~" else re.escape(text), labels[label]), query


def route_to(value, apex):
    """Return a source in which the backends have that name. The owner's other names have another text."""
    if isinstance(value, list):
        return [route_to(item, apex) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {name: route_to(item, apex) for name, item in value.items()}
    if fields.get("serviceName") == WORKLOAD:
        return fields | {"serviceName": apex}
    if fields.get("name") == WORKLOAD and "port" in fields:
        return fields | {"name": apex}
    return fields


def selectors_of(query):
    """Return the selectors of a query: metric, and label, operator and text of each matcher."""
    return [
        (metric, re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers))
        for metric, matchers in re.findall(r"(\w+)\{([^}]*)\}", query)
    ]


def accepts(operator, text, value):
    is_match = re.fullmatch(text, value) is not None if "~" in operator else text == value
    return is_match is (operator[0] != "!")


@pytest.mark.parametrize("kind", [CheckKind.SUCCESS_RATE, CheckKind.DURATION])
@pytest.mark.parametrize("provider", sorted(ENTRIES))
def test_a_query_asks_by_names_that_the_proxy_exports(provider, kind):
    context, mesh = render_context(provider), mesh_of(provider)
    objects = dict(zip(mesh.refs(context), sources(provider), strict=False))
    query = render(mesh.queries[kind], {**mesh.query_variables(context, objects), "interval": "1m"}, {})
    for metric, matchers in selectors_of(query):
        exported = [labels for name, labels in series_of(provider) if name == metric]
        assert exported, f"no proxy of {provider} exports {metric}"
        for label, operator, text in matchers:
            assert all(label in labels for labels in exported), (metric, label)
            if operator in ("=", "=~") and text in ("request", "destination", "inbound", "Deployment", "+Inf"):
                assert all(labels[label] == text for labels in exported)


@pytest.mark.parametrize("provider", sorted(ENTRIES))
def test_the_success_rate_tells_failures_by_the_forms_that_the_proxy_exports(provider):
    (metric, good), (total, every) = selectors_of(
        mesh_of(provider).queries[CheckKind.SUCCESS_RATE].replace("{{", "").replace("}}", "")
    )
    assert metric == total
    (status,) = [matcher for matcher in good if matcher not in every]
    label, operator, text = status
    statuses = {labels[label] for name, labels in series_of(provider) if name == metric}
    assert len(statuses) == 2
    assert {value for value in statuses if not accepts(operator, text, value)} == set(
        filter(FAILURES.fullmatch, statuses)
    )
