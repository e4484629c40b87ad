"""The results that a status keeps: the last analysis, and the end of the last rollout.

They answer why a rollout halted or rolled back after every event and log line is gone. No decision depends on them, so
the equality of statuses ignores them. Their size is bounded, whatever a policy or a metrics server contains.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from canarycore._record import record
from canarycore._verdicts import Verdict
from canarycore.phases import Reason
from canarycore.text import clip, describe_traffic, escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canarycore._spec import Hook
    from canarycore._verdicts import Judgement
    from canarycore.phases import Phase
    from canarycore.questions import HookAnswer

MOST_RESULTS = 6
"""Most checks of an analysis with a result of their own; those that did not pass come first."""

LONGEST_NAME = 63
"""Most characters of the name of a check, a hook or a revision in a result."""

LONGEST_DETAIL = 120
"""Most characters of an error, or of a hook's answer, in a result."""


@record
class CheckResult:
    """The result of one check."""

    name: str
    """The check's name, shortened to LONGEST_NAME."""
    verdict: Verdict
    """Its verdict."""
    value: float | None = None
    """The value in the check's unit; None if there is none."""
    minimum: float | None = None
    """The least passing value; None without a bound."""
    maximum: float | None = None
    """The greatest passing value; None without a bound."""
    samples: int | None = None
    """The number of requests behind the value; None if unknown."""
    error: str = ""
    """The reason why there is no value, shortened to LONGEST_DETAIL."""
    condition: str = ""
    """The conditions of the check in words, shortened to LONGEST_DETAIL; empty for a check with a range."""

    @property
    def range(self) -> str:
        """The passing values in words, such as `at least 99` or `success if result < 5`; empty without a bound."""
        if self.condition:
            return self.condition
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"at least {self.minimum:g}"
        return "" if self.maximum is None else f"at most {self.maximum:g}"

    def __str__(self) -> str:
        value = "" if self.value is None else f" {self.value:g}"
        details = (
            f"expected {self.range}" if self.range else "",
            "" if self.samples is None else f"{self.samples} requests",
            self.error,
        )
        shown = ", ".join(detail for detail in details if detail)
        return f"{self.name}{value}: {self.verdict.value}" + (f" ({shown})" if shown else "")


@record
class AnalysisResult:
    """The result of one analysis."""

    at: float
    """When it ended, in seconds on the observation's clock."""
    revision: str
    """The revision under test."""
    weight: int = 0
    """Percent of requests to the revision during the analysis, or `tenths` of a percent."""
    iteration: int = 0
    """The iteration of an A/B test or a blue/green rollout."""
    checks: tuple[CheckResult, ...] = ()
    """The results of the checks, at most MOST_RESULTS; those that did not pass come first."""
    omitted: int = 0
    """The number of further checks."""
    hook: str = ""
    """The hook that failed; empty if none did. The metrics are then not asked."""
    answer: str = ""
    """The answer of that hook."""
    tenths: bool = False
    """Whether `weight` is in tenths of a percent."""

    @property
    def failures(self) -> str:
        """The hook and the checks that did not pass, in words; empty if all passed."""
        hook = [f"hook {self.hook} failed ({self.answer})" if self.answer else f"hook {self.hook} failed"]
        checks = [str(check) for check in self.checks if check.verdict is not Verdict.PASS]
        return "; ".join([*(hook if self.hook else ()), *checks])

    def __str__(self) -> str:
        place = f"iteration {self.iteration}" if self.iteration else describe_traffic(self.weight, tenths=self.tenths)
        passed = [str(check) for check in self.checks if check.verdict is Verdict.PASS]
        more = [f"{self.omitted} more checks"] if self.omitted else []
        parts = "; ".join([*([self.failures] if self.failures else []), *passed, *more])
        return f"{format_time(self.at)} revision {self.revision} at {place}: {parts or 'passed'}"


@record
class RolloutEnd:
    """The end of a rollout."""

    at: float
    """When it ended, in seconds on the observation's clock."""
    phase: Phase
    """Succeeded or Failed."""
    reason: Reason
    """The reason; NONE where none is known."""
    revision: str
    """The revision that the rollout was about."""
    detail: str = ""
    """The event that announced a failure, or empty."""
    analysis: AnalysisResult | None = None
    """The last analysis of this rollout; None if there was none."""

    @property
    def failures(self) -> str:
        """The checks that rolled back, in words; empty where something else ended the rollout."""
        return "" if self.analysis is None or self.reason not in _BY_CHECKS else self.analysis.failures

    @property
    def cause(self) -> str:
        """The cause of a failure in words: the event, and the checks that rolled back; empty for a success."""
        return "; ".join(part for part in (self.detail, self.failures) if part)

    def __str__(self) -> str:
        reason = f" ({self.reason.value})" if self.reason.value else ""
        cause = f": {self.cause}" if self.cause else ""
        return f"{format_time(self.at)} revision {self.revision} {self.phase.value}{reason}{cause}"


_BY_CHECKS = frozenset({Reason.CHECKS, Reason.INCONCLUSIVE})


def summarise_analysis(
    answers: Iterable[tuple[Hook, HookAnswer]],
    judgements: Iterable[Judgement],
    *,
    at: float,
    revision: str,
    weight: int,
    iteration: int,
    tenths: bool = False,
) -> AnalysisResult:
    """Return the result of an analysis with these answers of hooks and judgements.

    `at` is the observation's time; `weight`, `iteration` and `tenths` are the rung's.
    """
    failed = next(((hook.name, answer.text) for hook, answer in answers if not answer.passed), ("", ""))
    ordered = sorted(judgements, key=lambda judgement: judgement.verdict is Verdict.PASS)
    return AnalysisResult(
        at,
        _short(revision, LONGEST_NAME),
        weight,
        iteration,
        tuple(map(_summarise, ordered[:MOST_RESULTS])),
        max(0, len(ordered) - MOST_RESULTS),
        _short(failed[0], LONGEST_NAME),
        _short(failed[1], LONGEST_DETAIL),
        tenths,
    )


def summarise_end(
    phase: Phase, reason: Reason, *, at: float, revision: str, detail: str, analysis: AnalysisResult | None
) -> RolloutEnd:
    """Return the end of a rollout, with a bounded detail."""
    return RolloutEnd(at, phase, reason, _short(revision, LONGEST_NAME), _short(detail, 2 * LONGEST_DETAIL), analysis)


def format_time(seconds: float) -> str:
    """Return seconds since 1970 as in Kubernetes (`2026-01-31T12:00:00Z`), or as plain seconds out of its range."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}s"


def _summarise(judgement: Judgement) -> CheckResult:
    check, answer = judgement.check, judgement.answer
    return CheckResult(
        _short(check.name, LONGEST_NAME),
        judgement.verdict,
        answer.value,
        check.minimum,
        check.maximum,
        answer.samples,
        _short(judgement.error, LONGEST_DETAIL),
        _short(str(check.conditions or ""), LONGEST_DETAIL),
    )


def _short(text: str, limit: int) -> str:
    return escape_controls(clip(text, limit), limit) if text else ""
