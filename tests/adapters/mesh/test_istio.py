"""Istio: the fields of the service section in the objects that Istio reads."""

from __future__ import annotations

import pytest

from canarycore import Routes
from canarycore.errors import Refused
from tests.adapters.mesh.meshes import AB, mesh_of, render_context

PRIMARY_ONLY = Routes()
AFFINITY = {"cookieName": "session", "primaryCookieName": "first", "maxAge": 60, "path": "/app", "secure": True}


def rendered(routes=PRIMARY_ONLY, **fields):
    """Return the canary's DestinationRule, the primary's, and the VirtualService."""
    return mesh_of("istio").render(render_context("istio", **fields), routes, {})


def spec(routes=PRIMARY_ONLY, **fields):
    return rendered(routes, **fields)[-1]["spec"]


def shares(rule):
    return {part["destination"]["host"]: part["weight"] for part in rule["route"]}


def test_the_apex_is_always_among_the_hosts():
    assert spec()["hosts"] == ["podinfo"]
    assert spec(service={"hosts": ["a.example.com"]})["hosts"] == ["a.example.com", "podinfo"]
    assert spec(service={"hosts": ["*"]})["hosts"] == ["*"]
    assert spec(service={"name": "web", "hosts": ["web"]})["hosts"] == ["web"]


def test_all_sidecars_are_routed_unless_gateways_are_given():
    assert spec()["gateways"] == ["mesh"]
    assert spec(service={"gateways": ["ingress/public"]})["gateways"] == ["ingress/public"]


def test_a_delegate_has_neither_hosts_nor_gateways():
    rendered_spec = spec(service={"delegation": True})
    assert (rendered_spec["hosts"], rendered_spec["gateways"]) == ([], [])
    with pytest.raises(Refused, match="delegation"):
        spec(service={"delegation": True, "hosts": ["a.example.com"]})


@pytest.mark.parametrize(
    ("service", "port"),
    [
        ({"portDiscovery": True, "gateways": ["public"]}, {"number": 9898}),
        ({"portDiscovery": True, "delegation": True}, {"number": 9898}),
        ({"portDiscovery": True, "gateways": ["mesh", "public"]}, None),
        ({"portDiscovery": True}, None),
        ({"gateways": ["public"]}, None),
    ],
)
def test_a_destination_names_its_port_behind_a_gateway_with_port_discovery(service, port):
    (rule,) = spec(service=service)["http"]
    assert [part["destination"].get("port") for part in rule["route"]] == [port, port]


def test_every_rule_has_the_fields_of_the_service_section():
    service = {
        "timeout": "15s",
        "retries": {"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx"},
        "headers": {"request": {"add": {"x-a": "1"}}, "response": {"remove": ["x-b"]}},
        "corsPolicy": {"allowOrigin": ["example.com"], "allowCredentials": False, "maxAge": "24h"},
        "rewrite": {"uri": "/api", "authority": "api", "type": "ReplaceFullPath"},
    }
    for rule in spec(Routes(matched=True), service=service, analysis=AB)["http"]:
        assert (rule["timeout"], rule["retries"], rule["headers"]) == ("15s", service["retries"], service["headers"])
        assert rule["corsPolicy"] == {"allowOrigin": ["example.com"], "maxAge": "24h"}
        assert rule["rewrite"] == {"uri": "/api", "authority": "api"}


def test_retries_without_a_number_are_none():
    (rule,) = spec(service={"retries": {"retryOn": "5xx"}})["http"]
    assert rule["retries"] == {"attempts": 0, "retryOn": "5xx"}


def test_both_sides_get_the_traffic_policy():
    policy = {"tls": {"mode": "ISTIO_MUTUAL"}, "outlierDetection": {"consecutive5xxErrors": 0}}
    canary, primary, _ = rendered(service={"trafficPolicy": policy})
    assert canary["spec"] == {"host": "podinfo-canary", "trafficPolicy": policy}
    assert primary["spec"] == {"host": "podinfo-primary", "trafficPolicy": policy}


def test_the_services_conditions_apply_to_each_rule():
    service = {"match": [{"uri": {"prefix": "/api"}}, {"uri": {"exact": "/"}}]}
    analysis = {**AB, "match": [{"headers": {"x-a": {"exact": "1"}}}, {"sourceLabels": {"app": "web"}}]}
    matching, default = spec(Routes(matched=True), service=service, analysis=analysis)["http"]
    assert default["match"] == service["match"]
    assert matching["match"] == [
        {"uri": {"prefix": "/api"}, "headers": {"x-a": {"exact": "1"}}},
        {"uri": {"exact": "/"}, "headers": {"x-a": {"exact": "1"}}},
        {"uri": {"prefix": "/api"}, "sourceLabels": {"app": "web"}},
        {"uri": {"exact": "/"}, "sourceLabels": {"app": "web"}},
    ]


def test_every_field_of_the_services_conditions_reaches_the_rule():
    match = {
        "name": "api",
        "headers": {"x-a": {"regex": "1"}, "x-user": {}},
        "withoutHeaders": {"x-b": {"prefix": "2"}},
        "queryParams": {"q": {"exact": "3"}},
        **{name: {"exact": name} for name in ("uri", "method", "scheme", "authority")},
        "sourceLabels": {"app": "web"},
        "sourceNamespace": "apps",
        "gateways": ["mesh"],
        "port": 80,
        "ignoreUriCase": True,
    }
    (rule,) = spec(service={"match": [match]})["http"]
    assert rule["match"] == [match]


def test_a_query_condition_is_kept_beside_the_services_conditions():
    """Flagger drops it, and routes all requests to the canary."""
    analysis = {**AB, "match": [{"queryParams": {"beta": {"exact": "1"}}}]}
    matching, _ = spec(Routes(matched=True), service={"match": [{"uri": {"prefix": "/"}}]}, analysis=analysis)["http"]
    assert matching["match"] == [{"uri": {"prefix": "/"}, "queryParams": {"beta": {"exact": "1"}}}]


def test_weights_with_conditions_leave_other_requests_on_the_primary():
    matching, default = spec(Routes(weight=30), analysis={"match": AB["match"]})["http"]
    assert shares(matching) == {"podinfo-primary": 70, "podinfo-canary": 30}
    assert shares(default) == {"podinfo-primary": 70}  # a single destination gets all requests


def test_a_canary_in_place_of_the_primary_gets_all_requests():
    matching, default = spec(Routes(weight=100), analysis=AB)["http"]
    assert shares(matching) == shares(default) == {"podinfo-primary": 0, "podinfo-canary": 100}


@pytest.mark.parametrize(("fields", "percent"), [({}, None), ({"mirrorWeight": 10}, {"value": 10})])
def test_requests_are_copied_to_the_canary(fields, percent):
    (rule,) = spec(Routes(mirrored=True), analysis={"mirror": True, **fields})["http"]
    assert rule["mirror"] == {"host": "podinfo-canary"}
    assert rule.get("mirrorPercentage") == percent
    assert shares(rule) == {"podinfo-primary": 100, "podinfo-canary": 0}


def test_a_tcp_service_is_split_by_port_and_weight():
    service = {"appProtocol": "TCP", "match": [{"port": 9898}]}
    rendered_spec = spec(Routes(weight=30), service=service)
    assert "http" not in rendered_spec
    (rule,) = rendered_spec["tcp"]
    assert rule["match"] == [{"port": 9898}]
    assert shares(rule) == {"podinfo-primary": 70, "podinfo-canary": 30}
    with pytest.raises(Refused, match="TCP connection has no requests"):
        spec(Routes(matched=True), service=service, analysis=AB)


def test_users_stay_on_the_side_that_answered_first():
    rules = spec(Routes(weight=30, cookie="abc"), analysis={"interval": "30s", "sessionAffinity": AFFINITY})["http"]
    to_canary, to_primary, by_weight = rules
    assert to_canary["match"] == [{"headers": {"Cookie": {"regex": ".*session.*abc.*"}}}]
    assert shares(to_canary) == {"podinfo-primary": 0, "podinfo-canary": 100}
    assert to_primary["match"] == [{"headers": {"Cookie": {"regex": ".*first.*abc.*"}}}]
    assert shares(to_primary) == {"podinfo-primary": 100, "podinfo-canary": 0}
    cookies = [part["headers"]["response"]["add"]["Set-Cookie"] for part in by_weight["route"]]
    assert cookies == ["first=abc; Max-Age=30; Path=/app; Secure", "session=abc; Max-Age=60; Path=/app; Secure"]
    assert shares(by_weight) == {"podinfo-primary": 70, "podinfo-canary": 30}


def test_a_cookie_expires_beside_the_owners_headers():
    service = {"headers": {"response": {"add": {"x-a": "1"}}}, "match": [{"uri": {"prefix": "/api"}}]}
    analysis = {"sessionAffinity": {"cookieName": "session"}}
    expired, default = spec(Routes(expired="abc"), service=service, analysis=analysis)["http"]
    cookie = {"headers": {"Cookie": {"regex": ".*session.*abc.*"}}}
    assert expired["match"] == [{"uri": {"prefix": "/api"}, **cookie}]
    assert expired["headers"]["response"]["add"] == {"x-a": "1", "Set-Cookie": "session=abc; Max-Age=-1"}
    assert default["headers"] == service["headers"]


def test_the_route_has_the_labels_and_annotations_of_the_apex():
    apex = {"labels": {"team": "web"}, "annotations": {"note": "1"}}
    metadata = rendered(service={"apex": apex})[-1]["metadata"]
    assert metadata["labels"] == {"team": "web", "app": "podinfo"}
    assert metadata["annotations"]["note"] == "1"
    assert "labels" not in rendered()[-1]["metadata"]
