"""The port MetricSource: values from Envoy's own counters of the canary, over the check's window.

    request-success-rate   percent of the canary's requests without a 5xx status
    request-duration       the 99th percentile of the canary's latencies, in milliseconds

Envoy's counters only grow, so the value over a window is the difference of two readings. A loop reads them as often as
the windows need: each window keeps about fifty readings, whatever its length. Mirrored requests count, and so do
requests that found no canary process. Readings from before the deployment of the revision do not count; one follows the
deployment at once, before the first request of the revision.

A check that needs a provider (a template or a query) gets its value from `constants`, or else from `fallback`. Without
either, the answer is an error, never a pass.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore import CheckKind
from canarycore.errors import WorldError
from canarycore.questions import MetricAnswer
from canarycore_local.background import run_in_background
from canarycore_local.envoy.proxy import EnvoySide

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from canarycore import Rollout
    from canarycore.questions import MetricQuestion
    from canarycore_local.envoy.proxy import Envoy, Json
    from canarycore_runtime.ports import MetricSource

_READINGS = 50
_SPARE = 10
_SHORTEST_GAP = 0.05
_LONGEST_GAP = 1.0
_CANARY = rf"cluster\.{EnvoySide.CANARY.value}\.upstream_rq_"
_PATH = f"/stats?format=json&histogram_buckets=detailed&filter=^{_CANARY}(completed|5xx|time)$"
_TAIL = 0.99


@frozen(kw_only=True)
class EnvoyReading:
    """Envoy's counters of the canary at one moment."""

    at: float
    """The time of the reading, in monotonic seconds."""

    revision: str
    """The target's revision."""

    requests: int
    """The number of completed requests."""

    bad: int
    """The number of 5xx responses."""

    latencies: Mapping[tuple[float, float], int]
    """The number of responses that took from `low` to `low + width` milliseconds, by (low, width)."""


class EnvoyMetrics:
    """Metrics from one Envoy. `open_metrics` runs the loop that reads the counters."""

    def __init__(
        self,
        envoy: Envoy,
        revision: Callable[[], str],
        *,
        constants: Mapping[str, float] = {},
        fallback: MetricSource | None = None,
    ) -> None:
        """Create the source.

        Args:
            envoy: The Envoy.
            revision: A function that returns the target's revision.
            constants: The values of metrics that need a provider, by name.
            fallback: The source of all other metrics that need a provider.
        """
        self._envoy = envoy
        self._revision = revision
        self._constants = constants
        self._fallback = fallback
        self._trails: dict[float, deque[EnvoyReading]] = {}

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        """Return the value over the check's window, and the number of requests in it."""
        check = question.check
        if check.kind not in _VALUES:
            return await self._query_provider(rollout, question)
        try:
            now = await self._read()
        except WorldError as error:
            return MetricAnswer(error=str(error))
        past = _since(self._trails.get(check.window, ()), now.at - check.window, question.revision)
        if past is None or now.revision != question.revision or now.requests == past.requests:
            return MetricAnswer()
        return MetricAnswer(value=_VALUES[check.kind](past, now), samples=now.requests - past.requests)

    async def _query_provider(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        name = question.check.name
        if name in self._constants:
            return MetricAnswer(value=self._constants[name])
        if self._fallback is not None:
            return await self._fallback.query(rollout, question)
        return MetricAnswer(
            error=f"found no source of the metric {name} on this machine: give it a value, or a metrics server"
        )

    async def online(self, rollout: Rollout) -> str:
        """Return an error when Envoy or the needed fallback does not answer; otherwise an empty text."""
        try:
            await self._read()
        except WorldError as error:
            return str(error)
        others = [check for check in rollout.checks if check.kind not in _VALUES and check.name not in self._constants]
        return await self._fallback.online(rollout) if others and self._fallback is not None else ""

    async def watch(self, windows: Iterable[float]) -> None:
        """Read the counters as often as `windows` (seconds) need, until cancelled."""
        self._trails = {window: deque(maxlen=_READINGS + _SPARE) for window in windows}
        gaps = {window: max(window / _READINGS, _SHORTEST_GAP) for window in self._trails}
        pause = min([*gaps.values(), _LONGEST_GAP])
        while True:
            try:
                reading = await self._read()
            except WorldError:
                pass  # a query reports it; a gap in the readings does no harm
            else:
                for window, trail in self._trails.items():
                    if not trail or _is_due(reading, trail[-1], gaps[window]):
                        trail.append(reading)
            await self._wait_for_revision(pause)

    async def _wait_for_revision(self, seconds: float) -> None:
        """Wait until the target has another revision, at most for `seconds`."""
        revision, end = self._revision(), time.monotonic() + seconds
        while self._revision() == revision and (left := end - time.monotonic()) > 0:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(min(left, _SHORTEST_GAP))

    async def _read(self) -> EnvoyReading:
        return _parse(await self._envoy.ask(_PATH), self._revision())


@asynccontextmanager
async def open_metrics(metrics: EnvoyMetrics, rollout: Rollout) -> AsyncIterator[EnvoyMetrics]:
    """Read the counters for the rollout's checks while the context is open."""
    async with run_in_background(metrics.watch({check.window for check in rollout.checks})):
        yield metrics


def _parse(stats: Json, revision: str) -> EnvoyReading:
    counters, latencies = {}, {}
    for entry in stats["stats"]:
        if "histograms" in entry:
            for histogram in entry["histograms"].get("details", []):
                latencies = {
                    (bucket["lower_bound"], bucket["width"]): bucket["count"] for bucket in histogram["totals"]
                }
        else:
            counters[entry["name"].rpartition("_")[2]] = entry["value"]
    return EnvoyReading(
        at=time.monotonic(),
        revision=revision,
        requests=counters.get("completed", 0),
        bad=counters.get("5xx", 0),
        latencies=latencies,
    )


def _is_due(reading: EnvoyReading, last: EnvoyReading, gap: float) -> bool:
    """Whether a trail needs this reading: its gap has passed, or the revision has changed."""
    return reading.at >= last.at + gap or reading.revision != last.revision


def _since(trail: Iterable[EnvoyReading], start: float, revision: str) -> EnvoyReading | None:
    """Return the last reading of this revision before `start`, or else its first one after it."""
    last = None
    for reading in trail:
        if reading.revision == revision:
            if last is not None and reading.at > start:
                break
            last = reading
    return last


def _success_rate(past: EnvoyReading, now: EnvoyReading) -> float:
    requests = now.requests - past.requests
    return 100.0 * (requests - (now.bad - past.bad)) / requests


def _duration(past: EnvoyReading, now: EnvoyReading) -> float | None:
    new = {span: count - past.latencies.get(span, 0) for span, count in now.latencies.items()}
    rank, responses = _TAIL * sum(new.values()), 0
    for (low, width), count in sorted(new.items()):
        if count and responses + count >= rank:
            return low + width * (rank - responses) / count
        responses += count
    return None


_VALUES: dict[CheckKind, Callable[[EnvoyReading, EnvoyReading], float | None]] = {
    CheckKind.SUCCESS_RATE: _success_rate,
    CheckKind.DURATION: _duration,
}
