"""The live view of a rehearsal: a panel below the scrolling story, and keys.

The panel shows where the rollout is: phase, weight, each version's requests, the last checks against their thresholds,
failed checks, and when the next analysis is due. Gates that nobody answered are asked here: a gate stays closed until
its key is pressed, and the rollout polls it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import time
import tty
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from canarycore import CommandKind, Judgement, Verdict
from canarycore.text import describe_traffic, format_timespan
from canarycore_cli.console import out, weight_bar
from canarycore_cli.rehearsal.story import NOBODY, labels_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from canarycore.questions import HookQuestion
    from canarycore_local.rehearsal import Rehearsal, Script
    from canarycore_runtime import CycleReport

_BAR = 40
_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.NO_DATA: "yellow", Verdict.ERROR: "red"}


class LiveView:
    """What is shown, and what the keys do."""

    def __init__(self, script: Script, name: str) -> None:
        self.console = out()
        self._script = script
        self._name = name
        self._live: Live | None = None
        self._rehearsal: Rehearsal | None = None
        self._report: CycleReport | None = None
        self._judgements: tuple[Judgement, ...] = ()
        self._waiting: dict[str, str] = {}
        self._opened: set[tuple[str, str]] = set()
        self._giving: set[asyncio.Task[None]] = set()
        self._rate = _Rate()

    # what it hears ----------------------------------------------------------------------------------------------

    def heard(self, tell: Callable[[CycleReport], None]) -> Callable[[CycleReport], None]:
        """An observer of cycles that looks itself and passes on."""

        def both(report: CycleReport) -> None:
            self._report = report
            if report.result.decision is not None and report.result.decision.explanation.judgements:
                self._judgements = report.result.decision.explanation.judgements
            tell(report)

        return both

    async def gate(self, question: HookQuestion) -> bool:
        """Closed until somebody opens it by a key; asked again for each revision."""
        name, revision = question.hook.name, question.revision
        if (name, revision) in self._opened:
            return True
        self._waiting[name] = revision
        return False

    # showing ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def shown(self, rehearsal: Rehearsal) -> AsyncIterator[None]:
        """On the terminal while the context lasts; keys work meanwhile."""
        self._rehearsal = rehearsal
        task = asyncio.current_task()
        assert task is not None
        with Live(console=self.console, auto_refresh=False, transient=True) as self._live, _keys(self._pressed(task)):
            yield
        self._live = None

    def draw(self) -> None:
        """Bring the panel up to date."""
        if self._live is not None:
            self._live.update(self._panel(), refresh=True)

    def _pressed(self, task: asyncio.Task[object]) -> Callable[[str], None]:
        def act(key: str) -> None:
            if key == "q":
                task.cancel()
            elif key == "y" and self._waiting:
                name, revision = self._waiting.popitem()
                self._opened.add((name, revision))
                self.console.print(f"gate {name} opened", style="bold", markup=False)
            elif key in _COMMANDS:
                self._give(_COMMANDS[key])
            elif key == " ":
                self._give(CommandKind.RESUME if self._is_paused else CommandKind.PAUSE)

        return act

    def _give(self, kind: CommandKind) -> None:
        assert self._rehearsal is not None
        giving = asyncio.ensure_future(self._rehearsal.store.give(self._rehearsal.key, kind))
        self._giving.add(giving)
        giving.add_done_callback(self._giving.discard)

    @property
    def _is_paused(self) -> bool:
        return self._report is not None and self._report.observed is not None and self._report.observed.status.paused

    # the panel --------------------------------------------------------------------------------------------------

    def _panel(self) -> RenderableType:
        report, rehearsal = self._report, self._rehearsal
        if report is None or report.observed is None or rehearsal is None:
            return Panel(Text("starting Envoy and the old version ..."), title=Text(self._name), title_align="left")
        decision = report.result.decision
        status = decision.status if decision is not None else report.observed.status
        paused = "  paused" if status.paused else ""
        title = f"{self._name}  {status.phase.value}  {rehearsal.version.label}{paused}"
        parts: list[RenderableType] = [self._weight(rehearsal), self._versions(rehearsal)]
        if self._judgements:
            parts.append(self._checks())
        failed = f"failed checks {status.failed_checks} of {self._script.rollout.threshold}"
        parts.append(Text(f"{failed}   next look {self._countdown(report)}"))
        parts += [Text(f"gate {name} is closed: y opens it", style="bold yellow") for name in self._waiting]
        keys = Text("p promote   a abort   space pause/resume   q quit", style="dim")
        return Panel(Group(*parts, keys), title=Text(title), title_align="left")

    def _weight(self, rehearsal: Rehearsal) -> Text:
        splits = rehearsal.splits()
        if not splits:
            return Text("no routes yet")
        routes, measured = splits[-1].routes, splits[-1].window.split()
        traffic = describe_traffic(routes.weight, mirrored=routes.mirrored, matched=routes.matched)
        answered = "" if measured is None else f"   measured {measured:.1f}%"
        return Text.assemble((weight_bar(routes.weight, _BAR), "cyan"), f"  {traffic}{answered}")

    def _versions(self, rehearsal: Rehearsal) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading in ("version", "requests", "a second", "success rate", "P99", "bad"):
            table.add_column(heading, justify="left" if heading == "version" else "right", header_style="dim")
        labels = labels_of(self._script)
        for revision, tally in rehearsal.generator.total.revisions().items():
            good, p99 = tally.success_rate, tally.quantile(0.99)
            label = labels.get(revision, revision or NOBODY)
            table.add_row(
                label,
                str(tally.requests),
                f"{self._rate.of(label, tally.requests):.0f}",
                "" if good is None else f"{good:.2f}%",
                "" if p99 is None else f"{1000 * p99:.0f}ms",
                str(tally.bad),
            )
        return table

    def _checks(self) -> Text:
        line = Text("checks  ")
        for judgement in self._judgements:
            check, value = judgement.check, judgement.answer.value
            bounds = [f"≥ {check.minimum:g}"] if check.minimum is not None else []
            bounds += [f"≤ {check.maximum:g}"] if check.maximum is not None else []
            found = judgement.verdict.value if value is None else f"{value:.2f}"
            line.append(f"{check.name} {found} ({', '.join(bounds)})   ", style=_STYLES[judgement.verdict])
        return line

    def _countdown(self, report: CycleReport) -> str:
        wake = report.result.wake
        return "at the next change" if wake is None else f"in {format_timespan(max(wake - time.time(), 0.0))}"


class _Rate:
    """Requests a second by name, over the last second or more."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[float, int, float]] = {}

    def of(self, name: str, count: int) -> float:
        now = time.monotonic()
        at, before, rate = self._marks.setdefault(name, (now, count, 0.0))
        if now - at >= 1.0:
            rate = (count - before) / (now - at)
            self._marks[name] = (now, count, rate)
        return rate


_COMMANDS = {"p": CommandKind.PROMOTE, "a": CommandKind.ABORT}


@contextmanager
def _keys(act: Callable[[str], None]) -> Iterator[None]:
    """Single keys without Enter. Ctrl-C stays a signal."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    loop = asyncio.get_running_loop()
    tty.setcbreak(terminal)
    loop.add_reader(terminal, _read_keys, terminal, act)
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _read_keys(terminal: int, act: Callable[[str], None]) -> None:
    for key in os.read(terminal, 64).decode(errors="ignore"):
        act(key)
