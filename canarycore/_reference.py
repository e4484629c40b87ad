"""A reference to a resource of the owner."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Reference:
    """A reference to a MetricTemplate or an AlertProvider."""

    name: str
    namespace: str = ""
    """Its namespace; empty is the rollout's own."""
