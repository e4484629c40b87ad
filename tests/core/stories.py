"""Stories: what the core decides in every situation, cycle by cycle, as text that a reviewer can read.

    python -m tests.core.stories        writes tests/core/recorded/*.txt anew

A cycle is a line, and what belongs to it is indented: why it was decided so, the fields of the status that were
written, questions and their answers, effects, notices, troubles, and when the core wants to look again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attrs import fields

from canarycore import Phase, Rollout, Status
from canarycore.simulation import Action, CycleRecord, Deploy, SimulatedCluster
from tests.core.decisions.test_table import STORIES
from tests.core.scenarios import POLICIES, SITUATIONS, at, play

RECORDED = Path(__file__).parent / "recorded"


def _first(rollout: Rollout) -> SimulatedCluster:
    return SimulatedCluster(rollout).do(Deploy("v1")).run()


def _then(phase: Phase, actions: tuple[Action, ...]) -> SimulatedCluster:
    return at(phase).do(*actions).run(until=25.0)


EVERYWHERE = ("promoted", "rolled back", "withdrawn", "analysis skipped", "hooks and gates", "primary stays away")
"""Situations that are told of every policy; the others only of weights."""

TOLD: dict[tuple[str, str], Callable[[], SimulatedCluster]] = {
    **{(name, "first deployed"): partial(_first, policy) for name, policy in POLICIES.items()},
    **{
        (name, title): partial(play, policy, situation)
        for name, policy in POLICIES.items()
        for title, situation in SITUATIONS.items()
        if name == "weights" or title in EVERYWHERE
    },
    **{
        ("in each phase", f"{phase.value}, story {number}"): partial(_then, phase, actions)
        for number, (phase, actions) in enumerate(STORIES)
    },
}
"""How each world is made, by the name of its file and its title there. The last are those of the transition table."""


def story(name: str, title: str) -> Iterator[str]:
    """The lines of what happens."""
    before = None
    for record in TOLD[name, title]().history:
        yield from _cycle(record, before)
        before = record.committed or before


def recorded(name: str, title: str) -> list[str]:
    """The lines as they were written."""
    _, _, rest = path_of(name).read_text(encoding="utf-8").partition(f"{_TITLE}{title}\n")
    return rest.partition(f"\n{_TITLE}")[0].splitlines()


_TITLE = "=== "


def path_of(name: str) -> Path:
    return RECORDED / f"{name.replace('/', '-').replace(' ', '-')}.txt"


def _cycle(record: CycleRecord, before: Status | None) -> Iterator[str]:
    wake = "the next change" if record.wake is None else f"{record.wake:g}"
    yield f"{record.time:g} {record.explanation} -> {wake}"
    yield from (f"    asks {asked.key}: {answer}" for asked, answer in record.answers)
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
    for name in dict.fromkeys(name for name, _ in TOLD):
        told = ["\n".join((f"{_TITLE}{title}", *story(name, title))) for of, title in TOLD if of == name]
        path_of(name).write_text("\n".join([*told, ""]), encoding="utf-8")
