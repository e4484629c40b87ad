"""Annotations of an AlertProvider are templates of the text and the links of its alerts."""

import pytest
from attrs import evolve

from canarycore.manifest import (
    AlertFacts,
    InvalidAlertTemplate,
    LinkTemplate,
    lint,
    parse,
    parse_links,
    render_link,
    render_text,
)
from canarycore.manifest._alerts._templates import LONGEST_ALERT, LONGEST_TEMPLATE, MOST_LINKS
from tests.manifest.samples import alert_provider, annotated

FACTS = AlertFacts(
    name="podinfo",
    namespace="test",
    text="Failed checks threshold reached 5",
    reason="latency 700: fail (expected at most 500)",
    labels={"team": "payments"},
)


# texts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ .name }}.{{ .namespace }}: {{ .text }}", "podinfo.test: Failed checks threshold reached 5"),
        ("{{ with .reason }}{{ . }}{{ end }}", "latency 700: fail (expected at most 500)"),
        ('{{ if eq .labels.team "payments" }}page{{ else }}wait{{ end }}', "page"),
        ("{{ with .labels.squad }}{{ . }}{{ else }}nobody{{ end }}", "nobody"),
        ("{{ with .cluster }}{{ . }}{{ end }} x ", "x"),
    ],
)
def test_a_template_makes_the_text(template, text):
    assert render_text(template, FACTS) == text


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{{ .nmae }}", "without a value"),
        ("{{ if .name }}", "line 1"),
        ("{{ .cluster }}", "an empty text"),
        ("x" * (LONGEST_TEMPLATE + 1), "expected at most 4,096"),
        ("{{ range 1000000 }}{{ end }}x", "step"),
        ("{{ range 1000 }}abcd{{ end }}", "character"),
        ("{{ printf `%999s%999s%999s` .name .name .name }}", "character"),
    ],
)
def test_a_wrong_or_endless_template_is_an_error(template, error):
    with pytest.raises(InvalidAlertTemplate, match=error):
        render_text(template, FACTS)


def test_a_text_is_as_long_as_a_chat_shows():
    assert len(render_text("{{ .text }}", evolve(FACTS, text="x" * LONGEST_ALERT))) == LONGEST_ALERT


# links ----------------------------------------------------------------------------------------------------------------


def test_links_are_lines_of_title_and_template():
    links = parse_links(
        "Page = https://page.test/{{ .name }}\n\nGrafana=https://grafana.test/d?var-a={{ .name }}&b=c\n"
    )
    assert links == (
        LinkTemplate("Page", "https://page.test/{{ .name }}"),
        LinkTemplate("Grafana", "https://grafana.test/d?var-a={{ .name }}&b=c"),
    )
    assert render_link(links[1], FACTS) == "https://grafana.test/d?var-a=podinfo&b=c"


def test_a_value_is_quoted_for_an_address():
    link = LinkTemplate("Search", "https://logs.test/?q={{ urlquery .reason }}")
    assert render_link(link, FACTS) == "https://logs.test/?q=latency+700%3A+fail+%28expected+at+most+500%29"


@pytest.mark.parametrize(
    "template",
    [
        "javascript:alert(1)",
        "page.test",
        "https://",
        "https:///path",
        "https://page.test/{{ .reason }}",
        "https://page.test/|https://evil.test/",
        "https://page.test/<!channel>",
        'https://page.test/"onclick="',
        "https://page.test/\u202e",
    ],
)
def test_only_an_address_of_the_web_is_a_link(template):
    with pytest.raises(InvalidAlertTemplate, match="found another address, expected http"):
        render_link(LinkTemplate("Page", template), FACTS)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("https://page.test/", "expected TITLE=ADDRESS"),
        ("=https://page.test/", "expected TITLE=ADDRESS"),
        ("Page=", "expected TITLE=ADDRESS"),
        (f"{'x' * 41}=https://page.test/", "at most 40 characters"),
        ("\n".join(f"Page{number}=https://page.test/" for number in range(MOST_LINKS + 1)), "at most 5"),
        ("x" * 100_000, "found 100,000 characters"),
    ],
)
def test_wrong_lines_are_an_error(text, error):
    with pytest.raises(InvalidAlertTemplate, match=error):
        parse_links(text)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("alert__text", "{{ .reason }}", "an empty text"),
        ("alert__text", "{{ .labels.team }} {{ .nmae }}", "{{ .nmae }} without a value"),
        ("alert__links", "Page=https://page.test/{{ .reason }}", "another address in the link Page"),
        ("alert__links", "Page=https://a.test/\nPage=https://b.test/", "a title twice"),
    ],
)
def test_lint_reports_what_an_alert_could_not_show(name, text, found):
    (problem,) = lint([annotated(alert_provider(), **{name: text})])
    assert problem.path == f'metadata.annotations["canarycore/{name.replace("__", ".")}"]'
    assert found in problem.found
    assert ".labels" in problem.remedy


def test_the_controller_takes_a_provider_with_a_wrong_template():
    """An alert with Flagger's text is better than none."""
    parse(annotated(alert_provider(), alert__text="{{", alert__links="x"))
