"""What the other meshes have of their own."""

from __future__ import annotations

import copy
import json

import pytest
from attrs import evolve

from canarycore import CheckKind, Routes
from canarycore.errors import Refused
from canarycore_metrics.template import render
from canarycore_runtime.mesh import Ref
from tests.adapters.mesh.meshes import AB, asked, mesh_of, sources

MESH_NAME = {"meshName": "global"}


PRIMARY_ONLY = Routes()


def objects(provider, routes=PRIMARY_ONLY, found=None, **given):
    """What is rendered, by kind and name."""
    canary = asked(provider, **given)
    mesh = mesh_of(provider)
    known = {(ref.kind.kind, ref.name): ref for ref in mesh.refs(canary)}
    there = {known[body["kind"], body["metadata"]["name"]]: body for body in found or sources(provider)}
    rendered = mesh.render(canary, routes, there)
    return {(body["kind"], body["metadata"]["name"]): body for body in rendered}


# App Mesh -----------------------------------------------------------------------------------------------------------


def test_nodes_select_pods_by_the_label_that_the_target_has():
    canary = evolve(asked("appmesh:v1beta2"), pods=("app.kubernetes.io/name", "web"))
    primary, target, *_ = mesh_of("appmesh:v1beta2").render(canary, Routes(), {})
    assert primary["spec"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "web-primary"}}
    assert target["spec"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "web"}}


@pytest.mark.parametrize(
    ("service", "mapping"),
    [
        ({}, {"port": 9898, "protocol": "http"}),
        ({"targetPort": 8080, "portName": "grpc-web"}, {"port": 8080, "protocol": "grpc"}),
        ({"targetPort": "http"}, {"port": 9898, "protocol": "http"}),
    ],
)
def test_listeners_are_where_the_app_listens(service, mapping):
    found = objects("appmesh:v1beta2", service=service)
    for kind, name in (("VirtualNode", "podinfo-primary"), ("VirtualRouter", "podinfo")):
        assert found[kind, name]["spec"]["listeners"][0]["portMapping"] == mapping


def test_access_logs_are_asked_for_by_an_annotation():
    log = {"accessLog": {"file": {"path": "/dev/stdout"}}}
    for provider in ("appmesh:v1beta2", "appmesh"):
        found = objects(provider, annotations={"appmesh.flagger.app/accesslog": "enabled"})
        assert found["VirtualNode", "podinfo-canary"]["spec"]["logging"] == log
        assert "logging" not in objects(provider)["VirtualNode", "podinfo-canary"]["spec"]


def test_a_gateway_reads_what_is_exposed_from_annotations():
    service = {"hosts": ["a.example.com", "b.example.com"], "timeout": "5s", "retries": {"attempts": 3}}
    expected = {
        "gateway.appmesh.k8s.aws/expose": "true",
        "gateway.appmesh.k8s.aws/domain": "a.example.com,b.example.com,",
        "gateway.appmesh.k8s.aws/timeout": "5s",
        "gateway.appmesh.k8s.aws/retries": "3",
    }
    assert (
        objects("appmesh:v1beta2", service=service)["VirtualService", "podinfo"]["metadata"]["annotations"] == expected
    )
    older = objects("appmesh", service={**service, **MESH_NAME})
    assert older["VirtualService", "podinfo.test"]["metadata"]["annotations"] == expected


def test_retries_have_defaults():
    """One, on a gateway's error, after a quarter of a second."""
    routes = {}
    for name, service in (
        ("none", {"timeout": "1m"}),
        ("defaults", {"retries": {}}),
        ("two", {"retries": {"attempts": 2}}),
    ):
        router = objects("appmesh:v1beta2", service=service)["VirtualRouter", "podinfo"]
        routes[name] = router["spec"]["routes"][0]["httpRoute"]
    assert routes["none"]["timeout"] == {"perRequest": {"unit": "ms", "value": 60000}}
    assert "retryPolicy" not in routes["none"]
    timeout = {"unit": "ms", "value": 250}
    defaults = {"perRetryTimeout": timeout, "maxRetries": 1, "httpRetryEvents": ["gateway-error"]}
    assert routes["defaults"]["retryPolicy"] == defaults
    assert routes["two"]["retryPolicy"] == {**defaults, "maxRetries": 2}


def test_the_older_version_splits_in_the_service_and_names_the_namespace():
    found = objects("appmesh", Routes(weight=30), service={"backends": ["backend.test"], **MESH_NAME})
    service = found["VirtualService", "podinfo.test"]["spec"]
    assert (service["meshName"], service["virtualRouter"]["name"]) == ("global", "podinfo")
    assert service["routes"][0]["http"]["action"]["weightedTargets"] == [
        {"virtualNodeName": "podinfo-canary", "weight": 30},
        {"virtualNodeName": "podinfo-primary", "weight": 70},
    ]
    nodes = {name: body["spec"] for (kind, name), body in found.items() if kind == "VirtualNode"}
    hosts = {name: spec["serviceDiscovery"]["dns"]["hostName"] for name, spec in nodes.items()}
    assert hosts == {
        "podinfo": "podinfo-primary.test",
        "podinfo-primary": "podinfo-primary.test",
        "podinfo-canary": "podinfo-canary.test",
    }
    backend = {"virtualService": {"virtualServiceName": "backend.test"}}
    assert all(spec["backends"] == [backend] for spec in nodes.values())


def test_the_older_version_needs_the_name_of_the_mesh():
    with pytest.raises(Refused, match=r"spec\.service\.meshName"):
        objects("appmesh", service={"meshName": ""})


# ingresses ----------------------------------------------------------------------------------------------------------


def web(paths, **annotations):
    (body,) = copy.deepcopy(sources("nginx"))
    body["spec"]["rules"][0]["http"]["paths"] = paths
    body["spec"]["rules"].append({"host": "empty.example.com"})
    body["metadata"]["annotations"] |= annotations
    return body


def leads(service, path="/"):
    return {"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}


def test_only_what_leads_to_the_app_is_led_to_the_canary():
    source = web(
        [leads("podinfo"), leads("other", "/other")], **{"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    )
    ingress = objects("nginx", found=[source])["Ingress", "web-canary"]
    assert ingress["spec"]["rules"] == [
        {
            "host": "app.example.com",
            "http": {"paths": [leads("podinfo-canary"), leads("other", "/other")]},
        },
        {"host": "empty.example.com"},
    ]
    assert ingress["metadata"]["labels"] == {"team": "web"}
    assert ingress["metadata"]["annotations"] == {
        "example.com/kept": "yes",
        "helm.toolkit.fluxcd.io/driftDetection": "disabled",
        "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
        "nginx.ingress.kubernetes.io/canary": "true",
        "nginx.ingress.kubernetes.io/canary-weight": "0",
    }


def test_an_ingress_that_leads_elsewhere_is_no_source():
    for provider in ("nginx", "skipper"):
        with pytest.raises(Refused, match="no path to the Service podinfo in the Ingress web"):
            objects(provider, found=[web([leads("other")])])


def test_nginx_matches_one_header_and_one_cookie():
    match = [{"headers": {"x-canary": {"regex": "in.*"}}}, {"headers": {"cookie": {"exact": "canary"}}}]
    found = objects("nginx", Routes(matched=True), analysis={**AB, "match": match})["Ingress", "web-canary"]
    ours = {
        name.removeprefix("nginx.ingress.kubernetes.io/"): value
        for name, value in found["metadata"]["annotations"].items()
        if name.startswith("nginx")
    }
    assert ours == {
        "canary": "true",
        "canary-weight": "0",
        "canary-by-header": "x-canary",
        "canary-by-header-pattern": "in.*",
        "canary-by-cookie": "canary",
    }


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        ({"x-canary": {"prefix": "in"}}, "the header 'x-canary' matched by prefix"),
        ({"cookie": {"regex": "canary.*"}}, "a cookie matched by regex"),
    ],
)
def test_nginx_refuses_what_it_would_let_everybody_in_for(match, reason):
    with pytest.raises(Refused, match=reason):
        objects("nginx", Routes(matched=True), analysis={**AB, "match": [{"headers": match}]})


def test_nginx_cannot_weigh_what_matches():
    with pytest.raises(Refused, match="weights together with match"):
        objects("nginx", Routes(weight=20), analysis={"match": AB["match"]})


def test_the_prefix_of_nginx_annotations_is_an_option():
    canary = evolve(asked("nginx"), ingress_prefix="custom.ingress.example.com")
    mesh = mesh_of("nginx")
    source, _ = mesh.refs(canary)
    (ingress,) = mesh.render(canary, Routes(weight=5), {source: sources("nginx")[0]})
    assert ingress["metadata"]["annotations"]["custom.ingress.example.com/canary-weight"] == "5"


def test_skipper_leads_to_both_sides_and_goes_first():
    source = web([leads("podinfo")], **{"zalando.org/skipper-predicate": 'Method("GET")'})
    ingress = objects("skipper", Routes(weight=30), found=[source])["Ingress", "web-canary"]
    assert ingress["spec"]["rules"][0]["http"]["paths"] == [leads("podinfo-primary"), leads("podinfo-canary")]
    annotations = ingress["metadata"]["annotations"]
    assert json.loads(annotations["zalando.org/backend-weights"]) == {"podinfo-canary": 30, "podinfo-primary": 70}
    assert annotations["zalando.org/skipper-predicate"] == 'Weight(100) && Method("GET")'


def test_skipper_is_switched_off_when_a_rollout_is_over():
    made = objects("skipper")["Ingress", "web-canary"]
    assert made["metadata"]["annotations"]["zalando.org/skipper-predicate"] == "Weight(100)"
    under_way = objects("skipper", Routes(weight=30))["Ingress", "web-canary"]
    over = objects("skipper", found=[*sources("skipper"), under_way])["Ingress", "web-canary"]
    assert over["metadata"]["annotations"]["zalando.org/skipper-predicate"] == "False()"


def test_skippers_routes_are_named_without_dashes():
    canary = asked("skipper", service={"name": "pod-info"})
    variables = {**mesh_of("skipper").query_variables(canary, {}), "interval": "1m"}
    query = render(mesh_of("skipper").queries[CheckKind.DURATION], variables, {})
    assert 'route=~"kube(ew)?_test__web_canary__.*__pod_info_canary(_[0-9]+)?"' in query


# the others ---------------------------------------------------------------------------------------------------------


def test_contour_has_the_ingress_class_of_the_controller():
    (proxy,) = mesh_of("contour").render(evolve(asked("contour"), ingress_class="public"), Routes(), {})
    assert proxy["spec"]["ingressClassName"] == "public"
    assert "ingressClassName" not in objects("contour")["HTTPProxy", "podinfo"]["spec"]


def test_contour_retries_without_a_reason_name_none():
    """An empty one is refused by the API server, and the rollout would never begin."""
    found = objects("contour", service={"retries": {"perTryTimeout": "5s"}, "timeout": "15s"})
    (route,) = found["HTTPProxy", "podinfo"]["spec"]["routes"]
    assert route["retryPolicy"] == {"count": 1, "perTryTimeout": "5s"}
    assert route["timeoutPolicy"] == {"response": "15s", "idle": "5m"}


def test_contour_looks_for_a_part_of_a_header():
    match = [{"headers": {"x-a": {"prefix": "in"}, "x-b": {"suffix": "er"}}}]
    service = {"match": [{"uri": {"prefix": "/api"}}]}
    found = objects("contour", Routes(matched=True), analysis={**AB, "match": match}, service=service)
    matching, default = found["HTTPProxy", "podinfo"]["spec"]["routes"]
    assert matching["conditions"] == [
        {"prefix": "/api", "header": {"name": "x-a", "contains": "in"}},
        {"prefix": "/api", "header": {"name": "x-b", "contains": "er"}},
    ]
    assert default["conditions"] == [{"prefix": "/api"}]
    with pytest.raises(Refused, match="matched by regex"):
        objects("contour", Routes(matched=True), analysis={**AB, "match": [{"headers": {"x": {"regex": "a"}}}]})


def test_upstreams_take_over_the_settings_of_the_one_referred_to():
    canary = asked("gloo", upstreamRef={"apiVersion": "v1", "kind": "Upstream", "name": "web", "namespace": "infra"})
    mesh = mesh_of("gloo")
    *_, settings = mesh.refs(canary)
    assert isinstance(settings, Ref)
    assert (settings.namespace, settings.name) == ("infra", "web")
    source = {
        "spec": {"loadBalancerConfig": {"roundRobin": {}}, "useHttp2": True, "kube": {"serviceName": "x"}, "x": 1}
    }
    primary, *_ = mesh.render(canary, Routes(), {settings: source})
    assert primary["spec"] == {
        "loadBalancerConfig": {"roundRobin": {}},
        "useHttp2": True,
        "kube": {
            "serviceName": "podinfo-primary",
            "serviceNamespace": "test",
            "servicePort": 9898,
            "selector": {"app": "podinfo-primary"},
        },
    }


def test_gloo_routes_what_matches():
    match = [{"headers": {"x-a": {"exact": "1"}, "x-b": {"regex": "2.*"}}}]
    found = objects("gloo", Routes(matched=True), analysis={**AB, "match": match})
    (route,) = found["RouteTable", "podinfo"]["spec"]["routes"]
    headers = [{"name": "x-a", "value": "1"}, {"name": "x-b", "value": "2.*", "regex": True}]
    assert route["matchers"] == [{"headers": headers}]


def test_a_traffic_split_is_of_the_first_host():
    found = objects("smi:v1alpha2", Routes(weight=20), service={"hosts": ["web.example.com", "other"]})
    assert found["TrafficSplit", "podinfo"]["spec"] == {
        "service": "web.example.com",
        "backends": [{"service": "podinfo-canary", "weight": 20}, {"service": "podinfo-primary", "weight": 80}],
    }


def test_istio_behind_a_traffic_split_is_told_its_gateways():
    canary = asked("smi:v1alpha1", service={"gateways": ["public"]})
    named = evolve(canary, rollout=evolve(canary.rollout, provider="smi:v1alpha1:istio"))
    for given, expected in ((canary, {}), (named, {GATEWAYS: '["public"]'})):
        (split,) = mesh_of("smi:v1alpha1").render(given, Routes(), {})
        assert split["metadata"].get("annotations", {}) == expected


GATEWAYS = "VirtualService.v1alpha3.networking.istio.io/spec.gateways"


def test_apisix_copies_the_one_rule_that_leads_to_the_app():
    (source,) = sources("apisix")
    rule = {**source["spec"]["http"][0], "plugins": [{"name": "cors", "enable": True}]}
    rule["backends"] = [{**rule["backends"][0], "subset": "v1", "resolveGranularity": "service"}]
    other = {"name": "other", "match": {"paths": ["/o"]}, "backends": [{"serviceName": "other", "servicePort": 80}]}
    source = {**source, "spec": {"http": [other, rule], "ingressClassName": "apisix"}}
    copied = objects("apisix", Routes(weight=10), found=[source])["ApisixRoute", "web-podinfo-canary"]
    assert copied["spec"]["ingressClassName"] == "apisix"
    (found,) = copied["spec"]["http"]
    assert (found["name"], found["priority"], found["websocket"], found["plugins"]) == (
        "app",
        10000,
        False,
        rule["plugins"],
    )
    shared = {"servicePort": 9898, "resolveGranularity": "service", "subset": "v1"}
    assert found["backends"] == [
        {"serviceName": "podinfo-primary", "weight": 90, **shared},
        {"serviceName": "podinfo-canary", "weight": 10, **shared},
    ]
    rule["backends"].append({"serviceName": "more", "servicePort": 80})
    with pytest.raises(Refused, match="2 backends in the rule app"):
        objects("apisix", found=[source])


def test_kuma_is_told_its_mesh_by_an_annotation():
    assert objects("kuma")["TrafficRoute", "podinfo"]["mesh"] == "default"
    found = objects("kuma", annotations={"kuma.io/mesh": "payments"})["TrafficRoute", "podinfo"]
    assert found["mesh"] == "payments"
    assert "namespace" not in found["metadata"]


def test_traefik_says_that_the_primary_gets_nothing():
    """It takes a weight that is left out for 1."""
    services = objects("traefik", Routes(weight=100))["TraefikService", "podinfo"]["spec"]["weighted"]["services"]
    assert [(service["name"], service["weight"]) for service in services] == [
        ("podinfo-primary", 0),
        ("podinfo-canary", 100),
    ]


def test_knative_waits_until_a_revision_was_promoted():
    (source,) = sources("knative")
    assert objects("knative", Routes(weight=20))["Service", "podinfo"]["spec"]["traffic"] == [
        {"latestRevision": True, "percent": 20},
        {"revisionName": "podinfo-00001", "percent": 80},
    ]
    source = {**source, "metadata": {**source["metadata"], "annotations": {}}}
    with pytest.raises(Refused, match=r"no annotation flagger\.app/primary-revision"):
        objects("knative", found=[source])
