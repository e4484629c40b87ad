"""The scripted servers of a trace: what a metrics server and webhooks answer, in turn."""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from typing import Any

from attrs import define, field

from canarycore.questions import HookAnswer, MetricAnswer
from canarycore_runtime.http import HttpAnswer, describe_answer
from tests.conformance.trace import PASSES, Json, status_of


def in_turn(answers: list[Any], turn: int) -> Any:
    """The last answer is repeated."""
    return answers[min(turn, len(answers) - 1)]


def as_list(answers: Any) -> list[Any]:
    return answers if isinstance(answers, list) else [answers]


@define
class Prometheus:
    """A metrics server: the first rule whose `match` is in the query answers, each rule in its own turn."""

    rules: tuple[Json, ...]
    _turns: dict[int, int] = field(factory=dict, init=False)

    def ask(self, query: str, *, use_up: bool = True) -> tuple[str, Any]:
        """(match, scripted answer). With `use_up` false the answer stays for the next one who asks."""
        for number, rule in enumerate(self.rules):
            if rule["match"] in query:
                turn = self._turns.get(number, 0)
                if use_up:
                    self._turns[number] = turn + 1
                return rule["match"], in_turn(as_list(rule["answers"]), turn)
        return "", None


def measured(answer: Any, scale: float = 1.0) -> MetricAnswer:
    """A scripted answer as an adapter hands it on: a number times `scale`, no data, or what went wrong."""
    if isinstance(answer, dict):
        status, body = status_of(answer), str(answer.get("body", ""))
        if status >= HTTPStatus.BAD_REQUEST:
            described = describe_answer(HttpAnswer(status=status, text=body, is_textual=True))
            return MetricAnswer(error=f"error response: {described[:1].upper()}{described[1:]}")
        return _parsed(body, scale)
    if answer is None or answer == "empty":
        return MetricAnswer()
    value = float(answer)
    return MetricAnswer() if math.isnan(value) else MetricAnswer(value=value * scale)


def _parsed(body: str, scale: float) -> MetricAnswer:
    try:
        result = json.loads(body)["data"]["result"]
        return measured(result[0]["value"][1] if result else None, scale)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return MetricAnswer(error=f"error unmarshaling result: {error}, '{body}'")


@define
class Hooks:
    """Webhooks by the last part of their URL; one that has no script passes."""

    scripts: dict[str, Any]
    _turns: dict[str, int] = field(factory=dict, init=False)

    def update(self, scripts: dict[str, Any]) -> None:
        """New answers for some hooks; the others go on with theirs."""
        self.scripts = {**self.scripts, **scripts}
        for name in scripts:
            self._turns.pop(name, None)

    def attempts(self, name: str, retries: int) -> list[HookAnswer]:
        """The answers to one call: a server's own trouble is tried again, `retries` times at most."""
        answers, turn = as_list(self.scripts.get(name, 200)) or [200], self._turns.get(name, 0)
        found: list[HookAnswer] = []
        for attempt in range(retries + 1):
            answer = in_turn(answers, turn + attempt)
            found.append(called(name, answer))
            if not _is_worth_a_retry(status_of(answer)):
                break
        return found

    def used(self, name: str, times: int) -> None:
        self._turns[name] = self._turns.get(name, 0) + times


def _is_worth_a_retry(status: int) -> bool:
    return status == HTTPStatus.TOO_MANY_REQUESTS or (
        status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED
    )


def called(name: str, answer: Any) -> HookAnswer:
    """Return the result of a scripted answer for a caller; a bare failing status gets a body that names it."""
    status = status_of(answer)
    body = str(answer.get("body", "")) if isinstance(answer, dict) else f"{name} says {status}"
    return HookAnswer(passed=status <= PASSES, text="" if status <= PASSES else body)
