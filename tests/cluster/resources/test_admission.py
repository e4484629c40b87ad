"""The definitions and the admission policy on a real API server."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from canarycore.manifest import lint
from canarycore_kubernetes.deploy.admission import find_rules
from canarycore_kubernetes.deploy.objects import ROUTING_RIGHTS, InstallOptions, objects
from canarycore_planes.control_plane.api import Api, Json, RequestError, eventually
from canarycore_planes.control_plane.plane import Plane
from tests.controlplane import crds
from tests.controlplane.plane import plane as started
from tests.manifest.bounded import BOUNDED
from tests.manifest.samples import annotated

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared"
KIND = {"Canary": "canaries", "MetricTemplate": "metrictemplates", "AlertProvider": "alertproviders"}
POLICY = "ValidatingAdmissionPolicy"
DEFAULT = "istio"

BASE: Json = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "Canary",
    "metadata": {"name": "app", "namespace": "default"},
    "spec": {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
        "service": {"port": 80},
        "analysis": {"interval": "1m", "threshold": 1, "stepWeight": 10, "maxWeight": 50},
    },
}
AB = {"analysis": {"iterations": 3, "stepWeight": None, "maxWeight": None}}
KNATIVE = {"targetRef": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "app"}}
NGINX = {"provider": "nginx", "ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "app"}}

APISIX = {
    "provider": "apisix",
    "routeRef": {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "name": "app"},
}


def routed(kind: str, **service: object) -> Json:
    """A change to a route of that kind."""
    return {"provider": "gatewayapi:v1", "service": {"gatewayRefs": [{"name": "a"}], "routeKind": kind, **service}}


def named(length: int) -> Json:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a" * length}


def scaled(length: int, kind: str = "HorizontalPodAutoscaler") -> Json:
    return {"autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": kind, "name": "a" * length}}


def spec(*changes: Json) -> Json:
    """The base with some fields changed; None removes one."""
    manifest = copy.deepcopy(BASE)
    for change in changes:
        _merge(manifest["spec"], change)
    return manifest


def _merge(into: Json, change: Json) -> None:
    for name, value in change.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict) and isinstance(into.get(name), dict) and name != "targetRef":
            _merge(into[name], value)
        else:
            into[name] = copy.deepcopy(value)


def analysis(**changes: object) -> Json:
    return {"analysis": changes}


def metric(**fields: object) -> Json:
    return analysis(metrics=[{"interval": "1m", **fields}])


def hook(url: str) -> Json:
    return analysis(webhooks=[{"name": "gate", "url": url}])


def headers(**matches: Json) -> Json:
    return analysis(match=[{"headers": matches}])


def scaler(least: int, most: int) -> Json:
    reference = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "app"}
    return {"autoscalerRef": {**reference, "primaryScalerReplicas": {"minReplicas": least, "maxReplicas": most}}}


def steps(*listed: Json, **fields: object) -> Json:
    return {"analysis": {"stepWeight": None, "maxWeight": None, "steps": list(listed), **fields}}


PODS: Json = {"provider": "replicas"}
STATEFUL: Json = PODS | {"targetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "app"}, "service": None}
BY_INSIDER = headers(**{"x-user": {"exact": "insider"}})
BY_USER = [{"headers": {"x-user": {"exact": "insider"}}}]
RATE = {"name": "request-success-rate"}
COOKIE = {"cookieName": "a"}
ARGOS = {"name": "errors", "templateRef": {"kind": "AnalysisTemplate", "name": "errors"}}
OF_THE_CLUSTER = {"kind": "ClusterAnalysisTemplate", "name": "errors"}

REFUSED: tuple[tuple[str, Json], ...] = (
    ("no-analysis", spec({"analysis": None})),
    ("no-analysis", spec({"analysis": None, "skipAnalysis": True})),
    ("no-interval", spec(analysis(interval=None))),
    ("no-interval", spec(analysis(interval=""))),
    ("no-threshold", spec(analysis(threshold=None))),
    ("step-fields", spec(analysis(stepWeights=[10, 50]))),
    ("step-fields", spec(analysis(iterations=5))),
    ("step-fields", spec(analysis(stepWeight=None), {"skipAnalysis": True})),
    ("odd-duration", spec(analysis(interval="1h"))),
    ("odd-duration", spec(metric(**RATE, interval=".5m", thresholdRange={"min": 99}))),
    ("odd-duration", spec(analysis(webhooks=[{"name": "gate", "url": "http://a/", "timeout": "1h"}]))),
    ("unknown-provider", spec({"provider": "istoi"})),
    ("no-bake", spec(analysis(bake="10m"), {"provider": "kubernetes"})),
    ("no-bake", spec(steps({"weight": 20}, {"weight": 100, "hold": "5m"}, bake="10m"))),
    ("no-bake", spec(steps({"weight": 100, "approval": True}, bake="10m"))),
    ("unknown-step", spec(analysis(rollbackWindow={"revisions": 2, "steps": [10, 55]}))),
    ("unknown-step", spec(analysis(stepWeight=30, rollbackWindow={"revisions": 2, "steps": [50]}))),
    (
        "unknown-step",
        spec(analysis(stepWeight=None, stepWeights=[5, 50], rollbackWindow={"revisions": 2, "steps": [25]})),
    ),
    ("unknown-step", spec(steps({"weight": 20}, {"weight": 40}, rollbackWindow={"revisions": 2, "steps": [60]}))),
    ("unknown-step", spec(analysis(rollbackWindow={"revisions": 2, "steps": [10]}), {"provider": "kubernetes"})),
    ("late-check", spec(metric(**RATE, thresholdRange={"min": 99}, fromWeight=51))),
    ("late-check", spec(steps({"weight": 20}), metric(**RATE, thresholdRange={"min": 99}, fromWeight=21))),
    ("step-match", spec(steps({"weight": 20, "match": BY_USER}), {"provider": "linkerd"})),
    ("step-match", spec(steps({"weight": 100, "match": BY_USER}))),
    ("step-match", spec(steps({"weight": 20, "match": [{"headers": {}}]}))),
    ("step-match", spec(steps({"weight": 20, "match": BY_USER}, sessionAffinity=COOKIE))),
    ("step-match", spec(steps({"weight": 20, "match": BY_USER}, match=BY_USER))),
    ("step-match", spec(steps({"weight": 0, "match": BY_USER}, {"weight": 20}, mirror=True))),
    ("step-mirror", spec(steps({"weight": 20, "mirror": 10}), {"provider": "contour"})),
    ("step-mirror", spec(steps({"weight": 100, "mirror": 10}))),
    ("step-size", spec(steps({"weight": 20, "size": 1}), {"provider": "replicas"})),
    ("step-size", spec(steps({"weight": 20, "size": "25%"}), scaler(1, 2))),
    ("no-step", spec(analysis(stepWeight=None))),
    ("no-step", spec(analysis(stepWeight=0))),
    ("no-step", spec({"analysis": None, "canaryAnalysis": {"interval": "1m", "threshold": 1}})),
    ("max-below-step", spec(analysis(stepWeight=60))),
    ("rising", spec(analysis(stepWeight=None, stepWeights=[10, 10, 50]))),
    ("rising", spec(analysis(stepWeight=None, stepWeights=[10, 50, 20]))),
    ("no-range", spec(metric(**RATE))),
    ("no-range", spec(metric(**RATE, thresholdRange={}))),
    ("no-range", spec(metric(**RATE, successCondition=""))),
    ("range-and-condition", spec(metric(**RATE, thresholdRange={"min": 99}, successCondition="result >= 99"))),
    ("range-and-condition", spec(metric(**RATE, threshold=99, failureCondition="result < 99"))),
    ("template-field", spec(metric(**ARGOS, thresholdRange={"min": 99}))),
    ("template-field", spec(metric(**ARGOS, count=3))),
    ("template-field", spec(metric(**ARGOS, successCondition="result >= 99"))),
    ("template-namespace", spec(metric(name="a", templateRef={**OF_THE_CLUSTER, "namespace": "b"}))),
    ("empty-range", spec(metric(**RATE, thresholdRange={"min": 99.5, "max": 99}))),
    ("no-query", spec(metric(name="errors", thresholdRange={"max": 1}))),
    ("bad-url", spec(hook("loadtester.test/"))),
    ("bad-url", spec(hook("https://"))),
    ("placeholder-address", spec(hook("http://<your-host>/"))),
    ("placeholder-address", spec(hook("http://hooks.slack.com/YOUR/WEBHOOK"))),
    ("placeholder-address", spec({"metricsServer": "http://CHANGEME:9090"})),
    ("no-ab-routing", spec(AB, BY_INSIDER, {"provider": "linkerd"})),
    ("match-kind", spec(AB, headers(**{"x-user": {"suffix": "insider"}}))),
    ("match-kind", spec(AB, analysis(match=[{"withoutHeaders": {"x-user": {"suffix": "insider"}}}]))),
    ("nginx-cookie", spec(AB, NGINX, headers(cookie={"regex": "canary"}))),
    ("match-everything", spec(AB, analysis(match=[{"headers": {}}]))),
    ("match-everything", spec(AB, analysis(match=[{"headers": {"x-user": {"exact": "insider"}}}, {"port": 80}]))),
    ("no-mirror", spec(analysis(mirror=True), {"provider": "appmesh"})),
    ("no-affinity", spec(analysis(sessionAffinity=COOKIE), {"provider": "contour"})),
    ("same-cookie", spec(analysis(sessionAffinity={**COOKIE, "primaryCookieName": "a"}))),
    ("missing-reference", spec({"provider": "skipper"})),
    ("missing-reference", spec({"provider": "apisix"})),
    ("missing-reference", spec({"provider": "gatewayapi:v1"})),
    ("route-kind", spec({"service": {"routeKind": "HTTPRoute"}})),
    ("route-kind", spec(routed("GRPCRoute", timeout="5s"))),
    ("route-kind", spec(routed("GRPCRoute", rewrite={"uri": "/"}))),
    ("route-kind", spec(routed("GRPCRoute"), analysis(sessionAffinity=COOKIE))),
    ("route-kind", spec(routed("TCPRoute", hosts=["a.example.com"]))),
    ("route-kind", spec(routed("TCPRoute"), analysis(mirror=True))),
    ("route-kind", spec(routed("TLSRoute"))),
    ("route-refs", spec({"service": {"routeRefs": [{"name": "a"}]}})),
    ("route-refs", spec(routed("", routeRefs=[{"name": "app"}]))),
    ("route-refs", spec(routed("", routeRefs=[{"name": "a"}, {"kind": "HTTPRoute", "name": "a"}]))),
    ("route-refs", spec(routed("", routeRefs=[{"name": "a"}]), AB, BY_INSIDER)),
    ("route-refs", spec(routed("", routeRefs=[{"name": "a"}]), analysis(sessionAffinity=COOKIE))),
    ("route-refs", spec(routed("", gatewayRefs=[], routeRefs=[{"name": "a"}]), analysis(mirror=True))),
    ("no-service", spec({"service": None})),
    ("knative", spec(KNATIVE)),
    ("knative", spec({"provider": "knative"})),
    ("knative-autoscaler", spec(KNATIVE, scaler(1, 2), {"provider": "knative"})),
    ("pods-target", spec(PODS, {"targetRef": {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "app"}})),
    ("stateful-set", spec(STATEFUL, {"provider": "istio", "service": {"port": 80}})),
    ("stateful-set", spec(STATEFUL, {"service": {"port": 80}})),
    ("stateful-set", spec(STATEFUL, analysis(stepWeight=None, maxWeight=None, iterations=3))),
    ("stateful-set", spec(STATEFUL, analysis(maxWeight=100))),
    ("stateful-set", spec(STATEFUL, metric(name="request-duration", thresholdRange={"max": 500}))),
    ("pods-autoscaler", spec(PODS, scaler(1, 2))),
    ("pods-match", spec(PODS, BY_INSIDER)),
    ("scaler-limits", spec(scaler(3, 2))),
    ("long-name", spec({"targetRef": named(56)})),
    ("long-name", spec({"service": {"name": "a" * 56}})),
    ("long-name", spec({"service": {"name": "a.b"}})),
    ("long-name", spec({"targetRef": named(246), "service": {"name": "app"}})),
    ("long-name", spec({"targetRef": {"apiVersion": "v1", "kind": "Service", "name": "a" * 56}})),
    ("long-name", spec(scaled(246))),
    ("long-name", spec(scaled(56, "ScaledObject"))),
    ("long-name", spec(NGINX, {"ingressRef": {"name": "a" * 247}})),
    ("long-name", spec(APISIX, {"routeRef": {"name": "a" * 243}})),
    ("subscription", annotated(BASE, subscribe__errors__slack="dev")),
    ("subscription", annotated(BASE, subscribe__error="dev")),
    ("subscription", annotated(BASE, subscribe__error__Slack="dev")),
    ("subscription", annotated(BASE, subscribe__error__slack__a__b="dev")),
    ("subscription", annotated(BASE, subscribe__error__slack="dev;;ops")),
)
"""(what lint calls it, a manifest with that error alone)."""

TAKEN: tuple[Json, ...] = (
    BASE,
    spec({"analysis": None, "canaryAnalysis": {"interval": "1m", "threshold": 1, "stepWeight": 5}}),
    spec(analysis(stepWeight=0), {"skipAnalysis": True}),
    spec(analysis(stepWeight=0), {"provider": "kubernetes"}),
    spec(analysis(interval="1m30s", threshold=0)),
    spec(analysis(stepWeight=60), {"provider": "kubernetes"}),
    spec(analysis(stepWeight=60, maxWeight=0)),
    spec(analysis(bake="10m")),
    spec(steps({"weight": 20, "hold": "5m"}, {"weight": 100}, bake="10m")),
    spec(analysis(rollbackWindow={"revisions": 2, "steps": [10, 50]})),
    spec(analysis(rollbackWindow={"revisions": 2, "steps": [100]}, bake="10m")),
    spec(analysis(stepWeight=30, rollbackWindow={"revisions": 2, "steps": [30, 60]})),
    spec(analysis(stepWeight=30, maxWeight=95, rollbackWindow={"revisions": 2, "steps": [90, 100]})),
    spec(analysis(stepWeight=None, stepWeights=[5, 50], rollbackWindow={"revisions": 2, "steps": [5]})),
    spec(steps({"weight": 20}, {"weight": 40}, rollbackWindow={"revisions": 2, "steps": [40]})),
    spec(metric(**RATE, thresholdRange={"min": 99}, fromWeight=50)),
    spec(metric(**RATE, thresholdRange={"min": 99}, fromWeight=100), analysis(bake="10m")),
    spec(analysis(stepWeight=30), metric(**RATE, thresholdRange={"min": 99}, fromWeight=60)),
    spec(steps({"weight": 0, "match": BY_USER, "mirror": 5}, {"weight": 20, "mirror": 100})),
    spec(steps({"weight": 20, "match": BY_USER}, match=BY_USER), {"provider": "kubernetes"}),
    spec(analysis(iterations=2, stepWeight=None)),
    spec(analysis(stepWeights=[1, 2, 3], stepWeight=None)),
    spec(analysis(stepWeights=[7], stepWeight=None)),
    spec(metric(**RATE, threshold=99)),
    spec(metric(**RATE, thresholdRange={"min": 0})),
    spec(metric(**RATE, successCondition="result >= 99", failureCondition="result < 95")),
    spec(metric(name="errors", thresholdRange={"max": 1.5, "min": 1}, templateRef={"name": "errors"})),
    spec(metric(name="errors", thresholdRange={"max": 1}, query="up")),
    spec(metric(**ARGOS, templateVariables={"series": "a"}, fromWeight=10, dryRun=True)),
    spec(metric(**ARGOS, successCondition="", query="")),
    spec(metric(name="errors", templateRef=OF_THE_CLUSTER)),
    spec(metric(name="errors", thresholdRange={"max": 1}, templateRef={"kind": "MetricTemplate", "name": "errors"})),
    spec(hook("https://x")),
    spec(AB, BY_INSIDER),
    spec(AB, BY_INSIDER, {"provider": "kubernetes"}),
    spec(BY_INSIDER, {"provider": "linkerd"}),
    spec(AB, NGINX, headers(cookie={"exact": "canary"}, **{"x-user": {"regex": "a.*"}})),
    spec(AB, analysis(match=[{"uri": {"prefix": "/new"}}])),
    spec(AB, analysis(match=[{"sourceNamespace": "test"}])),
    spec(analysis(mirror=True)),
    spec(routed("GRPCRoute", headers={"request": {"set": {"a": "b"}}}), analysis(mirror=True)),
    spec(routed("TCPRoute", timeout="", hosts=[]), analysis(mirror=False)),
    spec(routed("TLSRoute", hosts=["a.example.com"])),
    spec(routed("", routeRefs=[{"name": "a"}, {"kind": "GRPCRoute", "name": "app"}]), analysis(mirror=True)),
    spec(routed("", gatewayRefs=[], routeRefs=[{"name": "app"}])),
    spec(analysis(sessionAffinity=COOKIE)),
    spec(KNATIVE, {"provider": "knative", "service": None}),
    spec(scaler(2, 2)),
    spec(PODS),
    spec(PODS, {"service": None}),
    spec(STATEFUL),
    spec(STATEFUL, analysis(stepWeight=None, stepWeights=[20, 99], maxWeight=None)),
    spec(NGINX, {"provider": "skipper"}),
    spec({"targetRef": named(55)}),
    spec({"targetRef": named(245), "service": {"name": "a" * 55}}),
    spec(scaled(245)),
    spec(scaled(55, "ScaledObject")),
    spec(NGINX, {"ingressRef": {"name": "a" * 246}}),
    spec(NGINX, {"provider": "istio", "ingressRef": {"name": "a" * 253}}),
    spec(APISIX, {"routeRef": {"name": "a" * 242}}),
    annotated(BASE, subscribe__error__slack="", subscribe__info__chat__ops="#dev; ops", command="abort 1"),
)


@pytest.fixture(scope="module")
def installed(plane: Plane) -> Iterator[Api]:
    """A plane of its own, with what `canary install` puts there: the shared one has Flagger's definitions."""
    del plane  # it has seen to it that the servers are there
    with started(kinds=()) as running:
        for body in objects(InstallOptions(providers=(DEFAULT,))):
            running.api.apply(body)
        broken = spec(analysis(stepWeight=None))
        eventually(lambda: refusal(running.api, broken))  # definitions and policies take a moment to be in force
        yield running.api


@pytest.mark.parametrize(("rule", "manifest"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_the_policy_refuses_errors_of_lint_by_the_name_of_the_rule(installed: Api, rule: str, manifest: Json):
    assert errors(manifest) == {rule}
    assert refusal(installed, manifest).endswith(f"[{rule}]")


def test_each_row_of_the_policy_is_tried():
    assert {rule for rule, _ in REFUSED} == {name for name, _, _ in find_rules()}


@pytest.mark.parametrize("manifest", TAKEN, ids=lambda manifest: json.dumps(manifest["spec"])[100:])
def test_the_policy_admits_manifests_that_lint_passes(installed: Api, manifest: Json):
    assert errors(manifest) == set()
    assert not refusal(installed, manifest)


@pytest.mark.parametrize("provider", ROUTING_RIGHTS)
@pytest.mark.parametrize(
    "wish",
    [
        *({"analysis": {"mirror": True}}, {"analysis": {"sessionAffinity": COOKIE}}, {}),
        *({**AB, "analysis": {**AB["analysis"], **headers(a={kind: "b"})["analysis"]}} for kind in ("exact", "suffix")),
    ],
    ids=("mirror", "cookies", "weights", "exact", "suffix"),
)
def test_the_policy_agrees_with_lint_for_every_provider(installed: Api, provider: str, wish: Json):
    manifest = spec(wish, {"provider": provider})
    found = errors(manifest)
    told = refusal(installed, manifest)
    assert bool(told) == bool(found)
    assert not told or told.rpartition("[")[2].rstrip("]") in found


def test_the_definitions_take_every_manifest_that_can_be_used(installed: Api):
    """Those of the examples, of real repositories, and of recorded rollouts; unknown fields would be told."""
    manifests = list(usable())
    assert len(manifests) > 50
    assert {json.dumps(manifest): told for manifest in manifests if (told := refusal(installed, manifest))} == {}


PARSER_ONLY = {
    "spec.analysis.interval": "a length of time, which a definition sees as a text",
    "spec.analysis.drain": "a length of time",
    "spec.analysis.metrics[0].interval": "a length of time",
    "spec.analysis.webhooks[0].timeout": "a length of time",
    "spec.service.corsPolicy.allowMethods": "a part of a section that goes on to a mesh as it is",
    "spec.service.headers.request.add": "a part of such a section",
}
"""Bounds that the definitions cannot have, and why."""

TOO_MUCH = re.compile(r"Too long|Too many|must have at most|should be less than or equal|may not be more than")


@pytest.mark.parametrize("path", sorted(BOUNDED.keys() - PARSER_ONLY))
def test_the_definitions_have_the_bounds_of_the_parser(installed: Api, path: str):
    bound, make = BOUNDED[path]
    meta = {"metadata": {"name": "app", "namespace": "default"}}
    within, beyond = (refusal(installed, {**make(size), **meta}) for size in (bound.most, bound.most + 1))
    assert (bool(TOO_MUCH.search(within)), bool(TOO_MUCH.search(beyond))) == (False, True), (within, beyond)


def test_a_canary_that_was_there_before_the_policy_can_be_commanded_and_ends(installed: Api):
    meta = {"name": "old", "namespace": "default", "finalizers": ["finalizer.flagger.app"]}
    policy = next(body for body in objects(InstallOptions(providers=(DEFAULT,))) if body["kind"] == POLICY)
    installed.delete(installed.path(policy))
    body = {**spec(analysis(stepWeight=None)), "metadata": meta}
    eventually(lambda: not refusal(installed, body))
    installed.create(body)
    installed.apply(policy)
    eventually(lambda: refusal(installed, spec(analysis(stepWeight=None))))
    path = installed.path(body)
    installed.patch(path, {"metadata": {"annotations": {"canarycore/command": "abort 1"}}})
    with pytest.raises(RequestError, match="no-step"):
        installed.patch(path, {"spec": {"suspend": True}})
    installed.delete(path)
    installed.patch(path, {"metadata": {"finalizers": None}})
    assert installed.get(path) is None


def test_a_new_subscription_of_an_existing_canary_is_checked(installed: Api):
    body = {**BASE, "metadata": {"name": "subscribed", "namespace": "default"}}
    installed.create(body)
    path = installed.path(body)
    installed.patch(path, {"metadata": {"annotations": {"canarycore/subscribe.error.slack": "dev"}}})
    with pytest.raises(RequestError, match="subscription"):
        installed.patch(path, {"metadata": {"annotations": {"canarycore/subscribe.all.slack": "dev"}}})
    installed.patch(path, {"metadata": {"annotations": {"canarycore/subscribe.error.slack": None}}})
    installed.delete(path)


# ---------------------------------------------------------------------------------------------------------- helpers


def errors(manifest: Json) -> set[str]:
    return {problem.rule for problem in lint([manifest], provider=DEFAULT) if problem.severity == "error"}


def refusal(api: Api, manifest: Json) -> str:
    """Return the server's refusal of a new object, from a dry run."""
    namespace = manifest["metadata"].get("namespace", "default")
    path = f"/apis/flagger.app/v1beta1/namespaces/{namespace}/{KIND[manifest['kind']]}"
    try:
        api.request("POST", path, manifest, dryRun="All", fieldValidation="Strict")
    except RequestError as error:
        return str(error)
    return ""


def usable() -> Iterator[Json]:
    """Each manifest of ours that lint has nothing against, once."""
    if not SHARED.is_dir():
        raise FileNotFoundError(f"found no {crds.FOLDER.parent.name}: expected it beside the checkout")
    seen: set[str] = set()
    for found in _all():
        meta = {name: found["metadata"][name] for name in ("name", "annotations") if name in found["metadata"]}
        manifest = json.loads(json.dumps({**found, "metadata": {**meta, "namespace": "default"}}))
        manifest.pop("status", None)
        text = json.dumps(manifest["spec"], sort_keys=True)
        if text not in seen and not [
            problem for problem in lint([manifest]) if _keeps_out(problem.rule, problem.severity)
        ]:
            seen.add(text)
            yield manifest


def _keeps_out(rule: str, severity: str) -> bool:
    return severity == "error" or rule == "unknown-field"


def _all() -> Iterator[Json]:
    for folder in (ROOT / "examples", SHARED / "seeds"):
        for path in sorted(folder.rglob("*.yaml")):
            yield from _ours(list(YAML(typ="safe").load_all(path)))
    for path in sorted((SHARED / "golden").glob("*/trace.json")):
        yield from _ours(json.loads(path.read_text()))


def _ours(found: object) -> Iterator[Json]:
    """The resources of Flagger's kinds in some data, however deep."""
    if isinstance(found, list):
        for item in found:
            yield from _ours(item)
    elif isinstance(found, dict):
        if found.get("kind") in KIND and "spec" in found and "name" in found.get("metadata", {}):
            yield found
        else:
            yield from _ours(list(found.values()))
