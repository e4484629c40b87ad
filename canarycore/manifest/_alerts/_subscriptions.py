"""Annotations that subscribe channels to the alerts of a Canary.

    metadata:
      annotations:
        canarycore/subscribe.error.on-call: "payments; sre"
        canarycore/subscribe.info.slack.ops: ""

The name has the least severity and the AlertProvider, in the Canary's namespace or, behind a dot, in another one. The
value has the channels, separated by semicolons; empty for the provider's own. A subscription is an alert of the Canary
like an entry of `analysis.alerts`, without a change of its spec.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import evolve

from canarycore import bounds
from canarycore._reference import Reference
from canarycore.bounds import Bound
from canarycore.foreign import get_items, get_value
from canarycore.manifest._reader._fields import NAME, Cursor, Problems
from canarycore.manifest._reader._path import join
from canarycore.notices import Alert, Severity

SUBSCRIPTION_ANNOTATION = "canarycore/subscribe."
"""Prefix of the annotations; severity, provider and perhaps namespace follow, with dots between."""

CHANNELS = Bound(10, "channels", "the channels of one annotation", "More teams can share a channel.")

SUBSCRIPTION_RULE = "subscription"
"""The rule of a wrong annotation."""

_SEVERITIES = {severity.value: severity for severity in Severity}
_CHANNEL = Bound(100, "characters", "the name of a channel", "Slack takes 80.")
_FORM = f"{SUBSCRIPTION_ANNOTATION}SEVERITY.PROVIDER or {SUBSCRIPTION_ANNOTATION}SEVERITY.PROVIDER.NAMESPACE"
_CHANNELS_FORM = 'channels with semicolons between, such as "payments; sre", or an empty text'


def read_subscriptions(document: Mapping[str, Any], cursor: Cursor) -> tuple[Alert, ...]:
    """Return the alerts that the annotations of a Canary subscribe to. Add a problem where an annotation is wrong."""
    annotations = get_value(document, "metadata", "annotations")
    texts = {
        key: text
        for key, text in (annotations.items() if isinstance(annotations, Mapping) else ())
        if isinstance(key, str) and key.startswith(SUBSCRIPTION_ANNOTATION) and isinstance(text, str)
    }
    below = cursor.at("metadata").at("annotations")
    alerts = tuple(alert for key in sorted(texts) for alert in _read(key, texts[key], below.at(key)))
    section = "canaryAnalysis" if get_value(document, "spec", "analysis") is None else "analysis"
    fields = len(get_items(document, "spec", section, "alerts"))
    if alerts and len(alerts) + fields > bounds.CHECKS.most:
        found = f"{len(alerts)} subscribed channels and {fields} alerts"
        below.refuse(found, f"{bounds.CHECKS} together", "Remove some.", "bound")
    return alerts


def _read(key: str, text: str, cursor: Cursor) -> Iterator[Alert]:
    name = key.removeprefix(SUBSCRIPTION_ANNOTATION)
    severity, _, reference = name.partition(".")
    provider, dot, namespace = reference.partition(".")
    if severity not in _SEVERITIES or not provider or (dot and not namespace) or "." in namespace:
        severities = ", ".join(_SEVERITIES)
        cursor.refuse(
            name,
            f"{_FORM}, with one of the severities {severities}",
            "Correct the annotation's name.",
            SUBSCRIPTION_RULE,
        )
        return
    problems = Problems()
    names = [NAME.read(part, Cursor(cursor.path, problems)) if part else "" for part in (provider, namespace)]
    for problem in problems.listed():
        cursor.problems.add(evolve(problem, rule=SUBSCRIPTION_RULE))
    channels = [channel.strip() for channel in text.split(";")] if text.strip() else [""]
    if not cursor.holds(channels, CHANNELS) or not all(cursor.holds(channel, _CHANNEL) for channel in channels):
        return
    is_text = all(channel.isprintable() for channel in channels)
    if not is_text or len(set(channels)) < len(channels) or (len(channels) > 1 and "" in channels):
        cursor.refuse(text, f"{_CHANNELS_FORM}; each once", "Correct the value.", SUBSCRIPTION_RULE)
    elif not cursor.failed:
        target = Reference(name=names[0], namespace=names[1])
        for channel in channels:
            yield Alert(name=f"{name};{channel}", provider=target, severity=_SEVERITIES[severity], channel=channel)


def find_annotation(alert: Alert) -> str:
    """Return the path of the annotation that a subscription comes from."""
    return join("metadata.annotations", f"{SUBSCRIPTION_ANNOTATION}{alert.name.partition(';')[0]}")


def find_subscribed_providers(alerts: Iterable[Alert]) -> dict[str, Reference]:
    """Return the providers of subscriptions by the paths of their annotations."""
    return {find_annotation(alert): alert.provider for alert in alerts}
