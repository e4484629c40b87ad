"""canary verify: explore a policy with every fault at every step, and print the broken invariants.

The command verifies the user's own policy, or a table of strategies and situations. It prints each violation as a
program: the shortest schedule that leads to it. Promises of the user come from a Python file, which it runs.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from itertools import groupby
from multiprocessing import get_context
from queue import Empty
from typing import TYPE_CHECKING, Any

from attrs import frozen

from canarycore.policy import Scenario, describe_policy
from canarycore.simulation import Promise
from canarycore.verification import (
    LEAVABLE,
    SITUATIONS,
    STRATEGIES,
    Trial,
    VerificationReport,
    trial_as_written,
    verify,
)
from canarycore.verification import trial as trial_of
from canarycore.verification import trials as all_trials
from canarycore_cli.console import OK, TROUBLE, BadInput, Json, err, out, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.queues import Queue
    from pathlib import Path

    from rich.console import Console

    from canarycore import Rollout

    Search = Callable[..., VerificationReport]

VIOLATED = 4
"""The exit code when an invariant does not hold."""

_POLL = 0.1
"""Seconds between reads of the workers' progress."""


@frozen(kw_only=True)
class PromiseFile:
    """The promises of a Python file."""

    promises: tuple[Promise, ...] = ()
    """The promises, in the order of the file."""
    scenario: Scenario | None = None
    """The scenario of the file; None where it has none."""


def run(
    rollout: Rollout | None,
    *,
    strategy: str,
    situation: str,
    faults: int,
    jobs: int,
    as_json: bool,
    promise_file: Path | None = None,
    without: Sequence[str] = (),
) -> int:
    """Verify a policy, print the result, and return the exit code.

    Args:
        rollout: The policy; None for the table of strategies and situations.
        strategy: The only strategy of the table; empty for all.
        situation: The only situation of the table; empty for all.
        faults: The greatest number of faults in one schedule.
        jobs: The number of processes; 0: one per core.
        as_json: Whether to print JSON.
        promise_file: The Python file with promises to check, or None.
        without: Names of faults, of actions of others, and of situations to leave out.
    """
    if promise_file is not None and rollout is None:
        raise BadInput("--promise: found no MANIFEST, expected one whose policy keeps the promises")
    types, situations = _left_out(without)
    own = PromiseFile() if promise_file is None else load_promises(promise_file)
    if rollout is None:
        trials = [trial for trial in _select(strategy, situation) if trial.situation not in situations]
    else:
        trials = [trial_as_written(rollout) if own.promises else trial_of(rollout)]
    if not trials:
        raise BadInput("--without: found all situations, expected to leave one")
    search = partial(
        verify, faults=faults, promises=own.promises, scenario=own.scenario, without=types, clock=time.perf_counter
    )
    console = out()
    if rollout is not None and not as_json:
        console.print(describe_policy(rollout), style="bold", markup=False)
    started = time.monotonic()
    reports = list(_verify_all(trials, search, jobs or os.cpu_count() or 1, print_json if as_json else None))
    seconds = time.monotonic() - started
    if as_json:
        print_json(_totals(reports, faults, seconds))
    else:
        _print_table(console, reports, seconds)
        _print_violations(console, reports)
    names = {violation.name for report in reports for violation in report.violations}
    if names == {"promise"}:
        return TROUBLE
    return VIOLATED if names else OK


def _select(strategy: str, situation: str) -> list[Trial]:
    for option, name, names in (("--strategy", strategy, STRATEGIES), ("--situation", situation, SITUATIONS)):
        if name and name not in names:
            raise BadInput(f"{option} {name}: expected one of {'; '.join(names)}")
    return [trial for trial in all_trials() if strategy in {"", trial.strategy} and situation in {"", trial.situation}]


def _left_out(names: Sequence[str]) -> tuple[tuple[type, ...], frozenset[str]]:
    """Return the types and the situations of these names. Raises BadInput for another name."""
    types = {kind.__name__: kind for kind in LEAVABLE}
    for name in names:
        if name not in types and name not in SITUATIONS:
            raise BadInput(f"--without {name}: expected one of {', '.join([*sorted(types), *SITUATIONS])}")
    return tuple(types[name] for name in names if name in types), frozenset(names) & frozenset(SITUATIONS)


def load_promises(path: Path) -> PromiseFile:
    """Run a Python file, and return its promises. Raises BadInput where it cannot be run, or has none."""
    name, option = path.stem, f"--promise {path}"
    spec = spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise BadInput(f"{option}: found no such file, expected a Python file that ends in .py")
    if name in sys.modules:
        raise BadInput(f"{option}: found the name of a module in use, expected another one, such as my_promises.py")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise BadInput(f"{option}: it raised {type(error).__name__}: {error}") from error
    values = list(vars(module).values())
    promises = tuple(value for value in values if isinstance(value, Promise))
    scenarios = [value for value in values if isinstance(value, Scenario)]
    if not promises:
        raise BadInput(f"{option}: found no promise, expected one such as NAME = Promise('at most ...', function)")
    if len(scenarios) > 1:
        raise BadInput(f"{option}: found {len(scenarios)} scenarios, expected at most one")
    return PromiseFile(promises=promises, scenario=scenarios[0] if scenarios else None)


# ------------------------------------------------------------------------------------------------------ running


def _verify_all(
    trials: Sequence[Trial], search: Search, jobs: int, report_json: Callable[[Json], None] | None
) -> Iterator[VerificationReport]:
    """Yield the reports in the order of the trials, and show the progress on a terminal."""
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
        states_by_trial: dict[int, int] = {}

        def watch(number: int, states: int) -> None:
            states_by_trial[number] = states
            bar.update(task, states=sum(states_by_trial.values()))

        with _reports(trials, search, jobs, watch) as reports:
            for report in reports:
                bar.advance(task)
                if report_json is not None:
                    report_json(_report_json(report))
                yield report


@contextmanager
def _reports(
    trials: Sequence[Trial], search: Search, jobs: int, watch: Callable[[int, int], None]
) -> Iterator[Iterator[VerificationReport]]:
    """Verify the trials in this process or in workers, and yield an iterator of their reports."""
    if jobs == 1 or len(trials) == 1:
        yield (search(trial, watch=partial(watch, number)) for number, trial in enumerate(trials))
        return
    context = get_context()
    progress: Queue[tuple[int, int]] = context.Queue()
    with context.Pool(min(jobs, len(trials)), _set_progress_queue, (progress,)) as pool:
        results = pool.imap(_verify, [(number, trial, search) for number, trial in enumerate(trials)])
        yield _poll(results, progress, watch)


def _poll(
    results: Any, progress: Queue[tuple[int, int]], watch: Callable[[int, int], None]
) -> Iterator[VerificationReport]:
    """Yield the workers' reports, and pass on their progress meanwhile."""
    from multiprocessing import TimeoutError as NotYet

    while True:
        try:
            while True:
                watch(*progress.get_nowait())
        except Empty:
            pass
        try:
            yield results.next(timeout=_POLL)
        except NotYet:
            continue
        except StopIteration:
            return


_progress: Queue[tuple[int, int]] | None = None
"""A worker's queue for (number of the trial, number of states)."""


def _set_progress_queue(progress: Queue[tuple[int, int]]) -> None:
    global _progress  # noqa: PLW0603  a pool's initialiser has no other way to hand something to its tasks
    _progress = progress


def _verify(job: tuple[int, Trial, Search]) -> VerificationReport:
    number, trial, search = job

    def watch(states: int) -> None:
        if _progress is not None:
            _progress.put((number, states))

    return search(trial, watch=watch)


# ------------------------------------------------------------------------------------------------------ printing


def _report_json(report: VerificationReport) -> Json:
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
            {"name": violation.name, "text": violation.text, "found": violation.found, "script": violation.script}
            for violation in report.violations
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

    table = Table(box=None, pad_edge=False, collapse_padding=True)  # fits into 80 columns
    table.add_column("", no_wrap=True)
    for name in ("states", "transitions", "schedules", "violations", "per second"):
        table.add_column(name, justify="right", no_wrap=True)
    for strategy, group in groupby(reports, lambda report: report.strategy):
        table.add_row(strategy, style="bold")
        for report in group:
            count = len(report.violations)
            table.add_row(
                f"  {report.situation}",
                f"{report.states:,}",
                f"{report.transitions:,}",
                _format_count(report.schedules),
                Text(f"{count}", "bold red" if count else ""),
                f"{report.rate:,.0f}",
            )
    console.print(table)
    for reduction in dict.fromkeys(reduction for report in reports for reduction in report.trial.reduced):
        console.print(f"verified with {reduction}: longer rollouts repeat the same steps", style="dim", markup=False)
    total = _totals(reports, reports[0].faults, seconds)
    console.print(
        f"at most {total['faults']} faults: {total['states']:,} states, {total['transitions']:,} transitions, "
        f"{_format_count(total['schedules'])} schedules, {total['violations']} violations in {seconds:.1f} s",
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


def _format_count(count: int) -> str:
    return f"{count:,}" if count < 10**7 else f"{count:.1e}"
