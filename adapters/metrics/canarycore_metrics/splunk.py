"""Splunk Observability Cloud: SignalFlow programs over ten times the check's window. The last value counts.

The answer to a program is a stream of events: `data` has values, `error` has the reason why there are none.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from canarycore.text import escape_controls
from canarycore_metrics.answers import number, parse_json
from canarycore_metrics.source import HttpSource, SourceError, is_ok
from canarycore_runtime.http import EXCERPT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from yarl import URL

LOOK_BACK = 10
"""The time range of a query, in windows of the check."""

MESSAGE_LIMIT = 10_000
"""The most messages of one stream, including empty ones."""


class SplunkSource(HttpSource):
    """A realm's API (`https://api.us1.signalfx.com`) or stream (`wss://stream.us1.signalfx.com`).

    The secret has `sf_token_key`.
    """

    name = "splunk"

    def parse_address(self, address: str) -> URL:
        """Return the address with HTTP for WebSocket; each of the two hosts determines the other."""
        return super().parse_address(f"http{address[2:]}" if address.startswith(("ws://", "wss://")) else address)

    def credentials(self) -> Iterable[tuple[str, str]]:
        yield "X-SF-Token", self.require_credential("sf_token_key")

    async def measure(self, query: str, window: float) -> float | None:
        now = int(self.clock() * 1000)
        span = {"start": str(now - int(LOOK_BACK * window * 1000)), "stop": str(now), "immediate": "true"}
        answer = await self.ask(
            "v2/signalflow/execute",
            at=self._host_of("stream"),
            method="POST",
            params=span,
            data=query.encode(),
            headers={"Content-Type": "text/plain"},
            passes=is_ok,
        )
        return self.parse_answer(answer, lambda: _last_value(answer.text), expected="a stream of messages with an end")

    async def probe(self) -> None:
        await self.ask("v2/metric", at=self._host_of("api"), params={"limit": "1"}, passes=is_ok)

    def _host_of(self, part: str) -> URL:
        """Return the host of a realm's API or stream; any other host, such as a proxy, serves both."""
        first, dot, realm = (self.url.host or "").partition(".")
        return self.url.with_host(f"{part}.{realm}") if first in {"api", "stream"} and dot else self.url


def _last_value(body: str) -> float | None:
    """Return the last value of the only series. Raises ValueError for a stream without its end, which was cut off."""
    series: dict[str, float] = {}
    is_complete = False
    for event, message in _events(body):
        if event == "error" or message.get("event") == "CHANNEL_ABORT":
            raise SourceError(f"error executing query: {escape_controls(json.dumps(message), EXCERPT_LIMIT)}")
        if event == "data":
            values = {str(point["tsId"]): number(point["value"]) for point in message["data"]}
            series |= {name: value for name, value in values.items() if value is not None}
        is_complete = is_complete or message.get("event") == "END_OF_CHANNEL"
    if not is_complete:
        raise ValueError("no end")
    if len(series) > 1:
        raise SourceError("query returned multiple values")
    return next(iter(series.values()), None)


def _events(body: str) -> Iterator[tuple[str, Any]]:
    """Yield server-sent events: blocks of lines `event: …` and `data: …`."""
    for block in body.replace("\r\n", "\n").split("\n\n", MESSAGE_LIMIT)[:MESSAGE_LIMIT]:
        fields = [line.partition(":") for line in block.splitlines()]
        name = "".join(value.strip() for field, _, value in fields if field == "event")
        data = "\n".join(value for field, _, value in fields if field == "data")
        if name and data:
            yield name, parse_json(data)
