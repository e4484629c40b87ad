"""`python -m bench [NAME…] [--json]`: a table, or one JSON row a line.

Without names it measures the quick cases. `cluster` and `cluster-10000` take minutes, need an otherwise idle machine,
and have a table of their own. `cluster` needs a control plane (adapters/planes); the first run builds it.
"""

from __future__ import annotations

import argparse
import json
import os
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING

from bench import _cases
from bench._engines import ENGINES
from bench.loadtester import load_median, load_rate, load_tail
from bench.sweep import sweep_of_600

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench._measure import Row
    from bench.cluster_parts import Figure

LOADS = {"load": load_rate, "load-50%": load_median, "load-90%": load_tail}
"""The load generator beside wrk, if that is installed."""

CASES = {**_cases.CASES, **ENGINES, "sweep": sweep_of_600, **LOADS}
CLUSTERS = {"cluster": "cluster", "cluster-10000": "cluster_10000"}
"""The cases of many Canaries: the module and its function."""


def main() -> None:
    """Measure the named cases, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join([*CASES, *CLUSTERS])}")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in {*CASES, *CLUSTERS}]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; expected some of {', '.join([*CASES, *CLUSTERS])}")
    names = arguments.names or list(CASES)
    rows = (CASES[name]() for name in names if name in CASES)
    figures = (figure for name in names if name in CLUSTERS for figure in _figures(CLUSTERS[name]))
    if arguments.json:
        results: Iterable[Row | Figure] = chain(rows, figures)
        for result in results:
            print(json.dumps(result.as_dict()), flush=True)
        return
    if CASES.keys() & set(names):
        _print_table(rows)
    if CLUSTERS.keys() & set(names):
        _print_figures(figures)


def _figures(case: str) -> Iterable[Figure]:
    """Return the figures of a case. The import happens here, because no other case needs these modules."""
    figures: Iterable[Figure] = getattr(import_module(f"bench.{case}"), case)()
    return figures


def _print_table(rows: Iterable[Row]) -> None:
    heading = ("name", "ours", "peer", "peer's", "ratio")
    table = [heading, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _print_figures(figures: Iterable[Figure]) -> None:
    """Print each figure when it is measured, then the load of the machine: other programs make the figures worse."""
    line = "{:66}{:>12}{:>10}{:>10}  {}"
    print(line.format("", "ours", "at most", "Flagger", ""))
    for figure in figures:
        verdict = "" if figure.most is None else "kept" if figure.value <= figure.most else "NOT KEPT"
        limits = ("" if value is None else f"{value:g}" for value in (figure.most, figure.flagger))
        name = f"{figure.name} ({figure.unit})" if figure.unit else figure.name
        print(line.format(name, f"{_short(figure.value)}", *limits, verdict).rstrip(), flush=True)
    print(f"load of the machine: {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cells(row: Row) -> tuple[str, ...]:
    ours, theirs = (
        (_seconds(row.seconds), _seconds(row.peer_seconds))
        if row.seconds is not None
        else (_rate(row.per_second, row.unit), _rate(row.peer_per_second, row.unit))
    )
    return row.name, ours, row.peer or "", theirs, "" if row.ratio is None else f"{row.ratio:.2f}x"


def _rate(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.0f} {unit}/s"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{1000 * value:.1f} ms"


if __name__ == "__main__":
    main()
