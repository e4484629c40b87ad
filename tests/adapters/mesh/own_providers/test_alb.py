"""AWS ALB: the action in the owner's Ingress, and the path of conditions before the owner's."""

from __future__ import annotations

import copy
import json

import pytest

from canarycore import Routes
from canarycore.errors import Refused
from tests.adapters.mesh.meshes import AB, mesh_of, render_context, sources

ACTION = "alb.ingress.kubernetes.io/actions."
CONDITIONS = "alb.ingress.kubernetes.io/conditions."
MESH = mesh_of("alb")


def ingress_with(action=None, **spec):
    """Return the owner's Ingress with another action (None: without one), or with other fields of its spec."""
    (ingress,) = copy.deepcopy(sources("alb"))
    if action is None:
        del ingress["metadata"]["annotations"][f"{ACTION}podinfo"]
    else:
        ingress["metadata"]["annotations"][f"{ACTION}podinfo"] = action if isinstance(action, str) else dump(action)
    ingress["spec"] |= spec
    return ingress


dump = json.dumps


def forward(*groups, **settings):
    return {"type": "forward", "forwardConfig": {"targetGroups": list(groups), **settings}}


def group(name, weight=100):
    return {"serviceName": name, "servicePort": 9898, "weight": weight}


def path_to(name, path="/", port="use-annotation"):
    backend = {"service": {"name": name, "port": {"name": port}}}
    return {"path": path, "pathType": "Prefix", "backend": backend}


def render(routes, ingress=None, **fields):
    context = render_context("alb", **fields)
    (ref,) = MESH.refs(context)
    (body,) = MESH.render(context, routes, {ref: ingress or sources("alb")[0]})
    return context, ref, body


def read_action(body, name="podinfo"):
    return json.loads(body["metadata"]["annotations"][ACTION + name])


def weights(body, name="podinfo"):
    groups = read_action(body, name)["forwardConfig"]["targetGroups"]
    return {group["serviceName"]: group["weight"] for group in groups}


def refusal(routes, ingress=None, **fields):
    with pytest.raises(Refused) as refused:
        render(routes, ingress, **fields)
    return str(refused.value)


@pytest.mark.parametrize("weight", [0, 5, 100])
def test_both_sides_are_target_groups_at_every_weight(weight):
    """A target group that no rule refers to has no health checks, so its first requests would fail."""
    _, _, body = render(Routes(weight=weight))
    assert read_action(body) == forward(group("podinfo-primary", 100 - weight), group("podinfo-canary", weight))
    assert body["spec"] == {}, "the rules are the owner's"


def test_an_ingress_without_an_action_gets_one():
    _, _, body = render(Routes(weight=5), ingress_with(None))
    assert weights(body) == {"podinfo-primary": 95, "podinfo-canary": 5}


def test_a_default_backend_follows_the_action_too():
    ingress = ingress_with(None, rules=[], defaultBackend=path_to("podinfo")["backend"])
    assert weights(render(Routes(weight=5), ingress)[2])["podinfo-canary"] == 5
    assert "no path to the Service podinfo" in refusal(Routes(matched=True), ingress, analysis=AB)


def test_the_stickiness_of_the_owner_stays_in_whatever_case_its_fields_are():
    action = {
        "Type": "forward",
        "ForwardConfig": {
            "TargetGroups": [{"ServiceName": "podinfo", "ServicePort": "9898", "Weight": 1}],
            "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 200},
        },
    }
    config = read_action(render(Routes(weight=5), ingress_with(action))[2])["forwardConfig"]
    assert config["targetGroupStickinessConfig"] == {"enabled": True, "durationSeconds": 200}


@pytest.mark.parametrize(
    ("action", "found"),
    [
        ({"type": "redirect", "redirectConfig": {"statusCode": "HTTP_301"}}, "actions.podinfo with redirect"),
        ({"type": "forward", "targetGroupARN": "arn:aws:x"}, "actions.podinfo with targetGroupARN"),
        (forward(group("podinfo"), group("shop")), "actions.podinfo with the target group shop"),
    ],
)
def test_an_action_that_does_more_than_lead_to_the_app_is_refused(action, found):
    text = refusal(Routes(), ingress_with(action))
    assert text.startswith("canary podinfo.test, spec.ingressRef: found the annotation alb.ingress.kubernetes.io/")
    assert found in text


def test_an_ingress_whose_path_leads_to_the_port_of_the_service_is_refused():
    """The load balancer would go on to send all requests to the apex, whatever the action says."""
    ingress = ingress_with(None, rules=[{"http": {"paths": [path_to("podinfo", port="http")]}}])
    text = refusal(Routes(), ingress)
    assert "no path to the Service podinfo with the port name use-annotation in the Ingress web" in text
    assert text.endswith("Give a path the backend service: {name: podinfo, port: {name: use-annotation}}.")


def test_matching_requests_have_a_path_before_the_owners():
    other = path_to("shop", "/shop")
    ingress = ingress_with(None, rules=[{"host": "a.test", "http": {"paths": [other, path_to("podinfo")]}}])
    match = [{"headers": {"x-canary": {"exact": "insider"}, "user-agent": {"prefix": "Bot"}, "x-a": {"suffix": "z"}}}]
    _, _, body = render(Routes(matched=True), ingress, analysis={**AB, "match": match})
    paths = [other, path_to("podinfo-canary"), path_to("podinfo")]
    assert body["spec"] == {"rules": [{"host": "a.test", "http": {"paths": paths}}]}
    assert weights(body) == {"podinfo-primary": 100, "podinfo-canary": 0}
    assert weights(body, "podinfo-canary") == {"podinfo-primary": 0, "podinfo-canary": 100}
    conditions = json.loads(body["metadata"]["annotations"][f"{CONDITIONS}podinfo-canary"])
    values = [(part["httpHeaderConfig"]["httpHeaderName"], part["httpHeaderConfig"]["values"]) for part in conditions]
    assert {part["field"] for part in conditions} == {"http-header"}
    assert values == [("x-canary", ["insider"]), ("user-agent", ["Bot*"]), ("x-a", ["*z"])]


def test_the_path_of_conditions_is_written_once_and_goes_with_them():
    _, _, body = render(Routes(matched=True), analysis=AB)
    ingress = {**body, "spec": {**sources("alb")[0]["spec"], **body["spec"]}}
    assert render(Routes(matched=True), ingress, analysis=AB)[2]["spec"] == body["spec"]
    assert render(Routes(), ingress)[2]["spec"]["rules"] == sources("alb")[0]["spec"]["rules"]


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ({"regex": "in.*"}, "matched by regex"),
        ({"exact": "a*b"}, "the value 'a*b'"),
        ({"prefix": "a?"}, "the value 'a?'"),
    ],
)
def test_a_condition_that_would_match_more_is_refused(match, found):
    analysis = {**AB, "match": [{"headers": {"x-canary": match}}]}
    assert found in refusal(Routes(matched=True), analysis=analysis)


@pytest.mark.parametrize("analysis", [{}, AB], ids=["weights", "match"])
def test_without_the_canary_the_ingress_leads_to_the_apps_service(analysis):
    """The requests have a way at every moment: an action that is missing stops the load balancer's controller."""
    before = ingress_with(None, ingressClassName="alb")
    context, _, body = render(Routes(weight=100), before, analysis=analysis)
    metadata = {**body["metadata"], "annotations": before["metadata"]["annotations"] | body["metadata"]["annotations"]}
    taken = {**before, "metadata": metadata, "spec": before["spec"] | body["spec"]}
    released = MESH.release(context, taken)
    assert weights(released) == {"podinfo": 100}
    assert released["spec"] == before["spec"]
    assert not [name for name in released["metadata"]["annotations"] if name.endswith(".podinfo-canary")]
    assert released["metadata"]["annotations"]["example.com/kept"] == "yes"


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "[" * 50_000, '{"forwardConfig": ' + "[" * 900 + "]" * 900 + "}"]
)
def test_an_action_of_another_form_is_no_route(text):
    context = render_context("alb")
    (ref,) = MESH.refs(context)
    assert MESH.routes(context, {ref: ingress_with(text)}) is None
    assert weights(MESH.render(context, Routes(), {ref: ingress_with(text)})[0])["podinfo-primary"] == 100
