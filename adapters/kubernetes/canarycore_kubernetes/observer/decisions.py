"""Our possible decisions from the status of another controller.

A metric has the answer of its provider. A hook has effects, so nobody calls it: it has both answers, and so has a
metric whose provider needs a Secret. Each combination of answers may lead to another decision.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore import Decision, Inputs, Observation, decide, goal
from canarycore.errors import WorldError
from canarycore.questions import HookAnswer, HookQuestion, MetricAnswer, MetricQuestion, SourcesAnswer
from canarycore_kubernetes.api.secrets import WithheldError
from canarycore_kubernetes.observer.differences import position_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from canarycore import Check, Rollout, Status
    from canarycore.questions import Answer, Question
    from canarycore_kubernetes.observer.followed_canary import FollowedCanary
    from canarycore_runtime.ports import MetricSource

QUERY_TIMEOUT = 30.0
"""Seconds for the query of a metric."""

MOST_INVISIBLE_STEPS = 4
"""Decisions followed that change the status but not its position."""


@frozen(kw_only=True)
class OwnDecision:
    """A decision that we would have made."""

    decision: Decision

    observation: Observation
    """The observation that led to it."""

    is_assumed: bool
    """Whether it follows from an answer that nobody gave."""


class DecisionSearch:
    """The search for all our decisions in one comparison. It queries each metric once."""

    def __init__(self, followed: FollowedCanary, metrics: MetricSource) -> None:
        self._followed = followed
        self._metrics = metrics
        self._answers: dict[Question, tuple[Answer, ...]] = {}

    @property
    def _rollout(self) -> Rollout:
        assert self._followed.rollout is not None, "an observation comes with a rollout"
        return self._followed.rollout

    async def find(self, before: Status, observations: Iterable[Observation]) -> list[OwnDecision]:
        """Return all decisions from a status, in the order of the observations.

        The list includes the decisions that follow an invisible one, which leaves the position as it is.
        """
        decisions: list[OwnDecision] = []
        invisible: list[Status] = []
        for observation in observations:
            starts = [self._followed.adopt(before, observation), *invisible]
            for status in starts:  # the loop appends to it
                async for own in self._decide(status, observation):
                    decisions.append(own)
                    if len(invisible) < MOST_INVISIBLE_STEPS and _is_invisible_step(own.decision.status, starts):
                        invisible.append(own.decision.status)
                        starts.append(own.decision.status)
        return decisions

    async def _decide(self, status: Status, observation: Observation) -> AsyncIterator[OwnDecision]:
        """Yield the decision for each combination of answers. The analysis is due: they moved now."""
        due = status.but(analysed_at=min(status.analysed_at, observation.now - self._rollout.interval))
        observation = _with_our_cookie(self._rollout, due, observation)
        open_branches: list[tuple[dict[str, Answer], bool]] = [({}, False)]
        while open_branches:
            answers, is_assumed = open_branches.pop()
            outcome = decide(self._rollout, due, Inputs(observation, answers))
            if isinstance(outcome, Decision):
                yield OwnDecision(decision=outcome, observation=observation, is_assumed=is_assumed)
                continue
            branches = [answers]
            for question in outcome.questions:
                possible = await self._possible_answers(question)
                branches = [{**branch, question.key: answer} for branch in branches for answer in possible]
                is_assumed = is_assumed or len(possible) > 1
            open_branches += ((branch, is_assumed) for branch in branches)

    async def _possible_answers(self, question: Question) -> tuple[Answer, ...]:
        """Return the possible answers. The answer about metric sources changes no status, so nobody asks for it."""
        if isinstance(question, HookQuestion):
            return HookAnswer(passed=False), HookAnswer(passed=True)
        if not isinstance(question, MetricQuestion):
            return (SourcesAnswer(),)
        query = evolve(question, key="")
        if query not in self._answers:
            self._answers[query] = await self._query(question)
        return self._answers[query]

    async def _query(self, question: MetricQuestion) -> tuple[Answer, ...]:
        """Return the answer of a metric's provider, or both possible ones where it needs a Secret."""
        try:
            async with asyncio.timeout(QUERY_TIMEOUT):
                return (await self._metrics.query(self._rollout, question),)
        except WithheldError as error:
            return MetricAnswer(error=str(error)), passing_answer(question.check)
        except (WorldError, TimeoutError) as error:
            return (MetricAnswer(error=str(error) or f"no answer within {QUERY_TIMEOUT:g} s"),)


def passing_answer(check: Check) -> MetricAnswer:
    """Return an answer that lets a check pass."""
    if check.conditions is not None:
        return MetricAnswer(value=check.find_example(passes=True), samples=_MANY_SAMPLES)
    value = check.minimum if check.minimum is not None else check.maximum
    return MetricAnswer(value=0.0 if value is None else value, samples=_MANY_SAMPLES)


_MANY_SAMPLES = 10**9
"""More requests than any check requires."""


def _is_invisible_step(status: Status, known: Iterable[Status]) -> bool:
    """Check whether a status differs from all known ones, but has the position of the first."""
    first, *_ = known
    return position_of(status) == position_of(first) and not any(
        (status.rung, status.applied, status.pending) == (other.rung, other.applied, other.pending) for other in known
    )


def _with_our_cookie(rollout: Rollout, status: Status, observation: Observation) -> Observation:
    """Return the observation with our values of the session cookies, as Flagger's differ (D57)."""
    routes, own = observation.routes, goal(rollout, status).routes
    if rollout.affinity is None or routes is None or own is None:
        return observation
    return evolve(observation, routes=evolve(routes, cookie=own.cookie, expired=own.expired))
