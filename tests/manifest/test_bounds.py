"""Bounds of inputs: values within a bound are read, values beyond it are refused with their path, at a bounded cost."""

from __future__ import annotations

from typing import Any

import pytest

from canarycore import bounds
from canarycore.errors import Problem
from canarycore.manifest import ManifestError, check_files, documents, parse, parse_duration, resolve, schema
from canarycore.text import LONGEST_TEXT
from tests.growth import is_linear
from tests.manifest.bounded import A_HOOK, A_METRIC, BOUNDED, in_analysis, in_service, pairs, text
from tests.manifest.samples import alert_provider, canary, template


def refused(document: Any) -> list[Problem]:
    with pytest.raises(ManifestError) as refusal:
        parse(document)
    return list(refusal.value.problems)


@pytest.mark.parametrize("path", BOUNDED)
def test_a_value_at_its_bound_is_read(path):
    bound, make = BOUNDED[path]
    resolve(parse(make(bound.most)))


@pytest.mark.parametrize("path", BOUNDED)
def test_a_value_beyond_its_bound_is_refused_with_its_path(path):
    bound, make = BOUNDED[path]
    (problem,) = refused(make(bound.most + 1))
    assert (problem.path, problem.rule in {"bound", "range"}) == (path, True)


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


def nested_list(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


HOSTILE = {
    "an interval of 20,000 digits": in_analysis("interval", lambda size: "1" * size + "s"),
    "digits without a unit": in_analysis("interval", lambda size: "1s" + "1" * size),
    "1ns repeated": in_analysis("interval", lambda size: "1ns" * size),
    "blanks in a query": in_analysis("metrics", lambda size: [{**A_METRIC, "query": " " * size}]),
    "braces in a query": in_analysis("metrics", lambda size: [{**A_METRIC, "query": "{{" * size}]),
    "unknown fields": lambda size: canary(**pairs(size)),
    "unknown fields of an analysis": lambda size: canary(analysis={**pairs(size), "stepWeight": 10}),
    "a long unknown field": lambda size: canary(**{text(size): 1}),
    "a long kind": lambda size: {**canary(), "kind": text(size)},
    "a long choice": lambda size: canary(targetRef={"apiVersion": "a", "kind": text(size), "name": "a"}),
    "iterations of many digits": in_analysis("iterations", lambda size: 10**size),
    "a threshold of many digits": in_analysis("threshold", lambda size: -(10**size)),
    "a number of many digits": in_analysis("metrics", lambda size: [{**A_METRIC, "threshold": 10**size}]),
    "a metric's name": in_analysis("metrics", lambda size: [{**A_METRIC, "name": text(size)}]),
    "metrics of the wrong type": in_analysis("metrics", lambda size: [1] * size),
    "hosts": in_service("hosts", lambda size: ["x"] * size),
    "hosts of the wrong type": in_service("hosts", lambda size: [{}] * size),
    "a deep section": in_service("trafficPolicy", nested),
    "a deep list": in_service("trafficPolicy", lambda size: {"tls": nested_list(size)}),
    "annotations": lambda size: {**canary(), "metadata": {"name": "a", "annotations": pairs(size)}},
    "a status": lambda size: {**canary(), "status": pairs(size)},
    "long keys everywhere": in_service("trafficPolicy", lambda size: {text(500): {text(500): pairs(size)}}),
    "a placeholder": in_service("portName", lambda size: "<" + "a" * size),
    "a name": in_service("name", lambda size: "a" + "-" * size),
}


def looked_at(document: Any) -> tuple[Problem, ...]:
    """Read a document in every way; each mistake must become a problem."""
    try:
        resolve(parse(document))
    except ManifestError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("name", HOSTILE)
def test_the_cost_of_a_hostile_document_is_proportional_to_its_size(name):
    def work(size: int) -> Any:
        document = HOSTILE[name](size)
        return lambda: looked_at(document)

    assert is_linear(work, 15_000)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_document_of_hostile_size_is_refused_in_few_words(name):
    problems = refused(HOSTILE[name](60_000))
    assert any(problem.severity == "error" for problem in problems)
    assert len(problems) <= bounds.PROBLEMS.most + 1
    assert max(len(str(problem)) for problem in problems) < 4 * LONGEST_TEXT


def test_a_report_shows_some_unknown_fields_and_counts_the_others():
    warnings = parse(canary(**pairs(100))).warnings
    assert [problem.found for problem in warnings][-1] == "90 more unknown fields"
    assert len(warnings) == bounds.UNKNOWN_FIELDS.most + 1


def test_a_report_shows_some_problems_and_counts_the_others():
    *told, last = refused(in_service("hosts", lambda size: [{}] * size)(200))
    assert (len(told), last.found, last.severity) == (bounds.PROBLEMS.most, "100 more problems", "error")


def test_an_error_after_many_warnings_still_refuses():
    hooks = [{**A_HOOK, **pairs(20)} for _ in range(30)]
    problems = refused(canary(analysis={"stepWeight": 10, "webhooks": [*hooks, {"name": "x"}]}))
    assert (problems[-1].severity, problems[-1].found.endswith("more problems")) == ("error", True)


@pytest.mark.parametrize("document", [[], "x", None, 1, {1: 2}, {"kind": "Canary", 2: 3}])
def test_a_value_that_is_no_document_is_refused(document):
    assert refused(document)


def test_a_template_and_an_alert_provider_have_bounds_too():
    assert refused(template(query=text(bounds.QUERY.most + 1)))[0].path == "spec.query"
    provider = alert_provider()
    provider["spec"]["address"] = text(bounds.TEXT.most + 1)
    assert refused(provider)[0].path == "spec.address"


@pytest.mark.parametrize("size", [350_000, 65])
def test_a_duration_has_at_most_64_characters(size):
    with pytest.raises(ValueError, match="a duration has at most 64 characters"):
        parse_duration("1" * size)


@pytest.mark.parametrize("kind", ["Canary", "MetricTemplate", "AlertProvider"])
def test_the_definition_bounds_every_text_list_map_and_number(kind):
    bounded = {"string": {"maxLength", "enum"}, "array": {"maxItems"}, "integer": {"maximum"}}
    unbounded = [
        path
        for path, part in parts(schema(kind), "spec")
        if (wanted := bounded.get(part.get("type", ""))) and not wanted & part.keys()
    ]
    maps = [
        path
        for path, part in parts(schema(kind), "spec")
        if part.get("type") == "object" and "properties" not in part and "maxProperties" not in part
    ]
    assert (unbounded, maps) == ([], [])


def parts(part: Any, path: str) -> Any:
    """Yield a schema and all schemas in it."""
    yield path, part
    for name, inner in part.get("properties", {}).items():
        yield from parts(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in part:
            yield from parts(part[name], f"{path}[]")


# YAML ---------------------------------------------------------------------------------------------------------------

BOMBS = {
    "aliases": "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
    "merges": "a0: &a0 {x: 1}\n"
    + "".join(f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(9))}}}\n" for n in range(1, 12))
    + "b:\n  <<: *a11\n",
    "brackets": "a: " + "[" * 3000 + "]" * 3000 + "\n",
    "open brackets": "a: " + "[" * 100_000 + "\n",
    "braces": "a: " + "{a: " * 3000 + "}" * 3000 + "\n",
    "dashes": "- " * 3000 + "x\n",
    "indentation": "".join(f"{' ' * level}k:\n" for level in range(300)),
    "a large file": "a: " + "x" * bounds.FILE.most + "\n",
    "many values": "a: [" + "x," * bounds.FILE_VALUES.most + "x]\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_yaml_is_one_problem_and_the_other_files_are_read(name):
    text = (
        "{apiVersion: flagger.app/v1beta1, kind: AlertProvider, metadata: {name: a}, spec: {type: slack, address: x}}"
    )
    report = check_files([("bomb.yaml", BOMBS[name]), ("good.yaml", text)])
    (problem,) = [problem for problem in report.problems if problem.severity == "error"]
    assert (problem.file, problem.rule, len(report.providers)) == ("bomb.yaml", "bound", 1)


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("1" * 20, int("1" * 20)),
        ("1" * 400, "1" * 400),
        ("1" * 100, float("1" * 100)),
        ("0x" + "f" * 20_000, "0x" + "f" * 20_000),
        ("-" + "9" * 20_000, "-" + "9" * 20_000),
    ],
)
def test_a_number_of_many_digits_reads_as_in_the_kubernetes_tools(scalar, value):
    assert documents(f"a: {scalar}")[0].content == {"a": value}


@pytest.mark.parametrize("text", ["a: !!int x", "a: !!float x", 'a: "\\UFFFFFFFF"', "a: \x00", "a: *b", "a: !<"])
def test_an_invalid_value_is_a_problem(text):
    with pytest.raises(ManifestError):
        documents(text)


A_CANARY = """
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: a}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: a}
  analysis: {stepWeight: 5}
"""

YAML = {
    "merges": lambda size: "b:\n" + "".join(f"  <<: {{x{n}: y}}\n" for n in range(size)),
    "items of a list": lambda size: "kind: List\nitems:\n" + "- {kind: A}\n" * size,
    "keys under a long key": lambda size: '? "' + "x" * size + '"\n:\n' + "".join(f"  k{n}: v\n" for n in range(size)),
    "the same field": lambda size: "a: b\n" * size,
    "unknown fields": lambda size: (
        "{apiVersion: flagger.app/v1beta1, kind: Canary, spec: {" + ",".join(f"k{n}: v" for n in range(size)) + "}}"
    ),
    "comments between fields": lambda size: "a: b\n" + "# x\n" * (10 * size) + "c: d\n",
    "comments after a folded text": lambda size: "a: >\n  b\n" + "# x\n" * (10 * size) + "c: d\n",
    "Canaries of one name": lambda size: "---\n".join([A_CANARY] * (size // 10)),
}


@pytest.mark.parametrize("name", YAML)
def test_the_cost_of_a_file_is_proportional_to_its_size(name):
    def work(size: int) -> Any:
        text = YAML[name](size)
        return lambda: check_files([("file.yaml", text)])

    assert is_linear(work, 400)
