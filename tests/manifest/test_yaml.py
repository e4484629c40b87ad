"""The YAML reader: plain documents with line numbers, or problems with theirs."""

import sys

import pytest

from canarycore.errors import CanaryError
from canarycore.manifest import ManifestError, check_files, documents

TEXT = """\
# two documents
kind: Canary
spec:
  analysis:
    metrics:
      - name: a
        thresholdRange:
          min: 99
---
kind: Deployment
"""


def test_each_document_of_a_text_comes_with_the_lines_of_its_fields():
    first, second = documents(TEXT)
    assert first.content["spec"]["analysis"]["metrics"] == [{"name": "a", "thresholdRange": {"min": 99}}]
    assert first.lines["spec.analysis.metrics[0].thresholdRange.min"] == 8
    assert (second.content, second.lines["kind"]) == ({"kind": "Deployment"}, 10)


def test_a_missing_path_has_the_line_of_its_parent():
    assert documents(TEXT)[0].line("spec.analysis.metrics[0].templateRef.name") == 6
    assert documents(TEXT)[0].line("spec.targetRef") == 3


def test_scalars_read_as_in_the_kubernetes_tools():
    text = "a: [yes, off, 'yes', true, 2020-01-01, 0x1F, 1_000, 1.5, ~, on-call]"
    assert documents(text)[0].content["a"] == [True, False, "yes", True, "2020-01-01", 31, 1000, 1.5, None, "on-call"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("y", True), ("N", False), ("Yes", True), ("NO", False), ("On", True), ("OFF", False)),
        *(("yEs", "yEs"), ("oN", "oN"), ("'y'", "y"), ("yn", "yn")),
        *(("0123", 83), ("-0123", -83), ("010_0", 64), ("00", 0), ("0", 0), ("0o17", 15), ("0b11", 3)),
        *(("089", 89.0), ("0123.5", 123.5), ("'0123'", "0123"), ("1e3", 1000.0)),
    ],
)
def test_old_booleans_and_octal_numbers_have_the_values_that_the_cluster_gets(text, value):
    found = documents(f"a: {text}")[0].content["a"]
    assert (found, type(found)) == (value, type(value))


def test_aliases_and_merges_are_expanded():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {x: 9, z: 5}]}"
    content = documents(text)[0].content
    assert (content["b"], content["c"]) == ({"x": 1, "y": 3}, {"x": 1, "y": 2, "z": 5})


def test_a_list_stands_for_its_items():
    text = "kind: List\nitems:\n- kind: A\n  x: {y: 1}\n- kind: B\n"
    first, second = documents(text)
    assert (first.content["kind"], first.lines["x.y"], second.content["kind"]) == ("A", 4, "B")


def test_a_byte_order_mark_before_a_document_is_no_text():
    first, second = documents("\ufeffkind: A\n---\n\ufeffkind: B\n")
    assert (first.content, second.content) == ({"kind": "A"}, {"kind": "B"})


def test_empty_documents_are_left_out():
    assert documents("---\n---\n# nothing\n---\n{}\n") == ()


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a:\n  b: 1\n c: 2\n", 3, "while parsing a block mapping"),
        ("a: [1, 2\nb: 3\n", 2, "expected"),
        ("a: 'b\n", 2, "quoted scalar"),
        ("- a\n- b\n", 1, "no mapping"),
        ("a: 1\nb: 2\na: 3\n", 3, "the field 'a' twice"),
        ("{a: 1}: 2\n", 1, "a key that is no text"),
        ("a: &a\n  - *a\n", 1, "an alias of something around it"),
        ("a:\n  <<: 3\n", 2, "<< with something else"),
    ],
)
def test_invalid_yaml_is_refused_with_its_line(text, line, found):
    with pytest.raises(ManifestError) as refusal:
        documents(text)
    (problem,) = refusal.value.problems
    assert (problem.line, problem.severity) == (line, "error")
    assert found in problem.found


def test_a_template_that_was_not_rendered_is_recognised():
    with pytest.raises(ManifestError, match="helm template"):
        documents("{{- if .Values.canary }}\nkind: Canary\n{{- end }}\n")


def test_a_missing_yaml_library_raises_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
    with pytest.raises(CanaryError, match=r"pip install 'canarycore\[yaml\]'"):
        documents("a: 1")


def test_an_item_of_a_list_that_is_no_object_is_a_problem():
    report = check_files([("file.yaml", "kind: List\nitems:\n- null\n- 5\n- {}\n- {kind: Deployment}\n")])
    told = [(problem.line, problem.found) for problem in report.problems if problem.rule == "fragment"]
    assert told == [(line, "a document without fields") for line in (3, 4, 5)]
