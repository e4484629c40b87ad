"""Stories: what the core decides in every situation, cycle by cycle, as text that a reviewer can read.

    python -m tests.core.stories        writes tests/core/recorded/*.txt anew

A cycle is a line, and what belongs to it is indented: why it was decided so, the fields of the status that were
written, questions and their answers, effects, notices, troubles, and when the core wants to look again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attrs import fields

from canarycore import Status
from canarycore.testing import Record
from tests.core.scenarios import POLICIES, SITUATIONS, play

RECORDED = Path(__file__).parent / "recorded"
EVERYWHERE = ("promoted", "rolled back", "withdrawn", "analysis skipped", "hooks and gates", "primary stays away")
"""Situations that are told of every policy; the others only of weights."""

TOLD = {name: tuple(SITUATIONS) if name == "weights" else EVERYWHERE for name in POLICIES}


def story(policy: str, situation: str) -> Iterator[str]:
    """The lines of what happens to a policy in a situation."""
    world = play(POLICIES[policy], SITUATIONS[situation])
    before = None
    for record in world.history:
        yield from _cycle(record, before)
        before = record.committed or before


def recorded(policy: str, situation: str) -> list[str]:
    """The lines as they were written."""
    _, _, rest = path_of(policy).read_text(encoding="utf-8").partition(f"{_TITLE}{situation}\n")
    return rest.partition(f"\n{_TITLE}")[0].splitlines()


_TITLE = "=== "


def path_of(policy: str) -> Path:
    return RECORDED / f"{policy.replace('/', '-').replace(' ', '-')}.txt"


def _cycle(record: Record, before: Status | None) -> Iterator[str]:
    wake = "the next change" if record.wake is None else f"{record.wake:g}"
    yield f"{record.time:g} {record.because} -> {wake}"
    yield from (f"    asks {asked.key}: {answer}" for asked, answer in record.asked)
    if record.committed is not None:
        yield f"    writes {_written(record.committed, before)}"
    yield from (f"    does {effect}" for effect in record.effects)
    yield from (f"    tells {notice.phase.value}: {notice.text} ({notice.key})" for notice in record.notices)
    yield from (f"    meets {trouble}" for trouble in record.troubles)


def _written(status: Status, before: Status | None) -> str:
    """The fields that changed; of the outbox, how many notices it holds."""
    changed = {
        field.name: getattr(status, field.name)
        for field in fields(Status)
        if before is None or getattr(status, field.name) != getattr(before, field.name)
    }
    if "outbox" in changed:
        changed["outbox"] = len(status.outbox)
    return ", ".join(f"{name}={value}" for name, value in changed.items())


if __name__ == "__main__":
    RECORDED.mkdir(exist_ok=True)
    for name in POLICIES:
        told = ["\n".join((f"{_TITLE}{situation}", *story(name, situation))) for situation in TOLD[name]]
        path_of(name).write_text("\n".join([*told, ""]), encoding="utf-8")
