"""Acme's metrics: a server that answers a query with `{"value": 99.5}`, or with `{}` where it has no data."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from canarycore.foreign import get_value, parse_json
from canarycore.gotemplate import TemplateError, parse
from canarycore.questions import MetricAnswer
from canarycore_runtime.http import METRIC_ANSWER_LIMIT, ExchangeError, describe_answer, exchange, open_session
from canarycore_runtime.mesh import query_variables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from canarycore import Check, Rollout
    from canarycore.gotemplate import Value
    from canarycore.questions import MetricQuestion
    from canarycore_runtime.http import HttpAnswer

    QueryVariables = Callable[[Rollout], Mapping[str, str]]

LONGEST = 5.0
"""The longest query (seconds)."""


class AcmeSource:
    """Queries the server of a MetricTemplate. Its Secret may have a `token`."""

    def __init__(self, session: Any, address: str, token: str, variables: QueryVariables, seconds: float) -> None:
        self._session = session
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._secrets = (token,)
        self._variables = variables
        self._seconds = seconds

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        try:
            answer = await self._get({"query": self._render(rollout, question.check)})
        except (ExchangeError, TemplateError) as error:
            return MetricAnswer(error=str(error))
        data = parse_json(answer.text)
        value = get_value(data, "value")
        if answer.status == 200 and data == {}:
            return MetricAnswer()
        if answer.status != 200 or isinstance(value, bool) or not isinstance(value, int | float):
            return MetricAnswer(error=f"expected a value, {describe_answer(answer, self._secrets)}")
        try:
            return MetricAnswer(value=float(value))
        except OverflowError:
            return MetricAnswer(error="expected a value, found a number that is too large")

    async def online(self, rollout: Rollout) -> str:
        del rollout
        try:
            await self._get({"query": ""})
        except ExchangeError as error:
            return str(error)
        return ""

    def _render(self, rollout: Rollout, check: Check) -> str:
        """Return the query of a template, with the values of its variables."""
        values: dict[str, Value] = {**self._variables(rollout), "interval": check.window_text}
        values["variables"] = dict(check.variables)
        return parse(check.query, {name: partial(values.__getitem__, name) for name in values}).render()

    async def _get(self, parameters: dict[str, str]) -> HttpAnswer:
        return await exchange(
            self._session,
            "GET",
            self._address,
            limit=METRIC_ANSWER_LIMIT,
            timeout=self._seconds,
            headers=self._headers,
            params=parameters,
        )


@asynccontextmanager
async def open_source(
    address: str,
    *,
    secret: Mapping[str, str],
    query_variables: QueryVariables = query_variables,
    seconds: float = LONGEST,
    **_: Any,
) -> AsyncIterator[AcmeSource]:
    """Open a source: the factory of the entry point. It leaves out the settings of a template that it does not need."""
    async with open_session() as session:
        yield AcmeSource(session, address, secret.get("token", ""), query_variables, seconds)
