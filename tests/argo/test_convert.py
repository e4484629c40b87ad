"""Rollouts of Argo become Canaries of the same meaning, and nothing gets lost without a word."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore import Ladder, RollbackWindow, Step, Strategy, Verdict, judge
from canarycore.argo import convert, convert_files, is_argos
from canarycore.manifest import lint, load, parse, resolve
from canarycore.questions import MetricAnswer
from canarycore.verification import verify
from tests.argo.rollouts import (
    EXAMPLES,
    ISTIO,
    PAUSE,
    SERVICE,
    SHORT,
    blue_green,
    canary,
    metric,
    rollout,
    template,
    use,
)


def converted(*documents):
    """Return the Canary, the rollout and the gaps of some documents."""
    conversion = convert([*documents, SERVICE])
    (body,) = [each for each in conversion.documents if each["kind"] == "Canary"]
    templates = tuple(parse(each) for each in conversion.documents if each["kind"] == "MetricTemplate")
    return body, resolve(parse(body), templates=templates), conversion.gaps


def gaps_of(*documents):
    return [(gap.path.partition(": ")[2], gap.found) for gap in converted(*documents)[2]]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_becomes_a_canary_without_an_error(name):
    conversion = convert([*EXAMPLES[name], SERVICE])
    assert not any(map(is_argos, conversion.documents))
    assert [problem for problem in lint(conversion.documents) if problem.severity == "error"] == []
    assert conversion.gaps == ()


WRONG_TEMPLATES = {
    "a pattern of a dry run": (template(metric(), dryRun=[{"metricName": "success.+"}]), "the pattern 'success.+'"),
    "a header with an argument without a value": (
        template(metric(provider={"prometheus": {"query": "up", "headers": [{"key": "a", "value": "{{args.b}}"}]}})),
        "arguments without a value: 'b'",
    ),
    "a condition that no value meets": (
        template(metric(successCondition="result > 2 && result < 1")),
        "the condition 'result > 2 && result < 1'",
    ),
}


@pytest.mark.parametrize("name", WRONG_TEMPLATES)
def test_a_part_of_a_template_that_would_change_its_meaning_is_a_gap(name):
    document, found = WRONG_TEMPLATES[name]
    gaps = convert([canary({"setWeight": 5}, {"analysis": use()}), document, SERVICE]).gaps
    assert found in [gap.found for gap in gaps]


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_single_fault_breaks_the_rollout_of_an_example(name):
    _, policy, _ = converted(*EXAMPLES[name])
    assert verify(policy, faults=0).violations == ()


def test_weights_and_pauses_become_steps():
    steps = ({"setWeight": 20}, PAUSE, {"setWeight": 40}, {"pause": {"duration": "1h"}}, {"setWeight": 60})
    _, policy, gaps = converted(canary(*steps))
    assert policy.ladder.steps == (Step(weight=20, approval=True), Step(weight=40, hold=3600.0), 60)
    assert gaps == ()


def test_pauses_of_one_step_add_up():
    _, policy, _ = converted(
        canary({"setWeight": 20}, {"pause": {"duration": 30}}, {"pause": {"duration": "2m"}}, PAUSE)
    )
    assert policy.ladder.steps == (Step(weight=20, hold=150.0, approval=True),)


def test_an_analysis_of_a_step_measures_from_there_as_often_as_it_says():
    steps = ({"setWeight": 20}, {"setWeight": 50}, {"analysis": use()})
    _, policy, gaps = converted(canary(*steps), template(metric(count=3, failureLimit=1, initialDelay="30s")))
    (check,) = policy.checks
    assert (check.from_weight, check.minimum, check.maximum) == (50, 0.95, None)
    limits = check.limits
    assert (limits.count, limits.every, limits.initial_delay) == (3, 60.0, 30.0)
    assert (limits.failure_limit, limits.inconclusive_limit, limits.error_limit) == (1, 0, 4)
    assert check.query == "sum(rate(requests[1m]))"
    assert gaps == ()


def test_an_analysis_in_the_background_begins_at_its_step_and_has_no_count():
    analysis = use(startingStep=2)
    _, policy, _ = converted(canary({"setWeight": 10}, PAUSE, {"setWeight": 50}, analysis=analysis), template(metric()))
    (check,) = policy.checks
    assert (check.from_weight, check.limits.count) == (50, 1)


def test_steps_after_an_analysis_keep_the_checks_of_the_background():
    step = {"analysis": use("step")}
    templates = template(metric("errors"), name="quality"), template(metric("latency"), name="step")
    _, policy, _ = converted(canary({"setWeight": 10}, step, {"setWeight": 50}, analysis=use()), *templates)
    assert [(step.weight, step.metrics) for step in policy.ladder.steps] == [
        (10, ("errors", "latency")),
        (50, ("errors",)),
    ]


def test_an_analysis_after_the_switch_is_reported():
    """A blue/green Rollout has no routes, and without them there is no traffic that a bake could keep."""
    body, _, gaps = converted(blue_green(postPromotionAnalysis=use()), template(metric()))
    assert "metrics" not in body["spec"]["analysis"]
    assert [gap.path.rpartition(".")[2] for gap in gaps] == ["postPromotionAnalysis"]


STRATEGIES = {
    "steps": (canary({"setWeight": 20}, SHORT, {"setWeight": 60}), ()),
    "blue/green": (blue_green(autoPromotionSeconds=60, prePromotionAnalysis=use()), (template(metric()),)),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_rollback_window_skips_all_steps(name):
    document, others = STRATEGIES[name]
    spec = document["spec"] | {"rollbackWindow": {"revisions": 3}}
    body, policy, gaps = converted({**document, "spec": spec}, *others)
    assert body["spec"]["analysis"]["rollbackWindow"] == {"revisions": 3}
    assert policy.rollback_window == RollbackWindow(revisions=3)
    assert gaps == ()


@pytest.mark.parametrize(
    ("window", "revisions", "paths"),
    [
        (None, 0, []),
        ({"revisions": 0}, 0, []),
        ({"revisions": "5"}, 5, []),
        ({"revisions": 20}, 20, []),
        ({"revisions": 21}, 20, ["spec.rollbackWindow.revisions"]),
        ({"revisions": 10**11}, 20, ["spec.rollbackWindow.revisions"]),
        ({"revisions": 2, "duration": "1h"}, 2, ["spec.rollbackWindow.duration"]),
        ("all", 0, ["spec.rollbackWindow"]),
    ],
)
def test_a_window_beyond_the_history_is_a_gap(window, revisions, paths):
    strategy = {"blueGreen": {"activeService": "shop", "previewService": "shop-preview"}}
    document = rollout(strategy, rollbackWindow=window)
    _, policy, _ = converted(document)
    assert (policy.rollback_window.revisions if policy.rollback_window else 0) == revisions
    assert [path for path, _ in gaps_of(document)] == paths


def test_a_rollout_without_steps_has_none_to_skip():
    body, policy, gaps = converted(rollout(canary()["spec"]["strategy"], rollbackWindow={"revisions": 3}))
    assert (policy.skip_analysis, policy.rollback_window, gaps) == (True, None, ())
    assert "rollbackWindow" not in body["spec"]["analysis"]


def test_the_deployment_has_what_the_rollout_had():
    deployment = convert([canary({"setWeight": 5}, maxSurge="25%", maxUnavailable=0)]).documents[0]
    assert deployment["kind"] == "Deployment"
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": 0}
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"


def test_clients_keep_their_service():
    body, _, _ = converted(canary({"setWeight": 5}))
    assert body["spec"]["service"] == {"name": "shop", "port": 80, "targetPort": 8080, "portName": "http"}
    assert body["spec"]["ingressRef"]["name"] == "shop"


@pytest.mark.parametrize(
    ("routing", "provider"),
    [
        ({"alb": {"ingresses": ["shop", "shop-internal"], "servicePort": 80}}, "alb"),
        ({"nginx": {"stableIngresses": ["shop", "shop-internal"]}}, "nginx"),
    ],
)
def test_of_several_ingresses_the_first_is_split_and_the_others_are_reported(routing, provider):
    body, _, gaps = converted(canary({"setWeight": 5}, trafficRouting=routing))
    assert (body["spec"]["provider"], body["spec"]["ingressRef"]["name"]) == (provider, "shop")
    assert [gap.found for gap in gaps] == ["'shop-internal'"]


def test_without_routes_the_numbers_of_pods_split():
    body, _, gaps = converted(canary({"setWeight": 25}, trafficRouting=None))
    assert (body["spec"]["provider"], gaps) == ("replicas", ())


CONDITIONS = {
    "result[0] >= 0.95": (0.95, None),
    "result >= 0.95 && result <= 2": (0.95, 2.0),
    "0.5 <= result[0]": (0.5, None),
    "result[0] < 5": (None, 4.999999999999999),
    "asFloat(result) == 1": (1.0, 1.0),
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_becomes_the_range_that_passes(condition):
    _, policy, gaps = converted(
        canary({"setWeight": 5}, {"analysis": use()}), template(metric(successCondition=condition))
    )
    assert (policy.checks[0].minimum, policy.checks[0].maximum) == CONDITIONS[condition]
    assert gaps == ()


def test_a_condition_of_failure_becomes_the_range_that_does_not_meet_it():
    failing = metric(successCondition=None, failureCondition="result[0] < 0.9 || result[0] > 2")
    _, policy, _ = converted(canary({"setWeight": 5}, {"analysis": use()}), template(failing))
    assert (policy.checks[0].minimum, policy.checks[0].maximum) == (0.9, 2.0)


CONDITIONAL = [
    ("result[0] >= 0.99", "result[0] < 0.95"),
    ("default(result, 0) <= 5", None),
    ("len(result) == 0 || result[0] < 5", None),
    ("isNaN(result[0]) || result[0] >= 0.95", "result[0] < 0.5"),
    (None, "result[0] * 100 > 5 && result[0] != 7"),
    ("!(result > 5)", None),
    ("result > 1 || result < -1", None),
]


@pytest.mark.parametrize(("success", "failure"), CONDITIONAL)
def test_a_condition_that_is_no_range_stays_a_condition(success, failure):
    document = template(metric(successCondition=success, failureCondition=failure))
    _, policy, gaps = converted(canary({"setWeight": 5}, {"analysis": use()}), document)
    (check,) = policy.checks
    assert (check.success_condition or None, check.failure_condition or None) == (success, failure)
    assert (check.minimum, check.maximum, gaps) == (None, None, ())


def test_the_result_is_a_number_that_no_function_converts():
    document = template(metric(successCondition="asFloat(result) >= 1 || asFloat(result) < -1"))
    _, policy, gaps = converted(canary({"setWeight": 5}, {"analysis": use()}), document)
    assert (policy.checks[0].success_condition, gaps) == ("(result) >= 1 || (result) < -1", ())


def header_route(name, *values):
    match = [{"headerName": "X-Canary", "headerValue": {"exact": value}} for value in values]
    return {"setHeaderRoute": {"name": name} | ({"match": match} if values else {})}


def matches(ladder):
    """Return the weight and the accepted headers of each step."""
    steps = [step if isinstance(step, Step) else Step(weight=step) for step in ladder.steps]
    return [(step.weight, [match.headers[0][1].value for match in step.match]) for step in steps]


def test_a_header_route_is_the_match_of_the_steps_while_it_is_in_force():
    steps = (
        *(header_route("a", "one", "two"), PAUSE, {"setWeight": 5}, header_route("b", "three"), PAUSE),
        *({"setWeight": 20}, header_route("a"), {"setWeight": 100}),
    )
    _, policy, gaps = converted(canary(*steps, routing=ISTIO))
    ways = [(0, ["one", "two"]), (5, ["one", "two", "three"]), (20, ["three"]), (100, [])]
    assert (matches(policy.ladder), gaps) == (ways, ())


def test_a_header_route_after_a_pause_begins_with_the_next_weight_and_is_reported():
    steps = ({"setWeight": 5}, PAUSE, header_route("a", "one"), {"setWeight": 20})
    _, policy, gaps = converted(canary(*steps, routing=ISTIO))
    assert matches(policy.ladder) == [(5, []), (20, ["one"])]
    assert [gap.path for gap in gaps] == ["Rollout/shop: spec.strategy.canary.steps[2].setHeaderRoute"]


def test_a_header_route_that_ends_before_a_pause_leaves_no_step():
    steps = (header_route("a", "one"), header_route("a"), {"setWeight": 20})
    assert matches(converted(canary(*steps, routing=ISTIO))[1].ladder) == [(20, [])]


@pytest.mark.parametrize("value", [{}, {"exact": "a", "prefix": "b"}, "a", None])
def test_a_header_route_without_one_condition_is_a_gap_and_matches_nothing(value):
    route = {"setHeaderRoute": {"name": "a", "match": [{"headerName": "x", "headerValue": value}]}}
    _, policy, gaps = converted(canary(route, {"setWeight": 20}, routing=ISTIO))
    assert matches(policy.ladder) == [(20, [])]
    assert [gap.path for gap in gaps] == ["Rollout/shop: spec.strategy.canary.steps[0].setHeaderRoute"]


def mirror_route(name, percentage=None, **condition):
    match = [condition or {"path": {"prefix": "/"}}]
    return {"setMirrorRoute": {"name": name} | ({"percentage": percentage, "match": match} if percentage else {})}


def mirrors(ladder):
    return [(step.weight, step.mirror) if isinstance(step, Step) else (step, 0) for step in ladder.steps]


def test_a_mirror_route_is_the_mirror_of_the_steps_while_it_is_in_force():
    steps = (
        *(mirror_route("a", 35), PAUSE, {"setWeight": 5}, mirror_route("a", 10), SHORT, {"setWeight": 20}),
        *(mirror_route("a"), SHORT, {"setWeight": 100}),
    )
    _, policy, gaps = converted(canary(*steps, routing=ISTIO))
    assert (mirrors(policy.ladder), gaps) == ([(0, 35), (5, 10), (20, 0), (100, 0)], ())


def test_a_mirror_of_some_requests_is_a_gap_and_copies_nothing():
    steps = (mirror_route("a", 35, method={"exact": "GET"}, path={"prefix": "/"}), {"setWeight": 5})
    _, policy, gaps = converted(canary(*steps, routing=ISTIO))
    assert mirrors(policy.ladder) == [(5, 0)]
    assert [gap.path for gap in gaps] == ["Rollout/shop: spec.strategy.canary.steps[0].setMirrorRoute"]


def test_a_mirror_of_another_provider_is_a_gap():
    _, policy, gaps = converted(canary(mirror_route("a", 35), {"setWeight": 5}))
    assert mirrors(policy.ladder) == [(5, 0)]
    assert [gap.path for gap in gaps] == ["Rollout/shop: spec.strategy.canary.steps[0].setMirrorRoute"]


def scale(**fields):
    return {"setCanaryScale": fields}


def sizes(ladder):
    return [(step.weight, str(step.size)) if isinstance(step, Step) and step.size else step for step in ladder.steps]


SCALES = {
    "a number": ([scale(replicas=2), {"setWeight": 5}, {"setWeight": 50}], [(5, "2"), 50]),
    "a percentage": ([scale(weight=25), {"setWeight": 5}], [(5, "25%")]),
    "right after its weight": ([{"setWeight": 5}, scale(replicas=2), {"setWeight": 50}], [(5, "2"), 50]),
    "from a later weight on": ([{"setWeight": 5}, SHORT, scale(replicas=2), {"setWeight": 50}], [5, (50, "2")]),
    "that of the weight": (
        [scale(matchTrafficWeight=True), {"setWeight": 5}, {"setWeight": 50}],
        [(5, "5%"), (50, "50%")],
    ),
    "that of the weight after another one": (
        [scale(replicas=1), {"setWeight": 5}, scale(matchTrafficWeight=True), {"setWeight": 50}],
        [(5, "5%"), (50, "50%")],
    ),
}


@pytest.mark.parametrize("name", SCALES)
def test_a_scale_of_the_canary_is_the_size_of_the_steps_from_there_on(name):
    steps, expected = SCALES[name]
    _, policy, gaps = converted(canary(*steps, routing=ISTIO))
    assert ([each if isinstance(each, tuple | int) else each.weight for each in sizes(policy.ladder)], gaps) == (
        expected,
        (),
    )


@pytest.mark.parametrize("fields", [{"replicas": 0}, {"weight": 0}, {"weight": 101}, {"replicas": "2"}, {}])
def test_a_scale_that_no_step_can_have_is_a_gap_and_sets_nothing(fields):
    _, policy, gaps = converted(canary(scale(**fields, more=1), {"setWeight": 5}, routing=ISTIO))
    assert sizes(policy.ladder) == [5]
    assert {gap.path.partition(".setCanaryScale")[0] for gap in gaps} == {"Rollout/shop: spec.strategy.canary.steps[0]"}


@pytest.mark.parametrize(
    "steps", [[{"setWeight": 5}, PAUSE, scale(replicas=2), SHORT], [{"setWeight": 5}, PAUSE, scale(replicas=2)]]
)
def test_a_scale_without_a_weight_after_it_is_a_gap(steps):
    _, _, gaps = converted(canary(*steps, routing=ISTIO))
    assert [gap.path for gap in gaps] == ["Rollout/shop: spec.strategy.canary.steps[2].setCanaryScale"]


def test_without_traffic_routing_argo_ignores_the_scale_and_so_it_is_a_gap():
    body = canary(scale(replicas=2), {"setWeight": 5})
    del body["spec"]["strategy"]["canary"]["trafficRouting"]
    assert [gap.path for gap in converted(body)[2]] == ["Rollout/shop: spec.strategy.canary.steps[0].setCanaryScale"]


NOT_NUMBERS = (
    "result == 'ok'",
    "all(result, # < 5)",
    "result.successful > 0.9",
    "result > 5 ? true : asInt(result)",
    "result[1] > 5",
    "result[0]",
    "(" * 900,
    "result " * 400,
)


@pytest.mark.parametrize("condition", NOT_NUMBERS)
def test_a_condition_outside_the_language_is_a_gap_and_no_check_that_always_passes(condition):
    documents = canary({"setWeight": 5}, {"analysis": use()}), template(metric(successCondition=condition))
    body, policy, gaps = converted(*documents)
    assert policy.checks == ()
    assert [gap.path for gap in gaps] == ["AnalysisTemplate/quality: spec.metrics[0]"]
    assert "metrics" not in body["spec"]["analysis"]


GAPS = {
    "a header route": (
        canary(
            {"setHeaderRoute": {"name": "beta", "match": [{"headerName": "x", "headerValue": {"exact": "1"}}]}},
            {"setWeight": 5},
            routing={"alb": {"ingress": "shop", "servicePort": 80}},
        ),
        "spec.strategy.canary.steps[0].setHeaderRoute",
    ),
    "an experiment": (
        canary({"setWeight": 5}, {"experiment": {"templates": [{"name": "a"}]}}),
        "spec.strategy.canary.steps[1].experiment",
    ),
    "an analysis that ends with its step": (
        canary({"setWeight": 5}, {"analysis": use()}, {"setWeight": 50}),
        "spec.strategy.canary.steps",
    ),
    "no pods": (
        canary({"setCanaryScale": {"replicas": 0}}, {"setWeight": 5}),
        "spec.strategy.canary.steps[0].setCanaryScale",
    ),
    "a plug-in": (canary({"setWeight": 5}, {"plugin": {"name": "x"}}), "spec.strategy.canary.steps[1].plugin"),
    "a pause at no weight": (canary(PAUSE, {"setWeight": 5}), "spec.strategy.canary.steps[0].pause"),
    "a weight that falls": (canary({"setWeight": 50}, {"setWeight": 5}), "spec.strategy.canary.steps[1].setWeight"),
    "a weight that is none": (canary({"setWeight": 500}, {"setWeight": 5}), "spec.strategy.canary.steps[0].setWeight"),
    "a pause that is none": (
        canary({"setWeight": 5}, {"pause": {"duration": "soon"}}),
        "spec.strategy.canary.steps[1].pause",
    ),
    "a pause of 300 years": (
        canary({"setWeight": 5}, {"pause": {"duration": "2628000h"}}),
        "spec.strategy.canary.steps[1].pause",
    ),
    "a field of the strategy": (
        canary({"setWeight": 5}, antiAffinity={"required": {}}),
        "spec.strategy.canary.antiAffinity",
    ),
    "a field of the Rollout": (rollout({"blueGreen": {"activeService": "shop"}}, restartAt="now"), "spec.restartAt"),
    "an unknown field": (canary({"setWeight": 5}, novelty={"deep": [1]}), "spec.strategy.canary.novelty"),
    "an unknown provider": (
        canary({"setWeight": 5}, routing={"ambassador": {"mappings": ["a"]}}),
        "spec.strategy.canary.trafficRouting.ambassador",
    ),
    "a manual promotion": (blue_green(autoPromotionEnabled=False), "spec.strategy.blueGreen.autoPromotionEnabled"),
    "a template that is not there": (
        canary({"setWeight": 5}, {"analysis": use("absent")}),
        "spec.strategy.canary.steps[1].analysis.templates[0]",
    ),
}


@pytest.mark.parametrize("name", GAPS)
def test_a_part_without_an_equivalent_is_named_once(name):
    document, path = GAPS[name]
    assert [gap for gap, _ in gaps_of(document, template(metric()))].count(path) == 1


WRONG_METRICS = {
    "a provider that is not there": metric(provider={"web": {"url": "http://shop"}}),
    "two providers": metric(provider={"web": {}, "prometheus": {}}),
    "an argument without a value": metric(provider={"prometheus": {"address": "http://p", "query": "{{args.secret}}"}}),
    "no condition": metric(successCondition=None),
}


@pytest.mark.parametrize("name", WRONG_METRICS)
def test_a_metric_without_an_equivalent_is_one_gap(name):
    documents = canary({"setWeight": 5}, {"analysis": use()}), template(WRONG_METRICS[name])
    _, policy, gaps = converted(*documents)
    assert policy.checks == ()
    assert len(gaps) == 1
    assert gaps[0].path.startswith("AnalysisTemplate/quality: spec.metrics[0]")


def test_values_that_meet_neither_condition_are_inconclusive_as_in_argo():
    both = metric(successCondition="result[0] >= 0.95", failureCondition="result[0] < 0.8")
    _, policy, gaps = converted(canary({"setWeight": 5}, {"analysis": use()}), template(both))
    assert gaps == ()
    assert [judge(policy.checks[0], MetricAnswer(value=value)).verdict for value in (0.96, 0.9, 0.7)] == [
        Verdict.PASS,
        Verdict.INCONCLUSIVE,
        Verdict.FAIL,
    ]


def test_the_gaps_of_files_have_a_file_and_a_line():
    text = json.dumps(canary({"setWeight": 5}, novelty=1), indent=1)
    files = convert_files([("shop.yaml", text), ("service.yaml", json.dumps(SERVICE))])
    (gap,) = files.gaps
    assert (gap.file, text.splitlines()[gap.line - 1].strip()) == ("shop.yaml", '"novelty": 1')
    assert [canary.name for canary in load(files.texts).canaries] == ["shop"]


def test_files_without_argos_documents_stay_as_they_are():
    files = [("a.yaml", "a: ["), ("b.yaml", "kind: ConfigMap\napiVersion: v1\n")]
    assert convert_files(files).texts == tuple(files)


def test_the_strategy_of_blue_green_counts_its_wait():
    _, policy, _ = converted(blue_green(autoPromotionSeconds=65))
    assert policy.ladder == Ladder(strategy=Strategy.BLUE_GREEN, iterations=7, routed=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["steps", "setWeight", "pause", "duration", "analysis", "templates", "templateName", "args", "name", "canary",
         "blueGreen", "trafficRouting", "istio", "virtualService", "metrics", "provider", "x"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(spec=JSON, other=JSON)
def test_any_document_converts_or_is_a_gap(spec, other):
    documents = [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop"}, "spec": spec},
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": other, "spec": spec},
    ]
    conversion = convert(documents)
    assert [body["kind"] for body in conversion.documents if body["kind"] == "Canary"] == ["Canary"]
    json.dumps(conversion.documents)
