"""Conditions that tools understand: `Ready`, `Reconciling` and `Stalled`, as kstatus defines them.

`kubectl wait`, Flux, Argo CD and every other reader of kstatus need no knowledge of Flagger's phases then:

    kubectl wait canary podinfo --for=condition=Ready

`Ready` is always there. `Reconciling` and `Stalled` exist only while they are true. The conditions follow from the
status alone, so every process writes the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Phase
from canarycore.phases import FINISHED, OVER, PROMOTED, Approval
from canarycore.text import describe_state, describe_traffic, escape_controls

if TYPE_CHECKING:
    from canarycore import Status
    from canarycore_runtime.mesh import Json

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
"""The types of the conditions."""

READINESS_TYPES = frozenset({READY, RECONCILING, STALLED})
"""All types of this module."""

LONGEST_CONDITION = 2048
"""Most characters of a message."""

REFUSED, PAUSED, UNAPPROVED = "Refused", "Paused", "WaitingForApproval"
"""Reasons beside the phases and the reasons of a rollout."""


def make_readiness_conditions(status: Status, trouble: str = "") -> tuple[Json, ...]:
    """Return the conditions of a status, without times.

    `trouble` is why the rollout waits until a user changes an object, or empty.
    """
    phase = status.phase
    reason = status.reason.value or phase.value
    if not status.is_frozen and (status.paused or status.approval is Approval.ASKED):
        reason = PAUSED if status.paused else UNAPPROVED
    message = describe_progress(status)
    if trouble:
        return make_stalled_conditions(REFUSED, f"{trouble}; {message}")
    if phase is Phase.FAILED or status.is_frozen:
        return make_stalled_conditions(reason, message)
    if phase in PROMOTED:
        return (_condition(READY, "True", reason, message),)
    ready = _condition(READY, "False" if phase in OVER else "Unknown", reason, message)
    return (ready,) if phase is Phase.TERMINATED else (ready, _condition(RECONCILING, "True", reason, message))


def make_stalled_conditions(reason: str, message: str) -> tuple[Json, Json]:
    """Return the conditions of a Canary that does not go on by itself."""
    return _condition(READY, "False", reason, message), _condition(STALLED, "True", reason, message)


def describe_progress(status: Status) -> str:
    """Return the state of a rollout in words: the cause of a failure, or the last analysis that did not pass."""
    if status.end is not None and status.end.phase is status.phase:
        return str(status.end)
    is_finished = status.phase in FINISHED
    state = describe_state(
        status.phase.value,
        "" if is_finished or status.phase in PROMOTED | OVER else _traffic(status),
        reason=status.reason.value,
        revision=status.applied,
        flags=status.flags,
    )
    failures = "" if status.analysis is None else status.analysis.failures
    return f"{state}; last analysis: {failures}" if failures else state


def _traffic(status: Status) -> str:
    rung = status.rung
    return describe_traffic(rung.weight, iteration=rung.iteration, mirrored=rung.mirrored, matched=rung.matched)


def _condition(kind: str, value: str, reason: str, message: str) -> Json:
    return {"type": kind, "status": value, "reason": reason, "message": escape_controls(message, LONGEST_CONDITION)}
