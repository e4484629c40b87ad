"""The input of a row: a trace with both stories, with functions to read and to change a story."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from attrs import evolve, field, frozen

from canarycore.notices import NoticeKind
from tests.conformance.story import Acted, Alerted, Called, Stand, Step, Story, Told
from tests.conformance.trace import Trace, url_tail


@frozen(kw_only=True)
class Case:
    """A trace with both stories. `expected` starts as what was recorded."""

    trace: Trace
    expected: Story
    found: Story = Story(())
    hooks: dict[str, frozenset[str]] = field(init=False)

    @hooks.default
    def _hooks_by_type(self) -> dict[str, frozenset[str]]:
        """URL tails of the canary's webhooks by type."""
        analysis = self.trace.canary["spec"].get("analysis") or self.trace.canary["spec"].get("canaryAnalysis") or {}
        found: dict[str, set[str]] = {}
        for hook in analysis.get("webhooks", ()):
            found.setdefault(hook.get("type", "rollout"), set()).add(url_tail(hook["url"]))
        return {kind: frozenset(names) for kind, names in found.items()}

    def of_type(self, kind: str) -> frozenset[str]:
        return self.hooks.get(kind, frozenset())


Row = Callable[[Case], Case]


def explain(case: Case, rows: Iterable[tuple[str, Row]]) -> tuple[Case, tuple[str, ...]]:
    """The case after all rows, and the ids of those that changed it."""
    used: list[str] = []
    for name, row in rows:
        after = row(case)
        if (after.expected, after.found) != (case.expected, case.found) and name not in used:
            used.append(name)
        case = after
    return case, tuple(used)


# ----------------------------------------------------------------------------------------------------------- looking


def pattern(tell: NoticeKind) -> re.Pattern[str]:
    parts = re.split(r"\{\w+\}", tell.value.template)
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def tells(steps: Iterable[Step], pattern: str) -> bool:
    return any(isinstance(step, Told) and re.match(pattern, step.text) for step in steps)


def of(step: Told | Alerted, *tells: NoticeKind) -> bool:
    return any(pattern(tell).fullmatch(step.text) for tell in tells)


def last_phase(tick: Iterable[Step], phase: str) -> str:
    return next((step.phase for step in reversed(tuple(tick)) if isinstance(step, Stand)), phase)


def asks_for_rollback(case: Case, step: Step) -> bool:
    if isinstance(step, Called):
        return step.hook in case.of_type("rollback")
    return isinstance(step, Told) and of(step, NoticeKind.ROLLBACK_HOOK_QUIET)


def after_rollout(case: Case, step: Step) -> bool:
    if isinstance(step, Called):
        return step.hook in case.of_type("post-rollout")
    return isinstance(step, Told) and step.text.startswith("Post-rollout ")


def acted_between(ticks: list[list[Step]], first: int, last: int) -> bool:
    return any(isinstance(step, Acted) for tick in ticks[first + 1 : last] for step in tick)


def route_patches(trace: Trace) -> frozenset[int]:
    """Numbers of the actions that change a route, whatever kind of route it is."""
    others = {"Canary", "Deployment", "DaemonSet", "Service", "ConfigMap", "Secret", "HorizontalPodAutoscaler"}
    others |= {"ScaledObject", "MetricTemplate", "AlertProvider"}
    return frozenset(
        number for number, action in enumerate(trace.actions) if "patch" in action and action["kind"] not in others
    )


def spans(story: Story) -> Iterator[tuple[int, list[Step]]]:
    """(action, the steps after it up to the next action); before the first it is -1."""
    number = -1
    steps: list[Step] = []
    for step in story.steps:
        if isinstance(step, Acted):
            yield number, steps
            number, steps = step.number, []
        else:
            steps.append(step)
    yield number, steps


def span(story: Story, number: int) -> list[Step]:
    return next((steps for action, steps in spans(story) if action == number), [])


def action_before(story: Story, pattern: re.Pattern[str]) -> int | None:
    """The action after which a text is told for the first time."""
    return next((number for number, steps in spans(story) if tells(steps, pattern.pattern)), None)


def replaced(story: Story, number: int, instead: tuple[Step, ...]) -> Story:
    """With other steps between this action and the next."""
    before = story.ticks
    at = next(place for place, tick in enumerate(before) if Acted(number) in tick)
    after = next(
        (place for place in range(at + 1, len(before)) if any(isinstance(step, Acted) for step in before[place])),
        len(before),
    )
    return evolve(story, ticks=(*before[: at + 1], instead, *before[after:]))


def cut(story: Story, number: int, instead: tuple[Step, ...]) -> Story:
    """With these steps after this action, and then an open end."""
    at = next((place for place, tick in enumerate(story.ticks) if Acted(number) in tick), -1)
    return evolve(story, ticks=(*story.ticks[: at + 1], instead), open_end=True)


def without(story: Story, unwanted: Callable[[Step], bool]) -> Story:
    return story.with_steps([step for step in tick if not unwanted(step)] for tick in story.ticks)


def mapped(story: Story, change: Callable[[Step], Step]) -> Story:
    return story.with_steps([change(step) for step in tick] for tick in story.ticks)
