"""Mutate what others write, and demand that each reader ends as it says it does.

    python -m tests.fuzz                      three minutes
    python -m tests.fuzz --minutes 30         the deep session
    python -m tests.fuzz --only mesh          targets whose names begin so
    python -m tests.fuzz --replay FILE        one finding again

Exit code 1: something was found; each finding is a file in --folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import stamina
import structlog

from tests.fuzz import plane
from tests.fuzz.everything import opened
from tests.fuzz.findings import judge, load, run, save
from tests.fuzz.session import Report, Session, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fuzz.targets import Target


def main(arguments: list[str] | None = None) -> int:
    """Run a session or a replay; returns the exit code."""
    given = _parser().parse_args(arguments)
    _be_silent()
    names = [load(path)[0] for path in given.replay] if given.replay else given.only
    if given.replay and set(names) == {plane.NAME}:
        return max(plane.replay(load(path)[1]) for path in given.replay)
    with opened(names) as targets:
        if given.list:
            sys.stdout.write("".join(f"{name}\n" for name in (*(target.name for target in targets), plane.NAME)))
            return 0
        if given.replay:
            return max(_replay(path, targets) for path in given.replay)
        report = _run(targets, given)
    return _show(report, given.folder, as_json=given.json)


def _run(targets: Sequence[Target], given: argparse.Namespace) -> Report:
    session = Session(targets, seed=given.seed, seconds=given.minutes * 60, quiet=given.quiet)
    if given.only and plane.NAME not in given.only:
        return session.run()
    with plane.running(given.seed) as controller:
        report = session.run()
    return report.beside(controller)


def _be_silent() -> None:
    """Silence the log of the readers: it says something about each case."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    stamina.instrumentation.set_on_retry_hooks([])


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the cases and their order (default: %(default)s)")
    parser.add_argument("--only", action="append", default=[], metavar="TARGET", help="targets whose names begin so")
    parser.add_argument("--folder", type=Path, help="where findings are written (default: a temporary folder)")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--list", action="store_true", help="the targets' names")
    parser.add_argument("--replay", type=Path, action="append", default=[], metavar="FILE", help="a finding again")
    return parser


def _replay(path: Path, targets: Sequence[Target]) -> int:
    name, case = load(path)
    target = next(target for target in targets if target.name == name)
    outcome = run(target, case)
    found = judge(target, case, outcome)
    error = outcome.error
    told = found.about if found else f"well: {type(error).__name__ if error else 'a value'}, {outcome.seconds:.3f} s"
    sys.stdout.write(f"{path}: {told}\n")
    return int(found is not None)


def _show(report: Report, folder: Path | None, *, as_json: bool) -> int:
    files = {}
    if report.findings:
        place = folder or Path(tempfile.mkdtemp(prefix="canarycore-fuzz-"))
        files = {finding.signature: save(finding, place) for finding in report.findings}
    if as_json:
        sys.stdout.write(json.dumps(_data(report, files), indent=1) + "\n")
        return int(bool(report.findings))
    sys.stdout.write(table(report) + "\n")
    for finding in sorted(report.findings, key=lambda one: -one.times):
        sys.stdout.write(f"\n{finding.target}, {finding.times}x: {finding.about}\n")
        sys.stdout.write(f"  python -m tests.fuzz --replay {files[finding.signature]}\n")
    return int(bool(report.findings))


def _data(report: Report, files: dict[str, Path]) -> dict[str, object]:
    return {
        "seed": report.seed,
        "seconds": round(report.seconds, 1),
        "calls": report.calls,
        "grown_mib": round(report.grown, 1),
        "targets": {
            name: {"values": tally.values, "errors": tally.refusals, "slowest": round(tally.slowest, 3)}
            for name, tally in report.tallies.items()
        },
        "findings": [
            {"target": one.target, "about": one.about, "times": one.times, "file": str(files[one.signature])}
            for one in report.findings
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
