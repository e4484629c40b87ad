"""Texts and links of alerts, by the templates in the annotations of an AlertProvider.

    metadata:
      annotations:
        canarycore/alert.text: "{{ .name }}: {{ .text }}{{ with .reason }} ({{ . }}){{ end }}"
        canarycore/alert.links: |
          Dashboard=https://grafana.example.com/d/canary?var-name={{ urlquery .name }}

The templates are in Go's language (`canarycore.gotemplate`); the dot has the fields of `AlertFacts`. A template has a
bounded length, and makes a text of bounded length in bounded steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from attrs import Factory, asdict, evolve, frozen

from canarycore.errors import CanaryError
from canarycore.gotemplate import TemplateError, parse

TEXT_ANNOTATION = "canarycore/alert.text"
"""The annotation with the template of the text."""

LINKS_ANNOTATION = "canarycore/alert.links"
"""The annotation with the links: a line for each, as `TITLE=TEMPLATE`."""

LONGEST_TEMPLATE = 4096
"""Most characters of a template."""

LONGEST_ALERT = 2000
"""Most characters of a text or an address from a template. Discord shows no longer text."""

MOST_LINKS = 5
"""Most links of an alert. Teams shows six buttons."""

LONGEST_TITLE = 40
"""Most characters of the title of a link."""

TEMPLATE_STEPS = 2000
"""Most steps of a template of an alert (`canarycore.gotemplate.STEPS` has the unit)."""

_ADDRESS = re.compile(r"https?://[^\s<>|\"'\\^`{}/]++[^\s<>|\"'\\^`{}]*+")


class InvalidAlertTemplate(CanaryError, ValueError):
    """A template of an alert is not valid, or its result is not."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"found {found}, expected {expected}")
        self.found: str = found
        self.expected: str = expected


@frozen(kw_only=True)
class AlertFacts:
    """The fields of the dot in a template of an alert."""

    name: str = ""
    """The name of the Canary."""
    namespace: str = ""
    """Its namespace."""
    kind: str = ""
    """The kind of its target."""
    target: str = ""
    """The name of its target."""
    provider: str = ""
    """Its mesh or ingress provider."""
    cluster: str = ""
    """The name of the cluster (`--cluster-name`), or empty."""
    revision: str = ""
    """The revision that the rollout is about."""
    phase: str = ""
    """The phase of the rollout."""
    severity: str = ""
    """The severity of the alert: info, warn or error."""
    text: str = ""
    """The text without a template, which is Flagger's."""
    reason: str = ""
    """The failed checks with their values and ranges, or empty."""
    labels: Mapping[str, str] = Factory(dict)
    """The labels of the Canary."""


@frozen
class LinkTemplate:
    """A link of an alert."""

    title: str
    """The text of the link."""
    template: str
    """The template of its address."""


def render_text(template: str, facts: AlertFacts) -> str:
    """Return the text of an alert. Raise InvalidAlertTemplate."""
    text = _render(template, facts).strip()
    if not text:
        raise InvalidAlertTemplate("an empty text", "a text")
    return text


def render_link(link: LinkTemplate, facts: AlertFacts) -> str:
    """Return the address of a link. Raise InvalidAlertTemplate."""
    address = _render(link.template, facts).strip()
    if not address.isprintable() or not _ADDRESS.fullmatch(address):
        raise InvalidAlertTemplate("another address", "http:// or https:// and a host, without blanks and quotes")
    return address


def parse_links(text: str) -> tuple[LinkTemplate, ...]:
    """Return the links in the lines of a text. Raise InvalidAlertTemplate."""
    if len(text) > MOST_LINKS * (LONGEST_TEMPLATE + LONGEST_TITLE + 2):
        raise InvalidAlertTemplate(f"{len(text):,} characters", f"at most {MOST_LINKS} links")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_LINKS:
        raise InvalidAlertTemplate(f"{len(lines)} links", f"at most {MOST_LINKS}")
    return tuple(map(_parse_link, lines))


def _parse_link(line: str) -> LinkTemplate:
    title, separator, template = (part.strip() for part in line.partition("="))
    if not separator or not template or not 0 < len(title) <= LONGEST_TITLE or not title.isprintable():
        raise InvalidAlertTemplate(
            "a line without a title or an address", f"TITLE=ADDRESS, with a title of at most {LONGEST_TITLE} characters"
        )
    return LinkTemplate(title, template)


def _render(template: str, facts: AlertFacts) -> str:
    if len(template) > LONGEST_TEMPLATE:
        raise InvalidAlertTemplate(f"{len(template):,} characters", f"at most {LONGEST_TEMPLATE:,}")
    try:
        return parse(template).render(asdict(facts), steps=TEMPLATE_STEPS, longest=LONGEST_ALERT)
    except TemplateError as error:
        found, _, expected = str(error).replace("found ", "", 1).partition(", expected ")
        raise InvalidAlertTemplate(found, expected or "a part of Go's template language") from None


# checks ---------------------------------------------------------------------------------------------------------------


def check_text(template: str) -> None:
    """Raise InvalidAlertTemplate where a template makes no text for an alert."""
    for facts in _examples(template):
        render_text(template, facts)


def check_links(text: str) -> tuple[LinkTemplate, ...]:
    """Return the links of a text. Raise InvalidAlertTemplate where one has no title of its own, or no address."""
    links = parse_links(text)
    if len({link.title for link in links}) < len(links):
        raise InvalidAlertTemplate("a title twice", "another title for each link")
    for link in links:
        for facts in _examples(link.template):
            try:
                render_link(link, facts)
            except InvalidAlertTemplate as error:
                raise InvalidAlertTemplate(f"{error.found} in the link {link.title}", error.expected) from None
    return links


_LABEL = re.compile(r"\.labels\.(\w++)")


def _examples(template: str) -> Iterator[AlertFacts]:
    """Yield facts with a value of every field and of the labels in a template, and facts with as few as possible."""
    facts = AlertFacts(
        name="podinfo",
        namespace="test",
        kind="Deployment",
        target="podinfo",
        provider="istio",
        revision="5f7c9",
        phase="Failed",
        severity="error",
        text="Failed checks threshold reached 5",
        labels=dict.fromkeys(_LABEL.findall(template), "example"),
    )
    yield facts
    yield evolve(facts, cluster="blue", reason="request-success-rate 97: fail (expected at least 99)")
