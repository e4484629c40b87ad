"""canarycore: progressive delivery as a library.

    decide(rollout, status, known) -> Ask | Decision
    converge(goal(rollout, status), world) -> effects

`decide` says how a rollout advances, `goal` what its status wants of the world, `converge` which effects are safe now.
`cycle` is the driver's loop as a generator, the same for a simulator and for an async runner. Nothing here does I/O,
reads a clock or draws a random number.
"""

from canarycore._analysis import Judgement, Verdict, judge
from canarycore._case import Because, Decision, Known
from canarycore._cycle import Apply, Commit, Fetch, Memory, Observe, Publish, Request, Rest, Seen, cycle
from canarycore._decide import decide, deliberate
from canarycore._effects import (
    Effect,
    Initialise,
    PauseScaler,
    Promote,
    Restore,
    RestorePrimary,
    ResumeScaler,
    ScaleDown,
    ScaleUp,
    SetRoutes,
)
from canarycore._goal import Goal, Plan, Scale, converge, goal
from canarycore._ladder import GROUND, Ladder, Rung, Strategy
from canarycore._notices import Channel, Notice, Tell
from canarycore._phases import ROWS, TRANSITIONS, WAITS, Phase, Row, Rule
from canarycore._questions import (
    Answer,
    Ask,
    HookAnswer,
    HookQuestion,
    MetricAnswer,
    MetricQuestion,
    Question,
    SourcesAnswer,
    SourcesQuestion,
)
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
from canarycore._world import Command, CommandKind, Routes, Workload, World

__all__ = [
    "GROUND",
    "ROWS",
    "TRANSITIONS",
    "WAITS",
    "Affinity",
    "Alert",
    "Answer",
    "Apply",
    "Ask",
    "Because",
    "Channel",
    "Check",
    "CheckKind",
    "Command",
    "CommandKind",
    "Commit",
    "Decision",
    "Effect",
    "Fetch",
    "Goal",
    "Hook",
    "HookAnswer",
    "HookQuestion",
    "HookType",
    "Initialise",
    "Judgement",
    "Known",
    "Ladder",
    "Match",
    "Memory",
    "MetricAnswer",
    "MetricQuestion",
    "NoData",
    "Notice",
    "Observe",
    "PauseScaler",
    "Pending",
    "Phase",
    "Plan",
    "Promote",
    "Publish",
    "Question",
    "Reason",
    "Reference",
    "Request",
    "Rest",
    "Restore",
    "RestorePrimary",
    "ResumeScaler",
    "Rollout",
    "Routes",
    "Row",
    "Rule",
    "Rung",
    "Scale",
    "ScaleDown",
    "ScaleUp",
    "Seen",
    "SetRoutes",
    "Severity",
    "SourcesAnswer",
    "SourcesQuestion",
    "Status",
    "Strategy",
    "StringMatch",
    "TargetRef",
    "Tell",
    "Verdict",
    "Workload",
    "World",
    "converge",
    "cycle",
    "decide",
    "deliberate",
    "goal",
    "judge",
]
