"""canarycore: progressive delivery as a library.

    decide(rollout, status, known) -> Ask | Decision
    converge(goal(rollout, status), world) -> effects

`decide` says how a rollout advances, `goal` what its status wants of the world, `converge` which effects are safe now.
`cycle` is the driver's loop as a generator, the same for a simulator and for an async runner. Nothing here does I/O,
reads a clock or draws a random number.
"""

from canarycore._decide import decide
from canarycore._decision import Decision, Explanation, Inputs
from canarycore._goal import converge, goal
from canarycore._ladder import INITIAL_RUNG, TOTAL_WEIGHT, Ladder, Rung, Strategy
from canarycore._observation import Command, CommandKind, Observation, Routes, Workload
from canarycore._spec import (
    Affinity,
    Alert,
    Check,
    CheckKind,
    Hook,
    HookType,
    Match,
    NoData,
    Reference,
    Rollout,
    Severity,
    StringMatch,
    TargetRef,
)
from canarycore._status import Pending, Reason, Status
from canarycore._verdicts import Judgement, Verdict, judge
from canarycore.driver import cycle
from canarycore.phases import Phase
from canarycore.questions import Ask

__all__ = [
    "INITIAL_RUNG",
    "TOTAL_WEIGHT",
    "Affinity",
    "Alert",
    "Ask",
    "Check",
    "CheckKind",
    "Command",
    "CommandKind",
    "Decision",
    "Explanation",
    "Hook",
    "HookType",
    "Inputs",
    "Judgement",
    "Ladder",
    "Match",
    "NoData",
    "Observation",
    "Pending",
    "Phase",
    "Reason",
    "Reference",
    "Rollout",
    "Routes",
    "Rung",
    "Severity",
    "Status",
    "Strategy",
    "StringMatch",
    "TargetRef",
    "Verdict",
    "Workload",
    "converge",
    "cycle",
    "decide",
    "goal",
    "judge",
]
