"""Annotations about alerts: subscriptions of Canaries, and texts and links of AlertProviders."""

import pytest
from attrs import evolve

from canarycore.errors import ManifestError
from canarycore.manifest import (
    SUBSCRIPTION_ANNOTATION,
    AlertFacts,
    InvalidAlertTemplate,
    LinkTemplate,
    dump,
    lint,
    parse,
    parse_links,
    render_link,
    render_text,
    resolve,
)
from canarycore.manifest._alert_templates import LONGEST_ALERT, LONGEST_TEMPLATE, MOST_LINKS
from canarycore.notices import Severity
from tests.manifest.samples import alert_provider, annotated, canary

FACTS = AlertFacts(
    name="podinfo",
    namespace="test",
    text="Failed checks threshold reached 5",
    reason="latency 700: fail (expected at most 500)",
    labels={"team": "payments"},
)


def subscribed(document=None, **annotations):
    """Return a Canary with annotations behind `canarycore/subscribe.`, with `__` for a dot in their names."""
    return annotated(document or canary(), **{f"subscribe__{name}": text for name, text in annotations.items()})


def alerts_of(document):
    return [
        (alert.provider.name, alert.provider.namespace, alert.severity, alert.channel)
        for alert in resolve(parse(document)).alerts
    ]


# subscriptions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "alerts"),
    [
        ("error__on-call", "payments", [("on-call", "", Severity.ERROR, "payments")]),
        ("warn__slack__ops", "", [("slack", "ops", Severity.WARN, "")]),
        (
            "info__slack",
            "#a; b ",
            [("slack", "", Severity.INFO, "#a"), ("slack", "", Severity.INFO, "b")],
        ),
    ],
)
def test_an_annotation_subscribes_channels_to_alerts(name, text, alerts):
    assert alerts_of(subscribed(**{name: text})) == alerts


def test_a_subscription_is_an_alert_beside_those_of_the_analysis():
    document = canary(analysis={"alerts": [{"name": "dev", "severity": "warn", "providerRef": {"name": "room"}}]})
    alerts = alerts_of(subscribed(document, error__slack="dev"))
    assert alerts == [("room", "", Severity.WARN, ""), ("slack", "", Severity.ERROR, "dev")]


def test_a_subscription_needs_no_analysis():
    document = canary()
    del document["spec"]["analysis"]
    assert alerts_of(subscribed(document, error__slack="dev")) == [("slack", "", Severity.ERROR, "dev")]


def test_a_canary_with_a_subscription_survives_the_way_to_a_document_and_back():
    parsed = parse(subscribed(error__slack="dev; ops"))
    assert parse(dump(parsed)) == parsed


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("errors__slack", "dev", "canarycore/subscribe.SEVERITY.PROVIDER"),
        ("error", "dev", "canarycore/subscribe.SEVERITY.PROVIDER"),
        ("error__slack__", "dev", "canarycore/subscribe.SEVERITY.PROVIDER.NAMESPACE"),
        ("error__Slack", "dev", "a Kubernetes name"),
        ("error__slack__my_ops", "dev", "a Kubernetes name"),
        ("error__slack", "dev;;ops", "channels with semicolons between"),
        ("error__slack", "dev;dev", "each once"),
        ("error__slack", "de\nv", "channels with semicolons between"),
        ("error__slack", "x" * 101, "at most 100 characters"),
        ("error__slack", ";".join(map(str, range(11))), "at most 10 channels"),
    ],
)
def test_a_wrong_subscription_is_refused_with_its_annotation_and_the_expected_form(name, text, expected):
    with pytest.raises(ManifestError) as refused:
        parse(subscribed(**{name: text}))
    (problem,) = refused.value.problems
    assert problem.path == f'metadata.annotations["{SUBSCRIPTION_ANNOTATION}{name.replace("__", ".")}"]'
    assert expected in problem.expected
    assert problem.found
    assert problem.remedy
    assert problem in lint([subscribed(**{name: text})])


def test_alerts_and_subscriptions_have_one_bound():
    alerts = [{"name": f"a{number}", "providerRef": {"name": "room"}} for number in range(95)]
    with pytest.raises(ManifestError, match="10 subscribed channels and 95 alerts"):
        parse(subscribed(canary(analysis={"alerts": alerts}), error__slack=";".join(map(str, range(10)))))


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
        (f"{'x' * 41}=https://page.test/", "1 to 40 characters"),
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
        ("alert__links", "Page=https://page.test/{{ .reason }}", "Page: found another address"),
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
