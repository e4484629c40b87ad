"""A reference to a resource of the owner."""

from __future__ import annotations

from attrs import field, frozen

from canarycore._fields import OPTIONAL_NAME, REQUIRED_NAME


@frozen(kw_only=True)
class Reference:
    """A reference to a MetricTemplate or an AlertProvider."""

    name: str = field(validator=REQUIRED_NAME)
    namespace: str = field(default="", validator=OPTIONAL_NAME)
    """Its namespace; empty is the rollout's own."""
