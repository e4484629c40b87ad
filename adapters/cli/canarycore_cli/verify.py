"""canary verify: every fault at every step of a policy, and whether anything breaks.

A table of strategies and situations, or the user's own policy; each violation as a program, its shortest schedule.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from queue import Empty
from typing import TYPE_CHECKING, Any

from canarycore.verification import SITUATIONS, STRATEGIES, Trial, VerificationReport, verify
from canarycore.verification import trial as trial_of
from canarycore.verification import trials as all_trials
from canarycore_cli.console import OK, BadInput, Json, err, out, print_json
from canarycore_cli.describe import described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.queues import Queue

    from rich.console import Console

    from canarycore import Rollout

VIOLATED = 4
"""Exit code: an invariant does not hold."""

_TICK = 0.1
"""Seconds between two looks at what the workers have done."""


def run(rollout: Rollout | None, *, strategy: str, situation: str, faults: int, jobs: int, as_json: bool) -> int:
    """Verify one policy, or (None) every strategy in every situation, unless one is named. The exit code."""
    trials = _chosen(strategy, situation) if rollout is None else [trial_of(rollout)]
    console = out()
    if rollout is not None and not as_json:
        console.print(described(rollout), style="bold", markup=False)
    started = time.monotonic()
    reports = list(_watched(trials, faults, jobs or os.cpu_count() or 1, print_json if as_json else None))
    seconds = time.monotonic() - started
    violations = sum(len(report.violations) for report in reports)
    if as_json:
        print_json(_totals(reports, faults, seconds))
    else:
        _print_table(console, reports, seconds)
        _print_violations(console, reports)
    return VIOLATED if violations else OK


def _chosen(strategy: str, situation: str) -> list[Trial]:
    for option, name, known in (("--strategy", strategy, STRATEGIES), ("--situation", situation, SITUATIONS)):
        if name and name not in known:
            raise BadInput(f"{option} {name}: expected one of {'; '.join(known)}")
    return [one for one in all_trials() if strategy in {"", one.strategy} and situation in {"", one.situation}]


# ------------------------------------------------------------------------------------------------------ the work


def _watched(
    trials: Sequence[Trial], faults: int, jobs: int, tell: Callable[[Json], None] | None
) -> Iterator[VerificationReport]:
    """The reports in the order of the trials; a bar on terminals tells how far it is and how many states it met."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("verifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[states]:,} states"),
        TimeElapsedColumn(),
    )
    console = err()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(trials), states=0)
        met: dict[int, int] = {}

        def watch(number: int, states: int) -> None:
            met[number] = states
            bar.update(task, states=sum(met.values()))

        with _reports(trials, faults, jobs, watch) as reports:
            for report in reports:
                bar.advance(task)
                if tell is not None:
                    tell(_as_json(report))
                yield report


@contextmanager
def _reports(
    trials: Sequence[Trial], faults: int, jobs: int, watch: Callable[[int, int], None]
) -> Iterator[Iterator[VerificationReport]]:
    """Reports as they come, from this process or from workers."""
    if jobs == 1 or len(trials) == 1:
        yield (
            verify(trial, faults, watch=partial(watch, number), clock=time.perf_counter)
            for number, trial in enumerate(trials)
        )
        return
    context = get_context()
    news: Queue[tuple[int, int]] = context.Queue()
    with context.Pool(min(jobs, len(trials)), _listen_to, (news,)) as pool:
        yield _polled(pool.imap(_verify, [(number, trial, faults) for number, trial in enumerate(trials)]), news, watch)


def _polled(
    results: Any, news: Queue[tuple[int, int]], watch: Callable[[int, int], None]
) -> Iterator[VerificationReport]:
    from multiprocessing import TimeoutError as NotYet

    while True:
        try:
            while True:
                watch(*news.get_nowait())
        except Empty:
            pass
        try:
            yield results.next(timeout=_TICK)
        except NotYet:
            continue
        except StopIteration:
            return


_news: Queue[tuple[int, int]] | None = None
"""Of a worker: where it tells how far it is."""


def _listen_to(news: Queue[tuple[int, int]]) -> None:
    global _news  # noqa: PLW0603  a pool's initialiser has no other way to hand something to its tasks
    _news = news


def _verify(job: tuple[int, Trial, int]) -> VerificationReport:
    number, trial, faults = job

    def watch(states: int) -> None:
        if _news is not None:
            _news.put((number, states))

    return verify(trial, faults, watch=watch, clock=time.perf_counter)


# ------------------------------------------------------------------------------------------------------ telling


def _as_json(report: VerificationReport) -> Json:
    return {
        "strategy": report.strategy,
        "situation": report.situation,
        "faults": report.faults,
        "states": report.states,
        "transitions": report.transitions,
        "schedules": report.schedules,
        "violations": len(report.violations),
        "seconds": round(report.seconds, 3),
        "transitions_per_second": round(report.rate),
        "reduced": list(report.trial.reduced),
        "found": [
            {"name": one.name, "text": one.text, "found": one.found, "script": one.script} for one in report.violations
        ],
    }


def _totals(reports: Sequence[VerificationReport], faults: int, seconds: float) -> Json:
    transitions, busy = sum(report.transitions for report in reports), sum(report.seconds for report in reports)
    return {
        "faults": faults,
        "states": sum(report.states for report in reports),
        "transitions": transitions,
        "schedules": sum(report.schedules for report in reports),
        "violations": sum(len(report.violations) for report in reports),
        "seconds": round(seconds, 3),
        "transitions_per_second_per_core": round(transitions / busy) if busy else 0,
    }


def _print_table(console: Console, reports: Sequence[VerificationReport], seconds: float) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, collapse_padding=True)  # it fits into 80 columns
    table.add_column("", no_wrap=True)
    for name in ("states", "transitions", "schedules", "violations", "a second"):
        table.add_column(name, justify="right", no_wrap=True)
    for strategy, tried in groupby(reports, lambda report: report.strategy):
        table.add_row(strategy, style="bold")
        for report in tried:
            count = len(report.violations)
            table.add_row(
                f"  {report.situation}",
                f"{report.states:,}",
                f"{report.transitions:,}",
                _many(report.schedules),
                Text(f"{count}", "bold red" if count else ""),
                f"{report.rate:,.0f}",
            )
    console.print(table)
    for reduced in dict.fromkeys(one for report in reports for one in report.trial.reduced):
        console.print(f"verified with {reduced}: what goes on for longer looks alike", style="dim", markup=False)
    total = _totals(reports, reports[0].faults, seconds)
    console.print(
        f"at most {total['faults']} faults: {total['states']:,} states, {total['transitions']:,} transitions, "
        f"{_many(total['schedules'])} schedules, {total['violations']} violations in {seconds:.1f} s",
        style="bold red" if total["violations"] else "bold green",
        markup=False,
    )


def _print_violations(console: Console, reports: Sequence[VerificationReport]) -> None:
    for report in reports:
        for violation in report.violations:
            console.print()
            console.print(f"{report.strategy}, {report.situation}: {violation}", style="bold red", markup=False)
            for line in violation.script.splitlines():
                console.print(line, markup=False, soft_wrap=True)


def _many(count: int) -> str:
    return f"{count:,}" if count < 10**7 else f"{count:.1e}"
