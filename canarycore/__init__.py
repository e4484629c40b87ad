"""canarycore: progressive delivery as a library.

    decide(rollout, status, inputs) -> Ask | Decision
    converge(goal(rollout, status), observation) -> Plan

`decide` says how a rollout advances, `goal` what its status requires of the cluster, `converge` which effects are safe
now. `cycle` is the driver's loop as a generator, the same for a simulator and for an async runner. This package does no
I/O, reads no clock and draws no random number.

Public modules below it hold the rest of the vocabulary: `canarycore.driver`, `effects`, `questions`, `notices`,
`phases` and `traffic`.
"""

from canarycore._canary_size import CanarySize
from canarycore._decide import decide
from canarycore._decision import Decision, Explanation, Inputs
from canarycore._goal import converge, goal
from canarycore._ladder import Ladder, Rung, Step, Strategy
from canarycore._limits import CheckLimits
from canarycore._observation import (
    TOTAL_WEIGHT,
    Command,
    CommandKind,
    Observation,
    RouteRefusal,
    Routes,
    Workload,
)
from canarycore._reference import Reference
from canarycore._spec import (
    DRAIN,
    Check,
    CheckKind,
    GradualReturn,
    Hook,
    HookType,
    NoData,
    OnFailure,
    RollbackWindow,
    Rollout,
    TargetRef,
)
from canarycore._status import Status
from canarycore._verdicts import Judgement, Verdict, judge
from canarycore.driver import cycle
from canarycore.phases import Phase, Reason

__all__ = [
    "DRAIN",
    "TOTAL_WEIGHT",
    "CanarySize",
    "Check",
    "CheckKind",
    "CheckLimits",
    "Command",
    "CommandKind",
    "Decision",
    "Explanation",
    "GradualReturn",
    "Hook",
    "HookType",
    "Inputs",
    "Judgement",
    "Ladder",
    "NoData",
    "Observation",
    "OnFailure",
    "Phase",
    "Reason",
    "Reference",
    "RollbackWindow",
    "Rollout",
    "RouteRefusal",
    "Routes",
    "Rung",
    "Status",
    "Step",
    "Strategy",
    "TargetRef",
    "Verdict",
    "Workload",
    "converge",
    "cycle",
    "decide",
    "goal",
    "judge",
]
