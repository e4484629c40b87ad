"""canary simulate: what a policy would do, on simulated time.

One run is told as its event log; many as probabilities of promotion and rollback, times, and harm done to users.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore import CheckKind, Explanation, HookType, Judgement, Strategy
from canarycore.notices import Channel, Notice
from canarycore.policy import Behaviour, Outcome, Run, Scenario, summarise, time_limit
from canarycore.policy.sampled import RunEvent, simulate, sweep
from canarycore_cli.console import (
    BadInput,
    Json,
    err,
    format_timespan,
    old_and_new,
    out,
    parse_approval,
    parse_fraction,
    parse_pairs,
    print_json,
)
from canarycore_cli.describe import described, outcome_style
from canarycore_cli.engines import Engine, chosen, plot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from rich.console import Console

    from canarycore import Rollout
    from canarycore.policy import Mean, Share, Summary
    from canarycore.policy.exact import Expectation

TEST_RPS = 20.0
"""Requests a second of an assumed load test, where the canary would get no other traffic."""

_QUICK = 2.0
"""Seconds after which a progress bar appears."""


@frozen(kw_only=True)
class Assumptions:
    """The options as typed."""

    error_rate: str
    latency: str
    rps: float
    test_rps: float | None
    match_share: str
    failures: Sequence[str]
    gates: Sequence[str]
    ready_after: float


@frozen(kw_only=True)
class EngineChoice:
    """How it is done: so many runs, from this seed, by so many processes, with this engine; `plot`: a file to draw."""

    runs: int
    seed: int
    jobs: int
    engine: Engine
    plot: Path | None
    as_json: bool


def show(rollout: Rollout, assumed: Assumptions, how: EngineChoice) -> None:
    """Simulate and print. Raises BadInput."""
    scenario = _scenario(rollout, assumed)
    notes = _notes(rollout, scenario)
    if how.plot is not None:
        plot(how.plot, rollout, scenario, seed=how.seed, title=described(rollout))
    if how.engine is Engine.EXACT:
        _show_exact(rollout, scenario, notes, as_json=how.as_json)
    elif how.runs == 1:
        _show_run(rollout, scenario, notes, how)
    else:
        _show_runs(rollout, scenario, notes, how)


def _show_run(rollout: Rollout, scenario: Scenario, notes: list[str], how: EngineChoice) -> None:
    told: list[RunEvent] = []
    run = simulate(rollout, scenario, f"{how.seed}/0", on_event=told.append)
    if how.as_json:
        print_json(_run_json(run, told, how.seed, notes))
    else:
        _print_run(rollout, run, told, notes)


def _show_runs(rollout: Rollout, scenario: Scenario, notes: list[str], how: EngineChoice) -> None:
    engine, note = chosen(how.engine, rollout, scenario)
    if engine is Engine.VECTOR:
        from canarycore.policy import vector

        summary = vector.simulate(rollout, scenario, runs=how.runs, seed=how.seed).summary()
    else:
        with _executor(how.jobs) as executor:
            runs = sweep(rollout, scenario, runs=how.runs, seed=how.seed, executor=executor)
            summary = summarise(_watched(runs, how.runs))
    notes = [*notes, *([note] if note else [])]
    if how.as_json:
        print_json({**summary.to_json(), "seed": how.seed, "engine": engine.value, "assumptions": notes})
    else:
        _print_summary(rollout, summary, notes)


def _show_exact(rollout: Rollout, scenario: Scenario, notes: list[str], *, as_json: bool) -> None:
    chosen(Engine.EXACT, rollout, scenario)
    from canarycore.policy import exact

    told = exact.solve(rollout, scenario)
    if as_json:
        print_json({**told.to_json(), "engine": Engine.EXACT.value, "assumptions": notes})
    else:
        _print_expected(rollout, told, notes)


# --------------------------------------------------------------------------------------------------------- assumptions


def _scenario(rollout: Rollout, assumed: Assumptions) -> Scenario:
    old_errors, new_errors = old_and_new(
        assumed.error_rate,
        "--error-rate",
        "two shares from 0 to 1, old,new, such as 0.001,0.02 or 0.1%,2%",
        parse_fraction,
    )
    old_p99, new_p99 = (
        old_and_new(assumed.latency, "--latency", "two P99s in milliseconds, old,new, such as 120,300", _milliseconds)
        if assumed.latency
        else (None, None)
    )
    gates = parse_pairs(assumed.gates, "--gate", "NAME=approve or NAME=deny", parse_approval)
    failures = parse_pairs(assumed.failures, "--failures", "NAME=SHARE, such as load-test=0.05", parse_fraction)
    hooks, checks = {hook.name for hook in rollout.hooks}, {check.name for check in rollout.checks}
    _demand_known("--gate", gates, hooks)
    _demand_known("--failures", failures, hooks | checks)
    return Scenario(
        old=Behaviour(error_rate=old_errors, p99=old_p99),
        new=Behaviour(error_rate=new_errors, p99=new_p99),
        rps=assumed.rps,
        test_rps=_needed_test_rps(rollout) if assumed.test_rps is None else assumed.test_rps,
        ready_after=assumed.ready_after,
        match_share=_match_share(assumed.match_share),
        gates=gates,
        failures=failures,
    )


def _milliseconds(text: str) -> float:
    value = float(text.removesuffix("ms"))
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def _match_share(text: str) -> float:
    try:
        return parse_fraction(text)
    except ValueError:
        raise BadInput(f"--match-share {text}: expected a share from 0 to 1, such as 0.1 or 10%") from None


def _demand_known(option: str, given: Iterable[str], known: set[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise BadInput(f"{option} {unknown[0]}: the manifest has nothing of that name; it has {listed}")


def _needed_test_rps(rollout: Rollout) -> float:
    """Blue/green without a mirror sends the canary nothing before all: its owners run a load test."""
    ladder = rollout.ladder
    return TEST_RPS if ladder.strategy is Strategy.BLUE_GREEN and not ladder.mirror else 0.0


def _notes(rollout: Rollout, scenario: Scenario) -> list[str]:
    """What is assumed, in words."""
    own = [check.name for check in rollout.checks if check.kind in (CheckKind.TEMPLATE, CheckKind.QUERY)]
    latency_free = scenario.new.p99 is None and any(check.kind is CheckKind.DURATION for check in rollout.checks)
    denied = [name for name, passed in scenario.gates.items() if not passed]
    gates = f"hooks pass, but for {', '.join(denied)}" if denied else "hooks pass"
    return [
        f"{scenario.rps:g} requests a second, evenly spread",
        f"error rates: old {scenario.old.error_rate:.3%}, new {scenario.new.error_rate:.3%}",
        *([f"load tests send the canary {scenario.test_rps:g} requests a second"] if scenario.test_rps else []),
        *(
            [f"pods are ready {format_timespan(scenario.ready_after)} after their start"]
            if scenario.ready_after
            else []
        ),
        *([f"{scenario.match_share:.1%} of requests match the A/B conditions"] if rollout.match else []),
        *(["response times are in range (--latency says otherwise)"] if latency_free else []),
        *([f"in range unless --failures says otherwise: {', '.join(own)}"] if own else []),
        *([gates] if any(hook.type is not HookType.EVENT for hook in rollout.hooks) else []),
        *(["session affinity is not modelled"] if rollout.affinity else []),
        *(["the Canary is suspended: nothing happens"] if rollout.suspend else []),
    ]


# ------------------------------------------------------------------------------------------------------------- one run


def _print_run(rollout: Rollout, run: Run, told: Sequence[RunEvent], notes: Sequence[str]) -> None:
    console = out()
    console.print(described(rollout), style="bold", markup=False)
    _print_notes(console, notes)
    for happening in told:
        line = _line(happening)
        if line:
            console.print(line[0], style=line[1], markup=False)
    _print_outcome(console, rollout, run)


def _line(happening: RunEvent) -> tuple[str, str] | None:
    what, clock = happening.cause, _clock(happening.seconds)
    if isinstance(what, Notice):
        if what.channel is Channel.ALERT:
            return None
        style = "yellow" if what.type == "Warning" else "none"
        return f"{clock}  {happening.phase.value:<16} {happening.weight:>3}%  {what.text}", style
    measured = _measured(what)
    return (f"{'':>32}{measured}", "dim") if measured else None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:>2}:{minutes % 60:02}:{rest:02}"


def _measured(explanation: Explanation) -> str:
    return ", ".join(_judged(judgement) for judgement in explanation.judgements)


def _judged(judgement: Judgement) -> str:
    answer = judgement.answer
    value = "" if answer.value is None else f" {answer.value:.2f}"
    samples = "" if answer.samples is None else f" of {answer.samples} requests"
    return f"{judgement.check.name}{value}{samples}: {judgement.verdict.value}"


def _print_outcome(console: Console, rollout: Rollout, run: Run) -> None:
    word = {Outcome.PROMOTED: "Promoted", Outcome.ROLLED_BACK: "Rolled back", Outcome.UNDECIDED: "Undecided"}
    why = f" ({run.reason})" if run.reason else ""
    if run.outcome is Outcome.UNDECIDED:
        why = f": still waiting after {format_timespan(min(run.seconds, time_limit(rollout)))}"
    console.print(
        f"{word[run.outcome]}{why} after {format_timespan(run.seconds)}: "
        f"{run.requests} requests, {run.canary_requests} of them served by the new version; "
        f"{run.bad_requests} bad ones seen by users",
        style=outcome_style(run.outcome),
        markup=False,
    )


def _run_json(run: Run, told: Sequence[RunEvent], seed: int, notes: Sequence[str]) -> Json:
    return {
        **summarise([run]).to_json(),
        "seed": seed,
        "outcome": run.outcome.value,
        "reason": run.reason,
        "events": [_happening_json(happening) for happening in told],
        "assumptions": list(notes),
    }


def _happening_json(happening: RunEvent) -> Json:
    what = happening.cause
    told: Json = (
        {"kind": what.channel.value, "type": what.type, "text": what.text}
        if isinstance(what, Notice)
        else {"kind": "decision", "rule": what.rule.name, "text": str(what)}
    )
    place = {"seconds": happening.seconds, "phase": happening.phase.value, "weight": happening.weight}
    return {**place, **told}


# ----------------------------------------------------------------------------------------------------------- many runs


@contextmanager
def _executor(jobs: int) -> Iterator[Executor | None]:
    """Processes to share the runs; None for one job. 0 jobs: one a core."""
    count = jobs or os.cpu_count() or 1
    if count == 1:
        yield None
        return
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(count) as executor:
        yield executor


def _watched(runs: Iterator[Run], total: int) -> Iterator[Run]:
    """The runs, with a progress bar on a terminal when they take their time."""
    from rich.progress import Progress

    console = err()
    started = time.monotonic()
    with Progress(console=console, transient=True, auto_refresh=False, disable=not console.is_terminal) as bar:
        task = bar.add_task("simulating", total=total, visible=False)
        for number, run in enumerate(runs, 1):
            if number % 25 == 0 and time.monotonic() - started > _QUICK:
                bar.update(task, completed=number, visible=True, refresh=True)
            yield run


def _print_summary(rollout: Rollout, summary: Summary, notes: Sequence[str]) -> None:
    from rich.table import Table

    console = out()
    console.print(described(rollout), style="bold", markup=False)
    _print_notes(console, notes)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value, interval in _rows(summary):
        table.add_row(name, value, interval)
    console.print(table)
    reasons = ", ".join(f"{reason or 'none'} {count}" for reason, count in summary.reasons)
    console.print(f"{summary.runs} runs; reasons: {reasons}; intervals: 95% confidence", style="dim", markup=False)


def _rows(summary: Summary) -> Iterator[tuple[str, str, str]]:
    yield _share_row("promoted", summary.promoted)
    yield _share_row("rolled back", summary.rolled_back)
    if summary.undecided:
        yield "undecided", f"{summary.undecided} runs", ""
    yield _mean_row("minutes", summary.minutes)
    yield "  half of the runs within", f"{summary.p50_minutes:.1f}", ""
    yield "  95% of the runs within", f"{summary.p95_minutes:.1f}", ""
    for name, mean in (
        ("minutes to promotion", summary.minutes_to_promotion),
        ("minutes to rollback", summary.minutes_to_rollback),
        ("requests served by the new version", summary.canary_requests),
        ("bad requests that users saw", summary.bad_requests),
        ("  more than the old version's", summary.excess_bad_requests),
    ):
        if mean is not None:
            yield _mean_row(name, mean)


def _print_expected(rollout: Rollout, told: Expectation, notes: Sequence[str]) -> None:
    from rich.table import Table

    console = out()
    console.print(described(rollout), style="bold", markup=False)
    _print_notes(console, notes)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, chance in (
        ("promoted", told.p_promotion),
        ("rolled back", told.p_rollback),
        ("waits for ever", told.p_undecided),
    ):
        if chance or name != "waits for ever":
            table.add_row(name, f"{chance:.4%}")
    for name, mean in (
        ("minutes", told.minutes),
        ("requests served by the new version", told.canary_requests),
        ("bad requests that users saw", told.bad_requests),
        ("  more than the old version's", told.excess_bad_requests),
    ):
        table.add_row(name, f"{mean:,.1f}")
    console.print(table)
    console.print("exact: probabilities and means of a Markov chain, nothing was drawn", style="dim", markup=False)


def _share_row(name: str, part: Share) -> tuple[str, str, str]:
    low, high = part.interval
    return name, f"{part.value:.1%}", f"{low:.1%} to {high:.1%}"


def _mean_row(name: str, mean: Mean) -> tuple[str, str, str]:
    interval = mean.interval
    return name, f"{mean.value:,.1f}", "" if interval is None else f"{interval[0]:,.1f} to {interval[1]:,.1f}"


def _print_notes(console: Console, notes: Sequence[str]) -> None:
    console.print(f"assumed: {'; '.join(notes)}", style="dim", markup=False)
