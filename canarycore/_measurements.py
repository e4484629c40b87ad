"""Measurements: which checks are due, what their answers add to their tallies, and when a limit is exceeded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from canarycore._limits import PLAIN, CheckLimits, CheckTally
from canarycore._observation import EPSILON
from canarycore._verdicts import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from canarycore._spec import Check, Rollout
    from canarycore._status import Status

PlacedCheck = tuple[str, "Check"]
"""A check with its place, as in `Rollout.checks_by_place`."""


def find_due(rollout: Rollout, status: Status, now: float) -> tuple[PlacedCheck, ...]:
    """Return the checks that take a measurement now; `now` is in seconds."""
    checks = rollout.checks_at(status.rung)
    if not rollout.has_limits:
        return checks
    tallies, begin = _by_check(status.tallies), status.since or 0.0
    return tuple([(place, check) for place, check in checks if _is_due(check.limits, tallies.get(place), begin, now)])


def count_answers(
    status: Status, judgements: Iterable[tuple[str, Judgement]], now: float
) -> tuple[Mapping[str, CheckTally], tuple[CheckTally, ...]]:
    """Return the tallies after these answers: by their check, and in the order for the status."""
    tallies = _by_check(status.tallies)
    for place, judgement in judgements:
        if judgement.check.limits != PLAIN:
            tally = tallies.get(place, CheckTally(check=place, at=now))
            tallies[place] = _count(judgement.check.limits, tally, judgement.verdict, now)
    return tallies, tuple(tallies[place] for place in sorted(tallies))


def find_open(rollout: Rollout, status: Status, tallies: Mapping[str, CheckTally]) -> str:
    """Return the name of a check that still needs measurements on this rung; empty if none does."""
    for place, check in rollout.checks_at(status.rung):
        if not check.dry_run and check.limits != PLAIN and not _is_concluded(check.limits, tallies.get(place)):
            return check.name
    return ""


def exceeds(limits: CheckLimits, tally: CheckTally, verdict: Verdict) -> bool | None:
    """Whether the last answer, of this kind, exceeds its limit; None if the check has no limit for it."""
    found, limit = _count_and_limit(limits, tally, verdict)
    return None if limit is None else found > limit


def describe_excess(judgement: Judgement, tally: CheckTally) -> str:
    """Return the limit that a check exceeded, such as `check latency: 3 failures, at most 2 allowed`."""
    found, limit = _count_and_limit(judgement.check.limits, tally, judgement.verdict)
    return f"check {judgement.check.name}: {found} {_WORDS[judgement.verdict]}, at most {limit} allowed"


_WORDS = {
    Verdict.FAIL: "failures",
    Verdict.NO_DATA: "times no data",
    Verdict.ERROR: "errors in a row",
    Verdict.INCONCLUSIVE: "inconclusive measurements",
}

FOR_A_HUMAN = frozenset({Verdict.NO_DATA, Verdict.INCONCLUSIVE})
"""The verdicts that share `inconclusiveLimit`: only a human can judge them."""


def _count_and_limit(limits: CheckLimits, tally: CheckTally, verdict: Verdict) -> tuple[int, int | None]:
    """Return the number of answers of this kind, and its limit; None for no limit."""
    return {
        Verdict.PASS: (0, None),
        Verdict.FAIL: (tally.failed, limits.failure_limit),
        Verdict.NO_DATA: (tally.inconclusive, limits.inconclusive_limit),
        Verdict.ERROR: (tally.errors, limits.error_limit),
        Verdict.INCONCLUSIVE: (tally.inconclusive, limits.inconclusive_limit),
    }[verdict]


def _by_check(tallies: Iterable[CheckTally]) -> dict[str, CheckTally]:
    return {tally.check: tally for tally in tallies}


def _is_concluded(limits: CheckLimits, tally: CheckTally | None) -> bool:
    if tally is None:
        return False
    return tally.measured >= limits.count or 0 < limits.success_limit <= tally.passes


def _is_due(limits: CheckLimits, tally: CheckTally | None, begin: float, now: float) -> bool:
    if limits == PLAIN:
        return True
    if _is_concluded(limits, tally):
        return False
    return now + EPSILON >= (begin + limits.initial_delay if tally is None else tally.at + limits.every)


def _count(limits: CheckLimits, tally: CheckTally, verdict: Verdict, now: float) -> CheckTally:
    """Return the tally with one more answer. A bad one that the policy's threshold counts concludes nothing."""
    if verdict is Verdict.ERROR:
        return evolve(tally, at=now, errors=tally.errors + 1, passes=0)
    counts = verdict is Verdict.PASS or exceeds(limits, tally, verdict) is not None
    return evolve(
        tally,
        at=now,
        measured=tally.measured + counts,
        failed=tally.failed + (verdict is Verdict.FAIL),
        inconclusive=tally.inconclusive + (verdict in FOR_A_HUMAN),
        errors=0,
        passes=tally.passes + 1 if verdict is Verdict.PASS else 0,
    )
