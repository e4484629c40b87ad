"""Templates have the results that Go gives them, and cost little whatever they say."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

from canarycore.gotemplate import DEPTH, LONGEST, STEPS, TemplateError, parse
from tests.core.gotemplate.table import expressions, rendered_by_go, table
from tests.growth import is_linear

NAMES = {
    "name": "podinfo",
    "namespace": "test",
    "target": "podinfo",
    "service": "podinfo-canary",
    "ingress": "web",
    "route": "",
    "interval": "1m",
    "variables": {"direction": "inbound", "code": "5..", "empty": "", "ü": "é"},
}
FUNCTIONS = {name: lambda value=value: value for name, value in NAMES.items()}

REFUSED = {"{{ 1i }}"}
"""Templates that we refuse and Go does not: there are no complex numbers."""


def attempt(text):
    """Render a template; return None for an error."""
    try:
        return parse(text, FUNCTIONS).render()
    except TemplateError:
        return None


@pytest.mark.parametrize(("text", "by_go"), table().items())
def test_a_template_has_the_result_that_go_gives_it(text, by_go):
    is_refused = by_go["error"] or "<no value>" in by_go["output"] or text in REFUSED
    assert attempt(text) == (None if is_refused else by_go["output"])


def test_the_table_has_gos_results():
    results = rendered_by_go()
    if results is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("install Go: the table is not compared with it")
    assert [*table()] == expressions()
    outputs = [result["output"] for result in results]
    assert [by_go["output"] for by_go in table().values()] == outputs
    assert [bool(by_go["error"]) for by_go in table().values()] == [bool(result["error"]) for result in results]
    assert len(outputs) > 200


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\n{{ nope }}", "line 2: found the name nope, expected one of ingress, interval"),
        ("{{ variables.nope }}", "found {{ variables.nope }} without a value"),
        ("{{ lt target 1 }}", "found a comparison of string with int"),
        ("{{ if target }}", "found the end of the template, expected {{ end }}"),
        ("{{ index target 9 }}", "found the index 9 of a string of 7 bytes"),
        ('{{ printf "%2000d" 1 }}', "found a width or precision of more than 1000"),
        ("{{ range 1000000000 }}{{ end }}", "takes too many steps"),
        ("{{ range 100 }}{{ range 100 }}{{ range 100 }}x{{ end }}{{ end }}{{ end }}", "takes too many steps"),
        ('{{ range 100 }}{{ printf "%900s" "" }}{{ end }}', f"found a rendering of more than {LONGEST:,} characters"),
        ("{{ $x := target }}{{ range 40 }}{{ $x = print $x $x }}{{ end }}", "takes too many steps|characters"),
        ('{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}', f"templates more than {DEPTH} deep"),
        ("{{ " + "(" * 60 + "1" + ")" * 60 + " }}", f"more than {DEPTH} deep"),
        ("{{ if 1 }}" * 60 + "{{ end }}" * 60, f"more than {DEPTH} deep"),
    ],
)
def test_an_error_names_what_was_found_and_expected(text, complaint):
    with pytest.raises(TemplateError, match=complaint):
        parse(text, FUNCTIONS).render()


@pytest.mark.parametrize(
    "piece",
    [
        "{{", "}}", "{{ target }}", "{{ (", "{{ ((((1)))) }}", "{{ $x := 1 }}", "{{ if 1 }}", "{{ else }}", "{{/* */}}",
        "{{- 1 -}} ", '{{ "', "{{ `", "{{ '", '{{ "\\', "{{ 1", "{{ a", "{{ .a", "{{ 1|", "{{ 1 | print ", "x", "\n",
        "{", "{{ printf `%d%d%d%d` 1 }}", "{{ print 1 2 3 }}", "{{ 1 2", "{{ 0x", "{{ _", "{{ print `", "{{ /*",
    ],
)  # fmt: skip
def test_a_hostile_template_costs_time_in_proportion_to_its_length(piece):
    def work(length):
        text = piece * (length // len(piece))
        return lambda: attempt(text)

    assert is_linear(work, 4096)


def test_the_steps_bound_the_work_of_a_rendering():
    with pytest.raises(TemplateError, match="too many steps"):
        parse("{{ range 5000 }}{{ len `a` }}{{ end }}").render()
    with suppress(TemplateError):
        parse("{{ range 5000 }}x{{ end }}").render(steps=STEPS * 10)
    assert parse("{{ range 5000 }}x{{ end }}").render(steps=STEPS * 10) == "x" * 5000
