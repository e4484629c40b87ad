"""The parser: a document becomes a resource, or all its problems."""

import copy
import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore.errors import CanaryError
from canarycore.manifest import AlertProvider, ManifestError, MetricTemplate, dump, lint, load, parse, resolve
from canarycore.manifest import _model as model
from canarycore.manifest._reader._fields import fields_of
from tests.manifest.samples import BASE, alert_provider, canary, shared, template

FULL = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "Canary",
    "metadata": {
        "name": "podinfo",
        "namespace": "test",
        "labels": {"app.kubernetes.io/name": "podinfo"},
        "annotations": {"a/b": "c"},
    },
    "spec": {
        "provider": "istio",
        "metricsServer": "http://prometheus:9090",
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
        "autoscalerRef": {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "name": "podinfo",
            "primaryScalerQueries": {"prom": "sum(rate(x[2m]))"},
            "primaryScalerReplicas": {"minReplicas": 2, "maxReplicas": 8},
        },
        "ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "podinfo"},
        "routeRef": {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "name": "podinfo"},
        "upstreamRef": {"apiVersion": "gloo.solo.io/v1", "kind": "Upstream", "name": "up", "namespace": "gloo"},
        "service": {
            "name": "podinfo",
            "port": 9898,
            "portName": "http",
            "targetPort": "http",
            "appProtocol": "http",
            "trafficDistribution": "PreferClose",
            "portDiscovery": True,
            "headless": True,
            "timeout": "15s",
            "backendTimeout": "10s",
            "gateways": ["mesh"],
            "gatewayRefs": [{"name": "gateway", "namespace": "istio-ingress", "sectionName": "https"}],
            "hosts": ["podinfo.example.com"],
            "delegation": True,
            "trafficPolicy": {"tls": {"mode": "DISABLE"}, "loadBalancer": {"simple": "ROUND_ROBIN"}},
            "match": [{"uri": {"prefix": "/"}, "method": {"exact": "GET"}}],
            "rewrite": {"uri": "/", "authority": "x", "type": "ReplacePrefixMatch"},
            "retries": {"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx"},
            "headers": {"request": {"add": {"x-some": "value"}}},
            "mirror": [{"backendRef": {"name": "other", "port": 80}}],
            "corsPolicy": {"allowOrigins": [{"exact": "x"}], "maxAge": "24h"},
            "meshName": "global",
            "backends": ["backend.test"],
            "apex": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "primary": {"labels": {"a": "b"}},
            "canary": {"annotations": {"c": "d"}},
            "unmanagedMetadata": {"labels": ["x"], "annotations": ["y"]},
        },
        "analysis": {
            "interval": "1m",
            "threshold": 5,
            "iterations": 10,
            "maxWeight": 50,
            "stepWeight": 5,
            "stepWeights": [1, 10, 50],
            "stepWeightPromotion": 25,
            "mirror": True,
            "mirrorWeight": 60,
            "primaryReadyThreshold": 80,
            "canaryReadyThreshold": 70,
            "match": [
                {
                    "name": "insiders",
                    "headers": {"cookie": {"regex": "^(.*?;)?(canary=always)(;.*)?$"}, "x.y": {"suffix": "z"}},
                    "withoutHeaders": {"x-bot": {"exact": "true"}},
                    "queryParams": {"v": {"prefix": "2"}},
                    "sourceLabels": {"app": "frontend"},
                    "uri": {"prefix": "/api"},
                }
            ],
            "metrics": [
                {"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99.5}},
                {"name": "request-duration", "interval": "30s", "threshold": 500.0},
                {"name": "inline", "query": "up", "thresholdRange": {"min": 0.0, "max": 1.0}},
                {
                    "name": "custom",
                    "templateRef": {"name": "errors", "namespace": "istio-system"},
                    "templateVariables": {"direction": "in"},
                    "thresholdRange": {"max": 1.0},
                },
            ],
            "alerts": [{"name": "dev", "severity": "warn", "providerRef": {"name": "on-call", "namespace": "ops"}}],
            "webhooks": [
                {
                    "name": "gate",
                    "type": "confirm-promotion",
                    "url": "https://hooks.example.com/x",
                    "timeout": "15s",
                    "retries": 2,
                    "muteAlert": True,
                    "disableTLS": True,
                    "metadata": {"cmd": "cat <file>"},
                }
            ],
            "sessionAffinity": {
                "cookieName": "canary",
                "primaryCookieName": "primary",
                "maxAge": 3600,
                "domain": "example.com",
                "path": "/app",
                "sameSite": "Strict",
                "httpOnly": True,
                "partitioned": True,
                "secure": True,
            },
            "noData": "hold",
            "minSamples": 100,
            "inconclusive": 5,
            "drain": "2s",
        },
        "progressDeadlineSeconds": 60,
        "skipAnalysis": True,
        "revertOnDeletion": True,
        "suspend": True,
    },
    "status": {"phase": "Progressing", "trackedConfigs": {"configmap/a": "hash"}},
}
"""Every field that Flagger documents, and ours."""


def refused(document) -> dict:
    with pytest.raises(ManifestError) as refusal:
        parse(document)
    return {problem.path: problem for problem in refusal.value.problems if problem.severity == "error"}


def test_every_field_of_a_canary_is_kept():
    assert dump(parse(FULL)) == FULL
    assert parse(FULL).warnings == ()


def test_the_deprecated_analysis_section_is_the_analysis():
    document = canary()
    document["spec"]["canaryAnalysis"] = document["spec"].pop("analysis")
    parsed = parse(document)
    assert (parsed.analysis.step_weight, parsed.analysis_path) == (10, "spec.canaryAnalysis")


def test_every_field_of_flaggers_definitions_is_known():
    yaml = pytest.importorskip("ruamel.yaml").YAML(typ="safe", pure=True)
    for definition in yaml.load_all((shared("crds") / "flagger.yaml").read_text()):
        kind = definition["spec"]["names"]["kind"]
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        assert unknown_to(fields_of(model.KINDS[kind])["spec"].type, schema) == []


def unknown_to(hint: object, schema: dict, path: str = "spec") -> list[str]:
    """Return the paths of a definition for which our classes have no field."""
    cls = class_in(hint)
    if cls is None:
        return []
    fields = fields_of(cls)
    properties = schema.get("properties") or schema.get("items", {}).get("properties") or {}
    missing = [f"{path}.{name}" for name in properties if name not in fields]
    below = (
        unknown_to(fields[name].type, part, f"{path}.{name}") for name, part in properties.items() if name in fields
    )
    return missing + [found for part in below for found in part]


def class_in(hint: object) -> type | None:
    """Return the wire class in a type hint such as "tuple[Metric, ...]"."""
    words = str(getattr(hint, "__name__", hint)).replace("[", " ").replace(",", " ").split()
    found = [getattr(model, word, None) for word in words]
    return next((cls for cls in found if isinstance(cls, type) and attrs.has(cls) and fields_of(cls)), None)


@pytest.mark.parametrize(("document", "kind"), [(template(), MetricTemplate), (alert_provider(), AlertProvider)])
def test_the_other_kinds_are_kept_too(document, kind):
    parsed = parse(document)
    assert isinstance(parsed, kind)
    assert dump(parsed) == document


def test_metadata_of_the_cluster_is_no_mistake():
    document = canary()
    document["metadata"] |= {"uid": "1", "resourceVersion": "2", "managedFields": [], "creationTimestamp": "now"}
    assert parse(document).warnings == ()


def test_null_counts_as_absent():
    assert parse(canary(analysis={"webhooks": None}, autoscalerRef=None)) == parse(BASE)


def test_a_document_reports_all_mistakes_at_once():
    document = canary(
        analysis={"interval": 30, "stepWeight": 110, "metrics": [{"thresholdRange": {"min": "99"}}]}, skipAnalysis="no"
    )
    del document["spec"]["targetRef"]["name"]
    assert set(refused(document)) == {
        "spec.targetRef.name",
        "spec.analysis.interval",
        "spec.analysis.stepWeight",
        "spec.analysis.metrics[0].name",
        "spec.analysis.metrics[0].thresholdRange.min",
        "spec.skipAnalysis",
    }


@pytest.mark.parametrize(
    ("path", "value", "found", "expected", "remedy"),
    [
        ("apiVersion", "flagger.app/v1beta2", "'flagger.app/v1beta2'", "'flagger.app/v1beta1'", "the only version"),
        ("apiVersion", "flagger.app/v1alpha3", "'flagger.app/v1alpha3'", "'flagger.app/v1beta1'", "Write apiVersion"),
        ("apiVersion", None, "nothing", "'flagger.app/v1beta1'", "Write apiVersion"),
        ("kind", "Canery", "'Canery'", "one of Canary", "Correct the kind"),
        ("metadata", None, "nothing", "the document needs it", "Add the field"),
        ("metadata.name", "<name>", "'<name>'", "the real value", "Replace the placeholder <name>"),
        ("metadata.name", "", "nothing", "metadata needs it", "Add the field"),
        ("metadata.name", "Pod_Info", "'Pod_Info'", "a Kubernetes name", "lower-case"),
        ("spec.targetRef", None, "nothing", "spec needs it", "Add the field"),
        ("spec.targetRef.kind", "deployment", "'deployment'", "one of Deployment", "Did you mean 'Deployment'?"),
        ("spec.service.port", "<port>", "'<port>'", "from 1 to 65535", "Replace the placeholder <port>"),
        ("spec.service.port", "9898", "'9898'", "a whole number", "without quotes"),
        ("spec.service.port", 0, "0 (a number)", "from 1 to 65535", "Write a whole number"),
        ("spec.service.targetPort", 1.5, "1.5 (a number)", "a whole number", "Write"),
        ("spec.analysis", [], "a list", "a mapping", "indented"),
        ("spec.analysis.interval", "1 minute", "'1 minute'", "a duration", "is not a number with a unit"),
        ("spec.analysis.interval", "90", "'90'", "a duration", "write '90s'"),
        ("spec.analysis.metrics[0].interval", "1m30", "'1m30'", "a duration", "ends without a unit"),
        ("spec.analysis.interval", 60, "60 (a number)", "a duration", '"60s"'),
        ("spec.analysis.interval", "-5s", "'-5s'", "a duration of at least 0s", "longer"),
        ("spec.analysis.threshold", True, "true (a boolean)", "a whole number", "Write"),
        ("spec.analysis.threshold", 2.5, "2.5 (a number)", "a whole number", "Write"),
        ("spec.analysis.maxWeight", 101, "101 (a number)", "from 0 to 100", "Write"),
        ("spec.analysis.stepWeight", -1, "-1 (a number)", "from 0 to 100", "Write"),
        ("spec.analysis.iterations", -1, "-1 (a number)", "at least 0", "Write"),
        ("spec.analysis.stepWeights", 5, "5 (a number)", "a list", "- "),
        ("spec.analysis.stepWeights[0]", 0, "0 (a number)", "from 1 to 100", "Write"),
        ("spec.analysis.stepWeights[2]", 10, "10 (a number)", "more than the 20", "strictly rising"),
        ("spec.analysis.mirror", "true", "'true'", "true or false", "without quotes"),
        ("spec.analysis.metrics[0]", "errors", "'errors'", "a mapping", "indented"),
        ("spec.analysis.metrics[0].thresholdRange.min", "99%", "'99%'", "a number", "unit"),
        ("spec.analysis.metrics[0].thresholdRange.min", float("nan"), "nan (a number)", "a number", "Write"),
        ("spec.analysis.webhooks[0].type", "prerollout", "'prerollout'", "pre-rollout", "Did you mean 'pre-rollout'?"),
        ("spec.analysis.webhooks[0].timeout", "0s", "'0s'", "a duration above 0s", "longer"),
        ("spec.analysis.webhooks[0].metadata", "x", "a value that is not shown", "a mapping", "name: value"),
        ("spec.analysis.webhooks[0].metadata.cmd", 5, "a value that is not shown", "a text", "quotes"),
        (
            "spec.analysis.alerts[0].severity",
            "warning",
            "'warning'",
            "one of info, warn, error",
            "Did you mean 'warn'?",
        ),
        ("spec.analysis.alerts[0].providerRef", None, "nothing", "spec.analysis.alerts[0] needs it", "Add"),
        ("spec.analysis.match[0].headers.x-canary", "insider", "'insider'", "exact, prefix, suffix, regex", "exact:"),
        (
            "spec.analysis.match[0].headers.x-canary",
            {"exact": "a", "regex": "b"},
            "a mapping",
            "one of exact",
            "Write exactly one of them; found exact, regex",
        ),
        ("spec.analysis.match[0].headers.x-canary", {}, "a mapping", "one of exact", "found none"),
        ("spec.analysis.noData", "pass", "'pass'", "one of fail, hold", "Use one of fail, hold"),
        ("spec.analysis.drain", "-2s", "'-2s'", "at least 0s", "longer"),
    ],
)
def test_a_mistake_has_its_path_value_expectation_and_remedy(path, value, found, expected, remedy):
    document = canary(
        analysis={
            "stepWeights": [10, 20, 30],
            "match": [{"headers": {"x-canary": {"exact": "insider"}}}],
            "webhooks": [{"name": "load", "url": "http://loadtester/", "metadata": {"cmd": "hey"}}],
            "alerts": [{"name": "dev", "providerRef": {"name": "on-call"}}],
        }
    )
    put(document, path, value)
    problem = refused(document)[path]
    assert problem.found == found
    assert expected in problem.expected
    assert remedy in problem.remedy


def put(document, path, value):
    """Set the value of a path such as a.b[0].c."""
    *way, last = path.replace("[", ".").replace("]", "").split(".")
    for key in way:
        document = document[int(key)] if key.isdigit() else document.setdefault(key, {})
    document[int(last) if last.isdigit() else last] = value


def test_an_unknown_field_warns_and_suggests_the_nearest_one():
    document = canary(analysis={"stepWieght": 5, "Foo": {"bar": 1}})
    document["spec"]["service"]["trafficPolicy"] = {"tsl": {}}
    warnings = {warning.path: warning for warning in parse(document).warnings}
    assert set(warnings) == {"spec.analysis.stepWieght", "spec.analysis.Foo", "spec.service.trafficPolicy.tsl"}
    assert warnings["spec.analysis.stepWieght"].remedy == "Did you mean 'stepWeight'?"
    assert warnings["spec.service.trafficPolicy.tsl"].remedy == "Did you mean 'tls'?"
    assert "the fields are alerts" in warnings["spec.analysis.Foo"].remedy
    assert {warning.severity for warning in warnings.values()} == {"warning"}


def test_a_secret_is_neither_told_nor_printed():
    secret = "https://hooks.example.com/T0/s3cret"
    assert "s3cret" not in repr(parse(alert_provider(address=secret)))
    assert "s3cret" not in repr(parse(canary(analysis={"webhooks": [{"name": "a", "url": secret}]})))
    assert "s3cret" not in repr(parse(template(headers={"Authorization": ["s3cret"]})))
    (problem,) = refused(alert_provider(address=["s3cret"])).values()
    assert "s3cret" not in str(problem)


def test_a_manifest_error_is_an_error_of_ours_and_says_it_all():
    with pytest.raises(CanaryError, match=r"(?s)spec\.targetRef\.kind.*spec\.service\.port"):
        parse(canary(targetRef={"apiVersion": "apps/v1", "kind": "Pod", "name": "x"}, service={"port": "x"}))


def test_a_document_inside_another_has_its_own_path_before_all_others():
    with pytest.raises(ManifestError) as refusal:
        parse(canary(suspend=1), at="items[3]")
    assert [problem.path for problem in refusal.value.problems] == ["items[3].spec.suspend"]


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (
            "eks-appmesh-korean/canary-template.yaml",
            {
                (5, "metadata.name", "'<name>'"),
                (12, "spec.targetRef.name", "'<name>'"),
                (18, "spec.autoscalerRef.name", "'<name>'"),
                (21, "spec.service.port", "'<port>'"),
            },
        ),
        ("eks-appmesh-korean/alertprovider.yaml", {(11, "spec.address", "'<webhook address>'")}),
        (
            "appmesh-kustomize/overlay-canary-abtest.yaml",
            {(2, "apiVersion", "'flagger.app/v1beta2'"), (7, "spec.targetRef", "nothing")},
        ),
        ("appmesh-kustomize/overlay-canary-tests.yaml", {(7, "spec.targetRef", "nothing")}),
    ],
)
def test_a_broken_seed_is_refused_with_file_line_path_and_what_was_found(file, told):
    text = (shared("seeds") / file).read_text()
    with pytest.raises(ManifestError) as refusal:
        load([(file, text)])
    problems = refusal.value.problems
    assert {(problem.line, problem.path, problem.found) for problem in problems} == told
    assert all(problem.file == file and problem.expected and problem.remedy for problem in problems)


def test_one_bad_file_keeps_all_from_being_used_and_the_others_are_looked_at_too():
    good, bad = dump_yaml(BASE), dump_yaml(canary(suspend=1))
    with pytest.raises(ManifestError) as refusal:
        load([("a.yaml", good), ("b.yaml", bad), ("c.yaml", "a: [\n"), ("d.yaml", bad)])
    assert {problem.file for problem in refusal.value.problems} == {"b.yaml", "c.yaml", "d.yaml"}


def test_foreign_kinds_are_passed_over_and_kept_for_the_linter():
    mesh = "apiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\nmetadata: {name: global}\n"
    report = load([("all.yaml", f"{mesh}---\n{dump_yaml(BASE)}\n---\n{dump_yaml(template())}")])
    assert ([one.name for one in report.canaries], [one.name for one in report.templates]) == (["podinfo"], ["errors"])
    assert [other["kind"] for other in report.others] == ["Mesh"]


def dump_yaml(document: dict) -> str:
    return json.dumps(document)  # JSON is YAML


# properties ---------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def paths(value, path=()):
    """Every place in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from paths(part, (*path, key))


PATHS = [path for path in paths(FULL) if path]


@given(place=st.sampled_from(PATHS), value=JSON)
def test_whatever_stands_in_any_place_is_read_or_refused_there(place, value):
    document = copy.deepcopy(FULL)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    parsed, errors = attempt(document)
    assert (parsed is None) == bool(errors)
    assert all(problem.remedy and str(problem) for problem in errors)
    if parsed:
        assert parse(dump(parsed)) == parsed
        findings = lint([document])
        assert all(problem.path for problem in findings)
        if not {problem.rule for problem in findings} & {"no-range", "empty-range"}:
            assert resolve(parsed).ladder.rungs


@given(st.sets(st.sampled_from([path for path in PATHS if path[0] == "spec" and len(path) > 2])))
def test_a_canary_survives_being_written_whatever_is_left_out(left_out):
    document = copy.deepcopy(FULL)
    for path in sorted(left_out, key=lambda path: [str(key) for key in path], reverse=True):
        remove(document, path)
    parsed, errors = attempt(document)
    assert {problem.rule for problem in errors} <= {"required", "match"}
    if parsed:
        assert parse(dump(parsed)) == parsed


def attempt(document):
    """The resource or None, and the errors."""
    try:
        return parse(document), []
    except ManifestError as refusal:
        return None, [problem for problem in refusal.problems if problem.severity == "error"]


def remove(document, path):
    for key in path[:-1]:
        document = document[key]
    if isinstance(document, dict):
        document.pop(path[-1], None)
