"""`python -m bench [NAME…] [--json]`: a table, or one JSON row a line."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from bench import _cases
from bench._engines import ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench._measure import Row

CASES = {**_cases.CASES, **ENGINES}


def main() -> None:
    """Measure the cases that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}; all if none is given")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in CASES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; expected some of {', '.join(CASES)}")
    rows = (CASES[name]() for name in given.names or CASES)
    if given.json:
        for row in rows:
            print(json.dumps(row.as_dict()), flush=True)
    else:
        _print_table(rows)


def _print_table(rows: Iterable[Row]) -> None:
    heading = ("name", "ours", "peer", "peer's", "ratio")
    table = [heading, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


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
