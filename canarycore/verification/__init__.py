"""Explicit-state model checking of a policy: every fault at every step, with all invariants checked.

    report = verify(rollout, faults=1)
    for violation in report.violations:
        print(violation)
        print(violation.script)

The search drives the real `decide`, `converge` and `cycle` on the simulated cluster of `canarycore.simulation`. A state
of the search is one value: the cluster, the controller's point in its cycle, its memory, and the number of faults left
(`_model`, `_process`). Time is relative (`_time`), so there are finitely many states, and the search expands each of
them once (`_explore`). A step is data (`_steps`). `_ends` checks the end of a rollout once faults are over. The
invariants are in `canarycore.simulation.invariants`; `verify` takes promises of your own too
(`canarycore.simulation.promises`).
"""

from canarycore.simulation.driver import Driver
from canarycore.verification._report import (
    HORIZON,
    LEAVABLE,
    VerificationReport,
    Violation,
    ViolationError,
    replay,
    verify,
)
from canarycore.verification._situations import SITUATIONS, STRATEGIES, Trial, trial, trial_as_written, trials
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
    "HORIZON",
    "LEAVABLE",
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
    "trial_as_written",
    "trials",
    "verify",
]
