"""Questions: what costs something to learn or has side effects, and the answers.

`decide` returns an `Ask` with everything it needs at this point; the driver fetches the answers concurrently and calls
again. An answer is filed under its question's `key`. The key is also the idempotency key a receiver can use: it is made
of the revision, the rung, the attempt and the poll, so a repeated call is recognisable and a new poll of a gate is not
taken for a repeat.
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
    """`passed`: the receiver answered with a status of at most 202. `text`: its body, or why there was no answer."""

    passed: bool
    text: str = ""


@record(kw_only=True)
class MetricAnswer:
    """`value` in the check's unit; None with an empty `error` means that the source has no data.

    `samples`: how many requests stand behind the value, where the source can tell. `error`: why the query failed.
    """

    value: float | None = None
    samples: int | None = None
    error: str = ""


@record(kw_only=True)
class SourcesAnswer:
    """`error` is empty when all sources are online."""

    error: str = ""


Answer = HookAnswer | MetricAnswer | SourcesAnswer


@record
class HookQuestion:
    """Call this webhook, and tell it this phase and revision."""

    answer: ClassVar[type[Answer]] = HookAnswer
    key: str
    hook: Hook
    phase: Phase
    revision: str


@record
class MetricQuestion:
    """Query this check's metric for the canary's revision."""

    answer: ClassVar[type[Answer]] = MetricAnswer
    key: str
    check: Check
    revision: str


@record
class SourcesQuestion:
    """Whether the metric sources of these checks are online."""

    answer: ClassVar[type[Answer]] = SourcesAnswer
    key: str
    checks: tuple[Check, ...]


Question = HookQuestion | MetricQuestion | SourcesQuestion


@record
class Ask:
    """What `decide` needs to know before it can go on; the questions may be put concurrently."""

    questions: tuple[Question, ...]

    def unanswered(self, answers: Mapping[str, Answer]) -> tuple[Question, ...]:
        """Those of the questions that have no answer of the right kind among `answers` (by key)."""
        return tuple([ask for ask in self.questions if not isinstance(answers.get(ask.key), ask.answer)])


def describe_question(question: Question) -> str:
    """Return a phrase for a question, such as `the metric request-success-rate`."""
    match question:
        case HookQuestion():
            return f"the {question.hook.type.value} hook {question.hook.name}"
        case MetricQuestion():
            return f"the metric {question.check.name}"
        case _:
            return "whether the metric sources are online"
