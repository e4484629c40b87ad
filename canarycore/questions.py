"""Questions: facts that are expensive or have side effects, and their answers.

`decide` returns an `Ask` with every question that is open at this point; the driver fetches the answers concurrently
and calls again. The `key` of a question files its answer. A receiver can also use the key for idempotency: it contains
the revision, the rung, the attempt and the poll, so a repeated call has the same key and a new poll of a gate has
another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from canarycore._record import record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canarycore._spec import Check, Hook
    from canarycore.phases import Phase


@record(kw_only=True)
class HookAnswer:
    """The answer of a webhook."""

    passed: bool
    """Whether the receiver answered with an HTTP status of at most 202."""
    text: str = ""
    """The body of the answer, or the reason why there is none."""


@record(kw_only=True)
class MetricAnswer:
    """The answer of a metric source."""

    value: float | None = None
    """The value in the check's unit. None with an empty `error` means that the source has no data."""
    samples: int | None = None
    """The number of requests behind the value, if the source can tell."""
    error: str = ""
    """The reason why the query failed, or empty."""


@record(kw_only=True)
class SourcesAnswer:
    """The answer about the metric sources."""

    error: str = ""
    """The first source's reason for being offline; empty if all are online."""


Answer = HookAnswer | MetricAnswer | SourcesAnswer


@record
class HookQuestion:
    """A call of a webhook."""

    answer: ClassVar[type[Answer]] = HookAnswer
    key: str
    """The key that files the answer."""
    hook: Hook
    """The webhook."""
    phase: Phase
    """The phase that the call carries."""
    revision: str
    """The revision that the call is about."""


@record
class MetricQuestion:
    """A query of a check's metric."""

    answer: ClassVar[type[Answer]] = MetricAnswer
    key: str
    """The key that files the answer."""
    check: Check
    """The check."""
    revision: str
    """The canary's revision."""


@record
class SourcesQuestion:
    """A probe of the metric sources."""

    answer: ClassVar[type[Answer]] = SourcesAnswer
    key: str
    """The key that files the answer."""
    checks: tuple[Check, ...]
    """The checks whose sources must be online."""


Question = HookQuestion | MetricQuestion | SourcesQuestion


@record
class Ask:
    """The questions that `decide` needs answers to before it can go on."""

    questions: tuple[Question, ...]
    """Independent questions: a driver may ask them concurrently."""

    def unanswered(self, answers: Mapping[str, Answer]) -> tuple[Question, ...]:
        """Return the questions without an answer of the right type among `answers`, which maps keys to answers."""
        return tuple([each for each in self.questions if not isinstance(answers.get(each.key), each.answer)])


def describe_question(question: Question) -> str:
    """Return a phrase for a question, such as `the metric request-success-rate`."""
    match question:
        case HookQuestion():
            return f"the {question.hook.type.value} hook {question.hook.name}"
        case MetricQuestion():
            return f"the metric {question.check.name}"
        case _:
            return "whether the metric sources are online"
