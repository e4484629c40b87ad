"""The port MetricSource: what Envoy itself counted of the canary, over the check's window.

    request-success-rate   percent of the canary's requests that were not answered with 5xx
    request-duration       the 99th percentile of the canary's latencies, in milliseconds

Envoy's counters only ever grow, so the value over a window is the difference of two readings. A loop reads them as
often as the windows need: each window keeps about fifty readings, whatever its length. Requests that were mirrored to
the canary count, and so do requests that met no canary process at all. Readings from before the revision in question
was deployed do not.

A check that needs a provider (a template, a query) is answered by `constants` where it is named there, else by
`elsewhere` where there is one, else by an error that says so: never by a pass.
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
from canarycore_local.alongside import alongside
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
    """Envoy's counters of the canary at one moment (monotonic seconds).

    `latencies`: how many answers took from `low` to `low + width` milliseconds, by (low, width).
    """

    at: float
    revision: str
    requests: int
    bad: int
    latencies: Mapping[tuple[float, float], int]


class EnvoyMetrics:
    """Answers from one Envoy. `measuring` gives one that reads.

    revision: tells which revision the target carries. constants: answers to checks, by their name.
    """

    def __init__(
        self,
        envoy: Envoy,
        revision: Callable[[], str],
        *,
        constants: Mapping[str, float] = {},
        elsewhere: MetricSource | None = None,
    ) -> None:
        self._envoy = envoy
        self._revision = revision
        self._constants = constants
        self._elsewhere = elsewhere
        self._trails: dict[float, deque[EnvoyReading]] = {}

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        """The value over the check's window, and how many requests stand behind it."""
        check = question.check
        if check.kind not in _VALUES:
            return await self._ask_elsewhere(rollout, question)
        try:
            now = await self._read()
        except WorldError as error:
            return MetricAnswer(error=str(error))
        past = _since(self._trails.get(check.window, ()), now.at - check.window, question.revision)
        if past is None or now.revision != question.revision or now.requests == past.requests:
            return MetricAnswer()
        return MetricAnswer(value=_VALUES[check.kind](past, now), samples=now.requests - past.requests)

    async def _ask_elsewhere(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        name = question.check.name
        if name in self._constants:
            return MetricAnswer(value=self._constants[name])
        if self._elsewhere is not None:
            return await self._elsewhere.query(rollout, question)
        return MetricAnswer(error=f"{name} is not measured on this machine: give it a value, or a metrics server")

    async def online(self, rollout: Rollout) -> str:
        """Empty when Envoy answers, and the provider elsewhere where it is needed."""
        try:
            await self._read()
        except WorldError as error:
            return str(error)
        others = [check for check in rollout.checks if check.kind not in _VALUES and check.name not in self._constants]
        return await self._elsewhere.online(rollout) if others and self._elsewhere is not None else ""

    async def watch(self, windows: Iterable[float]) -> None:
        """Read as often as `windows` (seconds) need, for ever."""
        self._trails = {window: deque(maxlen=_READINGS + _SPARE) for window in windows}
        gaps = {window: max(window / _READINGS, _SHORTEST_GAP) for window in self._trails}
        pause = min([*gaps.values(), _LONGEST_GAP])
        while True:
            try:
                reading = await self._read()
            except WorldError:
                pass  # whoever asks now is told; a gap in the readings harms nobody
            else:
                for window, trail in self._trails.items():
                    if not trail or _is_due(reading, trail[-1], gaps[window]):
                        trail.append(reading)
            await asyncio.sleep(pause)

    async def _read(self) -> EnvoyReading:
        return _parsed(await self._envoy.ask(_PATH), self._revision())


@asynccontextmanager
async def measuring(metrics: EnvoyMetrics, rollout: Rollout) -> AsyncIterator[EnvoyMetrics]:
    """Metrics that read for the rollout's checks, for as long as the context lasts."""
    async with alongside(metrics.watch({check.window for check in rollout.checks})):
        yield metrics


def _parsed(stats: Json, revision: str) -> EnvoyReading:
    counters, latencies = {}, {}
    for entry in stats["stats"]:
        if "histograms" in entry:
            for histogram in entry["histograms"].get("details", []):
                latencies = {(one["lower_bound"], one["width"]): one["count"] for one in histogram["totals"]}
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
    """Whether it is time for another reading of a trail; with another revision, the counting begins anew."""
    return reading.at >= last.at + gap or reading.revision != last.revision


def _since(trail: Iterable[EnvoyReading], start: float, revision: str) -> EnvoyReading | None:
    """The last reading before `start`, or the first of this revision after it."""
    found = None
    for reading in trail:
        if reading.revision == revision:
            if found is not None and reading.at > start:
                break
            found = reading
    return found


def _success_rate(past: EnvoyReading, now: EnvoyReading) -> float:
    requests = now.requests - past.requests
    return 100.0 * (requests - (now.bad - past.bad)) / requests


def _duration(past: EnvoyReading, now: EnvoyReading) -> float | None:
    new = {span: count - past.latencies.get(span, 0) for span, count in now.latencies.items()}
    rank, seen = _TAIL * sum(new.values()), 0
    for (low, width), count in sorted(new.items()):
        if count and seen + count >= rank:
            return low + width * (rank - seen) / count
        seen += count
    return None


_VALUES: dict[CheckKind, Callable[[EnvoyReading, EnvoyReading], float | None]] = {
    CheckKind.SUCCESS_RATE: _success_rate,
    CheckKind.DURATION: _duration,
}
