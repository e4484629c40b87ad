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
from canarycore.verification._report import VerificationReport, ViolatedError, Violation, replay, verify
from canarycore.verification._situations import SITUATIONS, STRATEGIES, Trial, trial, trials
from canarycore.verification._steps import (
    ActorActs,
    Answered,
    AnsweredWithoutNumber,
    ClockJumps,
    Crash,
    Excuse,
    Late,
    LooksAgain,
    LosesConflict,
    Overtaken,
    Proceed,
    Rival,
    Step,
    ThenStaleObservation,
    ThenStaleStatus,
    TimesOut,
)

__all__ = [
    "SITUATIONS",
    "STRATEGIES",
    "ActorActs",
    "Answered",
    "AnsweredWithoutNumber",
    "ClockJumps",
    "Crash",
    "Driver",
    "Excuse",
    "Late",
    "LooksAgain",
    "LosesConflict",
    "Overtaken",
    "Proceed",
    "Rival",
    "Step",
    "ThenStaleObservation",
    "ThenStaleStatus",
    "TimesOut",
    "Trial",
    "VerificationReport",
    "ViolatedError",
    "Violation",
    "replay",
    "trial",
    "trials",
    "verify",
]
