"""Annotations of a Canary subscribe channels to its alerts."""

import pytest

from canarycore.errors import ManifestError
from canarycore.manifest import SUBSCRIPTION_ANNOTATION, dump, lint, parse, resolve
from canarycore.notices import Severity
from tests.manifest.samples import annotated, canary


def subscribed(document=None, **annotations):
    """Return a Canary with annotations behind `canarycore/subscribe.`, with `__` for a dot in their names."""
    return annotated(document or canary(), **{f"subscribe__{name}": text for name, text in annotations.items()})


def alerts_of(document):
    return [
        (alert.provider.name, alert.provider.namespace, alert.severity, alert.channel)
        for alert in resolve(parse(document)).alerts
    ]


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
        ("error__slack__a__b", "dev", "canarycore/subscribe.SEVERITY.PROVIDER.NAMESPACE"),
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
