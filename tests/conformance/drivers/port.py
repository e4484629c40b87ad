"""The interface of a controller under a trace, and the replay.

`tests.conformance.drivers.simulated` drives `canarycore.simulation.World`; a controller on a real API server can be put
under the same replay with a driver of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

from tests.conformance.story import Acted, Stand, Step, Story
from tests.conformance.trace import STATUS_FIELDS, TIMEOUT, Trace, acts

if TYPE_CHECKING:
    from canarycore.errors import Problem

Done = Callable[[], bool]

PATIENCE = 20
"""Looks by which ours may take longer than Flagger until a wait is held to be in vain."""


class Driver(Protocol):
    """One controller with one rollout. It starts from the trace's objects and canary, before its first look."""

    refused: tuple[Problem, ...]
    """Why the canary is not accepted at all; then nothing below is used."""

    @property
    def stand(self) -> Stand:
        """The status as it is now."""

    def tick(self, done: Done) -> bool:
        """Let one interval pass, or less: true at the first moment at which `done` holds."""

    def settle(self) -> None:
        """Finish what the controller does at this moment, without letting time pass."""

    def act(self, action: Any) -> tuple[Problem, ...]:
        """Carry out an action of the trace; or say why an edit of the canary is not accepted."""

    def take(self) -> list[Step]:
        """Return the steps since the last call."""


@frozen(kw_only=True)
class Replay:
    """Ours. `unmet`: actions whose wait never came true. `refused`: why the canary, or the edit `refused_at`, was."""

    story: Story
    unmet: tuple[int, ...] = ()
    refused: tuple[Problem, ...] = ()
    refused_at: int = -1


def replay(trace: Trace, driver: Driver) -> Replay:
    """Put the trace's actions to a controller, and hear its story."""
    if driver.refused:
        return Replay(story=Story(()), refused=driver.refused)
    ticks: list[tuple[Step, ...]] = []
    unmet: list[int] = []
    refused: tuple[Problem, ...] = ()
    refused_at = -1
    for number, action in enumerate(trace.actions):
        if not _wait(action.get("wait", {}), driver, ticks, trace.ticks + PATIENCE):
            unmet.append(number)
        if acts(action):
            problems = driver.act(action)
            if problems and not refused:
                refused, refused_at = problems, number
            ticks.append((*driver.take(), Acted(number)))
    for _ in range(_looks_after(trace)):
        driver.tick(_never)
        ticks.append(tuple(driver.take()))
    driver.settle()
    ticks.append(tuple(driver.take()))
    return Replay(story=Story(tuple(ticks)), unmet=tuple(unmet), refused=refused, refused_at=refused_at)


def _wait(wait: Any, driver: Driver, ticks: list[tuple[Step, ...]], limit: int) -> bool:
    wait = {key: value for key, value in wait.items() if key != TIMEOUT}
    if "ticks" in wait:
        for _ in range(wait["ticks"]):
            driver.tick(_never)
            ticks.append(tuple(driver.take()))
        return True
    done = _condition(wait, driver)
    for _ in range(limit):
        if done():
            return True
        driver.tick(done)
        ticks.append(tuple(driver.take()))
    return done()


def _condition(wait: Any, driver: Driver) -> Done:
    """A status to wait for. Outside the climb Flagger's weight is not the true one, so only the phase counts there."""
    climbs = wait.get("phase") in (None, "Progressing", "Promoting")
    wanted = {STATUS_FIELDS[name]: value for name, value in wait.items() if climbs or name != "canaryWeight"}
    return lambda: all(getattr(driver.stand, name) == value for name, value in wanted.items())


def _looks_after(trace: Trace) -> int:
    """How often Flagger looked after the last action that changed something, where the trace ends with one."""
    if not trace.actions or not acts(trace.actions[-1]):
        return 0
    last = max((place for place, frame in enumerate(trace.timeline) if "action" in frame), default=0)
    return 1 + sum("tick" in frame for frame in trace.timeline[last:])


def _never() -> bool:
    return False
