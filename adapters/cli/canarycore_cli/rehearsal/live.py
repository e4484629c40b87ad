"""The live view of a rehearsal: a panel below the scrolling story, and keys.

The panel shows the phase, the weight, each version's requests, the last checks with their bounds, the failed checks and
the time of the next look. A gate without a `--gate` option stays closed until the user presses its key; the rollout
polls it.
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
from canarycore.phases import Approval
from canarycore.text import describe_traffic, format_timespan
from canarycore_cli.console import out, weight_bar
from canarycore_cli.rehearsal.story import UNANSWERED, version_labels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from canarycore.questions import HookQuestion
    from canarycore_local.rehearsal import Rehearsal, Script
    from canarycore_runtime import CycleReport

_BAR = 40
_STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.NO_DATA: "yellow",
    Verdict.ERROR: "red",
    Verdict.INCONCLUSIVE: "yellow",
}


class LiveView:
    """The panel and its keys."""

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
        self._commands: set[asyncio.Task[None]] = set()
        self._rates = _RateMeter()

    # inputs -----------------------------------------------------------------------------------------------------

    def observe(self, forward: Callable[[CycleReport], None]) -> Callable[[CycleReport], None]:
        """Return an observer of cycles that updates this view and calls `forward`."""

        def update(report: CycleReport) -> None:
            self._report = report
            if report.result.decision is not None and report.result.decision.explanation.judgements:
                self._judgements = report.result.decision.explanation.judgements
            forward(report)

        return update

    async def gate(self, question: HookQuestion) -> bool:
        """Answer a gate: closed until the user opens it by a key. A new revision closes it again."""
        name, revision = question.hook.name, question.revision
        if (name, revision) in self._opened:
            return True
        self._waiting[name] = revision
        return False

    # showing ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def show(self, rehearsal: Rehearsal) -> AsyncIterator[None]:
        """Show the panel and read keys while the context is open."""
        self._rehearsal = rehearsal
        task = asyncio.current_task()
        assert task is not None
        with (
            Live(console=self.console, auto_refresh=False, transient=True) as self._live,
            _read_keys(self._on_key(task)),
        ):
            yield
        self._live = None

    def draw(self) -> None:
        """Redraw the panel."""
        if self._live is not None:
            self._live.update(self._panel(), refresh=True)

    def _on_key(self, task: asyncio.Task[object]) -> Callable[[str], None]:
        def act(key: str) -> None:
            if key == "q":
                task.cancel()
            elif key == "y" and self._waiting:
                name, revision = self._waiting.popitem()
                self._opened.add((name, revision))
                self.console.print(f"gate {name} opened", style="bold", markup=False)
            elif key == "y" and self._is_unapproved:
                self._send(CommandKind.APPROVE)
            elif key in _COMMANDS:
                self._send(_COMMANDS[key])
            elif key == " ":
                self._send(CommandKind.RESUME if self._is_paused else CommandKind.PAUSE)

        return act

    def _send(self, kind: CommandKind) -> None:
        assert self._rehearsal is not None
        command = asyncio.ensure_future(self._rehearsal.store.send_command(self._rehearsal.key, kind))
        self._commands.add(command)
        command.add_done_callback(self._commands.discard)

    @property
    def _is_paused(self) -> bool:
        return self._report is not None and self._report.observed is not None and self._report.observed.status.paused

    @property
    def _is_unapproved(self) -> bool:
        report = self._report
        return report is not None and report.observed is not None and report.observed.status.approval is Approval.ASKED

    # the panel --------------------------------------------------------------------------------------------------

    def _panel(self) -> RenderableType:
        report, rehearsal = self._report, self._rehearsal
        if report is None or report.observed is None or rehearsal is None:
            return Panel(Text("starting Envoy and the old version ..."), title=Text(self._name), title_align="left")
        decision = report.result.decision
        status = decision.status if decision is not None else report.observed.status
        flags = "".join(f"  {flag}" for flag in status.flags)
        title = f"{self._name}  {status.phase.value}  {rehearsal.version.label}{flags}"
        parts: list[RenderableType] = [self._traffic_line(rehearsal), self._version_table(rehearsal)]
        if self._judgements:
            parts.append(self._check_line())
        failed = f"failed checks {status.failed_checks} of {self._script.rollout.threshold}"
        parts.append(Text(f"{failed}   next look {self._countdown(report)}"))
        if status.approval is Approval.ASKED:
            parts.append(Text(f"weight {status.rung.weight} waits for an approval: y approves it", style="bold yellow"))
        parts += [Text(f"gate {name} is closed: y opens it", style="bold yellow") for name in self._waiting]
        keys = Text("p promote   a abort   space pause/resume   q quit", style="dim")
        return Panel(Group(*parts, keys), title=Text(title), title_align="left")

    def _traffic_line(self, rehearsal: Rehearsal) -> Text:
        splits = rehearsal.splits()
        if not splits:
            return Text("no routes yet")
        routes, measured = splits[-1].routes, splits[-1].window.split()
        traffic = describe_traffic(routes.weight, mirrored=routes.mirrored, matched=routes.matched)
        answered = "" if measured is None else f"   measured {measured:.1f}%"
        return Text.assemble((weight_bar(routes.weight, _BAR), "cyan"), f"  {traffic}{answered}")

    def _version_table(self, rehearsal: Rehearsal) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading in ("version", "requests", "per second", "success rate", "P99", "bad"):
            table.add_column(heading, justify="left" if heading == "version" else "right", header_style="dim")
        labels = version_labels(self._script)
        for revision, tally in rehearsal.generator.total.revisions().items():
            success_rate, p99 = tally.success_rate, tally.quantile(0.99)
            label = labels.get(revision, revision or UNANSWERED)
            table.add_row(
                label,
                str(tally.requests),
                f"{self._rates.update(label, tally.requests):.0f}",
                "" if success_rate is None else f"{success_rate:.2f}%",
                "" if p99 is None else f"{1000 * p99:.0f}ms",
                str(tally.bad),
            )
        return table

    def _check_line(self) -> Text:
        line = Text("checks  ")
        for judgement in self._judgements:
            check, value = judgement.check, judgement.answer.value
            bounds = [f"≥ {check.minimum:g}"] if check.minimum is not None else []
            bounds += [f"≤ {check.maximum:g}"] if check.maximum is not None else []
            bounds += [str(check.conditions)] if check.conditions is not None else []
            result = judgement.verdict.value if value is None else f"{value:.2f}"
            line.append(f"{check.name} {result} ({', '.join(bounds)})   ", style=_STYLES[judgement.verdict])
        return line

    def _countdown(self, report: CycleReport) -> str:
        wake = report.result.wake
        return "at the next change" if wake is None else f"in {format_timespan(max(wake - time.time(), 0.0))}"


class _RateMeter:
    """The requests per second of each version, over the last second or more."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[float, int, float]] = {}

    def update(self, name: str, count: int) -> float:
        """Return the rate of `name`, which has `count` requests by now."""
        now = time.monotonic()
        at, before, rate = self._marks.setdefault(name, (now, count, 0.0))
        if now - at >= 1.0:
            rate = (count - before) / (now - at)
            self._marks[name] = (now, count, rate)
        return rate


_COMMANDS = {"p": CommandKind.PROMOTE, "a": CommandKind.ABORT}


@contextmanager
def _read_keys(act: Callable[[str], None]) -> Iterator[None]:
    """Call `act` with each key, without Enter, while the context is open. Ctrl-C stays a signal."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    loop = asyncio.get_running_loop()
    tty.setcbreak(terminal)
    loop.add_reader(terminal, _read_available_keys, terminal, act)
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _read_available_keys(terminal: int, act: Callable[[str], None]) -> None:
    for key in os.read(terminal, 64).decode(errors="ignore"):
        act(key)
