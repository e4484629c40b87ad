"""Splunk Observability Cloud: SignalFlow programs over ten times the check's window; the last value counts.

A program is run by HTTP, and its answer is a stream of events: `data` ones have the values, an `error` says why there
are none.
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
"""Windows."""

MESSAGE_LIMIT = 10_000
"""Messages of one stream, empty ones included."""


class SplunkSource(HttpSource):
    """A realm's API (`https://api.us1.signalfx.com`) or stream (`wss://stream.us1.signalfx.com`).

    The secret has `sf_token_key`.
    """

    name = "splunk"

    def checked(self, address: str) -> URL:
        """Both of its hosts are known by either, and both are asked by HTTP."""
        return super().checked(f"http{address[2:]}" if address.startswith(("ws://", "wss://")) else address)

    def credentials(self) -> Iterable[tuple[str, str]]:
        yield "X-SF-Token", self.needed("sf_token_key")

    async def measure(self, query: str, window: float) -> float | None:
        now = int(self.clock() * 1000)
        span = {"start": str(now - int(LOOK_BACK * window * 1000)), "stop": str(now), "immediate": "true"}
        received = await self.ask(
            "v2/signalflow/execute",
            at=self._of("stream"),
            method="POST",
            params=span,
            data=query.encode(),
            headers={"Content-Type": "text/plain"},
            passes=is_ok,
        )
        return self.parsed(received, lambda: _last_value(received.text), expected="a stream of messages with an end")

    async def probe(self) -> None:
        await self.ask("v2/metric", at=self._of("api"), params={"limit": "1"}, passes=is_ok)

    def _of(self, part: str) -> URL:
        """The host of one of a realm's parts; any other host, such as a proxy, has all."""
        first, dot, realm = (self.url.host or "").partition(".")
        return self.url.with_host(f"{part}.{realm}") if first in {"api", "stream"} and dot else self.url


def _last_value(body: str) -> float | None:
    """Return the last value of the only series. A stream that does not tell its end was cut off."""
    series: dict[str, float] = {}
    ended = False
    for event, message in _events(body):
        if event == "error" or message.get("event") == "CHANNEL_ABORT":
            raise SourceError(f"error executing query: {escape_controls(json.dumps(message), EXCERPT_LIMIT)}")
        if event == "data":
            values = {str(point["tsId"]): number(point["value"]) for point in message["data"]}
            series |= {name: value for name, value in values.items() if value is not None}
        ended = ended or message.get("event") == "END_OF_CHANNEL"
    if not ended:
        raise ValueError("no end")
    if len(series) > 1:
        raise SourceError("query returned multiple values")
    return next(iter(series.values()), None)


def _events(body: str) -> Iterator[tuple[str, Any]]:
    """Read server-sent events: blocks of lines `event: …` and `data: …`."""
    for block in body.replace("\r\n", "\n").split("\n\n", MESSAGE_LIMIT)[:MESSAGE_LIMIT]:
        fields = [line.partition(":") for line in block.splitlines()]
        name = "".join(value.strip() for field, _, value in fields if field == "event")
        data = "\n".join(value for field, _, value in fields if field == "data")
        if name and data:
            yield name, parse_json(data)
