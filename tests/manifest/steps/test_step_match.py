"""`match` and `mirror` of `analysis.steps[]`: read, resolved to rungs beside their weight, and checked."""

from __future__ import annotations

import json

import pytest

from canarycore import Ladder, Rung, Step
from canarycore.manifest import ManifestError, dump, lint, parse, problems, resolve
from canarycore.traffic import Match, StringMatch
from tests.manifest.samples import canary

INSIDER = [{"headers": {"x-canary": {"exact": "insider"}}}]
MATCH = (Match(headers=(("x-canary", StringMatch(kind="exact", value="insider")),)),)
WITHOUT_WEIGHTS = {"stepWeight": None, "maxWeight": None}
STEPS = [{"weight": 0, "match": INSIDER}, {"weight": 20, "match": INSIDER, "hold": "5m"}, {"weight": 50}]
GATEWAY = {"provider": "gatewayapi:v1"}


def by_steps(*steps, **analysis):
    return {**WITHOUT_WEIGHTS, "steps": list(steps), **analysis}


def routed(**service):
    """Return the section of a Canary on the Gateway API."""
    return {"port": 9898, "gatewayRefs": [{"name": "web"}], **service}


def test_a_match_is_read_and_written():
    read = parse(canary(analysis=by_steps(*STEPS)))
    ladder = resolve(read).ladder
    assert ladder == Ladder(steps=(Step(weight=0, match=MATCH), Step(weight=20, match=MATCH, hold=300.0), 50))
    assert ladder.rungs[1:] == (Rung(matched=True), Rung(weight=20, matched=True), Rung(weight=50))
    assert parse(dump(read)) == read


def test_a_mirror_is_read_and_written():
    read = parse(canary(analysis=by_steps({"weight": 0, "mirror": 30}, {"weight": 20, "mirror": 5}, {"weight": 50})))
    rollout = resolve(read)
    assert rollout.ladder == Ladder(steps=(Step(weight=0, mirror=30), Step(weight=20, mirror=5), 50))
    assert [rollout.mirror_on(rung.routes) for rung in rollout.ladder.rungs] == [0, 30, 5, 0]
    assert parse(dump(read)) == read


@pytest.mark.parametrize("mirror", [-1, 101, "5", 0.5])
def test_another_value_than_a_percentage_is_refused(mirror):
    with pytest.raises(ManifestError) as refused:
        parse(canary(analysis=by_steps({"weight": 5, "mirror": mirror})))
    assert [problem.path for problem in refused.value.problems] == ["spec.analysis.steps[0].mirror"]


def test_an_annotation_carries_a_match():
    document = canary(analysis={"stepWeight": 10})
    document["metadata"]["annotations"] = {"canarycore/analysis.steps": json.dumps(STEPS)}
    assert resolve(parse(document)) == resolve(parse(canary(analysis={"stepWeight": 10, "steps": STEPS})))


REFUSED = {
    "a match beside all requests": (canary(analysis=by_steps({"weight": 100, "match": INSIDER})), "steps[0].match"),
    "two steps at weight 0": (
        canary(analysis=by_steps({"weight": 0, "match": INSIDER}, mirror=True)),
        "steps[0].weight",
    ),
    "an entry for all requests": (canary(analysis=by_steps({"weight": 5, "match": [{}]})), "steps[0].match[0]"),
    "weights among matching requests": (
        canary(analysis=by_steps({"weight": 5, "match": INSIDER}, match=INSIDER)),
        "steps[0].match",
    ),
    "a session cookie": (
        canary(analysis=by_steps({"weight": 5, "match": INSIDER}, sessionAffinity={"cookieName": "canary"})),
        "steps[0].match",
    ),
    "a provider without conditions": (
        canary(analysis=by_steps({"weight": 5, "match": INSIDER}), provider="linkerd"),
        "steps[0].match",
    ),
    "a provider with conditions or weights": (
        canary(analysis=by_steps({"weight": 5, "match": INSIDER}), provider="alb"),
        "steps[0].match",
    ),
    "a TCP service": (
        canary(analysis=by_steps({"weight": 5, "match": INSIDER}), service={"port": 1, "appProtocol": "TCP"}),
        "steps[0].match",
    ),
    "a TCPRoute": (
        canary(analysis=by_steps({"weight": 5, "match": INSIDER}), service=routed(routeKind="TCPRoute"), **GATEWAY),
        "steps[0].match",
    ),
    "a method of a GRPCRoute": (
        canary(
            analysis=by_steps({"weight": 5, "match": [{"method": {"exact": "GET"}}]}),
            service=routed(routeKind="GRPCRoute"),
            **GATEWAY,
        ),
        "steps[0].match[0].method",
    ),
    "a mirror beside all requests": (canary(analysis=by_steps({"weight": 100, "mirror": 5})), "steps[0].mirror"),
    "two mirrors at weight 0": (
        canary(analysis=by_steps({"weight": 0, "mirror": 5}, mirror=True)),
        "steps[0].weight",
    ),
    "a provider without a mirror": (
        canary(analysis=by_steps({"weight": 5, "mirror": 5}), provider="contour"),
        "steps[0].mirror",
    ),
    "a mirror of a TCP service": (
        canary(analysis=by_steps({"weight": 5, "mirror": 5}), service={"port": 1, "appProtocol": "TCP"}),
        "steps[0].mirror",
    ),
    "a mirror of a TLSRoute": (
        canary(
            analysis=by_steps({"weight": 5, "mirror": 5}),
            service=routed(routeKind="TLSRoute", hosts=["shop.example.com"]),
            **GATEWAY,
        ),
        "steps[0].mirror",
    ),
    "a mirror of routes of the owner": (
        canary(
            analysis=by_steps({"weight": 5, "mirror": 5}),
            service={"port": 9898, "routeRefs": [{"name": "shop"}]},
            **GATEWAY,
        ),
        "steps[0].mirror",
    ),
    "routes of the owner": (
        canary(
            analysis=by_steps({"weight": 5, "match": INSIDER}),
            service=routed(routeRefs=[{"name": "shop"}]),
            **GATEWAY,
        ),
        "steps[0].match",
    ),
}


@pytest.mark.parametrize(("document", "path"), REFUSED.values(), ids=REFUSED)
def test_a_match_that_would_not_do_what_it_says_is_refused(document, path):
    with pytest.raises(ManifestError) as refused:
        resolve(parse(document))
    assert [problem.path for problem in refused.value.problems] == [f"spec.analysis.{path}"]
    errors = [problem.path for problem in lint([document]) if problem.severity == "error"]
    assert f"spec.analysis.{path}" in errors


def test_a_kind_that_the_provider_lacks_is_an_error_of_a_step_too():
    document = canary(analysis=by_steps({"weight": 5, "match": [{"headers": {"x-canary": {"suffix": "r"}}}]}))
    (error,) = [problem for problem in lint([document]) if problem.rule == "match-kind"]
    assert error.path == "spec.analysis.steps[0].match[0].headers.x-canary"


def test_the_provider_kubernetes_counts_iterations_in_place_of_steps():
    document = canary(analysis=by_steps(*STEPS), provider="kubernetes")
    assert not resolve(parse(document)).ladder.has_matches
    assert "step-match" not in {problem.rule for problem in lint([document])}


def test_a_rollout_of_code_has_the_findings_of_its_manifest():
    rollout = resolve(parse(canary(analysis=by_steps(*STEPS))))
    assert not [problem for problem in problems(rollout) if problem.severity == "error"]
