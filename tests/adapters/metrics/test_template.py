"""Queries as Go templates: what is replaced, and what is refused."""

import pytest

from canarycore_metrics.template import TemplateError, render

WORDS = {"namespace": "test", "target": "podinfo", "interval": "1m"}
VARIABLES = {"direction": "inbound", "status-class": "5.."}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{{ namespace }}", "test"),
        ("{{namespace}}", "test"),
        ("{{ .namespace }}", "test"),
        ("{{ variables.direction }}", "inbound"),
        ("{{ .variables.status-class }}", "5.."),
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
        ("{{ cluster }}", r"\{\{ cluster \}\} has no value: expected one of interval, namespace, target, variables"),
        ("{{ variables.missing }}", r"variables\.missing \}\} has no value.*variables\.direction"),
        ("{{ if target }}x{{ end }}", "if target }} is more than a name"),
        ("{{ target.name }}", "target.name }} is more than a name"),
        ("{{ target", "a {{ without its }}"),
    ],
)
def test_what_has_no_value_is_refused_by_name(text, complaint):
    with pytest.raises(TemplateError, match=complaint):
        render(text, WORDS, VARIABLES)


def test_a_value_is_never_rendered_again():
    assert render("{{ target }}", {"target": "{{ secret }}"}, {}) == "{{ secret }}"
