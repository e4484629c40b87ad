"""The runtime: it carries out the decisions of canarycore.

`ports` defines the adapters, `registry` finds the installed ones, `Runner` advances many rollouts in one process, and
`canarycore_runtime.testing` has a contract suite for each port.
"""

from canarycore_runtime._calls import AdapterFault, Limits
from canarycore_runtime._driver import UndeliveredError
from canarycore_runtime.ports import (
    Adapters,
    Broadcaster,
    Changes,
    Clock,
    FineRouter,
    HookPort,
    MetricSource,
    Notifier,
    ResizableWorkload,
    Router,
    StatusStore,
    StoredRollout,
    WorkloadPort,
    Workloads,
    observe_rollout,
)
from canarycore_runtime.registry import BrokenAdapter, Port, installed, load
from canarycore_runtime.reporting.inspection import InvalidAdapters
from canarycore_runtime.runner import CycleReport, Runner, Stats
from canarycore_runtime.workloads.instant import InstantWorkload

__all__ = [
    "AdapterFault",
    "Adapters",
    "Broadcaster",
    "BrokenAdapter",
    "Changes",
    "Clock",
    "CycleReport",
    "FineRouter",
    "HookPort",
    "InstantWorkload",
    "InvalidAdapters",
    "Limits",
    "MetricSource",
    "Notifier",
    "Port",
    "ResizableWorkload",
    "Router",
    "Runner",
    "Stats",
    "StatusStore",
    "StoredRollout",
    "UndeliveredError",
    "WorkloadPort",
    "Workloads",
    "installed",
    "load",
    "observe_rollout",
]
