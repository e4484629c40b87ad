"""The features of single meshes, other than Istio and the Gateway API."""

from __future__ import annotations

import copy
import json

import pytest
from attrs import evolve

from canarycore import CheckKind, Routes
from canarycore.errors import Refused
from canarycore_metrics.template import render
from canarycore_runtime.mesh import PodSelectors, Ref
from tests.adapters.mesh.meshes import AB, mesh_of, render_context, sources

MESH_NAME = {"meshName": "global"}


PRIMARY_ONLY = Routes()


def render_objects(provider, routes=PRIMARY_ONLY, owned=None, **fields):
    """Return the rendered objects by kind and name. owned: the objects of the owner, instead of the usual sources."""
    context = render_context(provider, **fields)
    mesh = mesh_of(provider)
    refs = {(ref.kind.kind, ref.name): ref for ref in mesh.refs(context)}
    objects = {refs[body["kind"], body["metadata"]["name"]]: body for body in owned or sources(provider)}
    return {(body["kind"], body["metadata"]["name"]): body for body in mesh.render(context, routes, objects)}


# App Mesh -----------------------------------------------------------------------------------------------------------


def test_nodes_select_pods_by_the_targets_label():
    context = evolve(render_context("appmesh:v1beta2"), pods=PodSelectors.by_label("app.kubernetes.io/name", "web"))
    primary, target, *_ = mesh_of("appmesh:v1beta2").render(context, Routes(), {})
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
def test_listeners_use_the_port_that_the_app_listens_on(service, mapping):
    rendered = render_objects("appmesh:v1beta2", service=service)
    for kind, name in (("VirtualNode", "podinfo-primary"), ("VirtualRouter", "podinfo")):
        assert rendered[kind, name]["spec"]["listeners"][0]["portMapping"] == mapping


def test_an_annotation_enables_access_logs():
    log = {"accessLog": {"file": {"path": "/dev/stdout"}}}
    for provider in ("appmesh:v1beta2", "appmesh"):
        rendered = render_objects(provider, annotations={"appmesh.flagger.app/accesslog": "enabled"})
        assert rendered["VirtualNode", "podinfo-canary"]["spec"]["logging"] == log
        assert "logging" not in render_objects(provider)["VirtualNode", "podinfo-canary"]["spec"]


def test_annotations_tell_the_gateway_what_to_expose():
    service = {"hosts": ["a.example.com", "b.example.com"], "timeout": "5s", "retries": {"attempts": 3}}
    expected = {
        "gateway.appmesh.k8s.aws/expose": "true",
        "gateway.appmesh.k8s.aws/domain": "a.example.com,b.example.com,",
        "gateway.appmesh.k8s.aws/timeout": "5s",
        "gateway.appmesh.k8s.aws/retries": "3",
    }
    assert (
        render_objects("appmesh:v1beta2", service=service)["VirtualService", "podinfo"]["metadata"]["annotations"]
        == expected
    )
    older = render_objects("appmesh", service={**service, **MESH_NAME})
    assert older["VirtualService", "podinfo.test"]["metadata"]["annotations"] == expected


def test_retries_have_defaults():
    """The default is one attempt, of at most 250 milliseconds, after a gateway error."""
    routes = {}
    for name, service in (
        ("none", {"timeout": "1m"}),
        ("defaults", {"retries": {}}),
        ("two", {"retries": {"attempts": 2}}),
    ):
        router = render_objects("appmesh:v1beta2", service=service)["VirtualRouter", "podinfo"]
        routes[name] = router["spec"]["routes"][0]["httpRoute"]
    assert routes["none"]["timeout"] == {"perRequest": {"unit": "ms", "value": 60000}}
    assert "retryPolicy" not in routes["none"]
    timeout = {"unit": "ms", "value": 250}
    defaults = {"perRetryTimeout": timeout, "maxRetries": 1, "httpRetryEvents": ["gateway-error"]}
    assert routes["defaults"]["retryPolicy"] == defaults
    assert routes["two"]["retryPolicy"] == {**defaults, "maxRetries": 2}


def test_the_older_version_splits_in_the_service_and_names_the_namespace():
    rendered = render_objects("appmesh", Routes(weight=30), service={"backends": ["backend.test"], **MESH_NAME})
    service = rendered["VirtualService", "podinfo.test"]["spec"]
    assert (service["meshName"], service["virtualRouter"]["name"]) == ("global", "podinfo")
    assert service["routes"][0]["http"]["action"]["weightedTargets"] == [
        {"virtualNodeName": "podinfo-canary", "weight": 30},
        {"virtualNodeName": "podinfo-primary", "weight": 70},
    ]
    nodes = {name: body["spec"] for (kind, name), body in rendered.items() if kind == "VirtualNode"}
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
        render_objects("appmesh", service={"meshName": ""})


# ingresses ----------------------------------------------------------------------------------------------------------


def ingress_with(paths, **annotations):
    (body,) = copy.deepcopy(sources("nginx"))
    body["spec"]["rules"][0]["http"]["paths"] = paths
    body["spec"]["rules"].append({"host": "empty.example.com"})
    body["metadata"]["annotations"] |= annotations
    return body


def path_to(service, path="/"):
    return {"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}


def test_only_paths_to_the_app_lead_to_the_canary():
    source = ingress_with(
        [path_to("podinfo"), path_to("other", "/other")], **{"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    )
    ingress = render_objects("nginx", owned=[source])["Ingress", "web-canary"]
    assert ingress["spec"]["rules"] == [
        {
            "host": "app.example.com",
            "http": {"paths": [path_to("podinfo-canary"), path_to("other", "/other")]},
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


def test_an_ingress_without_a_path_to_the_app_is_refused():
    for provider in ("nginx", "skipper"):
        with pytest.raises(Refused, match="no path to the Service podinfo in the Ingress web"):
            render_objects(provider, owned=[ingress_with([path_to("other")])])


def test_nginx_matches_one_header_and_one_cookie():
    match = [{"headers": {"x-canary": {"regex": "in.*"}}}, {"headers": {"cookie": {"exact": "canary"}}}]
    rendered = render_objects("nginx", Routes(matched=True), analysis={**AB, "match": match})["Ingress", "web-canary"]
    ours = {
        name.removeprefix("nginx.ingress.kubernetes.io/"): value
        for name, value in rendered["metadata"]["annotations"].items()
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
def test_nginx_refuses_a_condition_that_it_does_not_support(match, reason):
    with pytest.raises(Refused, match=reason):
        render_objects("nginx", Routes(matched=True), analysis={**AB, "match": [{"headers": match}]})


def test_nginx_refuses_weights_with_conditions():
    with pytest.raises(Refused, match="weights together with match"):
        render_objects("nginx", Routes(weight=20), analysis={"match": AB["match"]})


def test_the_prefix_of_nginx_annotations_is_an_option():
    context = evolve(render_context("nginx"), ingress_prefix="custom.ingress.example.com")
    mesh = mesh_of("nginx")
    source, _ = mesh.refs(context)
    (ingress,) = mesh.render(context, Routes(weight=5), {source: sources("nginx")[0]})
    assert ingress["metadata"]["annotations"]["custom.ingress.example.com/canary-weight"] == "5"


def test_skippers_copy_leads_to_both_sides_and_has_priority():
    source = ingress_with([path_to("podinfo")], **{"zalando.org/skipper-predicate": 'Method("GET")'})
    ingress = render_objects("skipper", Routes(weight=30), owned=[source])["Ingress", "web-canary"]
    assert ingress["spec"]["rules"][0]["http"]["paths"] == [path_to("podinfo-primary"), path_to("podinfo-canary")]
    annotations = ingress["metadata"]["annotations"]
    assert json.loads(annotations["zalando.org/backend-weights"]) == {"podinfo-canary": 30, "podinfo-primary": 70}
    assert annotations["zalando.org/skipper-predicate"] == 'Weight(100) && Method("GET")'


def test_skippers_copy_is_disabled_after_a_rollout():
    ingress = render_objects("skipper")["Ingress", "web-canary"]
    assert ingress["metadata"]["annotations"]["zalando.org/skipper-predicate"] == "Weight(100)"
    active = render_objects("skipper", Routes(weight=30))["Ingress", "web-canary"]
    finished = render_objects("skipper", owned=[*sources("skipper"), active])["Ingress", "web-canary"]
    assert finished["metadata"]["annotations"]["zalando.org/skipper-predicate"] == "False()"


def test_skippers_query_names_routes_without_dashes():
    context = render_context("skipper", service={"name": "pod-info"})
    variables = {**mesh_of("skipper").query_variables(context, {}), "interval": "1m"}
    query = render(mesh_of("skipper").queries[CheckKind.DURATION], variables, {})
    assert 'route=~"kube(ew)?_test__web_canary__.*__pod_info_canary(_[0-9]+)?"' in query


# the others ---------------------------------------------------------------------------------------------------------


def test_contour_uses_the_controllers_ingress_class():
    (proxy,) = mesh_of("contour").render(evolve(render_context("contour"), ingress_class="public"), Routes(), {})
    assert proxy["spec"]["ingressClassName"] == "public"
    assert "ingressClassName" not in render_objects("contour")["HTTPProxy", "podinfo"]["spec"]


def test_contour_retries_without_events_omit_the_field():
    """The API server rejects an empty event, so the rollout would never begin."""
    rendered = render_objects("contour", service={"retries": {"perTryTimeout": "5s"}, "timeout": "15s"})
    (route,) = rendered["HTTPProxy", "podinfo"]["spec"]["routes"]
    assert route["retryPolicy"] == {"count": 1, "perTryTimeout": "5s"}
    assert route["timeoutPolicy"] == {"response": "15s", "idle": "5m"}


def test_contour_matches_a_part_of_a_header():
    match = [{"headers": {"x-a": {"prefix": "in"}, "x-b": {"suffix": "er"}}}]
    service = {"match": [{"uri": {"prefix": "/api"}}]}
    rendered = render_objects("contour", Routes(matched=True), analysis={**AB, "match": match}, service=service)
    matching, default = rendered["HTTPProxy", "podinfo"]["spec"]["routes"]
    assert matching["conditions"] == [
        {"prefix": "/api", "header": {"name": "x-a", "contains": "in"}},
        {"prefix": "/api", "header": {"name": "x-b", "contains": "er"}},
    ]
    assert default["conditions"] == [{"prefix": "/api"}]
    with pytest.raises(Refused, match="matched by regex"):
        render_objects("contour", Routes(matched=True), analysis={**AB, "match": [{"headers": {"x": {"regex": "a"}}}]})


def test_upstreams_copy_the_settings_of_the_owners_upstream():
    context = render_context(
        "gloo", upstreamRef={"apiVersion": "v1", "kind": "Upstream", "name": "web", "namespace": "infra"}
    )
    mesh = mesh_of("gloo")
    *_, settings = mesh.refs(context)
    assert isinstance(settings, Ref)
    assert (settings.namespace, settings.name) == ("infra", "web")
    source = {
        "spec": {"loadBalancerConfig": {"roundRobin": {}}, "useHttp2": True, "kube": {"serviceName": "x"}, "x": 1}
    }
    primary, *_ = mesh.render(context, Routes(), {settings: source})
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


def test_gloo_routes_matching_requests():
    match = [{"headers": {"x-a": {"exact": "1"}, "x-b": {"regex": "2.*"}}}]
    rendered = render_objects("gloo", Routes(matched=True), analysis={**AB, "match": match})
    (route,) = rendered["RouteTable", "podinfo"]["spec"]["routes"]
    headers = [{"name": "x-a", "value": "1"}, {"name": "x-b", "value": "2.*", "regex": True}]
    assert route["matchers"] == [{"headers": headers}]


def test_a_traffic_split_names_the_first_host():
    rendered = render_objects("smi:v1alpha2", Routes(weight=20), service={"hosts": ["web.example.com", "other"]})
    assert rendered["TrafficSplit", "podinfo"]["spec"] == {
        "service": "web.example.com",
        "backends": [{"service": "podinfo-canary", "weight": 20}, {"service": "podinfo-primary", "weight": 80}],
    }


def test_an_annotation_names_the_gateways_of_istios_smi_adapter():
    context = render_context("smi:v1alpha1", service={"gateways": ["public"]})
    named = evolve(context, rollout=evolve(context.rollout, provider="smi:v1alpha1:istio"))
    for sample, expected in ((context, {}), (named, {GATEWAYS: '["public"]'})):
        (split,) = mesh_of("smi:v1alpha1").render(sample, Routes(), {})
        assert split["metadata"].get("annotations", {}) == expected


GATEWAYS = "VirtualService.v1alpha3.networking.istio.io/spec.gateways"


def test_apisix_copies_the_only_rule_to_the_app():
    (source,) = sources("apisix")
    rule = {**source["spec"]["http"][0], "plugins": [{"name": "cors", "enable": True}]}
    rule["backends"] = [{**rule["backends"][0], "subset": "v1", "resolveGranularity": "service"}]
    other = {"name": "other", "match": {"paths": ["/o"]}, "backends": [{"serviceName": "other", "servicePort": 80}]}
    source = {**source, "spec": {"http": [other, rule], "ingressClassName": "apisix"}}
    copied = render_objects("apisix", Routes(weight=10), owned=[source])["ApisixRoute", "web-podinfo-canary"]
    assert copied["spec"]["ingressClassName"] == "apisix"
    (rendered,) = copied["spec"]["http"]
    assert (rendered["name"], rendered["priority"], rendered["websocket"], rendered["plugins"]) == (
        "app",
        10000,
        False,
        rule["plugins"],
    )
    shared = {"servicePort": 9898, "resolveGranularity": "service", "subset": "v1"}
    assert rendered["backends"] == [
        {"serviceName": "podinfo-primary", "weight": 90, **shared},
        {"serviceName": "podinfo-canary", "weight": 10, **shared},
    ]
    rule["backends"].append({"serviceName": "more", "servicePort": 80})
    with pytest.raises(Refused, match="2 backends in the rule app"):
        render_objects("apisix", owned=[source])


def test_an_annotation_names_kumas_mesh():
    assert render_objects("kuma")["TrafficRoute", "podinfo"]["mesh"] == "default"
    rendered = render_objects("kuma", annotations={"kuma.io/mesh": "payments"})["TrafficRoute", "podinfo"]
    assert rendered["mesh"] == "payments"
    assert "namespace" not in rendered["metadata"]


def test_traefik_writes_a_weight_of_0_for_the_primary():
    """Traefik's default weight is 1."""
    services = render_objects("traefik", Routes(weight=100))["TraefikService", "podinfo"]["spec"]["weighted"][
        "services"
    ]
    assert [(service["name"], service["weight"]) for service in services] == [
        ("podinfo-primary", 0),
        ("podinfo-canary", 100),
    ]


def test_knative_waits_for_a_promoted_revision():
    (source,) = sources("knative")
    assert render_objects("knative", Routes(weight=20))["Service", "podinfo"]["spec"]["traffic"] == [
        {"latestRevision": True, "percent": 20},
        {"revisionName": "podinfo-00001", "percent": 80},
    ]
    source = {**source, "metadata": {**source["metadata"], "annotations": {}}}
    with pytest.raises(Refused, match=r"no annotation flagger\.app/primary-revision"):
        render_objects("knative", owned=[source])
