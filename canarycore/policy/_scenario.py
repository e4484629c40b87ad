"""The assumed world: how the two versions behave, how much traffic there is, what hooks answer."""

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
    """A version of the service. `error_rate`: share of failing requests, 0 to 1. `p99`: ms; None: in range."""

    error_rate: float = field(default=0.0, validator=_share)
    p99: float | None = field(default=None, validator=optional(ge(0.0)))


@frozen(kw_only=True)
class Scenario:
    """What is assumed.

    rps: users' requests a second, evenly spread. test_rps: requests a second that load tests send straight to the
    canary; users do not see those. ready_after: seconds until pods of the new version are ready, each time they are
    started (infinite: never). match_share: share of users that an A/B test's match conditions pick. gates: what a
    hook answers by its name, where it is not the default (rollback hooks stay quiet, all others pass). failures: the
    probability that a check or hook fails each time it is asked, by its name; metrics of one's own (templates, queries)
    are in range otherwise.
    """

    old: Behaviour = Behaviour()
    new: Behaviour = Behaviour()
    rps: float = field(default=100.0, validator=ge(0.0))
    test_rps: float = field(default=0.0, validator=ge(0.0))
    ready_after: float = field(default=0.0, validator=ge(0.0))
    match_share: float = field(default=0.1, validator=_share)
    gates: Mapping[str, bool] = {}
    failures: Mapping[str, float] = field(
        default={}, validator=deep_mapping(key_validator=instance_of(str), value_validator=_share)
    )

    def passes(self, hook: Hook) -> bool:
        """What a hook answers when it does not fail by chance."""
        return self.gates.get(hook.name, hook.type is not HookType.ROLLBACK)


def inside(check: Check) -> float:
    """A value that passes the check."""
    low, high = check.minimum, check.maximum
    if low is not None and high is not None:
        return (low + high) / 2
    if high is None:
        return 0.0 if low is None else low
    return high / 2 if high > 0 else high


def outside(check: Check) -> float | None:
    """A value that fails the check; None (no data) where every value passes."""
    if check.minimum is not None:
        return check.minimum - 1
    return None if check.maximum is None else check.maximum + 1
