"""`python -m bench [NAME…] [--json]`: a table, or one JSON row a line.

Without names the quick cases are measured. `cluster` and `cluster-10000` take minutes, want the machine for themselves,
and have a table of their own; `cluster` needs a control plane (tests/controlplane), which is built once.
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

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench._measure import Row
    from bench.cluster_parts import Figure

CASES = {**_cases.CASES, **ENGINES}
CLUSTERS = {"cluster": "cluster", "cluster-10000": "cluster_10000"}
"""The cases of many Canaries: the module and its function."""


def main() -> None:
    """Measure the cases that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join([*CASES, *CLUSTERS])}")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in {*CASES, *CLUSTERS}]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; expected some of {', '.join([*CASES, *CLUSTERS])}")
    names = given.names or list(CASES)
    rows = (CASES[name]() for name in names if name in CASES)
    figures = (figure for name in names if name in CLUSTERS for figure in _figures(CLUSTERS[name]))
    if given.json:
        told: Iterable[Row | Figure] = chain(rows, figures)
        for one in told:
            print(json.dumps(one.as_dict()), flush=True)
        return
    if CASES.keys() & set(names):
        _print_table(rows)
    if CLUSTERS.keys() & set(names):
        _print_figures(figures)


def _figures(case: str) -> Iterable[Figure]:
    """What such a case measures. It is imported only now: it needs what no other case does."""
    figures: Iterable[Figure] = getattr(import_module(f"bench.{case}"), case)()
    return figures


def _print_table(rows: Iterable[Row]) -> None:
    heading = ("name", "ours", "peer", "peer's", "ratio")
    table = [heading, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _print_figures(figures: Iterable[Figure]) -> None:
    """Line by line, as each takes its time. What else the machine does makes them late: so its load is told."""
    line = "{:66}{:>12}{:>10}{:>10}  {}"
    print(line.format("", "ours", "at most", "Flagger", ""))
    for figure in figures:
        kept = "" if figure.most is None else "kept" if figure.value <= figure.most else "NOT KEPT"
        known = ("" if value is None else f"{value:g}" for value in (figure.most, figure.flagger))
        name = f"{figure.name} ({figure.unit})" if figure.unit else figure.name
        print(line.format(name, f"{_short(figure.value)}", *known, kept).rstrip(), flush=True)
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
