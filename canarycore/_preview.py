"""The next step of a rollout, computed without I/O: no question is asked and no effect is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore._decide import decide
from canarycore._decision import Decision, Inputs
from canarycore._goal import converge, goal
from canarycore._record import record

if TYPE_CHECKING:
    from canarycore._decision import Explanation
    from canarycore._observation import Observation
    from canarycore._spec import Rollout
    from canarycore._status import Status
    from canarycore.effects import Effect
    from canarycore.questions import Question


@record
class NextStep:
    """The next step of a rollout. Either `decision` or `questions` is set."""

    decision: Decision | None = None
    """The next decision, if it needs no answers."""

    questions: tuple[Question, ...] = ()
    """The questions that the next decision depends on."""

    effects: tuple[Effect, ...] = ()
    """The effects that would bring the cluster to the current status; none if the rollout is suspended."""

    @property
    def explanation(self) -> Explanation | None:
        """The reason for the decision."""
        return None if self.decision is None else self.decision.explanation


def preview(rollout: Rollout, status: Status, observation: Observation) -> NextStep:
    """Return the next step of a rollout: the decision, or the questions that it needs, and the missing effects.

    Asks no metrics server, calls no hook, and changes nothing.
    """
    effects = () if rollout.suspend else converge(goal(rollout, status), observation).effects
    outcome = decide(rollout, status, Inputs(observation))
    if isinstance(outcome, Decision):
        return NextStep(decision=outcome, effects=effects)
    return NextStep(questions=outcome.questions, effects=effects)
