"""A Canary resolves as Flagger understands it, or is refused where Flagger would stall."""

import json

import pytest

from canarycore import CheckKind, HookType, NoData, Strategy
from canarycore.manifest import ManifestError, check_files, load, parse, resolve
from canarycore.notices import Severity
from tests.manifest.samples import AB, BASE, BLUE_GREEN, EXAMPLES, ROOT, canary, metric, shared, template
from tests.manifest.test_parse import FULL


def resolved(*, provider: str = "istio", templates=(), **changes):
    return resolve(parse(canary(**changes)), provider=provider, templates=templates)


def weights(rollout):
    return [rung.weight for rung in rollout.ladder.rungs]


def test_defaults_are_flaggers():
    rollout = resolved(analysis={"interval": None, "threshold": None, "metrics": None, "maxWeight": None})
    assert (rollout.interval, rollout.threshold, rollout.progress_deadline) == (60.0, 1, 600.0)
    assert (rollout.primary_ready, rollout.canary_ready, rollout.mirror_weight) == (100, 100, 100)
    assert (rollout.provider, rollout.namespace, rollout.drain) == ("istio", "test", 5.0)
    assert (rollout.no_data, rollout.min_samples, rollout.inconclusive_limit) == (NoData.FAIL, 0, 0)
    assert not any((rollout.skip_analysis, rollout.suspend, rollout.revert_on_deletion, rollout.autoscaled))
    assert rollout.ladder.top == 100


def test_what_is_given_is_taken():
    rollout = resolve(parse(FULL))
    assert (rollout.progress_deadline, rollout.primary_ready, rollout.canary_ready) == (60.0, 80, 70)
    assert (rollout.mirror_weight, rollout.no_data, rollout.min_samples) == (60, NoData.HOLD, 100)
    assert (rollout.inconclusive_limit, rollout.drain, rollout.provider) == (5, 2.0, "istio")
    assert rollout.skip_analysis
    assert rollout.suspend
    assert rollout.revert_on_deletion
    assert rollout.autoscaled
    (alert,) = rollout.alerts
    assert (alert.severity, alert.provider.name, alert.provider.namespace) == (Severity.WARN, "on-call", "ops")
    (hook,) = rollout.hooks
    assert (hook.type, hook.timeout, hook.retries) == (HookType.CONFIRM_PROMOTION, 15.0, 2)
    assert (hook.mute_alert, hook.disable_tls, hook.metadata) == (True, True, (("cmd", "cat <file>"),))
    (match,) = rollout.match
    assert [(name, match.kind) for name, match in match.headers] == [("cookie", "regex"), ("x.y", "suffix")]
    assert (match.without[0][0], match.uri.value) == ("x-bot", "/api")


def test_a_session_cookie_is_taken_where_users_are_split_by_weight():
    cookie = {"cookieName": "session", "maxAge": 3600, "sameSite": "Strict"}
    affinity = resolved(analysis={"sessionAffinity": cookie}).affinity
    assert affinity
    assert (affinity.max_age, affinity.same_site) == (3600, "Strict")
    assert resolved(analysis={"sessionAffinity": cookie, "match": AB["match"]}).affinity is None


@pytest.mark.parametrize(
    ("provider", "service", "mirror", "affinity"),
    [
        ("istio", {}, True, True),
        ("istio", {"appProtocol": "TCP"}, False, False),
        ("gatewayapi:v1", {}, True, True),
        ("appmesh:v1beta2", {}, False, False),
        ("nginx", {}, False, False),
        ("a-mesh-of-somebody-elses", {}, True, True),
    ],
)
def test_what_a_provider_cannot_do_is_left_out(provider, service, mirror, affinity):
    """Its rung would be waited for without end."""
    analysis = {"mirror": True, "sessionAffinity": {"cookieName": "session"}}
    rollout = resolved(analysis=analysis, provider=provider, service={"port": 80, **service})
    assert (any(rung.mirrored for rung in rollout.ladder.rungs), rollout.affinity is not None) == (mirror, affinity)


@pytest.mark.parametrize(
    ("written", "seconds"), [("5s", 10.0), ("10s", 10.0), ("1m30s", 90.0), ("", 60.0), ("1h", 3600.0)]
)
def test_the_interval_has_a_floor_of_ten_seconds(written, seconds):
    assert resolved(analysis={"interval": written}).interval == seconds


@pytest.mark.parametrize(("written", "threshold"), [(0, 1), (-3, 1), (7, 7)])
def test_a_threshold_below_one_counts_as_one(written, threshold):
    assert resolved(analysis={"threshold": written}).threshold == threshold


@pytest.mark.parametrize(
    ("analysis", "climb"),
    [
        ({"stepWeight": 20, "maxWeight": 60}, [0, 20, 40, 60]),
        ({"stepWeight": 20, "maxWeight": 50}, [0, 20, 40, 60]),
        ({"stepWeight": 30, "maxWeight": 0}, [0, 30, 60, 90, 100]),
        ({"stepWeight": 50, "maxWeight": 10}, [0, 50]),
        ({"stepWeight": 0, "stepWeights": [1, 10, 80]}, [0, 1, 10, 80]),
        ({"stepWeight": 15, "stepWeights": [1, 30]}, [0, 15, 30]),
        ({"stepWeight": 50, "maxWeight": 50, "mirror": True}, [0, 0, 50]),
    ],
)
def test_weights_climb_by_flaggers_arithmetic(analysis, climb):
    rollout = resolved(analysis=analysis)
    assert (rollout.ladder.strategy, weights(rollout)) == (Strategy.WEIGHTS, climb)


def test_match_and_iterations_make_an_ab_test_that_mirrors_nothing_and_steps_back_at_once():
    rollout = resolved(analysis=AB | {"mirror": True, "stepWeightPromotion": 10})
    assert rollout.ladder.strategy is Strategy.AB
    assert [(rung.iteration, rung.matched, rung.mirrored) for rung in rollout.ladder.rungs[1:3]] == [
        (1, True, False),
        (2, True, False),
    ]
    assert rollout.ladder.step_back == 0


def test_iterations_without_match_make_blue_green():
    rollout = resolved(analysis=BLUE_GREEN | {"iterations": 2, "mirror": True, "stepWeightPromotion": 10})
    assert rollout.ladder.strategy is Strategy.BLUE_GREEN
    assert [(rung.weight, rung.mirrored) for rung in rollout.ladder.rungs] == [
        (0, False),
        (0, True),
        (0, True),
        (100, False),
    ]
    assert rollout.ladder.step_back == 10


def test_match_without_iterations_is_a_climb_by_weights():
    assert resolved(analysis={"match": AB["match"]}).ladder.strategy is Strategy.WEIGHTS


@pytest.mark.parametrize("analysis", [{}, {"stepWeight": 0}, AB | {"iterations": 0}])
def test_kubernetes_turns_every_analysis_into_ten_unrouted_checks(analysis):
    rollout = resolved(provider="kubernetes", analysis=analysis | {"mirror": True})
    assert rollout.ladder.strategy is Strategy.BLUE_GREEN
    assert (rollout.ladder.iterations, rollout.ladder.routed, rollout.match) == (10, False, ())
    assert not any(rung.is_exposed for rung in rollout.ladder.rungs)


def test_the_canarys_provider_goes_before_the_controllers():
    assert resolved(provider="linkerd").provider == "linkerd"
    assert resolve(parse(canary(provider="nginx")), provider="linkerd").provider == "nginx"


def test_no_step_at_all_is_refused_with_the_remedy():
    with pytest.raises(ManifestError) as refusal:
        resolved(analysis={"stepWeight": 0})
    (problem,) = refusal.value.problems
    assert (problem.rule, problem.path) == ("no-step", "spec.analysis.stepWeight")
    assert "never advances" in problem.expected
    assert "stepWeights or iterations" in problem.remedy


@pytest.mark.parametrize("spec", [{"skipAnalysis": True}, {"analysis": None}])
def test_nothing_to_climb_is_fine_where_nothing_is_analysed(spec):
    document = canary(analysis={"stepWeight": 0})
    document["spec"] |= spec
    assert resolve(parse(document)).skip_analysis


@pytest.mark.parametrize(
    ("fields", "kind", "limits"),
    [
        ({"thresholdRange": {"min": 99}}, CheckKind.SUCCESS_RATE, (99.0, None)),
        ({"thresholdRange": {"min": 1, "max": 2}, "threshold": 9}, CheckKind.SUCCESS_RATE, (1.0, 2.0)),
        ({"thresholdRange": None, "threshold": 99}, CheckKind.SUCCESS_RATE, (99.0, None)),
        ({"thresholdRange": None}, CheckKind.SUCCESS_RATE, (0.0, None)),
        ({"name": "request-duration", "thresholdRange": None, "threshold": 500}, CheckKind.DURATION, (None, 500.0)),
        ({"name": "request-duration", "thresholdRange": None}, CheckKind.DURATION, (None, 0.0)),
        ({"name": "own", "query": "up", "thresholdRange": None, "threshold": 5}, CheckKind.QUERY, (None, 5.0)),
    ],
)
def test_the_deprecated_threshold_is_a_minimum_of_the_success_rate_and_a_maximum_of_all_else(fields, kind, limits):
    (check,) = resolved(analysis=metric(**fields)).checks
    assert (check.kind, (check.minimum, check.maximum)) == (kind, limits)


@pytest.mark.parametrize(
    ("written", "window", "text"), [(None, 60.0, "1m"), ("30s", 30.0, "30s"), ("1m30s", 90.0, "1m30s")]
)
def test_a_metrics_window_is_a_minute_unless_given(written, window, text):
    (check,) = resolved(analysis=metric(interval=written)).checks
    assert (check.window, check.window_text) == (window, text)


def test_a_template_gives_its_query_from_the_namespace_it_is_in():
    elsewhere = template(query="elsewhere")
    elsewhere["metadata"]["namespace"] = "other"
    templates = [parse(elsewhere), parse(template(query="here"))]
    analysis = metric(name="errors", templateRef={"name": "errors"}, templateVariables={"dir": "in"})
    (check,) = resolved(analysis=analysis, templates=templates).checks
    assert (check.kind, check.query, check.variables) == (CheckKind.TEMPLATE, "here", (("dir", "in"),))
    analysis = metric(name="errors", templateRef={"name": "errors", "namespace": "other"})
    assert resolved(analysis=analysis, templates=templates).checks[0].query == "elsewhere"
    assert resolved(analysis=analysis).checks[0].query == ""


def test_a_built_in_name_does_not_keep_its_template_from_being_checked():
    checks = resolved(analysis=metric(templateRef={"name": "errors"})).checks
    assert [check.kind for check in checks] == [CheckKind.SUCCESS_RATE, CheckKind.TEMPLATE]


@pytest.mark.parametrize(("written", "seconds"), [(None, 10.0), ("", 10.0), ("5", 10.0), ("5s", 5.0), ("1m", 60.0)])
def test_a_hook_has_ten_seconds_where_its_timeout_is_too_short_to_be_one(written, seconds):
    hook = {"name": "load", "url": "http://loadtester/", "timeout": written}
    (made,) = resolved(analysis={"webhooks": [hook]}).hooks
    assert (made.timeout, made.type) == (seconds, HookType.ROLLOUT)


def test_an_alert_is_told_everything_from_info_on_unless_it_says_otherwise():
    (alert,) = resolved(analysis={"alerts": [{"name": "dev", "providerRef": {"name": "on-call"}}]}).alerts
    assert (alert.severity, alert.provider.namespace) == (Severity.INFO, "")


def test_a_cookie_lasts_a_day_unless_given():
    assert resolved(analysis={"sessionAffinity": {"cookieName": "c"}}).affinity.max_age == 86400


def test_a_canary_without_a_namespace_is_in_default():
    document = canary()
    del document["metadata"]["namespace"]
    assert resolve(parse(document)).full_name == "podinfo.default"


# whole files --------------------------------------------------------------------------------------------------------


def test_every_recorded_canary_parses_without_a_warning_and_resolves():
    traces = sorted(shared("golden").glob("*/trace.json"))
    assert traces
    for path in traces:
        trace = json.loads(path.read_text())
        provider = next(flag.partition("=")[2] for flag in trace["flags"] if flag.startswith("-mesh-provider"))
        parsed = parse(trace["input"]["canary"])
        rollout = resolve(parsed, provider=provider)
        seen = {status["canaryWeight"] for status in trace["statuses"]}
        assert parsed.warnings == (), path
        if rollout.ladder.strategy is Strategy.WEIGHTS and "drift" not in path.parent.name:
            assert seen - {0} <= reachable(trace, rollout), path


def reachable(trace, rollout) -> set[int]:
    """The weights of a ladder and of its way back; a trace that edits the analysis may reach any."""
    if any("patch" in action for action in trace["input"]["actions"]):
        return set(range(101))
    climb = {rung.weight for rung in rollout.ladder.rungs}
    return climb | {weight - back for weight in climb for back in range(0, 101, rollout.ladder.step_back or 101)}


def test_every_complete_canary_of_the_seeds_resolves():
    text = (shared("seeds") / "flagger-appmesh-guide" / "canary.yaml").read_text()
    rollout = resolve(load([("canary.yaml", text)]).canaries[0])
    assert weights(rollout) == list(range(0, 55, 5))
    assert [hook.type for hook in rollout.hooks] == [HookType.PRE_ROLLOUT, HookType.ROLLOUT]
    assert (rollout.provider, rollout.threshold, rollout.progress_deadline) == ("appmesh:v1beta2", 5, 60.0)


EXAMPLE_FILES = sorted(EXAMPLES.glob("*/*.yaml"))


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_an_example_parses_lints_without_errors_resolves_and_says_what_it_is(path):
    text = path.read_text()
    report = check_files([(str(path.relative_to(ROOT)), text)])
    assert report.errors == ()
    for found in report.canaries:
        resolve(found, templates=report.templates)
    assert text.startswith("# ")


def test_the_examples_lint_without_errors_as_a_whole():
    report = check_files([(path.name, path.read_text()) for path in EXAMPLE_FILES])
    assert report.errors == ()
    assert len(report.canaries) == 24


def test_the_base_of_these_tests_is_beyond_reproach():
    assert check_files([("base.yaml", json.dumps(BASE))]).problems == ()


@pytest.mark.parametrize(
    ("spec", "rule", "path"),
    [
        ({"targetRef": {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "app"}}, "pods-target", "targetRef.kind"),
        (
            {"autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "app"}},
            "pods-autoscaler",
            "autoscalerRef",
        ),
        (
            {"analysis": {"stepWeight": 10, "match": [{"headers": {"x-a": {"exact": "b"}}}]}},
            "pods-match",
            "analysis.match",
        ),
        ({"analysis": {"stepWeight": 10, "mirror": True}}, "no-mirror", "analysis.mirror"),
    ],
)
def test_a_split_by_pods_is_refused_where_pods_cannot_do_it(spec, rule, path):
    with pytest.raises(ManifestError) as error:
        resolve(parse(canary(provider="replicas", **spec)))
    (problem,) = error.value.problems
    assert (problem.path, problem.rule) == (f"spec.{path}", rule)
    assert resolve(parse(canary(provider="istio", **spec)))


BUILT_IN = {"metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}]}
STATEFUL = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"}


def stateful(**spec):
    document = canary(provider="replicas", targetRef=STATEFUL, analysis={"stepWeight": 10, "maxWeight": 50}, **spec)
    return {**document, "spec": {name: part for name, part in document["spec"].items() if name != "service"}}


@pytest.mark.parametrize("policy", [{"stepWeight": 10, "maxWeight": 50}, {"stepWeights": [20, 99]}])
def test_a_stateful_set_rolls_out_by_the_numbers_of_its_pods(policy):
    document = stateful()
    document["spec"]["analysis"] = {"interval": "1m", "threshold": 1, **policy}
    assert resolve(parse(document)).target.kind == "StatefulSet"


@pytest.mark.parametrize(
    ("spec", "path", "remedy"),
    [
        ({"provider": "istio"}, "provider", "Set provider: replicas"),
        ({"service": {"port": 80}}, "service", "Remove service"),
        ({"analysis": {"iterations": 3}}, "analysis.iterations", "Give stepWeight"),
        ({"analysis": {"stepWeight": 9, "maxWeight": 9} | BUILT_IN}, "analysis.metrics[0].name", "Add templateRef"),
        ({"analysis": {"stepWeight": 30}}, "analysis.maxWeight", "Set maxWeight"),
        ({"analysis": {"stepWeight": 40, "maxWeight": 90}}, "analysis.maxWeight", "Set maxWeight"),
        ({"analysis": {"stepWeights": [50, 100]}}, "analysis.stepWeights", "end with a lower step"),
        ({"analysis": {"steps": [{"weight": 50}, {"weight": 100}]}}, "analysis.steps", "end with a lower step"),
        ({"analysis": {"stepWeights": [50], "bake": "5m"}}, "analysis.bake", "end with a lower step"),
    ],
)
def test_a_stateful_set_is_refused_where_its_partition_cannot_do_it(spec, path, remedy):
    document = stateful()
    document["spec"] |= {"analysis": {"interval": "1m", "threshold": 1, "stepWeights": [50]}, **spec}
    document["spec"]["analysis"] = {"interval": "1m", "threshold": 1, **document["spec"]["analysis"]}
    with pytest.raises(ManifestError) as error:
        resolve(parse(document))
    (problem,) = error.value.problems
    assert (problem.path, problem.rule) == (f"spec.{path}", "stateful-set")
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("limits", "rule", "found"),
    [({}, "no-range", "neither min nor max"), ({"min": 99, "max": 1}, "empty-range", "min 99 above max 1")],
)
def test_a_range_that_lets_every_value_pass_or_none_is_refused_with_the_remedy(limits, rule, found):
    rate = {"name": "request-success-rate"}
    document = canary(
        analysis={
            "stepWeight": 10,
            "metrics": [{**rate, "thresholdRange": {"min": 99}}, {**rate, "thresholdRange": limits}],
        }
    )
    with pytest.raises(ManifestError) as error:
        resolve(parse(document))
    (problem,) = error.value.problems
    assert (problem.path, problem.rule) == ("spec.analysis.metrics[1].thresholdRange", rule)
    assert problem.found == found
    assert problem.remedy
