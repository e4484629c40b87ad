"""The assumptions of a simulation: the behaviour of the two versions, the traffic, and the answers of hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import and_, deep_mapping, ge, instance_of, le, optional

from canarycore._spec import HookType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canarycore._spec import Check, Hook

_share = and_(ge(0.0), le(1.0))


@frozen(kw_only=True)
class Behaviour:
    """The behaviour of one version of the service."""

    error_rate: float = field(default=0.0, validator=_share)
    """Share of failing requests, 0 to 1."""
    p99: float | None = field(default=None, validator=optional(ge(0.0)))
    """99th percentile of the response times (milliseconds); None: in the range of every check."""


@frozen(kw_only=True)
class Scenario:
    """The assumptions of a simulation."""

    old: Behaviour = Behaviour()
    """The behaviour of the promoted version."""
    new: Behaviour = Behaviour()
    """The behaviour of the new version."""
    rps: float = field(default=100.0, validator=ge(0.0))
    """Users' requests a second, evenly spread."""
    test_rps: float = field(default=0.0, validator=ge(0.0))
    """Requests a second that load tests send straight to the canary; users do not see their failures."""
    ready_after: float = field(default=0.0, validator=ge(0.0))
    """Seconds until started pods of the new version are ready; infinite: never."""
    match_share: float = field(default=0.1, validator=_share)
    """Share of users that the match conditions of an A/B test select, 0 to 1."""
    gates: Mapping[str, bool] = {}
    """Answers of hooks by name; by default rollback hooks do not ask for a rollback, and all other hooks pass."""
    failures: Mapping[str, float] = field(
        default={}, validator=deep_mapping(key_validator=instance_of(str), value_validator=_share)
    )
    """Probability by which a check or hook fails at each question, by name; 0 for others."""

    def passes(self, hook: Hook) -> bool:
        """Return the answer of a hook that does not fail by chance."""
        return self.gates.get(hook.name, hook.type is not HookType.ROLLBACK)


def inside(check: Check) -> float:
    """Return a value that passes the check."""
    low, high = check.minimum, check.maximum
    if low is not None and high is not None:
        return (low + high) / 2
    if high is None:
        return 0.0 if low is None else low
    return high / 2 if high > 0 else high


def outside(check: Check) -> float | None:
    """Return a value that fails the check, or None (no data) where every value passes."""
    if check.minimum is not None:
        return check.minimum - 1
    return None if check.maximum is None else check.maximum + 1
