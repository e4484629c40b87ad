"""Every fault at every step: a policy's life explored as a graph, and each invariant checked on all of it.

    report = verify(rollout, faults=1)
    for violation in report.violations:
        print(violation)
        print(violation.script)

This is explicit-state model checking of the real `decide`, `converge` and `cycle` against the simulated cluster of
`canarycore.simulation`. The state of everything is one value: the cluster, the controller's point in its cycle, what it
remembers, and the faults that are left (`_model`, `_process`). Time is relative (`_time`), so there are finitely many,
and each is gone on from once (`_explore`). What can happen at a point is data (`_steps`); what a rollout must come to
once faults are over is in `_ends`; what the invariants are, in `canarycore.simulation.invariants`.
"""

from canarycore.simulation.driver import Driver
from canarycore.verification._report import VerificationReport, Violation, ViolationError, replay, verify
from canarycore.verification._situations import SITUATIONS, STRATEGIES, Trial, trial, trials
from canarycore.verification._steps import (
    ActorAction,
    Answers,
    AnswersWithoutNumber,
    ClockJump,
    CommitConflict,
    Crash,
    Excuse,
    ExtraCycle,
    LateTimer,
    Proceed,
    RivalCycle,
    StaleObservation,
    StaleStatus,
    Step,
    Takeover,
    WriteTimeout,
)

__all__ = [
    "SITUATIONS",
    "STRATEGIES",
    "ActorAction",
    "Answers",
    "AnswersWithoutNumber",
    "ClockJump",
    "CommitConflict",
    "Crash",
    "Driver",
    "Excuse",
    "ExtraCycle",
    "LateTimer",
    "Proceed",
    "RivalCycle",
    "StaleObservation",
    "StaleStatus",
    "Step",
    "Takeover",
    "Trial",
    "VerificationReport",
    "Violation",
    "ViolationError",
    "WriteTimeout",
    "replay",
    "trial",
    "trials",
    "verify",
]
