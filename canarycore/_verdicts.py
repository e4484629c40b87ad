"""Verdicts: the meaning of a check's answer.

A judge is a pure function from a check and its answer to a `Judgement`. Missing data is never a pass, and a failed
query differs from a bad value. Texts are Flagger's; a judgement formats its own on demand.
"""

from __future__ import annotations

from math import isfinite, isnan
from typing import TYPE_CHECKING

from canarycore import _go_format as _go
from canarycore._enum import TextEnum
from canarycore._record import record
from canarycore._spec import Check, CheckKind, NoData

if TYPE_CHECKING:
    from canarycore._expressions import Conditions
    from canarycore._spec import Rollout
    from canarycore.questions import MetricAnswer


class Verdict(TextEnum):
    """The verdict on an answer: PASS and FAIL judge a value, NO_DATA and ERROR say that there is none.

    INCONCLUSIVE is a value that meets neither condition of its check: only a human can judge it.
    """

    PASS = "pass"  # noqa: S105  no password
    FAIL = "fail"
    NO_DATA = "no data"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"


@record
class Judgement:
    """The verdict of one check on one answer."""

    check: Check
    """The check."""
    verdict: Verdict
    """Its verdict."""
    answer: MetricAnswer
    """The answer; its value is in the check's unit."""

    @property
    def is_thin(self) -> bool:
        """Whether there is a value, but from fewer than `minSamples` requests."""
        value = self.answer.value
        return self.verdict is Verdict.NO_DATA and value is not None and not isnan(value)

    @property
    def is_unclear(self) -> bool:
        """Whether there is a value that decides nothing: it is thin, or inconclusive."""
        return self.verdict is Verdict.INCONCLUSIVE or self.is_thin

    def is_hold(self, no_data: NoData) -> bool:
        """Whether a policy that treats missing data so waits for another answer, and counts no failed check."""
        has_no_value = self.verdict is Verdict.NO_DATA or self.verdict is Verdict.ERROR
        return self.is_unclear or (no_data is NoData.HOLD and has_no_value)

    @property
    def error(self) -> str:
        """The reason why there is no value to judge; empty if the verdict is not ERROR."""
        if self.verdict is not Verdict.ERROR:
            return ""
        value = f"the value is {_go.number(self.answer.value or 0.0)}"
        return self.answer.error or (f"{value}, so a condition has no truth" if self.check.conditions else value)

    def text(self, rollout: Rollout) -> str:
        """Return Flagger's text about a judgement that is no pass."""
        return _TEXTS[self.verdict](self, rollout)

    def __str__(self) -> str:
        value = "" if self.answer.value is None else f" {_go.number(self.answer.value)}"
        error = f" ({self.error})" if self.error else ""
        return f"{self.check.name}{value}: {self.verdict.value}{error}"


def judge(check: Check, answer: MetricAnswer, min_samples: int = 0) -> Judgement:
    """Return the judgement on an answer: a pass needs a value in [minimum, maximum], bounds included, or a condition.

    `min_samples` is the number of requests that a value needs to count as data (`analysis.minSamples`).
    """
    value, conditions = answer.value, check.conditions
    if answer.error:
        return Judgement(check, Verdict.ERROR, answer)
    if conditions is not None and not min_samples and conditions.accept(value):
        return Judgement(check, _decide(conditions, value), answer)
    if value is None:
        return Judgement(check, Verdict.NO_DATA, answer)
    if not isfinite(value):
        return Judgement(check, Verdict.NO_DATA if isnan(value) else Verdict.ERROR, answer)
    if min_samples and (answer.samples is None or answer.samples < min_samples):
        return Judgement(check, Verdict.NO_DATA, answer)
    if conditions is not None:
        return Judgement(check, _decide(conditions, value), answer)
    low, high = check.minimum, check.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        return Judgement(check, Verdict.FAIL, answer)
    return Judgement(check, Verdict.PASS, answer)


def _decide(conditions: Conditions, value: float | None) -> Verdict:
    """Return the verdict of conditions. One without a truth makes an error, or no data where the data are missing."""
    passes = conditions.decide(value)
    if passes is not None:
        return Verdict.PASS if passes else Verdict.FAIL
    if not conditions.is_undefined(value):
        return Verdict.INCONCLUSIVE
    return Verdict.NO_DATA if value is None or isnan(value) else Verdict.ERROR


def _out_of_range(judgement: Judgement, rollout: Rollout) -> str:
    check, value = judgement.check, judgement.answer.value or 0.0
    if check.conditions is not None:
        return f"{_describe_value(judgement, rollout)}: {check.conditions.explain(judgement.answer.value)}"
    low = check.minimum is not None and value < check.minimum
    sign, bound = ("<", check.minimum) if low else (">", check.maximum)
    subject, show = _FORMATS.get(check.kind, (check.name, _plain))
    return f"Halt {rollout.full_name} advancement {subject} {show(value, False)} {sign} {show(bound or 0.0, True)}"


def _inconclusive(judgement: Judgement, rollout: Rollout) -> str:
    return f"{_describe_value(judgement, rollout)} is inconclusive: it meets neither condition"


def _describe_value(judgement: Judgement, rollout: Rollout) -> str:
    value = judgement.answer.value
    shown = "no value" if value is None else _go.number(value)
    return f"Halt {rollout.full_name} advancement {judgement.check.name} {shown}"


def _percent(value: float, is_bound: bool) -> str:
    return f"{_go.number(value) if is_bound else f'{value:.2f}'}%"


def _duration(value: float, is_bound: bool) -> str:
    del is_bound
    return _go.duration(int(value) * _go.NANOSECONDS["ms"])


def _plain(value: float, is_bound: bool) -> str:
    return _go.number(value) if is_bound else f"{value:.2f}"


_FORMATS = {
    CheckKind.SUCCESS_RATE: ("success rate", _percent),
    CheckKind.DURATION: ("request duration", _duration),
}


def _no_data(judgement: Judgement, rollout: Rollout) -> str:
    check = judgement.check
    if judgement.is_thin:
        samples = judgement.answer.samples
        return f"Halt advancement too few requests for metric {check.name}: {samples} of {rollout.min_samples}"
    is_service = rollout.target.kind == "Service" and rollout.target.api_version == "v1"
    silent = (
        f"Halt advancement no values found for {rollout.provider}{':service' * is_service} metric {check.name} "
        f"probably {rollout.target_name} is not receiving traffic"
    )
    return {
        CheckKind.SUCCESS_RATE: f"{silent}: running query failed: no values found",
        CheckKind.DURATION: silent,
        CheckKind.TEMPLATE: f"Halt advancement no values found for custom metric: {check.name}: no values found",
        CheckKind.QUERY: f"Halt advancement no values found for metric: {check.name}",
    }[check.kind]


def _error(judgement: Judgement, rollout: Rollout) -> str:
    del rollout
    check, error = judgement.check, judgement.error
    return {
        CheckKind.SUCCESS_RATE: f"Prometheus query failed: running query failed: {error}",
        CheckKind.DURATION: f"Prometheus query failed: running query failed: {error}",
        CheckKind.TEMPLATE: f"Metric query failed for {check.name}: {error}",
        CheckKind.QUERY: f"Prometheus query failed for {check.name}: {error}",
    }[check.kind]


_TEXTS = {
    Verdict.PASS: lambda judgement, _rollout: f"{judgement.check.name} passed",
    Verdict.FAIL: _out_of_range,
    Verdict.NO_DATA: _no_data,
    Verdict.ERROR: _error,
    Verdict.INCONCLUSIVE: _inconclusive,
}
