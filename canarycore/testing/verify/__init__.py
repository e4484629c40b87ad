"""Every fault at every step: a policy's life explored as a graph, and each invariant checked on all of it.

    report = verify(rollout, faults=1)
    for violation in report.violations:
        print(violation)
        print(violation.script)

This is explicit-state model checking of the real `decide`, `converge` and `cycle` against the simulated cluster of
`canarycore.testing`. The state of everything is one value: the cluster, the controller's point in its cycle, what it
remembers, and the faults that are left (`_model`, `_process`). Time is relative (`_time`), so there are finitely many,
and each is gone on from once (`_explore`). What can happen at a point is data (`_steps`); what a rollout must come to
once faults are over is in `_ends`; what the invariants are, in `canarycore.testing.invariants`.
"""

from canarycore.testing._driver import Driver
from canarycore.testing.verify._report import Report, Violated, Violation, replay, verify
from canarycore.testing.verify._situations import SITUATIONS, STRATEGIES, Trial, trial, trials
from canarycore.testing.verify._steps import (
    Acts,
    Answered,
    ClockJumps,
    Crash,
    Excuse,
    Go,
    Late,
    LooksAgain,
    Loses,
    Overtaken,
    Rival,
    Step,
    ThenBlind,
    ThenForgetful,
    TimesOut,
    Unmeasured,
)

__all__ = [
    "SITUATIONS",
    "STRATEGIES",
    "Acts",
    "Answered",
    "ClockJumps",
    "Crash",
    "Driver",
    "Excuse",
    "Go",
    "Late",
    "LooksAgain",
    "Loses",
    "Overtaken",
    "Report",
    "Rival",
    "Step",
    "ThenBlind",
    "ThenForgetful",
    "TimesOut",
    "Trial",
    "Unmeasured",
    "Violated",
    "Violation",
    "replay",
    "trial",
    "trials",
    "verify",
]
