"""A story: the comparable form of a recording of Flagger and of a run of canarycore.

A story is a list of steps in the order in which they happened. Each step is one thing that an owner can see:

    Stand    a status was written            Called    a webhook was asked
    Told     an event                        Checked   a metric was queried
    Alerted  an alert                        Acted     the script of the trace changed something

`channels` sorts them by kind, and takes out what is a matter of tick timing only: Flagger looks once an interval and
says the same thing again each time; whoever reacts faster, or only once, tells the same story.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@frozen
class Stand:
    """A status: `weight` is percent to the canary."""

    phase: str
    weight: int = 0
    iterations: int = 0
    failed: int = 0


@frozen
class Told:
    """An event. `phase`: the one its receivers were told."""

    type: str
    text: str
    phase: str


@frozen
class Alerted:
    """An alert to one receiver. `error`: whether it is shown as one (None: the receiver's format cannot tell)."""

    to: str
    text: str
    error: bool | None


@frozen
class Called:
    """A webhook by the last part of its URL, the phase and metadata it was told, and whether it let us pass."""

    hook: str
    phase: str
    passed: bool
    metadata: tuple[tuple[str, str], ...] = ()


@frozen
class Checked:
    """A metric query, by the scripted rule that answered it, and the answer."""

    rule: str
    answer: str


@frozen
class Acted:
    """The action `number` of the trace was carried out."""

    number: int


Step = Stand | Told | Alerted | Called | Checked | Acted
Tick = tuple[Step, ...]
"""The steps of one cycle of the controller."""

CHANNELS: dict[type, str] = {
    Stand: "statuses", Told: "events", Called: "hooks", Alerted: "alerts", Checked: "checks",
}  # fmt: skip


@frozen
class Story:
    """Ticks in order. `open_end`: what comes after is not told here (the other story may go on)."""

    ticks: tuple[Tick, ...]
    open_end: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for tick in self.ticks for step in tick)

    def with_steps(self, ticks: Iterable[Sequence[Step]]) -> Story:
        return evolve(self, ticks=tuple(map(tuple, ticks)))


# --------------------------------------------------------------------------------------------------------- comparing


def channels(story: Story) -> dict[str, list[Step]]:
    """The story's steps by kind, without what is a matter of timing."""
    told = _at_once(_without_repeats(story.steps))
    return {name: [step for step in told if isinstance(step, kind)] for kind, name in CHANNELS.items()}


def differences(expected: Story, found: Story) -> list[str]:
    """Where two stories part, one line per channel that differs."""
    ours, lines = channels(found), []
    for name, wanted in channels(expected).items():
        got = ours[name]
        at = next((i for i, (a, b) in enumerate(zip(wanted, got, strict=False)) if not same(a, b)), None)
        if at is None and (len(wanted) == len(got) or (expected.open_end and len(got) > len(wanted))):
            continue
        at = min(len(wanted), len(got)) if at is None else at
        before = f" (after {wanted[at - 1]})" if at else ""
        lines.append(f"{name}[{at}]{before}:\n  expected {_and_more(wanted, at)}\n  found    {_and_more(got, at)}")
    return lines


def same(expected: Step, found: Step) -> bool:
    """Whether two steps are the same; an alert in a format without colours cannot tell its severity."""
    if isinstance(expected, Alerted) and isinstance(found, Alerted) and None in (expected.error, found.error):
        return (expected.to, expected.text) == (found.to, found.text)
    return expected == found


def _and_more(steps: list[Step], at: int) -> str:
    return " | ".join(map(str, steps[at : at + 3])) or "nothing more"


# ------------------------------------------------------------------------------------------------------------ timing

POLLING = tuple(
    re.compile(pattern)
    for pattern in (
        r"all the metrics providers are available!",
        r"Error checking metric providers: ",
        r"(primary \w+ |canary \w+ )?\S+ not ready",
        r"halt \S+ advancement: primary \w+ is scaled to zero",
        r"skipping canary run as object is suspended",
    )
)
"""Texts that are told on every look while nothing moves: how often depends on how often somebody looks."""


def is_polling(step: Step) -> bool:
    """Whether an event only says that something still is as it is."""
    return isinstance(step, Told) and any(pattern.match(step.text) for pattern in POLLING)


def _without_repeats(steps: Sequence[Step]) -> list[Step]:
    """Polling texts once between two other events; a status that is written again unchanged once."""
    kept: list[Step] = []
    said: set[Step] = set()
    stand: Step | None = None
    for step in steps:
        if isinstance(step, Stand):
            if step != stand:
                kept.append(step)
            stand = step
        elif is_polling(step):
            if step not in said:
                kept.append(step)
            said.add(step)
        else:
            kept.append(step)
            said = set() if isinstance(step, Told) else said
    return kept


def _at_once(steps: Iterable[Step]) -> list[Step]:
    """The receivers of one alert are told at the same time: who hears it first is nobody's choice."""
    sorted_steps: list[Step] = []
    for alert, together in groupby(steps, key=lambda step: step.text if isinstance(step, Alerted) else None):
        steps_of_one = list(together)
        sorted_steps += steps_of_one if alert is None else sorted(steps_of_one, key=str)
    return sorted_steps


# ------------------------------------------------------------------------------------------------------------- words


def plain(value: Any) -> str:
    """A scripted answer in few words."""
    if isinstance(value, dict):
        return f"{value.get('status', 200)} {value.get('body', '')}".strip()
    if value is None:
        return "empty"
    return f"{value:g}" if isinstance(value, int | float) else str(value)
