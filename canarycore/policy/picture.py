"""Four curves of a policy, as one picture, and lines over the cells of a sweep.

    figure = draw(rollout, scenario)
    save(figure, Path("policy.png"))        or .html: a page without other files
    figure = draw_sweep(cells, "new.error_rate", "p_rollback", by="threshold")

The four curves of `draw`:

    the share of users on the new version over time      the failed checks over time
    the probability of a rollback by the error rate      users' bad requests by the traffic

With `Scenario.pods` two curves more lie below: the ready pods of both sides, and the load of a ready pod.

The curves over time show runs of the reference engine. The probability of a rollback is exact where the Markov chain
covers the policy. Otherwise it is sampled, like the bad requests, by the vectorised engine, or by the reference engine
where that one does not cover the policy.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from io import StringIO
from math import inf
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from canarycore._spec import CheckKind
from canarycore.errors import Problem, WrongValue
from canarycore.policy import exact
from canarycore.policy._summary import Outcome
from canarycore.policy.sampled import simulate, sweep
from canarycore.text import nearest, shorten

try:
    import matplotlib as mpl
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator
except ModuleNotFoundError as _missing:  # pragma: no cover - only without the extra
    raise ModuleNotFoundError(
        "pictures need NumPy and Matplotlib: pip install 'canarycore[simulation]'", name=_missing.name
    ) from _missing

from canarycore.policy import vector

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from canarycore._spec import Rollout
    from canarycore.policy._evaluation._sweep import Sweep
    from canarycore.policy._pods import PodLoad
    from canarycore.policy._scenario import Scenario
    from canarycore.policy.sampled import RunEvent

SUFFIXES = (".html", ".png")

CURVE_RUNS = 300
"""Number of runs of the reference engine for the curves over time."""

_MOMENTS, _POINTS, _FEW_POINTS = 240, 61, 13
_RUNS, _FEW_RUNS = 4000, 300
_NEW, _BAD, _REST = "#0072b2", "#d55e00", "#5f6368"


_STYLE: Any = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"}


def draw(rollout: Rollout, scenario: Scenario, *, seed: int = 0, title: str = "") -> Figure:
    """Draw a policy in a scenario; the same arguments give the same picture."""
    with mpl.rc_context(_STYLE):
        rows = 2 if scenario.pods is None else 3
        figure = Figure(figsize=(12.8, 4.2 * rows), layout=ConstrainedLayoutEngine(h_pad=0.14, w_pad=0.1))
        figure.suptitle(title or rollout.full_name, fontsize=13)
        (over_time, failed), (characteristic, harm), *below = figure.subplots(rows, 2)
        curves = _run_curves(rollout, scenario, seed)
        _draw_share(over_time, curves)
        _draw_failed(failed, curves, rollout)
        _draw_characteristic(characteristic, rollout, scenario, seed)
        _draw_harm(harm, rollout, scenario, seed)
        for ready, load in below:
            _draw_ready(ready, curves)
            _draw_load(load, curves)
        for axes in figure.axes:
            axes.grid(visible=True, color="#e4e6e8", linewidth=0.8)
            axes.set_axisbelow(True)
    return figure


def draw_sweep(cells: Sweep, across: str, column: str, *, by: str = "", title: str = "") -> Figure:
    """Draw a column of a sweep over the values of a path, with its intervals as bands.

    Args:
        cells: The cells. All paths but `across` and `by` have one value in them.
        across: The path whose values are the horizontal axis.
        column: A figure of `Evaluation.to_row`, such as "p_rollback" or "p95_minutes".
        by: The path with a line for each value; "" for one line.
        title: The title of the picture.

    Raises WrongValue for an unknown name, and where several cells share a point of a line.
    """
    lines = _lines(cells, across, column, by)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 4.6), layout=ConstrainedLayoutEngine(h_pad=0.14, w_pad=0.1))
        figure.suptitle(title or column, fontsize=13)
        axes = figure.subplots()
        for value, points in lines.items():
            places, heights, lows, highs = zip(*points, strict=True)
            (line,) = axes.plot(places, heights, marker="o", label=f"{by} {value}" if by else None)
            low, high = (np.where(np.isfinite(bound), bound, heights) for bound in (np.array(lows), np.array(highs)))
            axes.fill_between(places, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set(xlabel=across, ylabel=column)
        axes.grid(visible=True, color="#e4e6e8", linewidth=0.8)
        axes.set_axisbelow(True)
        if by:
            axes.legend(framealpha=0.85, edgecolor="none")
    return figure


def _lines(cells: Sweep, across: str, column: str, by: str) -> dict[str, list[tuple[Any, float, float, float]]]:
    """Return the points of each line: its place, the value, and the ends of its interval."""
    paths, columns = list(cells.cells[0].point), list(cells.cells[0].evaluation.to_row())
    columns = [name for name in columns if f"{name}_low" in columns]
    for argument, name, known in (("across", across, paths), ("column", column, columns), ("by", by, ["", *paths])):
        if name not in known:
            near = nearest(name, known)
            remedy = f"Did you mean {near!r}?" if near else f"The names are {', '.join(filter(None, known))}."
            raise WrongValue(_problem(argument, shorten(name), "a name of the sweep", remedy))
    lines: dict[str, list[tuple[Any, float, float, float]]] = {}
    for row in cells.to_rows():
        place = row[across] if isinstance(row[across], int | float) else str(row[across])
        points = lines.setdefault(str(row[by]) if by else "", [])
        if any(place == other for other, *_ in points):
            remedy = "Draw a Sweep of the cells with one value of each other path."
            raise WrongValue(_problem("cells", f"two cells at {across} {place}", "one cell at each point", remedy))
        points.append((place, row[column], row[f"{column}_low"], row[f"{column}_high"]))
    return lines


def _problem(path: str, found: str, expected: str, remedy: str) -> Problem:
    return Problem(path=path, found=found, expected=expected, remedy=remedy, rule="picture")


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, or an HTML page with the picture. Raise ValueError for any other suffix."""
    if path.suffix == ".png":
        figure.savefig(path, dpi=130)
    elif path.suffix == ".html":
        path.write_text(_page(figure), encoding="utf-8")
    else:
        raise ValueError(f"{path.name}: found {path.suffix or 'no suffix'}, expected {' or '.join(SUFFIXES)}")


def _page(figure: Figure) -> str:
    drawn = StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(drawn, format="svg")
    svg = drawn.getvalue()
    title = escape(figure.get_suptitle())
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        "<style>body { margin: 1rem; background: #fff } svg { max-width: 100%; height: auto }</style>\n"
        f"{svg[svg.index('<svg') :]}</html>\n"
    )


# --------------------------------------------------------------------------------------------------------- over time


@frozen(eq=False)
class _RunCurves:
    """Runs over time, a row per run."""

    minutes: NDArray[Any]
    """Times."""
    shares: NDArray[Any]
    """Share of users on the new version (percent)."""
    failed: NDArray[Any]
    """Failed checks so far."""
    outcomes: tuple[Outcome, ...]
    """Outcome of each run."""
    ready: dict[str, NDArray[Any]]
    """Ready pods by side; empty where the scenario has no pods."""
    loads: dict[str, NDArray[Any]]
    """Load of a ready pod by side (percent of its capacity); empty where the scenario has no pods."""


_SIDES = {"primary": "#5f6368", "canary": "#0072b2"}
"""The colours of the sides."""


def _run_curves(rollout: Rollout, scenario: Scenario, seed: int) -> _RunCurves:
    events: list[list[RunEvent]] = [[] for _ in range(CURVE_RUNS)]
    loads: list[list[PodLoad]] = [[] for _ in range(CURVE_RUNS)]
    runs = [
        simulate(rollout, scenario, f"{seed}/{number}", on_event=events[number].append, on_load=loads[number].append)
        for number in range(CURVE_RUNS)
    ]
    sides = {} if scenario.pods is None else _SIDES
    ends = [run[-1].until if run else end.seconds for run, end in zip(loads, runs, strict=True)]
    longest = float(np.percentile(ends, 99)) or rollout.interval
    moments = np.linspace(0.0, longest * 1.08, _MOMENTS)
    return _RunCurves(
        moments / 60,
        np.array([_steps(moments, [(event.seconds, 100 * event.share) for event in run]) for run in events]),
        np.array([_steps(moments, [(event.seconds, event.failed) for event in run]) for run in events]),
        tuple(run.outcome for run in runs),
        {
            side: np.array(
                [_steps(moments, [(each.since, getattr(each, side).ready) for each in run]) for run in loads]
            )
            for side in sides
        },
        {
            side: np.array([_steps(moments, [(each.since, _percent(each, side)) for each in run]) for run in loads])
            for side in sides
        },
    )


def _percent(load: PodLoad, side: str) -> float:
    share: float = getattr(load, side).load
    return 100 * share if share < inf else 0.0


def _steps(moments: NDArray[Any], changes: list[tuple[float, float]]) -> NDArray[Any]:
    """Return the value at each moment: the one of the last change before it."""
    times, values = zip((-1.0, 0.0), *changes, strict=True)
    return np.array(values)[np.searchsorted(np.array(times), moments, side="right") - 1]


def _draw_share(axes: Axes, curves: _RunCurves) -> None:
    _bands(axes, curves.minutes, curves.shares, _NEW, steps="steps-post")
    ends = Counter(curves.outcomes)
    outcomes = ", ".join(f"{ends[outcome]} {outcome.value}" for outcome in Outcome if ends[outcome])
    axes.set(
        title=f"Users on the new version ({len(curves.outcomes)} runs: {outcomes})",
        xlabel="minutes since the new revision arrived",
        ylabel="share of users, %",
        ylim=(-3, 103),
        xlim=(0, curves.minutes[-1]),
    )
    axes.legend(loc="upper left", framealpha=0.85, edgecolor="none")


def _draw_failed(axes: Axes, curves: _RunCurves, rollout: Rollout) -> None:
    _bands(axes, curves.minutes, curves.failed, _BAD, steps="steps-post")
    axes.axhline(rollout.threshold, color=_REST, linestyle="--", linewidth=1.2, label="threshold: rolled back")
    axes.set(
        title="Failed checks",
        xlabel="minutes since the new revision arrived",
        ylabel="failed checks so far",
        ylim=(-0.05 * rollout.threshold, 1.25 * rollout.threshold),
        xlim=(0, curves.minutes[-1]),
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper left", ncols=4, fontsize=9, columnspacing=1.2, handlelength=1.6, frameon=False)


def _draw_ready(axes: Axes, curves: _RunCurves) -> None:
    for side, rows in curves.ready.items():
        _draw_side(axes, curves, rows, side)
    axes.set(title="Ready pods", xlabel="minutes since the new revision arrived", ylabel="pods")
    axes.set(xlim=(0, curves.minutes[-1]), ylim=(0, None))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best", framealpha=0.85, edgecolor="none")


def _draw_load(axes: Axes, curves: _RunCurves) -> None:
    for side, rows in curves.loads.items():
        _draw_side(axes, curves, rows, side)
    axes.axhline(100, color=_BAD, linestyle="--", linewidth=1.2, label="capacity: requests above it are lost")
    axes.set(title="Load of a ready pod", xlabel="minutes since the new revision arrived", ylabel="% of its capacity")
    axes.set(xlim=(0, curves.minutes[-1]), ylim=(0, None))
    axes.legend(loc="best", framealpha=0.85, edgecolor="none")


def _draw_side(axes: Axes, curves: _RunCurves, rows: NDArray[Any], side: str) -> None:
    """Draw the median of one side, and the band of nine tenths of the runs."""
    low, middle, high = np.percentile(rows, [5, 50, 95], axis=0)
    axes.fill_between(curves.minutes, low, high, color=_SIDES[side], alpha=0.2, linewidth=0, step="post")
    axes.plot(curves.minutes, middle, color=_SIDES[side], linewidth=2, drawstyle="steps-post", label=side)


def _bands(axes: Axes, across: NDArray[Any], rows: NDArray[Any], colour: str, *, steps: str = "default") -> None:
    """Draw the median, and bands of half and of nine tenths of the runs. steps: Matplotlib's drawing style."""
    fill: Any = None if steps == "default" else "post"
    low, quarter, middle, three_quarters, high = np.percentile(rows, [5, 25, 50, 75, 95], axis=0)
    axes.fill_between(across, low, high, color=colour, alpha=0.15, linewidth=0, step=fill, label="90% of runs")
    axes.fill_between(
        across, quarter, three_quarters, color=colour, alpha=0.3, linewidth=0, step=fill, label="50% of runs"
    )
    axes.plot(across, middle, color=colour, linewidth=2, drawstyle=steps, label="median")


# ----------------------------------------------------------------------------------------------- what if: error rates


def _draw_characteristic(axes: Axes, rollout: Rollout, scenario: Scenario, seed: int) -> None:
    """Draw the operating characteristic: the probability of a rollback by the true error rate."""
    truth, widest = scenario.new.error_rate, _widest(rollout, scenario)
    is_exact = not exact.find_gap(rollout, scenario)
    rates = np.linspace(0.0, widest, _POINTS if is_exact else _FEW_POINTS)
    chances = [_p_rollback(rollout, _at_rate(scenario, rate), seed, is_exact=is_exact) for rate in rates]
    here = _p_rollback(rollout, scenario, seed, is_exact=is_exact)
    axes.plot(100 * rates, 100 * np.array(chances), color=_BAD, linewidth=2, marker="" if is_exact else "o")
    for allowed in _bounds(rollout):
        axes.axvline(100 * allowed, color=_REST, linestyle=":", linewidth=1.2, label=f"the check allows {allowed:.2%}")
    label = f"this scenario: {truth:.2%} bad, {here:.1%} rolled back"
    axes.plot([100 * truth], [100 * here], "o", color=_REST, markersize=8, clip_on=False, label=label)
    axes.set(
        title=f"Probability of a rollback ({'exact' if is_exact else 'sampled'})",
        xlabel="true error rate of the new version, %",
        ylabel="probability of a rollback, %",
        ylim=(-3, 103),
        xlim=(0, 100 * widest),
    )
    axes.legend(loc="lower right" if chances[-1] > 0.5 else "upper right", framealpha=0.85, edgecolor="none")


def _widest(rollout: Rollout, scenario: Scenario) -> float:
    """Return the greatest error rate of the curve."""
    bounds = _bounds(rollout)
    return min(max(2.5 * max(bounds, default=0.02), 1.25 * scenario.new.error_rate, 0.005), 1.0)


def _bounds(rollout: Rollout) -> list[float]:
    """Return the error rates that success-rate checks allow."""
    checks = (check for check in rollout.checks if check.kind is CheckKind.SUCCESS_RATE)
    return sorted({1.0 - check.minimum / 100.0 for check in checks if check.minimum is not None})


def _at_rate(scenario: Scenario, rate: float) -> Scenario:
    return evolve(scenario, new=evolve(scenario.new, error_rate=float(rate)))


def _p_rollback(rollout: Rollout, scenario: Scenario, seed: int, *, is_exact: bool) -> float:
    if is_exact:
        return exact.solve(rollout, scenario).p_rollback
    outcomes = _sampled(rollout, scenario, seed)[1]
    return outcomes.count(Outcome.ROLLED_BACK) / len(outcomes)


def _sampled(rollout: Rollout, scenario: Scenario, seed: int) -> tuple[list[int], list[Outcome]]:
    """Return users' bad requests and the outcome of each run."""
    is_vector = not vector.find_gap(rollout, scenario)
    runs = (
        vector.simulate(rollout, scenario, runs=_RUNS, seed=seed).runs()
        if is_vector
        else sweep(rollout, scenario, runs=_FEW_RUNS, seed=seed)
    )
    pairs = [(run.bad_requests, run.outcome) for run in runs]
    return [bad for bad, _ in pairs], [outcome for _, outcome in pairs]


# --------------------------------------------------------------------------------------------------- what if: traffic


def _draw_harm(axes: Axes, rollout: Rollout, scenario: Scenario, seed: int) -> None:
    """Draw users' bad requests by traffic, from a tenth of the scenario's to ten times of it."""
    middle = scenario.rps or 10.0
    traffic = np.geomspace(middle / 10, middle * 10, _FEW_POINTS)
    rows = np.array([_sampled(rollout, evolve(scenario, rps=float(rps)), seed)[0] for rps in traffic]).T
    _bands(axes, traffic, rows, _NEW)
    axes.set_xscale("log")
    if np.percentile(rows, 5, axis=0).min() > 0:
        axes.set_yscale("log")
    axes.axvline(middle, color=_REST, linestyle=":", linewidth=1.2, label="this scenario")
    for axis in (axes.xaxis, axes.yaxis) if axes.get_yscale() == "log" else (axes.xaxis,):
        axis.set_major_formatter(lambda value, _place: f"{value:,g}" if value < inf else "")
    axes.set(
        title="Users' bad requests, from arrival to end",
        xlabel="traffic, requests a second",
        ylabel="bad requests in a rollout",
        xlim=(traffic[0], traffic[-1]),
    )
    axes.legend(loc="upper left", framealpha=0.85, edgecolor="none")
