"""canarycore_runtime: what carries canarycore's decisions out.

`ports` says what an adapter is, `registry` finds installed ones, `Runner` advances many rollouts in one process, and
`canarycore_runtime.testing` holds the contract suite of each port.
"""

from canarycore_runtime._calls import Limits
from canarycore_runtime.ports import (
    Changes,
    Clock,
    HookPort,
    MetricSource,
    Notifier,
    Parts,
    Router,
    StatusStore,
    Stored,
    WorkloadPort,
    Workloads,
)
from canarycore_runtime.registry import BrokenAdapter, Port, installed, load
from canarycore_runtime.runner import Runner, Stats, Turn

__all__ = [
    "BrokenAdapter",
    "Changes",
    "Clock",
    "HookPort",
    "Limits",
    "MetricSource",
    "Notifier",
    "Parts",
    "Port",
    "Router",
    "Runner",
    "Stats",
    "StatusStore",
    "Stored",
    "Turn",
    "WorkloadPort",
    "Workloads",
    "installed",
    "load",
]
