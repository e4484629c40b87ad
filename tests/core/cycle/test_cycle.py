"""The cycle with a driver that answers wrongly."""

from __future__ import annotations

import pytest

from canarycore import (
    Check,
    CheckKind,
    Ladder,
    Observation,
    Phase,
    Rollout,
    Routes,
    Rung,
    Status,
    TargetRef,
    Workload,
    cycle,
)
from canarycore.driver import CycleMemory, Fetch, Observed
from canarycore.errors import Unanswered
from canarycore.questions import SourcesAnswer

ROLLOUT = Rollout(
    name="podinfo",
    target=TargetRef(name="podinfo"),
    ladder=Ladder(step=20, top=60),
    checks=(Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0),),
)
STATUS = Status(phase=Phase.PROGRESSING, since=0.0, rung=Rung(weight=20), applied="v2", promoted="v1")
PODS = {"desired": 2, "updated": 2, "ready": 2, "total": 2}
DUE = Observation(
    now=60.0,
    target=Workload(revision="v2", **PODS),
    primary=Workload(revision="v1", **PODS),
    routes=Routes(weight=20),
)


@pytest.mark.parametrize("answer", [None, SourcesAnswer()])
def test_a_cycle_ends_with_an_error_after_an_answer_of_the_wrong_type(answer):
    """Repeating the same question would never end."""
    turn = cycle(CycleMemory())
    next(turn)
    fetch = turn.send(Observed(ROLLOUT, STATUS, DUE))
    assert isinstance(fetch, Fetch)
    with pytest.raises(StopIteration) as end:
        turn.send({question.key: answer for question in fetch.questions if answer is not None})
    rest = end.value.value
    assert rest.decision is None
    assert isinstance(rest.errors[0], Unanswered)
