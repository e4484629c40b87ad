"""canary simulate: run a policy on simulated time.

One run prints its event log; many runs print the probabilities of promotion and rollback, times, and harm to users.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore import CheckKind, Explanation, HookType, Judgement, Strategy
from canarycore.errors import FieldError
from canarycore.notices import Channel, Notice
from canarycore.policy import (
    Autoscaler,
    Behaviour,
    Engine,
    NotCovered,
    Outcome,
    PodLoad,
    Pods,
    Run,
    Scenario,
    Summary,
    choose_engine,
    describe_policy,
    evaluate,
    summarise,
    time_limit,
)
from canarycore.policy.sampled import RunEvent, simulate
from canarycore.text import format_timespan
from canarycore_cli.console import (
    BadInput,
    Json,
    count_of,
    err,
    out,
    parse_approval,
    parse_fraction,
    parse_old_and_new,
    parse_pairs,
    print_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from rich.console import Console

    from canarycore import Rollout
    from canarycore.policy import Mean, Share
    from canarycore.policy.exact import Expectation

TEST_RPS = 20.0
"""The assumed load test, in requests per second, where the canary gets no other traffic."""

_QUICK = 2.0
"""Seconds until a progress bar appears."""

_OUTCOME_STYLES = {Outcome.PROMOTED: "bold green", Outcome.ROLLED_BACK: "bold red", Outcome.UNDECIDED: "bold yellow"}


@frozen(kw_only=True)
class PodOptions:
    """The options about pods and autoscalers, as typed."""

    pod_rps: float | None
    pods: str
    primary_autoscaler: str
    canary_autoscaler: str
    scale_interval: float
    scale_down_delay: float


@frozen(kw_only=True)
class Assumptions:
    """The options about the scenario, as typed."""

    error_rate: str
    latency: str
    rps: float
    test_rps: float | None
    match_share: str
    failures: Sequence[str]
    gates: Sequence[str]
    ready_after: float
    pods: PodOptions


@frozen(kw_only=True)
class SimulationOptions:
    """The options about the simulation itself."""

    runs: int
    """The number of runs, at least 1."""

    seed: int
    """The seed of the random draws."""

    jobs: int
    """The number of processes; 0: one per core."""

    engine: Engine
    """The engine for many runs."""

    plot: Path | None
    """The file to draw, or None."""

    as_json: bool
    """Whether to print JSON."""


def show(rollout: Rollout, assumptions: Assumptions, options: SimulationOptions) -> None:
    """Simulate the policy, and print the result. Raises BadInput."""
    scenario = _scenario(rollout, assumptions)
    notes = _assumption_notes(rollout, scenario)
    if options.plot is not None:
        _plot(options.plot, rollout, scenario, options.seed)
    if options.engine is not Engine.EXACT and options.runs == 1:
        _show_run(rollout, scenario, notes, options)
    else:
        _show_estimate(rollout, scenario, notes, options)


def _show_run(rollout: Rollout, scenario: Scenario, notes: list[str], options: SimulationOptions) -> None:
    events: list[RunEvent] = []
    loads: list[PodLoad] = []
    run = simulate(rollout, scenario, f"{options.seed}/0", on_event=events.append, on_load=loads.append)
    loads = join_loads(loads)
    if options.as_json:
        pods: Json = {"pods": [_load_json(load) for load in loads]} if loads else {}
        print_json({**_run_json(run, events, options.seed, notes), **pods})
    else:
        _print_run(rollout, run, events, loads, notes)


def _show_estimate(rollout: Rollout, scenario: Scenario, notes: list[str], options: SimulationOptions) -> None:
    try:
        choice = choose_engine(rollout, scenario, options.engine)
    except NotCovered as error:
        raise BadInput(f"--engine {options.engine.value}: {error}; try --engine auto") from None
    with _executor(options.jobs) as executor:
        result = evaluate(
            rollout,
            scenario,
            choice.engine,
            runs=options.runs,
            seed=options.seed,
            executor=executor,
            watch=lambda runs: _show_progress(runs, options.runs),
        ).details
    seed: Json = {"seed": options.seed} if isinstance(result, Summary) else {}
    notes = [*notes, *([choice.note] if choice.note else [])]
    if options.as_json:
        print_json({**result.to_json(), **seed, "engine": choice.engine.value, "assumptions": notes})
    elif isinstance(result, Summary):
        _print_summary(rollout, result, notes)
    else:
        _print_expected(rollout, result, notes)


def _plot(file: Path, rollout: Rollout, scenario: Scenario, seed: int) -> None:
    """Draw the policy's course into a file. Raises BadInput for an unknown kind of file."""
    if file.suffix not in (".html", ".png"):
        raise BadInput(f"--plot {file}: found {file.suffix or 'no suffix'}, expected a file that ends in .html or .png")
    from canarycore.policy import picture

    picture.save(picture.draw(rollout, scenario, seed=seed, title=describe_policy(rollout)), file)


# --------------------------------------------------------------------------------------------------------- assumptions


def _scenario(rollout: Rollout, assumptions: Assumptions) -> Scenario:
    old_errors, new_errors = parse_old_and_new(
        assumptions.error_rate,
        "--error-rate",
        "two fractions from 0 to 1, OLD,NEW, such as 0.001,0.02 or 0.1%,2%",
        parse_fraction,
    )
    old_p99, new_p99 = (
        parse_old_and_new(
            assumptions.latency, "--latency", "two P99s in milliseconds, OLD,NEW, such as 120,300", _parse_milliseconds
        )
        if assumptions.latency
        else (None, None)
    )
    gates = parse_pairs(assumptions.gates, "--gate", "NAME=approve or NAME=deny", parse_approval)
    failures = parse_pairs(assumptions.failures, "--failures", "NAME=FRACTION, such as load-test=0.05", parse_fraction)
    hooks, checks = {hook.name for hook in rollout.hooks}, {check.name for check in rollout.checks}
    _demand_known("--gate", gates, hooks)
    _demand_known("--failures", failures, hooks | checks)
    return Scenario(
        old=Behaviour(error_rate=old_errors, p99=old_p99),
        new=Behaviour(error_rate=new_errors, p99=new_p99),
        rps=assumptions.rps,
        test_rps=_default_test_rps(rollout) if assumptions.test_rps is None else assumptions.test_rps,
        ready_after=assumptions.ready_after,
        match_share=_parse_match_share(assumptions.match_share),
        gates=gates,
        failures=failures,
        pods=_pods(assumptions.pods),
    )


def _pods(options: PodOptions) -> Pods | None:
    """Return the pods of the scenario, or None without a limit. Raises BadInput."""
    scalers = {"--primary-autoscaler": options.primary_autoscaler, "--canary-autoscaler": options.canary_autoscaler}
    if options.pod_rps is None:
        extra = next((name for name, text in {"--pods": options.pods, **scalers}.items() if text), None)
        if extra is not None:
            raise BadInput(f"{extra}: expected --pod-rps beside it, the requests per second that one pod takes")
        return None
    meaning = "the number of pods of each side, PRIMARY,CANARY, such as 10,10; --pod-rps needs it"
    primary, canary = parse_old_and_new(options.pods, "--pods", meaning, int)
    try:
        primary_scaler, canary_scaler = (_autoscaler(name, text, options) for name, text in scalers.items())
        return Pods(
            capacity=options.pod_rps,
            primary=primary,
            canary=canary,
            primary_scaler=primary_scaler,
            canary_scaler=canary_scaler,
        )
    except FieldError as error:
        raise BadInput(str(error)) from None


def _autoscaler(name: str, text: str, options: PodOptions) -> Autoscaler | None:
    if not text:
        return None
    try:
        least, most, target = text.split(",")
        minimum, maximum, share = int(least), int(most), parse_fraction(target.strip())
    except ValueError:
        raise BadInput(
            f"{name} {text}: expected the fewest pods, the most pods and the desired load of a pod, such as 2,20,60%"
        ) from None
    return Autoscaler(
        minimum=minimum,
        maximum=maximum,
        target=share,
        interval=options.scale_interval,
        scale_down_delay=options.scale_down_delay,
    )


def _parse_milliseconds(text: str) -> float:
    value = float(text.removesuffix("ms"))
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def _parse_match_share(text: str) -> float:
    try:
        return parse_fraction(text)
    except ValueError:
        raise BadInput(f"--match-share {text}: expected a fraction from 0 to 1, such as 0.1 or 10%") from None


def _demand_known(option: str, names: Iterable[str], known: set[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise BadInput(f"{option} {unknown[0]}: the manifest has nothing of that name; it has {listed}")


def _default_test_rps(rollout: Rollout) -> float:
    """Return the load test that owners run where the canary gets no traffic: blue/green without a mirror."""
    ladder = rollout.ladder
    return TEST_RPS if ladder.strategy is Strategy.BLUE_GREEN and not ladder.mirror else 0.0


def _assumption_notes(rollout: Rollout, scenario: Scenario) -> list[str]:
    """Return the assumptions as phrases."""
    own = [check.name for check in rollout.checks if check.kind in (CheckKind.TEMPLATE, CheckKind.QUERY)]
    latency_free = scenario.new.p99 is None and any(check.kind is CheckKind.DURATION for check in rollout.checks)
    denied = [name for name, passed in scenario.gates.items() if not passed]
    gates = f"hooks pass, except {', '.join(denied)}" if denied else "hooks pass"
    return [
        f"{scenario.rps:g} requests per second, evenly spread",
        f"error rates: old {scenario.old.error_rate:.3%}, new {scenario.new.error_rate:.3%}",
        *([f"load tests send the canary {scenario.test_rps:g} requests per second"] if scenario.test_rps else []),
        *(
            [f"pods are ready {format_timespan(scenario.ready_after)} after their start"]
            if scenario.ready_after
            else []
        ),
        *_pod_notes(rollout, scenario),
        *([f"{scenario.match_share:.1%} of requests match the A/B conditions"] if rollout.match else []),
        *([f"{scenario.match_share:.1%} of requests match a step"] if rollout.ladder.has_matches else []),
        *(["the size of the canary changes no answer of a check"] if rollout.ladder.sizes else []),
        *(["response times are in range (change them by --latency)"] if latency_free else []),
        *([f"in range (change them by --failures): {', '.join(own)}"] if own else []),
        *([gates] if any(hook.type is not HookType.EVENT for hook in rollout.hooks) else []),
        *(["the simulation ignores session affinity"] if rollout.affinity else []),
        *(["the Canary is suspended: nothing happens"] if rollout.suspend else []),
    ]


def _pod_notes(rollout: Rollout, scenario: Scenario) -> Iterator[str]:
    pods, policy = scenario.pods, rollout.gradual_return
    if pods is None:
        if policy is not None and policy.follows_capacity:
            yield "pods take any number of requests, so no step waits for capacity (change this by --pod-rps)"
        return
    yield f"a pod takes {pods.capacity:g} requests per second, more are lost; {pods.primary} pods of the primary"
    for name, scaler in (("primary", pods.primary_scaler), ("canary", pods.canary_scaler)):
        if scaler is not None:
            delay = format_timespan(scaler.scale_down_delay)
            yield f"{name} from {scaler.minimum} to {scaler.maximum} pods at {scaler.target:.0%}, down after {delay}"


# ------------------------------------------------------------------------------------------------------------- one run


def _print_run(
    rollout: Rollout, run: Run, events: Sequence[RunEvent], loads: Sequence[PodLoad], notes: Sequence[str]
) -> None:
    console = out()
    console.print(describe_policy(rollout), style="bold", markup=False)
    _print_notes(console, notes)
    lines = [(event.seconds, _format_event(event)) for event in events]
    lines += [(load.since, (_format_load(load), "cyan")) for load in loads]
    for _, line in sorted(lines, key=lambda pair: pair[0]):
        if line:
            console.print(line[0], style=line[1], markup=False)
    _print_outcome(console, rollout, run)


def join_loads(loads: Iterable[PodLoad]) -> list[PodLoad]:
    """Join neighbours in time with the same pods and the same load."""
    joined: list[PodLoad] = []
    for load in loads:
        if joined and evolve(load, since=joined[-1].since) == evolve(joined[-1], until=load.until):
            joined[-1] = evolve(joined[-1], until=load.until)
        else:
            joined.append(load)
    return joined


def _format_load(load: PodLoad) -> str:
    sides = [
        f"{name} {count_of(side.ready, 'ready pod')}" + (f" at {side.load:.0%}" if side.ready else "")
        for name, side in (("primary", load.primary), ("canary", load.canary))
    ]
    lost = f"; {load.lost_rps:,.1f} requests a second lost" if load.lost_rps else ""
    return f"{_format_clock(load.since)}  {'':>22}{', '.join(sides)}{lost}"


def _load_json(load: PodLoad) -> Json:
    return {
        "seconds": load.since,
        "until": load.until,
        "primary_ready": load.primary.ready,
        "primary_load": load.primary.load if load.primary.load < inf else None,
        "canary_ready": load.canary.ready,
        "canary_load": load.canary.load if load.canary.load < inf else None,
        "lost_rps": load.lost_rps,
    }


def _format_event(event: RunEvent) -> tuple[str, str] | None:
    """Return a line and its style; None for an event without a line."""
    if isinstance(event.cause, Notice):
        if event.cause.channel is Channel.ALERT:
            return None
        style = "yellow" if event.cause.type == "Warning" else "none"
        clock = _format_clock(event.seconds)
        return f"{clock}  {event.phase.value:<16} {event.weight:>3}%  {event.cause.text}", style
    judgements = _format_judgements(event.cause)
    return (f"{'':>32}{judgements}", "dim") if judgements else None


def _format_clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:>2}:{minutes % 60:02}:{rest:02}"


def _format_judgements(explanation: Explanation) -> str:
    return ", ".join(_format_judgement(judgement) for judgement in explanation.judgements)


def _format_judgement(judgement: Judgement) -> str:
    answer = judgement.answer
    value = "" if answer.value is None else f" {answer.value:.2f}"
    samples = "" if answer.samples is None else f" of {answer.samples} requests"
    return f"{judgement.check.name}{value}{samples}: {judgement.verdict.value}"


def _print_outcome(console: Console, rollout: Rollout, run: Run) -> None:
    names = {Outcome.PROMOTED: "Promoted", Outcome.ROLLED_BACK: "Rolled back", Outcome.UNDECIDED: "Undecided"}
    cause = f" ({run.reason})" if run.reason else ""
    if run.outcome is Outcome.UNDECIDED:
        cause = f": still waiting after {format_timespan(min(run.seconds, time_limit(rollout)))}"
    console.print(
        f"{names[run.outcome]}{cause} after {format_timespan(run.seconds)}: "
        f"{run.requests} requests, {run.canary_requests} of them served by the new version; "
        f"users saw {run.bad_requests} bad ones" + (f", {run.lost_requests} of them lost" if run.lost_requests else ""),
        style=_OUTCOME_STYLES[run.outcome],
        markup=False,
    )


def _run_json(run: Run, events: Sequence[RunEvent], seed: int, notes: Sequence[str]) -> Json:
    return {
        **summarise([run]).to_json(),
        "seed": seed,
        "outcome": run.outcome.value,
        "reason": run.reason,
        "events": [_event_json(event) for event in events],
        "assumptions": list(notes),
    }


def _event_json(event: RunEvent) -> Json:
    what = event.cause
    details: Json = (
        {"kind": what.channel.value, "type": what.type, "text": what.text}
        if isinstance(what, Notice)
        else {"kind": "decision", "rule": what.rule.name, "text": str(what)}
    )
    return {"seconds": event.seconds, "phase": event.phase.value, "weight": event.weight, **details}


# ----------------------------------------------------------------------------------------------------------- many runs


@contextmanager
def _executor(jobs: int) -> Iterator[Executor | None]:
    """Start processes that share the runs; None for one job. 0 jobs: one per core."""
    count = jobs or os.cpu_count() or 1
    if count == 1:
        yield None
        return
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(count) as executor:
        yield executor


def _show_progress(runs: Iterator[Run], total: int) -> Iterator[Run]:
    """Pass on the runs, and show a progress bar on a terminal after some seconds."""
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
    console.print(describe_policy(rollout), style="bold", markup=False)
    _print_notes(console, notes)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value, interval in _rows(summary):
        table.add_row(name, value, interval)
    console.print(table)
    reasons = ", ".join(f"{reason or 'none'} {count}" for reason, count in summary.reasons)
    console.print(f"{summary.runs} runs; reasons: {reasons}; intervals: 95% confidence", style="dim", markup=False)


def _rows(summary: Summary) -> Iterator[tuple[str, str, str]]:
    yield _fraction_row("promoted", summary.promoted)
    yield _fraction_row("rolled back", summary.rolled_back)
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
    if summary.peak_load.value:
        yield _mean_row("  lost, as no pod took them", summary.lost_requests)
        yield _percent_row("highest load of a pod", summary.peak_load)


def _print_expected(rollout: Rollout, expected: Expectation, notes: Sequence[str]) -> None:
    from rich.table import Table

    console = out()
    console.print(describe_policy(rollout), style="bold", markup=False)
    _print_notes(console, notes)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, chance in (
        ("promoted", expected.p_promotion),
        ("rolled back", expected.p_rollback),
        ("waits forever", expected.p_undecided),
    ):
        if chance or name != "waits forever":
            table.add_row(name, f"{chance:.4%}")
    for name, mean in (
        ("minutes", expected.minutes),
        ("requests served by the new version", expected.canary_requests),
        ("bad requests that users saw", expected.bad_requests),
        ("  more than the old version's", expected.excess_bad_requests),
    ):
        table.add_row(name, f"{mean:,.1f}")
    console.print(table)
    console.print("exact: probabilities and means of a Markov chain, without random draws", style="dim", markup=False)


def _fraction_row(name: str, part: Share) -> tuple[str, str, str]:
    low, high = part.interval
    return name, f"{part.value:.1%}", f"{low:.1%} to {high:.1%}"


def _mean_row(name: str, mean: Mean) -> tuple[str, str, str]:
    interval = mean.interval
    return name, f"{mean.value:,.1f}", "" if interval is None else f"{interval[0]:,.1f} to {interval[1]:,.1f}"


def _percent_row(name: str, mean: Mean) -> tuple[str, str, str]:
    interval = mean.interval
    return name, f"{mean.value:.0%}", "" if interval is None else f"{interval[0]:.0%} to {interval[1]:.0%}"


def _print_notes(console: Console, notes: Sequence[str]) -> None:
    console.print(f"assumed: {'; '.join(notes)}", style="dim", markup=False)
