"""A session: cases until the time is over, each once, in an order that the seed alone decides."""

from __future__ import annotations

import sys
import time
from collections import Counter
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from tests.fuzz.findings import GROWN, Finding, judge, place, reduce, resident, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fuzz.plane import Plane
    from tests.fuzz.targets import Target

EVERY = 5.0
"""Seconds between lines that tell of the progress."""

WARM = 300
"""Calls before the memory is measured for the first time: modules are imported and caches filled by then."""


@define
class Tally:
    """The results of one target."""

    values: int = 0
    refusals: int = 0
    slowest: float = 0.0
    refused_at: set[str] = field(factory=set)


@frozen(kw_only=True)
class Report:
    """The results of a session."""

    seed: int
    seconds: float
    calls: int
    grown: float
    """MiB that the process holds more than when it was warm."""
    tallies: dict[str, Tally]
    findings: tuple[Finding, ...]
    controller: str = ""
    """The results of the controller's part."""

    def beside(self, plane: Plane) -> Report:
        """The report together with what the controller showed meanwhile."""
        return evolve(self, findings=(*self.findings, *plane.findings.values()), controller=str(plane))


class Session:
    """One run over all targets."""

    def __init__(self, targets: Sequence[Target], *, seed: int, seconds: float, quiet: bool = False) -> None:
        self._targets = targets
        self._seed = seed
        self._seconds = seconds
        self._quiet = quiet
        self._tallies = {target.name: Tally() for target in targets}
        self._findings: dict[str, Finding] = {}
        self._warm = 0.0
        self._told = 0.0

    def run(self) -> Report:
        """Draw and call until the time is over."""
        for target in self._targets:
            target.samples()  # made once: their memory is no growth
        started, calls = time.monotonic(), 0
        weights = [target.weight for target in self._targets]
        for number in count():
            elapsed = time.monotonic() - started
            if elapsed >= self._seconds:
                break
            random = Random(f"{self._seed}/{number}")  # so that each case stands for itself
            if self._targets:
                (target,) = random.choices(self._targets, weights)
                self._try(target, target.draw(random))
            else:
                time.sleep(0.1)  # the controller has the time alone
            calls = number + 1
            if calls == WARM:
                self._warm = resident()
            self._tell(elapsed, calls)
        grown = resident() - self._warm if self._warm else 0.0
        if grown > GROWN:
            self._note(Finding(target="session", signature="memory", about=f"{grown:.0f} MiB more", case=None))
        return Report(
            seed=self._seed,
            seconds=time.monotonic() - started,
            calls=calls,
            grown=grown,
            tallies=self._tallies,
            findings=tuple(self._findings.values()),
        )

    def _try(self, target: Target, case: object) -> None:
        outcome, tally = run(target, case), self._tallies[target.name]
        tally.slowest = max(tally.slowest, outcome.seconds)
        if outcome.error is None:
            tally.values += 1
        else:
            tally.refusals += 1
            tally.refused_at.add(f"{type(outcome.error).__name__} {place(outcome.error)}")
        found = judge(target, case, outcome)
        if found is None:
            return
        if found.signature not in self._findings:
            self._write(f"found: {target.name}: {found.about}")
            found = reduce(target, found)
        self._note(found)

    def _note(self, found: Finding) -> None:
        known = self._findings.get(found.signature)
        self._findings[found.signature] = found if known is None else known.again()

    def _tell(self, elapsed: float, calls: int) -> None:
        if elapsed - self._told < EVERY:
            return
        self._told = elapsed
        left = max(0.0, self._seconds - elapsed)
        self._write(f"{elapsed:5.0f} s, {left:.0f} s left: {calls:,} calls, {len(self._findings)} findings")

    def _write(self, text: str) -> None:
        if not self._quiet:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


def table(report: Report) -> str:
    """The report for a terminal."""
    lines = [f"{'target':<34}{'calls':>9}{'values':>9}{'errors':>9}{'places':>8}{'slowest':>9}"]
    for name, tally in report.tallies.items():
        calls = tally.values + tally.refusals
        lines.append(
            f"{name:<34}{calls:>9,}{tally.values:>9,}{tally.refusals:>9,}{len(tally.refused_at):>8}{tally.slowest:>8.2f}s"
        )
    totals = Counter(finding.target for finding in report.findings)
    lines.append("")
    lines.append(
        f"seed {report.seed}: {report.calls:,} calls in {report.seconds:.0f} s, "
        f"{len(report.findings)} findings in {len(totals)} targets, {report.grown:+.0f} MiB"
    )
    if report.controller:
        lines.append(report.controller)
    return "\n".join(lines)
