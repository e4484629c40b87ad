"""The record of handled commands: a rollout carries each command out at most once, whatever else writes its status.

Flagger replaces the conditions of a status, and with them our memory of handled commands. It keeps the annotations of a
Canary. So the store records a command in an annotation before it commits the status that carries the command out. If
that commit fails, the status still has the seal in the record, and the command is open again.

A command that stands there when a rollout begins or is adopted may be about an earlier one. It is refused, with an
event, unless it is surely newer than the status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.notices import Notice, NoticeKind

if TYPE_CHECKING:
    from canarycore import Command, Rollout, Status

HANDLED = "canarycore/handled"
"""Annotation with the last handled command: `<seal> <command>`. The seal is that of the status before the commit."""

NO_SEAL = "-"
"""Stands for the seal where the command was certainly handled."""


def make_record(command: str, seal: str = NO_SEAL) -> str:
    """Return the annotation for a command that the next commit over a status with this seal handles."""
    return f"{seal} {command}"


def is_recorded(record: str, command: Command) -> bool:
    """Return whether an annotation names a command."""
    return record.partition(" ")[2] == command.id


def is_handled(record: str, command: Command, seal: str) -> bool:
    """Return whether an annotation says that a command was handled before the status with this seal was stored."""
    return is_recorded(record, command) and record.partition(" ")[0] != seal


def refuse_old_command(rollout: Rollout, status: Status, command: Command | None, commanded_at: float | None) -> Status:
    """Return the status with a refusal of a command that is not surely newer than the status.

    `commanded_at` is when the operator gave the command, in whole seconds as `status.since`. A rollout without a status
    has not begun, so each command is older.
    """
    if command is None or command.id == status.handled:
        return status
    if status.since is None:
        reason = "it was given before the rollout began"
    elif commanded_at is None or commanded_at <= status.since:
        reason = f"it is not surely newer than the phase {status.phase.value}, which another controller has written"
    else:
        return status
    reason = f"{reason}: give it again if it still applies"
    refusal = Notice(
        NoticeKind.REFUSED,
        f"{status.applied}@{status.analysed_at}/{status.phase.value}/{NoticeKind.REFUSED.name}{command.id}",
        status.phase,
        rollout.names,
        (command.kind.value, reason),
    )
    return status.but(handled=command.id, refusal=reason, outbox=(*status.outbox, refusal))
