"""Conditions on requests that choose the canary or the primary: header matches and session affinity.

A `Rollout` holds them for the mesh; no decision depends on them beyond whether they exist.
"""

from __future__ import annotations

from attrs import field, frozen

from canarycore._fields import (
    COUNT_FROM_0,
    FLAG,
    FREE_TEXT,
    LABELS,
    OPTIONAL_TEXT,
    REQUIRED_TEXT,
    FieldRule,
    fault,
    instance,
    items,
    optional,
    pairs,
    whole,
)
from canarycore.errors import Problem
from canarycore.text import shorten

PRESENT = "present"
"""The kind of a StringMatch that any value meets."""

_KINDS = ("exact", "prefix", "suffix", "regex", PRESENT)


def _find_kind(value: object) -> Problem | None:
    if not isinstance(value, str):
        return REQUIRED_TEXT.find(value)
    if value in _KINDS:
        return None
    return fault(shorten(value), f"one of {', '.join(_KINDS)}", "Write one of them.", "match")


@frozen(kw_only=True)
class StringMatch:
    """One of Istio's StringMatch kinds."""

    kind: str = field(validator=FieldRule(_find_kind))
    """`exact`, `prefix`, `suffix` or `regex`; or `present`, which any value meets."""
    value: str = field(validator=FREE_TEXT)

    @property
    def is_presence(self) -> bool:
        """Whether any value meets this match."""
        return self.kind == PRESENT


_MATCHES = pairs(OPTIONAL_TEXT, instance(StringMatch))
_MATCH = optional(instance(StringMatch))


@frozen(kw_only=True)
class Match:
    """A condition on requests (Istio's HTTPMatchRequest). A request meets it if it meets every field."""

    headers: tuple[tuple[str, StringMatch], ...] = field(default=(), validator=_MATCHES)
    without: tuple[tuple[str, StringMatch], ...] = field(default=(), validator=_MATCHES)
    """Headers that must not match (`withoutHeaders`)."""
    uri: StringMatch | None = field(default=None, validator=_MATCH)
    name: str = field(default="", validator=OPTIONAL_TEXT)
    """A name for the route, which restricts nothing."""
    query_params: tuple[tuple[str, StringMatch], ...] = field(default=(), validator=_MATCHES)
    method: StringMatch | None = field(default=None, validator=_MATCH)
    scheme: StringMatch | None = field(default=None, validator=_MATCH)
    authority: StringMatch | None = field(default=None, validator=_MATCH)
    source_labels: tuple[tuple[str, str], ...] = field(default=(), validator=LABELS)
    """Labels of the calling workload."""
    source_namespace: str = field(default="", validator=OPTIONAL_TEXT)
    """The namespace of the calling workload."""
    gateways: tuple[str, ...] = field(default=(), validator=items(OPTIONAL_TEXT))
    """Istio gateways that the request may come through."""
    port: int | None = field(default=None, validator=optional(whole(1, 65535)))
    ignore_uri_case: bool = field(default=False, validator=FLAG)

    @property
    def is_empty(self) -> bool:
        """Whether no field restricts the requests themselves, so that all of them meet it."""
        texts = (self.uri, self.method, self.scheme, self.authority, self.source_namespace)
        return not any((self.headers, self.without, self.query_params, self.source_labels, *texts))


@frozen(kw_only=True)
class Affinity:
    """The session cookie that keeps a user on one version (Flagger: `analysis.sessionAffinity`)."""

    cookie_name: str = field(validator=REQUIRED_TEXT)
    """The name of the cookie that keeps a user on the canary."""
    primary_cookie_name: str = field(default="", validator=OPTIONAL_TEXT)
    """The name of the cookie that keeps a user on the primary; empty sets none."""
    max_age: int = field(default=86400, validator=COUNT_FROM_0)
    """The lifetime of the cookie in seconds."""
    domain: str = field(default="", validator=OPTIONAL_TEXT)
    path: str = field(default="", validator=OPTIONAL_TEXT)
    same_site: str = field(default="", validator=OPTIONAL_TEXT)
    http_only: bool = field(default=False, validator=FLAG)
    partitioned: bool = field(default=False, validator=FLAG)
    secure: bool = field(default=False, validator=FLAG)
