"""Queries as Go templates: replaced names and refused templates."""

from contextlib import suppress

import pytest

from canarycore.bounds import QUERY
from canarycore_metrics.template import TemplateError, render
from tests.growth import is_linear

WORDS = {"namespace": "test", "target": "podinfo", "interval": "1m"}
VARIABLES = {"direction": "inbound", "status-class": "5.."}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{{ namespace }}", "test"),
        ("{{namespace}}", "test"),
        ("{{ variables.direction }}", "inbound"),
        ('{{ index variables "status-class" }}', "5.."),
        ('{{ printf "r_%s__%s" namespace target }}', "r_test__podinfo"),
        ("{{ if eq variables.direction `inbound` }}dst{{ else }}src{{ end }}", "dst"),
        (
            'rate(x{ns="{{ namespace }}",pod=~"{{ target }}-.*"}[{{ interval }}])',
            'rate(x{ns="test",pod=~"podinfo-.*"}[1m])',
        ),
        ("a  {{- target }}  b", "apodinfo  b"),
        ("a  {{ target -}}  b", "a  podinfob"),
        ("a\n{{- target -}}\nb", "apodinfob"),
        ("nothing to replace {here} }}", "nothing to replace {here} }}"),
    ],
)
def test_names_are_replaced(text, rendered):
    assert render(text, WORDS, VARIABLES) == rendered


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{{ cluster }}", "found the name cluster, expected one of interval, namespace, target, variables, or a func"),
        ("{{ variables.missing }}", r"variables\.missing }} without a value.*the variables are variables\.direction"),
        ("{{ .namespace }}", "found {{ .namespace }} without a value"),
        ("{{ variables.status-class }}", "'-class }}' is no part of Go's template language"),
        ("{{ target.name }}", "found the field name of string, expected a map"),
        ("{{ target", "{{ target has no }}"),
    ],
)
def test_a_name_without_a_value_is_refused_by_name(text, complaint):
    with pytest.raises(TemplateError, match=complaint):
        render(text, WORDS, VARIABLES)


def test_a_value_is_never_rendered_again():
    assert render("{{ target }}", {"target": "{{ secret }}"}, {}) == "{{ secret }}"


@pytest.mark.parametrize(
    "piece", [" ", "{{", "}}", "{{a", "{{ target }}", "{{- target -}} ", "{{-", "{{ ", "-}}", " -}} ", "\n", "{", "x"]
)
def test_a_hostile_query_is_rendered_or_refused_in_time_in_proportion_to_its_length(piece):
    def work(length):
        text = piece * (length // len(piece))
        return lambda: attempt(text)

    assert is_linear(work, QUERY.most // 4)


def attempt(text):
    with suppress(TemplateError):
        render(text, WORDS, VARIABLES)


def test_a_query_beyond_its_bound_is_refused():
    with pytest.raises(TemplateError, match="the query has 16,385 characters: expected at most 16,384 characters"):
        render("x" * (QUERY.most + 1), WORDS, VARIABLES)


def test_a_query_that_its_variables_make_too_long_is_refused():
    with pytest.raises(TemplateError, match="found a rendering of more than 65,536 characters"):
        render("{{ variables.a }}" * 100, WORDS, {"a": "x" * 10_000})


def test_a_complaint_repeats_little_of_the_query():
    for text in ("{{ " + "a" * 16_000 + " }}", "{{ if " + "a" * 16_000 + " }}"):
        with pytest.raises(TemplateError) as refusal:
            render(text, WORDS, {f"v{number}": "x" for number in range(256)})
        assert len(str(refusal.value)) < 1000
