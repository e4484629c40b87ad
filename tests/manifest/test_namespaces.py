"""Each field that can name another namespace is checked, and the Canary's own namespace is always allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from canarycore.manifest import Canary, check_namespaces, parse, schema
from canarycore.manifest._namespaces import references
from tests.manifest.samples import annotated

Json = dict[str, Any]

OWN, OTHER = "shop", "ops"


def canary(**service: Any) -> Json:
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "app", "namespace": OWN},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "service": {"port": 80, **service},
            "analysis": {"interval": "1m", "threshold": 3, "stepWeight": 10},
        },
    }


def spec(**fields: Any) -> Json:
    body = canary()
    return {**body, "spec": {**body["spec"], **fields}}


def analysis(**fields: Any) -> Json:
    body = canary()
    body["spec"]["analysis"] |= fields
    return body


def read(body: Json) -> Canary:
    parsed = parse(body)
    assert isinstance(parsed, Canary)
    return parsed


METRIC = {"name": "errors", "interval": "1m", "thresholdRange": {"max": 1}}

FIELDS: dict[str, Callable[[str], Json]] = {
    "spec.upstreamRef.namespace": lambda namespace: spec(
        upstreamRef={"apiVersion": "gloo.solo.io/v1", "kind": "Upstream", "name": "app", "namespace": namespace}
    ),
    "spec.analysis.metrics[0].templateRef.namespace": lambda namespace: analysis(
        metrics=[{**METRIC, "templateRef": {"name": "errors", "namespace": namespace}}]
    ),
    "spec.analysis.alerts[0].providerRef.namespace": lambda namespace: analysis(
        alerts=[{"name": "room", "providerRef": {"name": "room", "namespace": namespace}}]
    ),
    "spec.service.gatewayRefs[0].namespace": lambda namespace: canary(
        gatewayRefs=[{"name": "public", "namespace": namespace}]
    ),
    "spec.service.mirror[0].backendRef.namespace": lambda namespace: canary(
        mirror=[{"backendRef": {"name": "app", "namespace": namespace, "port": 80}}]
    ),
    "spec.service.gateways[1]": lambda namespace: canary(gateways=["mesh", f"{namespace}/public"]),
    "spec.service.match[0].gateways[0]": lambda namespace: canary(match=[{"gateways": [f"{namespace}/public"]}]),
    "spec.analysis.match[0].gateways[0]": lambda namespace: analysis(
        iterations=2, match=[{"gateways": [f"{namespace}/public"]}]
    ),
    "spec.analysis.steps[0].match[0].gateways[0]": lambda namespace: analysis(
        steps=[{"weight": 5, "match": [{"gateways": [f"{namespace}/public"]}]}]
    ),
    "spec.service.name": lambda namespace: canary(name=f"app.{namespace}"),
    "spec.service.hosts[0]": lambda namespace: canary(hosts=[f"app.{namespace}.svc.cluster.local"]),
    "spec.service.rewrite.authority": lambda namespace: canary(rewrite={"authority": f"app.{namespace}.svc:80"}),
    "spec.service.backends[0]": lambda namespace: canary(backends=[f"app.{namespace}"]),
}
"""A manifest for each field that can name another namespace, by the field's path."""


@pytest.mark.parametrize("path", FIELDS)
def test_a_reference_to_another_namespace_is_refused(path: str) -> None:
    (problem,) = check_namespaces(read(FIELDS[path](OTHER)))
    assert problem.path == path
    assert OTHER in problem.found
    assert problem.expected == f"one in namespace {OWN}"
    assert "--no-cross-namespace-refs" in problem.remedy
    assert (problem.severity, problem.rule) == ("error", "cross-namespace")


@pytest.mark.parametrize("path", FIELDS)
def test_the_own_namespace_may_be_named(path: str) -> None:
    assert check_namespaces(read(FIELDS[path](OWN))) == ()


def test_the_deprecated_analysis_is_checked_too() -> None:
    body = FIELDS["spec.analysis.alerts[0].providerRef.namespace"](OTHER)
    body["spec"]["canaryAnalysis"] = body["spec"].pop("analysis")
    (problem,) = check_namespaces(read(body))
    assert problem.path == "spec.canaryAnalysis.alerts[0].providerRef.namespace"


def test_a_subscription_names_no_provider_of_another_namespace() -> None:
    body = annotated(canary(), subscribe__warn__room__ops="dev; sre", subscribe__warn__room__shop="dev")
    (problem,) = check_namespaces(read(body))
    assert problem.path == 'metadata.annotations["canarycore/subscribe.warn.room.ops"]'
    assert problem.found == "alert provider room.ops"


def test_every_field_of_the_definition_that_says_so_is_in_the_table() -> None:
    """A field that is called namespace, gateways, hosts, authority or backends, wherever the schema has it."""
    named = {"namespace", "gateways", "hosts", "authority", "backends"}
    found = {path for path in _paths(schema("Canary")) if path.rpartition(".")[2] in named}
    checked = {re.sub(r"\[\d]", "", path).removeprefix("spec.") for path in FIELDS}
    places = ("analysis.match", "analysis.steps.match", "service.match")
    conditions = {f"{place}.authority" for place in places}  # they choose requests, and take none over
    assert {path for path in found if not path.startswith("canaryAnalysis")} - checked <= conditions


def _paths(found: Json, path: str = "") -> set[str]:
    inner = {f"{path}.{name}".lstrip("."): one for name, one in found.get("properties", {}).items()}
    deeper = {place for name, one in inner.items() for place in _paths(one, name)}
    return {*inner, *deeper, *(_paths(found["items"], path) if "items" in found else ())}


# gateways -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gateway", ["mesh", "public", "./public", f"{OWN}/public", f"public.{OWN}"])
def test_a_gateway_of_the_own_namespace_and_the_mesh_are_allowed(gateway: str) -> None:
    assert check_namespaces(read(canary(gateways=[gateway]))) == ()


@pytest.mark.parametrize(
    "gateway",
    [f"{OTHER}/public", "*/public", f"public.{OTHER}", f"public.{OTHER}.svc.cluster.local", f"{OTHER}/{OWN}.public"],
)
def test_every_spelling_of_a_gateway_elsewhere_is_refused(gateway: str) -> None:
    (problem,) = check_namespaces(read(canary(gateways=[gateway])))
    assert problem.found == f"gateway {gateway}"
    assert "--shared-gateway-namespaces" in problem.remedy


def test_a_gateway_of_a_shared_namespace_is_allowed_and_nothing_else_of_it() -> None:
    gateways = canary(gateways=[f"{OTHER}/public"], gatewayRefs=[{"name": "public", "namespace": OTHER}])
    assert check_namespaces(read(gateways), gateways=[OTHER]) == ()
    others = [path for path in FIELDS if "gateway" not in path]
    assert all(check_namespaces(read(FIELDS[path](OTHER)), gateways=[OTHER]) for path in others)


def test_a_service_as_parent_is_no_shared_gateway() -> None:
    parent = {"kind": "Service", "group": "", "name": "app", "namespace": OTHER}
    (problem,) = check_namespaces(read(canary(gatewayRefs=[parent])), gateways=[OTHER])
    assert problem.found == f"Service app.{OTHER}"


# hosts ----------------------------------------------------------------------------------------------------------------

PUBLIC = {"gateways": [f"{OWN}/public"]}


@pytest.mark.parametrize(
    "host",
    [
        f"app.{OTHER}",
        f"app.{OTHER}.svc",
        f"app.{OTHER}.svc.cluster.local",
        f"App.{OTHER.upper()}.SVC.Cluster.Local.",
        f"app.{OTHER}.svc.corp.internal",
        f"*.{OTHER}.svc.cluster.local",
        "*.svc.cluster.local",
        "*.cluster.local",
        "*.local",
        "*",
    ],
)
def test_a_host_of_another_namespace_is_refused(host: str) -> None:
    (problem,) = check_namespaces(read(canary(hosts=["app", host])))
    assert (problem.path, problem.found) == ("spec.service.hosts[1]", f"host {host}")


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("app", {}),
        (f"app.{OWN}", {}),
        (f"app.{OWN}.svc", {}),
        (f"app.{OWN}.svc.cluster.local", {}),
        (f"*.{OWN}.svc.cluster.local", {}),
        ("app.example.com", {}),
        ("svc.example.com", {}),
        ("*.example.com", {}),
        ("example.com", PUBLIC),
        ("example.com", {"gatewayRefs": [{"name": "public"}]}),
        ("*", PUBLIC),
    ],
)
def test_a_domain_and_a_host_of_the_own_namespace_are_allowed(host: str, service: Json) -> None:
    assert check_namespaces(read(canary(hosts=[host], **service))) == ()


def test_two_labels_are_a_service_only_in_the_mesh() -> None:
    at_gateway = canary(hosts=["app.com"], **deepcopy(PUBLIC))
    assert check_namespaces(read(at_gateway)) == ()
    at_gateway["spec"]["service"]["gateways"].append("mesh")
    assert [problem.path for problem in check_namespaces(read(at_gateway))] == ["spec.service.hosts[0]"]


def test_an_arn_is_read_by_its_end() -> None:
    arn = "arn:aws:appmesh:eu-west-1:1:mesh/m/virtualService/"
    assert check_namespaces(read(canary(backends=[f"{arn}app.{OWN}", f"{arn}app.example.com"]))) == ()
    assert len(check_namespaces(read(canary(backends=[f"{arn}app.{OTHER}"])))) == 1


def test_a_long_name_is_shortened() -> None:
    (problem,) = check_namespaces(read(canary(hosts=[f"{'x' * 63}.{OTHER}"])))
    assert len(problem.found) < 70


def test_each_reference_has_a_path_of_its_own() -> None:
    names = ["one", "two"]
    body = canary(gateways=names, hosts=names, gatewayRefs=[{"name": name} for name in names])
    paths = [reference.path for reference in references(read(body))]
    assert len(paths) == len(set(paths)) == 6
