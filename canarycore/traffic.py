"""Conditions on requests that choose the canary or the primary: header matches and session affinity.

A `Rollout` holds them for the mesh; no decision depends on them beyond whether they exist.
"""

from __future__ import annotations

from attrs import frozen

PRESENT = "present"
"""The kind of a StringMatch that any value meets."""


@frozen(kw_only=True)
class StringMatch:
    """One of Istio's StringMatch kinds."""

    kind: str
    """`exact`, `prefix`, `suffix` or `regex`; or `present`, which any value meets."""
    value: str

    @property
    def is_presence(self) -> bool:
        """Whether any value meets this match."""
        return self.kind == PRESENT


@frozen(kw_only=True)
class Match:
    """A condition on requests (Istio's HTTPMatchRequest). A request meets it if it meets every field."""

    headers: tuple[tuple[str, StringMatch], ...] = ()
    without: tuple[tuple[str, StringMatch], ...] = ()
    """Headers that must not match (`withoutHeaders`)."""
    uri: StringMatch | None = None
    name: str = ""
    """A name for the route, which restricts nothing."""
    query_params: tuple[tuple[str, StringMatch], ...] = ()
    method: StringMatch | None = None
    scheme: StringMatch | None = None
    authority: StringMatch | None = None
    source_labels: tuple[tuple[str, str], ...] = ()
    """Labels of the calling workload."""
    source_namespace: str = ""
    """The namespace of the calling workload."""
    gateways: tuple[str, ...] = ()
    """Istio gateways that the request may come through."""
    port: int | None = None
    ignore_uri_case: bool = False


@frozen(kw_only=True)
class Affinity:
    """The session cookie that keeps a user on one version (Flagger: `analysis.sessionAffinity`)."""

    cookie_name: str
    """The name of the cookie that keeps a user on the canary."""
    primary_cookie_name: str = ""
    """The name of the cookie that keeps a user on the primary; empty sets none."""
    max_age: int = 86400
    """The lifetime of the cookie in seconds."""
    domain: str = ""
    path: str = ""
    same_site: str = ""
    http_only: bool = False
    partitioned: bool = False
    secure: bool = False
