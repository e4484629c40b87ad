"""The story of a rehearsal: its events in order, as lines of plain data.

Every line has `seconds` since the start and a `kind`:

    start      canary, policy, versions, speed, rps, address, folder
    remark     text
    decision   phase, rule, explanation (a sentence), detail, checks, hooks, weight, failed_checks
    event      type, text, phase      Flagger's events
    alert      severity, text, phase
    weight     weight, mirrored, matched of the routes that come into force
    split      weight, mirrored, matched, measured (percent that the canary answered), requests, bad
    trouble    text of an error; the rollout tries again

The last line has no kind: outcome, reason, seconds, requests, bad_requests, requests_by_version, splits. `--json`
prints these lines, the trace keeps them, and a terminal shows them as text. They leave out addresses and metadata of
hooks, which may be secrets.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from canarycore.questions import HookAnswer, HookQuestion
from canarycore_local.state_folder import open_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from canarycore import Explanation, Judgement, Rollout, Routes, Status
    from canarycore.notices import Notice
    from canarycore_cli.console import Json
    from canarycore_local.rehearsal import Rehearsal, Script, Split
    from canarycore_runtime import CycleReport

_SETTLING = 1.0
"""Seconds that the last requests of a split may take after its end."""

UNANSWERED = "unanswered"
"""The label of requests that no version answered."""


class Story:
    """A notifier and an observer of a runner's cycles that passes lines to its listeners."""

    def __init__(self, listeners: Sequence[Callable[[Json], None]]) -> None:
        self._listeners = listeners
        self._started = time.monotonic()
        self._splits: list[tuple[Split, float]] = []
        self._finished_splits = 0

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return round(time.monotonic() - self._started, 3)

    def line(self, kind: str, **data: object) -> None:
        """Add a line."""
        self._pass_on({"seconds": self.seconds, "kind": kind, **data})

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        """Add an event or alert (the port Notifier)."""
        del rollout
        severity = notice.severity
        level = {"type": notice.type} if severity is None else {"severity": severity.value}
        self.line(notice.channel.value, **level, text=notice.text, phase=notice.phase.value)

    def cycle(self, report: CycleReport) -> None:
        """Add the decision and the errors of a cycle."""
        decision = report.result.decision
        if decision is not None:
            status, explanation = decision.status, decision.explanation
            self.line(
                "decision",
                phase=status.phase.value,
                rule=explanation.rule.name,
                explanation=str(explanation),
                detail=explanation.detail,
                checks=[_check(judgement) for judgement in explanation.judgements],
                hooks=list(_hooks(explanation)),
                weight=status.rung.weight,
                failed_checks=status.failed_checks,
            )
        for trouble in report.result.errors:
            self.line("trouble", text=str(trouble))

    def add_splits(self, splits: Sequence[Split], *, is_over: bool = False) -> None:
        """Add new weights at once, and each past split once its last requests are answered."""
        now = time.monotonic()
        for split in splits[len(self._splits) :]:
            self._splits.append((split, now))
            self.line("weight", **_routes(split.routes))
        while self._finished_splits < len(self._splits) - (0 if is_over else 1):
            following = self._finished_splits + 1
            if not is_over and now < self._splits[following][1] + _SETTLING:
                return
            self.line("split", **_split(self._splits[self._finished_splits][0]))
            self._finished_splits = following

    def end(self, rehearsal: Rehearsal, status: Status) -> Json:
        """Add the last line, and return it."""
        total = rehearsal.generator.total
        labels = version_labels(rehearsal.script)
        result: Json = {
            "outcome": status.phase.value,
            "reason": status.reason.value,
            "seconds": self.seconds,
            "requests": total.requests,
            "bad_requests": total.bad,
            "requests_by_version": {
                labels.get(revision, revision or UNANSWERED): tally.requests
                for revision, tally in total.revisions().items()
            },
            "splits": [_split(split) for split in rehearsal.splits()],
        }
        self._pass_on(result)
        return result

    def _pass_on(self, line: Json) -> None:
        for listener in self._listeners:
            listener(line)


class Trace:
    """A listener that appends the story to a file, also after a resumption."""

    def __init__(self, path: Path) -> None:
        self._file = open_private(path, "a")

    def __call__(self, line: Json) -> None:
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()


def version_labels(script: Script) -> dict[str, str]:
    """Return the labels of the versions, by revision."""
    return {version.revision: version.label for version in script.versions}


def _check(judgement: Judgement) -> Json:
    answer, check = judgement.answer, judgement.check
    finite = answer.value is not None and abs(answer.value) < float("inf")
    return {
        "name": check.name,
        "verdict": judgement.verdict.value,
        "value": answer.value if finite else None,
        "minimum": check.minimum,
        "maximum": check.maximum,
        **({"condition": str(check.conditions)} if check.conditions is not None else {}),
        "samples": answer.samples,
        "error": judgement.error,
    }


def _hooks(explanation: Explanation) -> Iterator[Json]:
    for question, answer in explanation.answers:
        if isinstance(question, HookQuestion) and isinstance(answer, HookAnswer):
            hook = question.hook
            yield {"name": hook.name, "type": hook.type.value, "passed": answer.passed, "text": answer.text}


def _routes(routes: Routes) -> Json:
    return {"weight": routes.weight, "mirrored": routes.mirrored, "matched": routes.matched}


def _split(split: Split) -> Json:
    measured = split.window.split()
    return {
        **_routes(split.routes),
        "measured": None if measured is None else round(measured, 2),
        "requests": split.window.requests,
        "bad": split.window.bad,
    }
