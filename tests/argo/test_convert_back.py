"""Canaries become Rollouts of Argo only where nothing gets lost: each converts back into the same Canary."""

from __future__ import annotations

import copy
import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from canarycore import Ladder
from canarycore.argo import convert, convert_files, is_argos, is_canary
from canarycore.errors import ManifestError
from canarycore.manifest import parse, resolve
from tests.argo.rollouts import EXAMPLES, ISTIO, PAUSE, SERVICE, SHORT, canary, metric, template, use

RICH = (
    canary(
        {"setWeight": 5},
        {"setHeaderRoute": {"name": "a", "match": [{"headerName": "x-user", "headerValue": {"prefix": "in"}}]}},
        {"setMirrorRoute": {"name": "b", "percentage": 35, "match": [{"path": {"prefix": "/"}}]}},
        SHORT,
        {"setWeight": 20},
        PAUSE,
        {"setHeaderRoute": {"name": "a"}},
        {"setWeight": 60},
        {"analysis": use("step")},
        analysis=use(startingStep=4, dryRun=[{"metricName": "errors"}]),
        routing=ISTIO,
        maxSurge="25%",
        maxUnavailable=0,
    ),
    template(
        metric("errors", successCondition="result[0] < 0.05 && result[0] >= 0"),
        metric("sales", successCondition="len(result) == 0 || result[0] > 9", failureCondition="result[0] < 5"),
        name="quality",
    ),
    template(metric("latency", count=3, failureLimit=1, successCondition="result[0] <= 250.5"), name="step"),
)


def canaries(*rollouts):
    """Return the documents that Argo's become, as a list to change."""
    return copy.deepcopy(list(convert([*rollouts, SERVICE]).documents))


def policy(documents):
    (body,) = [each for each in documents if is_canary(each)]
    templates = [parse(each) for each in documents if each["kind"] == "MetricTemplate"]
    rollout = resolve(parse(body), templates=templates)
    return evolve(rollout, ladder=Ladder(step=1)), rollout.ladder.rungs, rollout.ladder.strategy


def spec_of(documents):
    return next(each["spec"] for each in documents if is_canary(each))


@pytest.mark.parametrize("name", [*EXAMPLES, "all at once"])
def test_a_canary_that_was_a_rollout_becomes_one_again_and_loses_nothing(name):
    documents = canaries(*EXAMPLES.get(name, RICH))
    back = convert(documents, to="argo")
    assert back.gaps == ()
    assert not any(map(is_canary, back.documents))
    again = convert(back.documents)
    assert again.gaps == ()
    assert policy(again.documents) == policy(documents)


def test_the_rollout_has_services_routes_and_templates_of_its_own():
    back = convert([each for each in canaries(*RICH) if each["kind"] != "Service"], to="argo")
    names = [(each["kind"], each["metadata"]["name"]) for each in back.documents]
    assert names == [
        ("Rollout", "shop"),
        ("AnalysisTemplate", "shop-errors"),
        ("AnalysisTemplate", "shop-sales"),
        ("AnalysisTemplate", "shop-latency"),
        ("Service", "shop"),
        ("Service", "shop-canary"),
        ("VirtualService", "shop"),
    ]
    assert back.documents[4]["spec"]["selector"] == {"app": "shop"}


def test_weights_of_the_short_form_become_steps():
    documents = canaries(*EXAMPLES["weights alone"])
    spec_of(documents)["analysis"] = {"interval": "10s", "threshold": 1, "stepWeight": 20, "maxWeight": 60}
    (rollout, *_) = convert(documents, to="argo").documents
    assert rollout["spec"]["strategy"]["canary"]["steps"] == [{"setWeight": 20}, {"setWeight": 40}, {"setWeight": 60}]


def conditional(success, failure=""):
    """Return the documents of a Canary whose only metric has these conditions."""
    documents = canaries(*RICH)
    metrics = spec_of(documents)["analysis"]["metrics"]
    (metrics[0],) = [each for each in metrics if each["name"] == "sales"]
    del metrics[1:]
    metrics[0] |= {"successCondition": success, "failureCondition": failure}
    for step in spec_of(documents)["analysis"]["steps"]:
        step.pop("metrics", None)
    return [each for each in documents if each["kind"] != "MetricTemplate" or "sales" in each["metadata"]["name"]]


WRITTEN = [
    ("result > 5", "", "result[0] > 5", None),
    ("isNaN(result) || result[0] > 5", "result < 1", "isNaN(result[0]) || result[0] > 5", "result[0] < 1"),
    ("len(result) == 0 || result > 5", "", "len(result) == 0 || result[0] > 5", None),
    ("default(result, 0) > 5", "", "default(result, 0) > 5", None),
    ("result > 1 && result < 3", "result <= 1 || result >= 3", "result[0] > 1 && result[0] < 3",
     "result[0] <= 1 || result[0] >= 3"),
]  # fmt: skip


@pytest.mark.parametrize(("success", "failure", "written", "failing"), WRITTEN)
def test_a_condition_becomes_one_of_argo_whose_result_is_a_list(success, failure, written, failing):
    documents = conditional(success, failure)
    back = convert(documents, to="argo")
    assert back.gaps == ()
    (found,) = [each["spec"]["metrics"][0] for each in back.documents if each["kind"] == "AnalysisTemplate"]
    assert (found["successCondition"], found.get("failureCondition")) == (written, failing)


def test_a_remainder_has_no_equivalent_in_argo():
    back = convert(conditional("result % 2 == 0"), to="argo")
    assert "Canary/shop: spec.analysis.metrics[0].successCondition" in [gap.path for gap in back.gaps]


LOSSES = {
    "another interval": ({"interval": "1m"}, "spec.analysis.interval"),
    "failures of all checks together": ({"threshold": 5}, "spec.analysis.threshold"),
    "a bake": ({"bake": "10m"}, "spec.analysis.bake"),
    "a webhook": ({"webhooks": [{"name": "gate", "url": "http://gate/"}]}, "spec.analysis.webhooks"),
    "an alert": (
        {"alerts": [{"name": "a", "severity": "info", "providerRef": {"name": "a"}}]},
        "spec.analysis.alerts",
    ),
    "weights beyond the maximum": ({"steps": None, "stepWeight": 40, "maxWeight": 50}, "spec"),
    "steps back": ({"stepWeightPromotion": 50}, "spec.analysis.stepWeightPromotion"),
    "a built-in check": (
        {"metrics": [{"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}}]},
        "spec.analysis.metrics[0].templateRef",
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_canary_that_would_lose_something_stays_as_it_is(name):
    changes, path = LOSSES[name]
    documents = canaries(*EXAMPLES["weights and pauses"])
    analysis = spec_of(documents)["analysis"]
    analysis.update(changes)
    for field in [field for field, value in changes.items() if value is None]:
        del analysis[field]
    back = convert(documents, to="argo")
    assert f"Canary/shop: {path}" in [gap.path for gap in back.gaps]
    assert list(back.documents) == documents


def test_a_deployment_that_a_rollout_cannot_have_inside_is_a_gap():
    documents = canaries(*EXAMPLES["weights alone"])
    without = [each for each in documents if each["kind"] != "Deployment"]
    assert [gap.path for gap in convert(without, to="argo").gaps] == ["Canary/shop: spec.targetRef"]
    documents[0]["spec"]["strategy"] = {"type": "Recreate"}
    (gap,) = convert(documents, to="argo").gaps
    assert gap.found.startswith("strategy of the Deployment")


def test_a_template_stays_while_another_canary_needs_it():
    documents = canaries(*RICH)
    other = copy.deepcopy(next(filter(is_canary, documents)))
    other["metadata"]["name"] = other["spec"]["targetRef"]["name"] = "other"
    back = convert([*documents, other], to="argo")
    assert [each["kind"] for each in back.documents].count("MetricTemplate") == 3
    assert [each["metadata"]["name"] for each in back.documents if is_canary(each)] == ["other"]


def test_a_query_with_variables_is_a_gap():
    documents = canaries(*EXAMPLES["an analysis of a step"])
    next(each for each in documents if each["kind"] == "MetricTemplate")["spec"]["query"] = "up{pod=~'{{ target }}-.*'}"
    (gap,) = convert(documents, to="argo").gaps
    assert (gap.path, gap.expected) == (
        "Canary/shop: spec.analysis.metrics[0].templateRef",
        "a query without variables",
    )


def test_a_template_that_is_not_there_is_a_gap():
    documents = [each for each in canaries(*EXAMPLES["an analysis of a step"]) if each["kind"] != "MetricTemplate"]
    (gap,) = convert(documents, to="argo").gaps
    assert (gap.path, gap.expected) == (
        "Canary/shop: spec.analysis.metrics[0].templateRef",
        "a MetricTemplate of the files",
    )


def test_a_limit_that_argo_always_has_must_be_given():
    documents = canaries(*EXAMPLES["an analysis of a step"])
    del spec_of(documents)["analysis"]["metrics"][0]["failureLimit"]
    (gap,) = convert(documents, to="argo").gaps
    assert gap.path == "Canary/shop: spec.analysis.metrics[0].failureLimit"


def test_an_invalid_canary_is_an_error():
    documents = canaries(*EXAMPLES["weights alone"])
    spec_of(documents)["analysis"]["stepWeights"] = ["a"]
    with pytest.raises(ManifestError, match="stepWeights"):
        convert(documents, to="argo")


def test_files_have_their_gaps_at_a_line():
    texts = convert_files([("shop.yaml", "\n---\n".join(map(json.dumps, EXAMPLES["weights alone"])))]).texts
    back = convert_files(texts, to="argo")
    assert any(map(is_argos, back.documents))
    files = convert_files([(name, text.replace('"threshold": 1', '"threshold": 4')) for name, text in texts], to="argo")
    assert [(gap.file, gap.line) for gap in files.gaps] == [("shop.yaml", 3)]


FIELDS = ["steps", "weight", "hold", "match", "mirror", "metrics", "name", "analysis", "service", "targetRef", "count"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=20,
)


@given(place=st.sampled_from(["analysis", "service", "autoscalerRef", "targetRef"]), value=JSON)
def test_any_canary_converts_or_has_gaps_or_is_an_error(place, value):
    documents = canaries(*EXAMPLES["blue/green with an analysis before"])
    spec_of(documents)[place] = value
    try:
        back = convert(documents, to="argo")
    except ManifestError:
        return
    assert bool(back.gaps) == any(map(is_canary, back.documents))
