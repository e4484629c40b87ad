"""The assumptions of a simulation: the behaviour of the two versions, the traffic, and the answers of hooks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, field, fields, frozen

from canarycore._condition_values import find_range
from canarycore._fields import (
    FLAG,
    FieldRule,
    describe_value,
    fault,
    instance,
    mapping,
    number,
    optional,
    refuse,
    whole,
)
from canarycore._spec import HookType
from canarycore.text import enumerate_some, nearest, shorten

if TYPE_CHECKING:
    from canarycore._observation import Routes
    from canarycore._spec import Check, Hook, Rollout
    from canarycore.errors import Problem

_SHARE = number(0, 1)
_RATE = number(0, 1e9, unit="requests a second")
_MILLISECONDS = number(0, 1e9, unit="milliseconds")
_PODS = whole(1, 1000)
_DAY = 86_400


def _find_delay(value: Any) -> Problem | None:
    problem = None if value.__class__ is float and value == inf else _DELAY.find(value)
    return problem and evolve(problem, expected=f"{problem.expected}, or infinity")


_DELAY = number(0, unit="seconds")


T = TypeVar("T")


def _name_typos(kind: type[T]) -> type[T]:
    """Make a class refuse an unknown keyword argument with the nearest field."""
    made_by_attrs: Any = kind
    build, known = made_by_attrs.__init__, [each.name for each in fields(made_by_attrs)]

    @wraps(build)
    def init(self: object, /, *arguments: Any, **values: Any) -> None:
        unknown = next((name for name in values if name not in known), None)
        if unknown is not None:
            near = nearest(unknown, known)
            remedy = f"Did you mean {near!r}?" if near else f"Remove it; the fields are {', '.join(known)}."
            refuse(self, unknown, fault(shorten(unknown), f"a field of {kind.__name__}", remedy))
        build(self, *arguments, **values)

    made_by_attrs.__init__ = init
    return kind


@_name_typos
@frozen(kw_only=True)
class Behaviour:
    """The behaviour of one version of the service. Raises FieldError if a value does not fit its field."""

    error_rate: float = field(default=0.0, validator=_SHARE)
    """Share of failing requests, 0 to 1."""
    p99: float | None = field(default=None, validator=optional(_MILLISECONDS))
    """99th percentile of the response times (milliseconds); None: in the range of every check."""


@_name_typos
@frozen(kw_only=True)
class Autoscaler:
    """The autoscaler of one side's pods, by the rule of Kubernetes' HorizontalPodAutoscaler.

    Raises FieldError if a value does not fit its field, or if `minimum` is above `maximum`.
    """

    minimum: int = field(default=1, validator=_PODS)
    """The fewest pods."""
    maximum: int = field(default=10, validator=_PODS)
    """The most pods."""
    target: float = field(default=0.6, validator=number(0, 1, above=True))
    """The desired load of a pod, as a share of its capacity, above 0 to 1."""
    interval: float = field(default=15.0, validator=number(1, _DAY, unit="seconds"))
    """Seconds between two decisions, each by the mean load since the one before. It includes the lag of the metrics."""
    scale_down_delay: float = field(default=300.0, validator=number(0, _DAY, unit="seconds"))
    """Seconds for which pods stay after the load has gone: a decision takes the highest number of this time."""

    def __attrs_post_init__(self) -> None:
        if self.minimum > self.maximum:
            problem = fault(describe_value(self.maximum), f"at least the minimum, {self.minimum}", _RAISE, "range")
            refuse(self, "maximum", problem)


_RAISE = "Raise the maximum or lower the minimum."


@_name_typos
@frozen(kw_only=True)
class Pods:
    """The pods of both sides, which take a limited number of requests.

    `Scenario.ready_after` is the time until a pod is ready after its start. Raises FieldError if a value does not fit
    its field.
    """

    capacity: float = field(validator=number(0, 1e9, above=True, unit="requests a second"))
    """Requests a second that one ready pod takes. Requests above that are lost: they fail at once."""
    primary: int = field(validator=_PODS)
    """Number of pods of the primary at the start, all ready."""
    canary: int = field(validator=_PODS)
    """Number of pods of the canary when it starts."""
    primary_scaler: Autoscaler | None = field(default=None, validator=optional(instance(Autoscaler)))
    """The autoscaler of the primary; None: its number of pods does not change."""
    canary_scaler: Autoscaler | None = field(default=None, validator=optional(instance(Autoscaler)))
    """The autoscaler of the canary, while it has pods; None: their number does not change."""
    longest_overload: float = field(default=600.0, validator=number(0, _DAY, unit="seconds"))
    """Seconds after the end of the rollout for which the run goes on at most, while requests are lost."""


@_name_typos
@frozen(kw_only=True)
class Scenario:
    """The assumptions of a simulation.

    Raises FieldError if a value does not fit its field. Each simulation refuses names in `gates` and `failures` that
    its policy lacks: an answer that nobody asks for would change nothing, in silence.
    """

    old: Behaviour = field(default=Behaviour(), validator=instance(Behaviour))
    """The behaviour of the promoted version."""
    new: Behaviour = field(default=Behaviour(), validator=instance(Behaviour))
    """The behaviour of the new version."""
    rps: float = field(default=100.0, validator=_RATE)
    """Users' requests a second, evenly spread."""
    test_rps: float = field(default=0.0, validator=_RATE)
    """Requests a second that load tests send straight to the canary; users do not see their failures."""
    ready_after: float = field(default=0.0, validator=FieldRule(_find_delay))
    """Seconds until started pods of the new version are ready, and with `pods` those of both versions; infinite:
    never."""
    match_share: float = field(default=0.1, validator=_SHARE)
    """Share of users that the match conditions of an A/B test or a step select, 0 to 1."""
    gates: Mapping[str, bool] = field(default={}, validator=mapping(FLAG))
    """Answers of hooks by name; by default rollback hooks do not ask for a rollback, and all other hooks pass."""
    failures: Mapping[str, float] = field(default={}, validator=mapping(_SHARE))
    """Probability by which a check or hook fails at each question, by name; 0 for others."""
    pods: Pods | None = field(default=None, validator=optional(instance(Pods)))
    """The pods of both sides, their capacity and their autoscalers; None: pods take any number of requests. Only the
    event-driven engine covers them."""

    def share_on(self, routes: Routes) -> float:
        """Return the share of users on the canary, 0 to 1: all that match, and the weight's part of the others."""
        matching = self.match_share if routes.matched else 0.0
        return matching + (1.0 - matching) * (routes.percent / 100)

    def copies_on(self, rollout: Rollout, routes: Routes) -> float:
        """Return the copies of requests a second that reach the canary: a percentage of those that do not match."""
        others = self.rps * (1.0 - self.match_share) if routes.matched else self.rps
        return others * rollout.mirror_on(routes) / 100

    def passes(self, hook: Hook) -> bool:
        """Return the answer of a hook that does not fail by chance."""
        return self.gates.get(hook.name, hook.type is not HookType.ROLLBACK)


def demand_known_names(rollout: Rollout, scenario: Scenario) -> None:
    """Raise WrongValue where the scenario answers for a hook or check that the policy lacks."""
    if not scenario.gates and not scenario.failures:
        return
    hooks = {hook.name for hook in rollout.hooks}
    checks = {check.name for check in rollout.checks}
    _demand_known(scenario, "gates", hooks, f"the name of a hook of {rollout.full_name}")
    _demand_known(scenario, "failures", hooks | checks, f"the name of a hook or check of {rollout.full_name}")


def _demand_known(scenario: Scenario, name: str, known: set[str], expected: str) -> None:
    unknown = next((key for key in getattr(scenario, name) if key not in known), None)
    if unknown is not None:
        near = nearest(unknown, known)
        names = enumerate_some(sorted(known)) or "none"
        remedy = f"Did you mean {near!r}?" if near else f"Remove it; the policy has {names}."
        found = shorten(unknown)
        refuse(scenario, name, fault(found, expected, remedy, "unknown-name", part=f"[{found}]"))


def limits_of(check: Check) -> tuple[float | None, float | None]:
    """Return the least and the greatest value that passes; of conditions that are no range, (None, None)."""
    if check.conditions is None:
        return check.minimum, check.maximum
    return find_range(check.conditions) or (None, None)


def inside(check: Check) -> float:
    """Return a value that passes the check; 0 where its conditions pass none."""
    if check.conditions is not None:
        return check.find_example(passes=True) or 0.0
    low, high = check.minimum, check.maximum
    if low is not None and high is not None:
        return (low + high) / 2
    if high is None:
        return 0.0 if low is None else low
    return high / 2 if high > 0 else high


def outside(check: Check) -> float | None:
    """Return a value that fails the check, or None (no data) where every value passes."""
    if check.conditions is not None:
        return check.find_example(passes=False)
    if check.minimum is not None:
        return check.minimum - 1
    return None if check.maximum is None else check.maximum + 1
