"""A reference to a resource of the owner."""

from __future__ import annotations

from attrs import field, frozen

from canarycore._fields import OPTIONAL_NAME, OPTIONAL_TEXT, REQUIRED_NAME


@frozen(kw_only=True)
class Reference:
    """A reference to a MetricTemplate, to another template of checks, or to an AlertProvider."""

    name: str = field(validator=REQUIRED_NAME)
    namespace: str = field(default="", validator=OPTIONAL_NAME)
    """Its namespace; empty is the rollout's own."""
    kind: str = field(default="", validator=OPTIONAL_TEXT)
    """Its kind, such as AnalysisTemplate; empty for a MetricTemplate or an AlertProvider, as its place requires."""
