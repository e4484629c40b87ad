"""Promises: invariants of your own, about each rollout of a simulated cluster.

    at_most_200 = Promise("at most 200 bad requests", lambda rollout: rollout.bad_requests <= 200)

A promise is a name and a function. The function gets a `RolloutView`, all that users and operators see of one rollout
from its start to its end, and returns whether the promise holds. The same promises go to the simulated cluster, to
`canarycore.verification.verify`, to the state machine of `canarycore.testing.stateful`, and to
`canarycore.policy.sampled.simulate`.

A `Scenario` of `canarycore.policy` gives the error rates and the traffic of the view. The revision under test behaves
as `new`, the promoted one as `old`. The simulated cluster and `verify` draw nothing: they count expected requests. Only
`simulate` and `sweep` count the requests that they draw.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from canarycore._fields import REQUIRED_TEXT, FieldRule, describe_value, fault, refuse
from canarycore._record import record
from canarycore.errors import CanaryError, Problem
from canarycore.phases import PROMOTED, PROMOTION, UNDER_WAY, Phase
from canarycore.simulation.state import observe_workload
from canarycore.text import describe_state, format_timespan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canarycore._spec import Rollout
    from canarycore._status import Status
    from canarycore.policy._scenario import Scenario
    from canarycore.simulation.state import SimulatedPods, State

_DIGITS = 6
"""Digits after the point of times and counts: sums in another order are equal."""


@record(kw_only=True)
class RolloutView:
    """One rollout as users and operators see it, from its start to its end; a promise reads it."""

    rollout: Rollout
    """The policy."""
    scenario: Scenario
    """The assumptions: the behaviour of both versions, and the traffic."""
    status: Status
    """The status in the store."""
    revision: str
    """The revision under test."""
    share: float
    """Share of users on the new version now, 0 to 1."""
    seconds: float
    """Seconds since the start of the rollout; they stop at its end. Infinite where the rollout waits for ever."""
    requests: float
    """Users' requests since the start."""
    canary_requests: float
    """Users' requests that the new version served."""
    bad_requests: float
    """Users' requests that failed."""
    lost_requests: float = 0.0
    """Users' requests that no pod took, which `bad_requests` includes; 0 where the scenario has no pods."""

    @property
    def phase(self) -> Phase:
        """The phase in the store."""
        return self.status.phase

    @property
    def is_over(self) -> bool:
        """Whether the rollout has ended: promoted, rolled back, withdrawn or deleted."""
        return self.status.phase not in UNDER_WAY

    @property
    def is_promoted(self) -> bool:
        """Whether the revision under test is promoted, or its promotion has begun."""
        status = self.status
        return status.phase in PROMOTION or (status.phase in PROMOTED and status.promoted == self.revision)

    def __str__(self) -> str:
        status = self.status
        state = describe_state(
            status.phase.value, str(status.rung), reason=status.reason.value, revision=status.applied
        )
        wait = "an endless wait" if self.seconds == inf else format_timespan(self.seconds)
        return f"{state}, after {wait}, {self.bad_requests:,.0f} of {self.requests:,.0f} requests bad"


class PromiseFault(CanaryError):
    """The function of a promise raises, or returns no boolean."""


def _find_function(value: object) -> Problem | None:
    if callable(value):
        return None
    return fault(describe_value(value), "a function of a RolloutView that returns a bool", "Write a function.")


@frozen
class Promise:
    """An invariant of your own, about each rollout."""

    name: str = field(validator=REQUIRED_TEXT)
    """The promise as a sentence, such as "at most 200 bad requests"."""
    holds: Callable[[RolloutView], bool] = field(validator=FieldRule(_find_function))
    """The function: it returns whether the promise holds."""

    def is_kept(self, view: RolloutView) -> bool:
        """Return whether the promise holds. Raise PromiseFault where the function raises, or returns no boolean."""
        try:
            kept = self.holds(view)
        except Exception as error:
            raise PromiseFault(f"the promise {self.name!r} raised {type(error).__name__}: {error}") from error
        if kept is not True and kept is not False:
            raise PromiseFault(f"the promise {self.name!r}: found {describe_value(kept)}, expected True or False")
        return kept


def find_broken(promises: Iterable[Promise], view: RolloutView) -> Promise | None:
    """Return the first promise that does not hold, or None. Raise PromiseFault as `Promise.is_kept` does."""
    return next((promise for promise in promises if not promise.is_kept(view)), None)


def demand_no_pods(scenario: Scenario) -> None:
    """Raise WrongValue where a scenario limits pods, whose load neither the simulated cluster nor `verify` knows."""
    if scenario.pods is not None:
        remedy = "Leave it out here; canarycore.policy.sampled.simulate covers pods, and checks promises too."
        refuse(scenario, "pods", fault("pods with a capacity", "None", remedy, "pods"))


@frozen
class RolloutTally:
    """The time and the expected requests of the last rollout of a cluster."""

    revision: str = ""
    """The revision under test; empty before the first rollout."""
    promoted: str = ""
    """The promoted revision at the start of the rollout."""
    seconds: float = 0.0
    """Seconds from the start of the rollout to its end; infinite after an endless wait."""
    requests: float = 0.0
    """Users' requests."""
    canary_requests: float = 0.0
    """Users' requests that the new version served."""
    bad_requests: float = 0.0
    """Users' requests that failed."""
    counted: float = 0.0
    """Seconds that the counts cover: since the start, or since the last endless wait."""
    is_open: bool = False
    """Whether the rollout is under way, or still owes something, such as the end of the canary's traffic."""

    def at(self, state: State) -> RolloutTally:
        """Return the tally in this state: it begins anew with each rollout, and closes at its end."""
        status = state.status
        if status.phase not in UNDER_WAY:
            return evolve(self, is_open=False) if self.is_open and status.is_settled else self
        revision = _revision_under_test(state)
        if self.is_open and revision == self.revision:
            return self
        return RolloutTally(revision=revision, promoted=status.promoted, is_open=True)

    def after(self, seconds: float, state: State, scenario: Scenario) -> RolloutTally:
        """Return the tally after so many seconds with the traffic of `state`.

        After the end only a rejected version counts that still has users.
        """
        if not self.is_open or seconds <= 0.0:
            return self
        share, phase = self.share(state, scenario), state.status.phase
        if phase not in UNDER_WAY and not (phase is Phase.FAILED and share):
            return self
        requests = scenario.rps * seconds
        new = requests * share
        bad = new * scenario.new.error_rate + (requests - new) * scenario.old.error_rate
        return evolve(
            self,
            seconds=round(self.seconds + (seconds if phase in UNDER_WAY else 0.0), _DIGITS),
            requests=round(self.requests + requests, _DIGITS),
            canary_requests=round(self.canary_requests + new, _DIGITS),
            bad_requests=round(self.bad_requests + bad, _DIGITS),
            counted=round(self.counted + seconds, _DIGITS),
        )

    def for_ever(self, state: State, scenario: Scenario) -> RolloutTally:
        """Return the tally after an endless wait with the traffic of `state`: all that grows is infinite."""
        later = self.after(1.0, state, scenario)
        return evolve(
            self,
            seconds=_limit(self.seconds, later.seconds),
            requests=_limit(self.requests, later.requests),
            canary_requests=_limit(self.canary_requests, later.canary_requests),
            bad_requests=_limit(self.bad_requests, later.bad_requests),
            counted=0.0,
        )

    def share(self, state: State, scenario: Scenario) -> float:
        """Return the share of users on the new version, 0 to 1."""
        primary, target, routes = state.primary, state.target, state.routes
        if self.revision == self.promoted:
            return 0.0
        if primary is not None and primary.revision == self.revision and _has_rolled(state, primary):
            return 1.0
        if routes is None or target is None or target.revision == self.promoted:
            return 0.0
        view = observe_workload(state, "target")
        if view is None or not view.ready:
            return 0.0
        return scenario.share_on(routes)

    def view(self, state: State, scenario: Scenario) -> RolloutView | None:
        """Return the view of the rollout, or None before the first one."""
        if not self.revision:
            return None
        return RolloutView(
            rollout=state.rollout,
            scenario=scenario,
            status=state.status,
            revision=self.revision,
            share=self.share(state, scenario),
            seconds=self.seconds,
            requests=self.requests,
            canary_requests=self.canary_requests,
            bad_requests=self.bad_requests,
        )


def _limit(value: float, later: float) -> float:
    return inf if later > value else value


def _revision_under_test(state: State) -> str:
    """Return the revision under test; behind a confirm-rollout gate the status does not name it yet."""
    target = state.target if state.status.phase is Phase.WAITING else None
    return state.status.applied if target is None else target.revision


def _has_rolled(state: State, primary: SimulatedPods) -> bool:
    """Return whether the pods of the primary's revision have had the time to get ready."""
    return state.now >= primary.changed + state.pace("primary", primary.revision).delay
