"""Checks of a cluster: fields that its definition of Canaries drops, and alert providers that it lacks."""

from __future__ import annotations

import json

import pytest

from canarycore.manifest import DEFINITION, OWN_FIELDS
from canarycore_kubernetes.deploy.objects import definitions
from canarycore_kubernetes.preflight import check_cluster
from canarycore_runtime.mesh import LAST_APPLIED
from tests.adapters.mesh.meshes import manifest
from tests.controlplane.crds import definitions as definitions_of
from tests.manifest.samples import annotated, shared


def flaggers():
    shared("crds")
    return list(definitions_of("flagger"))


def definition_of(bodies):
    return json.loads(json.dumps(next(body for body in bodies if body["metadata"]["name"] == DEFINITION)))


async def pruned(client, namespace):
    report = await check_cluster(client, namespace=namespace)
    return [problem for problem in report.problems if problem.rule == "pruned-field"]


async def test_lint_finds_a_field_that_the_definition_has_dropped(client, api, namespace):
    api.create(definition_of(flaggers()))
    canary = manifest("istio", namespace=namespace)
    applied = {**canary, "spec": {**canary["spec"], "analysis": {**canary["spec"]["analysis"], "drain": "9s"}}}
    canary["metadata"]["annotations"] = {LAST_APPLIED: json.dumps(applied)}
    api.create(canary, namespace)
    (problem,) = await pruned(client, namespace)
    assert (problem.path, problem.severity) == ("spec.analysis.drain", "error")
    assert "canary install --export" in problem.remedy


async def test_lint_warns_of_a_definition_that_drops_fields(client, api, namespace):
    api.create(definition_of(flaggers()))
    (problem,) = await pruned(client, namespace)
    assert problem.severity == "warning"
    assert all(name in problem.found for name in OWN_FIELDS)


@pytest.mark.parametrize("is_defined", [False, True])
async def test_our_own_definition_drops_nothing(client, api, namespace, is_defined):
    if is_defined:
        api.create(definition_of(definitions()))
    assert await pruned(client, namespace) == []


async def test_lint_finds_a_subscription_to_an_alert_provider_that_the_cluster_lacks(client, api, namespace):
    api.create(annotated(manifest("istio", namespace=namespace), subscribe__error__nobody="dev"), namespace)
    report = await check_cluster(client, namespace=namespace)
    (problem,) = (problem for problem in report.problems if problem.rule == "missing-alert-provider")
    assert problem.path == 'metadata.annotations["canarycore/subscribe.error.nobody"]'
    assert problem.found == f"no AlertProvider nobody in the namespace {namespace}"


def definition(kind, *versions):
    plural, group = f"{kind.lower()}s", "gateway.networking.k8s.io"
    names = {"kind": kind, "plural": plural}
    served = [{"name": version, "served": True, "storage": version == versions[0]} for version in versions]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": served},
    }


@pytest.mark.parametrize(
    ("kind", "provider", "versions", "found"),
    [
        (
            "TCPRoute",
            "gatewayapi:v1",
            ("v1alpha2",),
            "no kind TCPRoute of gateway.networking.k8s.io/v1, but of v1alpha2",
        ),
        ("TCPRoute", "gatewayapi:v1beta1", ("v1alpha2",), ""),
        ("TCPRoute", "gatewayapi:v1", ("v1", "v1alpha2"), ""),
        ("GRPCRoute", "gatewayapi:v1", (), "no kind GRPCRoute of gateway.networking.k8s.io/v1"),
    ],
)
async def test_lint_finds_a_kind_of_route_that_the_cluster_lacks(
    client, api, namespace, kind, provider, versions, found
):
    api.create(definition("HTTPRoute", "v1"))
    if versions:
        api.create(definition(kind, *versions))
    api.create(manifest(f"{provider} {kind}", namespace=namespace), namespace)
    report = await check_cluster(client, namespace=namespace)
    problems = [problem for problem in report.problems if problem.rule == "missing-kind"]
    assert [problem.found for problem in problems] == ([found] if found else [])
    assert all(problem.path == "spec.service.routeKind" for problem in problems)


async def test_a_cluster_needs_the_kind_of_its_routes_only(client, api, namespace):
    api.create(definition("HTTPRoute", "v1"))
    api.create(manifest("gatewayapi:v1", namespace=namespace), namespace)
    report = await check_cluster(client, namespace=namespace)
    assert "missing-kind" not in {problem.rule for problem in report.problems}
