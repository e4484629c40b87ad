"""Stories: the core's decisions in every situation, cycle by cycle, as text that a reviewer can read.

    python -m tests.core.stories        writes tests/core/recorded/*.txt anew

One line is one cycle: its time, the explanation, and the time of the next cycle. The indented lines below it say what
the cycle asked, wrote, did, told and met. They print values in the words of the tables in this module, never the name
of a class or a field, so a rename in the core changes no recording. After a change of behaviour, write the stories anew
and read the difference: each line of it has to be meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from canarycore import Phase, Rollout, Routes, Status
from canarycore.effects import (
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
from canarycore.questions import Answer, HookAnswer, MetricAnswer
from canarycore.simulation import Action, CycleRecord, Deploy, SimulatedCluster
from tests.core.decisions.test_table import STORIES
from tests.core.scenarios import POLICIES, SITUATIONS, at, play

RECORDED = Path(__file__).parent / "recorded"


def _first(rollout: Rollout) -> SimulatedCluster:
    return SimulatedCluster(rollout).do(Deploy("v1")).run()


def _then(phase: Phase, actions: tuple[Action, ...]) -> SimulatedCluster:
    return at(phase).do(*actions).run(until=25.0)


EVERYWHERE = ("promoted", "rolled back", "withdrawn", "analysis skipped", "hooks and gates", "primary stays away")
"""Situations that every policy plays; only the policy by weights plays the others."""

STORY_MAKERS: dict[tuple[str, str], Callable[[], SimulatedCluster]] = {
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
"""The maker of each story's cluster, by the name of its file and its title there. The last are those of the transition
table."""


def story(name: str, title: str) -> Iterator[str]:
    """Yield the lines of the story as the core tells it now."""
    before = None
    for record in STORY_MAKERS[name, title]().history:
        yield from _cycle(record, before)
        before = record.committed or before


def read_recorded(name: str, title: str) -> list[str]:
    """Return the lines of the story as recorded."""
    _, _, rest = path_of(name).read_text(encoding="utf-8").partition(f"{_TITLE}{title}\n")
    return rest.partition(f"\n{_TITLE}")[0].splitlines()


_TITLE = "=== "


def path_of(name: str) -> Path:
    return RECORDED / f"{name.replace('/', '-').replace(' ', '-')}.txt"


def _cycle(record: CycleRecord, before: Status | None) -> Iterator[str]:
    wake = "the next change" if record.wake is None else f"{record.wake:g}"
    yield f"{record.time:g} {record.explanation} -> {wake}"
    yield from (f"    asks {question.key}: {describe_answer(answer)}" for question, answer in record.answers)
    if record.committed is not None:
        yield f"    writes {describe_changes(record.committed, before or Status())}"
    yield from (f"    does {describe_effect(effect)}" for effect in record.effects)
    yield from (f"    tells {notice.phase.value}: {notice.text} ({notice.key})" for notice in record.notices)
    yield from (f"    meets {error}" for error in record.troubles)


def describe_answer(answer: Answer) -> str:
    match answer:
        case HookAnswer():
            return " ".join(["passed" if answer.passed else "did not pass", *([answer.text] if answer.text else [])])
        case MetricAnswer(error=""):
            value = "no data" if answer.value is None else f"{answer.value:g}"
            return value if answer.samples is None else f"{value} of {answer.samples} requests"
        case _:
            return answer.error or "online"


def describe_effect(effect: Effect) -> str:
    if isinstance(effect, SetRoutes):
        return _describe_routes(effect.routes)
    return " ".join([_EFFECTS[type(effect)], *([effect.revision] if hasattr(effect, "revision") else [])])


_EFFECTS: dict[type[Effect], str] = {
    Initialise: "create the primary with",
    ScaleUp: "scale the target up",
    ScaleDown: "scale the target down",
    PauseScaler: "pause the autoscaler",
    ResumeScaler: "resume the autoscaler",
    Promote: "promote",
    RestorePrimary: "restore the primary to",
    Restore: "give everything back",
}


def _describe_routes(routes: Routes) -> str:
    parts = [
        f"route {routes.weight}% to the canary",
        "mirrored" if routes.mirrored else "",
        "matched" if routes.matched else "",
        f"cookie {routes.cookie}" if routes.cookie else "",
        f"expired cookie {routes.expired}" if routes.expired else "",
    ]
    return ", ".join(filter(None, parts))


def describe_changes(status: Status, before: Status) -> str:
    """Return the values that differ between two statuses; the outbox by its number of notices."""
    changes = [text.format(of(status)) for text, of in _VALUES if of(status) != of(before)]
    if status.outbox != before.outbox:
        changes.append(f"{len(status.outbox)} notices")
    return ", ".join(changes) or "the same values"


_VALUES: tuple[tuple[str, Callable[[Status], object]], ...] = (
    ("{}", lambda status: status.phase.value),
    ("reason {}", lambda status: status.reason.value or "none"),
    ("since {:g}", lambda status: status.since),
    ("analysed at {:g}", lambda status: status.analysed_at),
    ("{}", lambda status: str(status.rung)),
    ("{} failed checks", lambda status: status.failed_checks),
    ("{} holds", lambda status: status.holds),
    ("testing {}", lambda status: status.applied),
    ("promoted {}", lambda status: status.promoted),
    ("previously {}", lambda status: status.previous),
    ("draining until {:g}", lambda status: status.drain_until),
    ("{}", lambda status: "paused" if status.paused else "not paused"),
    ("handled {}", lambda status: status.handled),
    ("owes {}", lambda status: " and ".join(work.value for work in status.pending) or "nothing"),
)
"""Each value of a status but the outbox: its text, and how to read it."""


if __name__ == "__main__":
    RECORDED.mkdir(exist_ok=True)
    for name in dict.fromkeys(name for name, _ in STORY_MAKERS):
        titles = [title for file, title in STORY_MAKERS if file == name]
        stories = ["\n".join((f"{_TITLE}{title}", *story(name, title))) for title in titles]
        path_of(name).write_text("\n".join([*stories, ""]), encoding="utf-8")
