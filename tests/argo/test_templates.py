"""An AnalysisTemplate defines a check of a Canary as a whole, or refuses it by name."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore import CheckLimits
from canarycore.argo import convert_files, fill_secrets, read_template_files, read_templates
from canarycore.bounds import RENDERED_QUERY
from canarycore.errors import ManifestError
from canarycore.manifest import define_checks, lint, parse, require_definitions, resolve
from tests.argo.rollouts import SERVICE, metric, template, use
from tests.argo.rollouts import canary as argo_canary
from tests.growth import is_linear

TOKEN = {"name": "token", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "api"}}}
PROMETHEUS = {"address": "http://prometheus:9090", "query": "up"}
HEADER = {"key": "Authorization", "value": "Bearer {{args.token}}"}


def canary(*metrics, namespace="default", template_namespace="", **reference):
    """Return a Canary whose checks refer to the template `quality`."""
    reference |= {"namespace": template_namespace} if template_namespace else {}
    listed = [
        {"name": name, "templateRef": {"kind": "AnalysisTemplate", "name": "quality", **reference}, **fields}
        for name, fields in metrics or [("success-rate", {"templateVariables": {"series": "requests"}})]
    ]
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "service": {"port": 80},
            "analysis": {"interval": "1m", "threshold": 3, "stepWeight": 20, "metrics": listed},
        },
    }


def prometheus(**fields):
    return {"prometheus": {**PROMETHEUS, **fields}}


def with_arguments(*metrics, **spec):
    return template(*metrics or [metric()], args=[{"name": "series"}], **spec)


def checks_of(manifest, *templates):
    return resolve(parse(manifest), templates=read_templates(templates)).checks


def define(document, name="success-rate", **variables):
    (known,) = read_templates([document])
    return known.define(name, tuple(variables.items()))


def refusals(document, name="success-rate", **variables):
    """Return (path, found) of each problem that refuses a check."""
    with pytest.raises(ManifestError) as refused:
        define(document, name, **variables)
    assert all(problem.remedy and problem.severity == "error" for problem in refused.value.problems)
    return [(problem.path, problem.found) for problem in refused.value.problems]


# a definition -------------------------------------------------------------------------------------------------------


def test_a_check_has_the_query_the_condition_and_the_limits_of_its_template():
    fields = {"count": 3, "failureLimit": 1, "initialDelay": "30s", "consecutiveSuccessLimit": 2}
    (check,) = checks_of(canary(), with_arguments(metric(**fields)))
    assert (check.query, check.minimum, check.maximum) == ("sum(rate(requests[1m]))", 0.95, None)
    assert (check.template.kind, check.template.name) == ("AnalysisTemplate", "quality")
    assert check.limits == CheckLimits(
        initial_delay=30.0, every=60.0, count=3, success_limit=2, failure_limit=1, inconclusive_limit=0, error_limit=4
    )


def test_a_check_is_the_same_as_that_of_the_converted_rollout():
    document = template(metric(count=3, failureLimit=1, failureCondition="result[0] < 0.9"))
    argos = argo_canary({"setWeight": 20}, {"analysis": use()})
    files = [("a.yaml", json.dumps(body)) for body in (argos, document, SERVICE)]
    converted = convert_files(files).documents
    (policy,) = [body for body in converted if body["kind"] == "Canary"]
    (expected,) = resolve(parse(policy)).checks
    (check,) = checks_of(canary(), {**document, "spec": {**document["spec"], "args": [{"name": "series"}]}})
    names = ("minimum", "maximum", "success_condition", "failure_condition", "limits", "dry_run")
    assert [getattr(check, name) for name in names] == [getattr(expected, name) for name in names]


def test_the_name_of_the_check_chooses_one_metric_of_several():
    document = with_arguments(metric("errors", successCondition="result[0] < 5"), metric("latency"))
    variables = {"templateVariables": {"series": "a"}}
    first, second = checks_of(canary(("latency", variables), ("errors", {**variables, "dryRun": True})), document)
    assert (first.name, first.minimum, first.dry_run) == ("latency", 0.95, False)
    assert (second.name, second.maximum < 5, second.dry_run) == ("errors", True, True)


def test_a_template_of_the_cluster_serves_every_namespace():
    document = with_arguments(kind="ClusterAnalysisTemplate")
    for namespace in ("shop", "bank"):
        (check,) = checks_of(canary(namespace=namespace, kind="ClusterAnalysisTemplate"), document)
        assert check.query == "sum(rate(requests[1m]))"


def test_a_template_of_another_namespace_or_kind_is_not_the_one_that_is_meant():
    document = with_arguments()
    assert checks_of(canary(namespace="shop"), document)[0].query == ""
    assert checks_of(canary(kind="ClusterAnalysisTemplate"), document)[0].query == ""
    assert checks_of(canary(namespace="shop", template_namespace="default"), document)[0].query


def test_a_built_in_name_is_the_templates_check_alone():
    (check,) = checks_of(
        canary(("request-success-rate", {})), template(metric("request-success-rate", provider=prometheus()))
    )
    assert (check.kind.value, check.query) == ("template", "up")


def test_a_value_of_the_canary_comes_before_that_of_the_template():
    document = template(metric(), args=[{"name": "series", "value": "old"}])
    assert define(document).query == "sum(rate(old[1m]))"
    assert define(document, series="new").query == "sum(rate(new[1m]))"


@pytest.mark.parametrize("patterns", [["success-rate"], ["*"], [".*"], ["other", "success-rate"]])
def test_a_dry_run_of_the_template_decides_nothing(patterns):
    dry = [{"metricName": pattern} for pattern in patterns]
    assert define(template(metric(provider=prometheus()), dryRun=dry)).metric.dry_run


def test_the_time_that_measurements_are_kept_has_no_say():
    document = template(metric(provider=prometheus()), measurementRetention=[{"metricName": "*", "limit": 5}])
    assert define(document).query == "up"


def test_datadog_has_the_secret_that_the_template_names():
    source = {"datadog": {"query": "avg:x{*}", "secretRef": {"name": "mine", "namespaced": True}}}
    provider = define(template(metric(provider=source))).provider
    assert (provider.type, provider.secret_ref.name) == ("datadog", "mine")


# refusals -----------------------------------------------------------------------------------------------------------

REFUSED = {
    "a job": ({"provider": {"job": {"spec": {}}}}, "spec.metrics[0].provider", "the provider 'job'"),
    "the web": ({"provider": {"web": {"url": "http://x"}}}, "spec.metrics[0].provider", "the provider 'web'"),
    "kayenta": ({"provider": {"kayenta": {}}}, "spec.metrics[0].provider", "the provider 'kayenta'"),
    "no provider": ({"provider": None}, "spec.metrics[0].provider", "the provider ''"),
    "two providers": (
        {"provider": {**prometheus(), "web": {}}},
        "spec.metrics[0].provider",
        "the provider 'prometheus, web'",
    ),
    "an authentication": (
        {"provider": prometheus(authentication={"sigv4": {"region": "a"}})},
        "spec.metrics[0].provider.prometheus.authentication",
        "a value that is not shown",
    ),
    "an argument without a value": (
        {"provider": prometheus(query="{{args.other}}")},
        "spec.metrics[0].provider",
        "arguments without a value: 'other'",
    ),
    "no condition": ({"successCondition": None}, "spec.metrics[0]", "no condition"),
    "a condition that no value meets": (
        {"successCondition": "result[0] > 5 && result[0] < 3"},
        "spec.metrics[0]",
        "the condition 'result[0] > 5 && result[0] < 3'",
    ),
    "an unknown field": ({"magic": 1}, "spec.metrics[0].magic", "a value that is not shown"),
    "a count that is none": ({"count": "many"}, "spec.metrics[0].count", "'many'"),
    "a time that is none": ({"interval": "soon"}, "spec.metrics[0].interval", "'soon'"),
    "no query": ({"provider": {"prometheus": {"address": "http://p"}}}, "spec.metrics[0].provider", "nothing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_part_without_an_equivalent_refuses_the_check_by_name(name):
    fields, path, found = REFUSED[name]
    assert refusals(template(metric(**{"provider": prometheus(), **fields}))) == [(path, found)]


def test_a_refused_metric_does_not_affect_the_others():
    document = template(metric("a", provider={"job": {}}), metric("b", provider=prometheus()))
    assert refusals(document, "a")
    assert define(document, "b").query == "up"


def test_an_unknown_part_of_the_template_refuses_all_its_checks():
    assert refusals(template(metric(provider=prometheus()), magic=[1])) == [("spec.magic", "a part of the template")]


def test_a_pattern_of_a_dry_run_is_refused():
    document = template(metric(provider=prometheus()), dryRun=[{"metricName": "success.+"}])
    assert refusals(document) == [("spec.dryRun[0].metricName", "the pattern 'success.+'")]


def test_a_metric_that_is_not_there_is_an_error_with_the_names():
    document = template(metric("errors"), metric("latency"), templates=[{"templateName": "base"}])
    with pytest.raises(ManifestError) as refused:
        define(document, "latencies")
    message = str(refused.value)
    assert "no metric 'latencies', expected one metric of the check's name: there are errors, latency." in message
    assert "Name the check latency. For a metric of base, refer to that template." in message
    assert refusals(template(metric("a"), metric("a")), "a") == [("spec.metrics", "2 metrics 'a'")]


def test_a_variable_that_the_template_does_not_have_is_refused():
    document = template(metric(), args=[{"name": "series", "value": "a"}])
    assert refusals(document, serie="b") == [("spec.args", "the variable 'serie'")]


@pytest.mark.parametrize("field", ["thresholdRange", "successCondition", "count", "every", "failureLimit", "query"])
def test_a_field_beside_the_template_is_refused(field):
    values = {"thresholdRange": {"min": 1}, "successCondition": "result > 1", "every": "1m", "query": "up"}
    with pytest.raises(ManifestError, match=rf"metrics\[0\]\.{field}: .*the AnalysisTemplate quality has it"):
        parse(canary(("success-rate", {field: values.get(field, 3)})))


def test_a_namespace_beside_a_kind_of_the_cluster_is_refused():
    with pytest.raises(ManifestError, match=r"templateRef\.namespace: .* belongs to the cluster"):
        parse(canary(kind="ClusterAnalysisTemplate", template_namespace="monitoring"))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ManifestError, match=r"templateRef\.kind: .*Did you mean 'AnalysisTemplate'"):
        parse(canary(kind="AnalysisTemplates"))


def test_a_missing_or_refused_template_stops_what_needs_the_policy():
    manifest = parse(canary())
    with pytest.raises(ManifestError, match=r"AnalysisTemplate quality\.default, which is not among the files"):
        require_definitions(manifest, ())
    with pytest.raises(ManifestError, match=r"with the provider 'job' at spec\.metrics\[0\]\.provider"):
        require_definitions(manifest, read_templates([with_arguments(metric(provider={"job": {}}))]))
    require_definitions(manifest, read_templates([with_arguments()]))


# secrets ------------------------------------------------------------------------------------------------------------


def test_a_secret_argument_goes_into_a_header_only():
    document = template(metric(provider=prometheus(headers=[HEADER])), args=[TOKEN])
    found = define(document)
    assert found.provider.headers == (("Authorization", ("Bearer {{args.token}}",)),)
    assert [(each.name, each.secret, each.key) for each in found.secrets] == [("token", "keys", "api")]
    assert fill_secrets("Bearer {{args.token}}", {"token": "t0p"}) == "Bearer t0p"


@pytest.mark.parametrize(
    "source",
    [
        {"query": "x{{args.token}}"},
        {"address": "http://{{args.token}}"},
        {"headers": [{"key": "{{args.other}}", "value": "a"}]},
    ],
)
def test_a_secret_argument_elsewhere_is_refused(source):
    (refusal,) = refusals(template(metric(provider=prometheus(**source)), args=[TOKEN]))
    assert refusal[0] == "spec.metrics[0].provider"


def test_a_value_of_the_canary_brings_no_secret_into_the_query():
    document = template(metric(provider=prometheus(query="x{{args.a}}")), args=[TOKEN, {"name": "a"}])
    assert refusals(document, a="{{args.token}}") == [
        ("spec.metrics[0].provider", "the secret 'token' outside the headers")
    ]


@pytest.mark.parametrize(
    "source",
    [
        {"headers": [HEADER]},
        {"headers": [{"key": "X-Key", "value": "literal"}]},
    ],
)
def test_a_canary_chooses_no_server_for_the_credentials_of_a_template(source):
    provider = prometheus(address="http://{{args.host}}", **source)
    document = template(metric(provider=provider), args=[TOKEN, {"name": "host", "value": "own:9090"}])
    assert define(document).provider.address == "http://own:9090"
    assert refusals(document, host="evil") == [
        ("spec.metrics[0].provider", "an address that depends on 'host', beside credentials")
    ]


def test_a_canary_may_choose_the_server_of_a_template_without_credentials():
    document = template(metric(provider=prometheus(address="http://{{args.host}}")), args=[{"name": "host"}])
    assert define(document, host="mine").provider.address == "http://mine"


@pytest.mark.parametrize(
    "source", [prometheus(headers=[HEADER]), {"datadog": {"query": "x"}}, {"newRelic": {"query": "x"}}]
)
def test_a_template_of_the_cluster_has_no_secrets(source):
    document = template(metric(provider=source), kind="ClusterAnalysisTemplate", args=[TOKEN])
    assert refusals(document) == [("spec.metrics[0].provider", "a ClusterAnalysisTemplate that needs a Secret")]


def test_a_header_is_in_no_repr():
    document = template(metric(provider=prometheus(headers=[{"key": "X-Key", "value": "t0p-secret"}])))
    (known,) = read_templates([document])
    assert "t0p-secret" not in f"{known!r} {known.define('success-rate', ())!r}"


# bounds -------------------------------------------------------------------------------------------------------------


def test_a_template_beyond_the_bounds_of_an_object_defines_nothing():
    (refusal,) = refusals(template(metric(provider=prometheus(query="x" * 300_000))))
    assert refusal[1] == "more text"


def test_values_do_not_blow_a_query_up():
    document = template(metric(provider=prometheus(query="{{args.a}}" * 1_000)), args=[{"name": "a"}])
    (refusal,) = refusals(document, a="x" * 10_000)
    assert refusal[1] == "the arguments 'a' in a text that becomes too long"
    assert len(define(document, a="x").query) < RENDERED_QUERY.most


def headers(size):
    return [{"key": str(number), "value": "a"} for number in range(size)]


@pytest.mark.parametrize(
    "build",
    [
        lambda size: template(metric(**{f"field{number}": 1 for number in range(size)})),
        lambda size: template(
            metric(provider=prometheus(headers=[{"key": str(n), "value": "a"} for n in range(size)]))
        ),
        lambda size: template(*[metric(str(number)) for number in range(size // 8)]),
        lambda size: template(metric(), args=[{"name": f"a{number}"} for number in range(size)]),
        lambda size: template(metric(), dryRun=[{"metricName": "x+" * (number % 9)} for number in range(size)]),
        lambda size: template(metric(provider={"cloudWatch": {"metricDataQueries": [{"id": "a"}] * size}})),
    ],
    ids=["fields", "headers", "metrics", "args", "dry runs", "cloudwatch"],
)
def test_the_cost_of_a_definition_grows_with_the_size_of_its_template(build):
    def read(document):
        (known,) = read_templates([document])
        try:
            known.define("success-rate", (("serie", "a"),))
        except ManifestError as refusal:
            return len(str(refusal))
        return 0

    assert read(build(400)) < 20_000

    assert is_linear(lambda size: partial(read, build(size)), 400)


def test_a_template_remembers_little():
    document = template(metric(provider=prometheus(query="{{args.a}}")), args=[{"name": "a"}])
    (known,) = read_templates([document])
    for number in range(200):
        for text in (str(number), f"{number}" + "x" * 10_000):
            assert known.define("success-rate", (("a", text),)).query == text
    remembered = [*known._definitions]
    assert 0 < len(remembered) <= 64
    assert sum(len(text) for _, ((_, text),) in remembered) < 1_000


def test_a_value_may_be_a_variable_of_queries():
    document = template(metric(), args=[{"name": "series"}])
    assert define(document, series="requests_{{ target }}").query == "sum(rate(requests_{{ target }}[1m]))"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["name", "metrics", "provider", "prometheus", "query", "args", "value", "valueFrom", "secretKeyRef", "headers",
         "key", "count", "interval", "successCondition", "dryRun", "metricName", "templates"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(spec=JSON, name=st.text(max_size=4))
def test_no_template_makes_its_reader_fail(spec, name):
    (known,) = read_templates([{**template(), "spec": spec}])
    assert isinstance(known.metrics, tuple)
    for each in (name, *known.metrics):
        with suppress(ManifestError):
            known.define(each, ((name, name),))


# files --------------------------------------------------------------------------------------------------------------


def test_a_template_that_a_canary_refers_to_stays_beside_it():
    texts = [("a.yaml", json.dumps(canary())), ("b.yaml", json.dumps(with_arguments()))]
    assert convert_files(texts).texts == tuple(texts)
    assert [each.name for each in read_template_files(texts)] == ["quality"]


def test_a_template_may_serve_a_rollout_and_a_canary():
    argos = argo_canary({"setWeight": 20}, {"analysis": use()})
    texts = [("a.yaml", json.dumps(argos)), ("b.yaml", json.dumps(canary())), ("c.yaml", json.dumps(with_arguments()))]
    converted = convert_files(texts)
    assert sorted(body["kind"] for body in converted.documents) == ["Canary", "Deployment", "MetricTemplate"]
    assert [each.name for each in read_template_files(converted.texts)] == ["quality"]


def test_lint_judges_the_check_that_the_template_defines():
    document = with_arguments(metric(successCondition="result[0] >= 0 || result[0] < 0", failureCondition="result < 1"))
    found = lint([canary()], templates=read_templates([document]))
    assert "condition-overlap" in {problem.rule for problem in found}
    assert "unit" not in {problem.rule for problem in found}


def test_lint_takes_no_field_of_the_template_for_one_of_the_manifest():
    found = lint([canary()], templates=read_templates([with_arguments(metric(count=3))]))
    pruned = [problem.path for problem in found if problem.rule == "pruned-field"]
    assert pruned == ["spec.analysis.metrics[0].templateRef.kind"]


def test_a_canary_without_such_a_template_stays_the_same_object():
    manifest = parse(canary())
    assert define_checks(manifest, ()) is manifest
    assert define_checks(manifest, read_templates([template(metric(), name="other")])) is manifest


def test_a_canary_with_such_a_template_does_not_become_a_rollout():
    kinds = [("a.yaml", json.dumps(canary())), ("b.yaml", json.dumps(with_arguments()))]
    converted = convert_files(kinds, to="argo")
    assert any("templateRef" in gap.path for gap in converted.gaps)
    assert not any(body["kind"] == "Rollout" for body in converted.documents)
