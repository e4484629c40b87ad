"""The traffic generator: open loop, at a constant rate.

The clock decides when a request is due, not the answer to the last one, and latency counts from the due time. So a
service that stalls delays every request that is due meanwhile (no "coordinated omission"). A request that cannot start
because too many are in flight counts as a bad one.

Counts are per responder (`x-canary-version`, `x-canary-revision`) and per **window**. A request belongs to the window
of its start, so a window that opens once routes are in force has the split of these routes.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING

import aiohttp
from attrs import define, field, frozen
from attrs.validators import ge, gt, le

from canarycore_local.background import run_in_background
from canarycore_local.envoy.router import REVISION_HEADER, VERSION_HEADER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

UNANSWERED = ""
"""The side of requests without an answer from the primary or the canary."""

_SMALLEST = 0.0001
_STEP = math.log(1.05)


@frozen(kw_only=True)
class TrafficPlan:
    """The requests to send."""

    rate: float = field(default=100.0, validator=gt(0))
    """Requests per second."""

    path: str = "/"
    """The path and query of ordinary requests."""

    headers: Mapping[str, str] = {}
    """The headers of all requests."""

    share: float = field(default=0.0, validator=[ge(0), le(100)])
    """Percent of requests that match the conditions of an A/B test or a step."""

    matching: Mapping[str, str] = {}
    """The additional headers of matching requests."""

    matching_path: str = "/"
    """The path and query of matching requests."""

    poisson: bool = False
    """Whether requests arrive at random instead of evenly spaced."""

    seed: int = 0
    """The seed of all random draws."""

    timeout: float = field(default=20.0, validator=gt(0))
    """Seconds that a request may take."""

    most_in_flight: int = field(default=2000, validator=gt(0))
    """The greatest number of requests in flight; the generator drops further ones and counts them as bad."""


@frozen(kw_only=True)
class Responder:
    """The process that answered a request."""

    side: str = UNANSWERED
    """`primary`, `canary` or UNANSWERED."""

    revision: str = ""
    """The revision of its endpoint."""


@define
class Tally:
    """The counts of one responder."""

    requests: int = 0
    """All requests."""

    bad: int = 0
    """Requests with status 500 and above, resets, timeouts and drops."""

    latencies: Counter[int] = field(factory=Counter)
    """The number of answers by bucket of latency; each bucket is 5% wider than the one before."""

    def quantile(self, fraction: float) -> float | None:
        """Return the latency (seconds) that `fraction` (0 to 1) of the answers stay below; None without answers."""
        rank, answers = fraction * self.latencies.total(), 0
        for bucket in sorted(self.latencies):
            answers += self.latencies[bucket]
            if answers >= rank:
                return _SMALLEST * math.exp(_STEP * (bucket + 0.5))
        return None

    @property
    def success_rate(self) -> float | None:
        """Percent of good requests; None without requests."""
        return 100.0 * (self.requests - self.bad) / self.requests if self.requests else None

    def count(self, *, bad: bool, latency: float | None) -> None:
        """Count one request. `latency` is in seconds; None without an answer."""
        self.requests += 1
        self.bad += bad
        if latency is not None:
            self.latencies[int(math.log(max(latency / _SMALLEST, 1.0)) / _STEP)] += 1

    def copy(self) -> Tally:
        """Return a copy that later requests do not change."""
        return Tally(self.requests, self.bad, self.latencies.copy())


@frozen(kw_only=True)
class TrafficWindow:
    """The requests that started in one period."""

    label: str
    """The routes in force, for people."""

    tallies: dict[Responder, Tally] = field(factory=dict)
    """The counts by responder."""

    @property
    def requests(self) -> int:
        """All requests."""
        return sum(tally.requests for tally in self.tallies.values())

    @property
    def bad(self) -> int:
        """All bad requests."""
        return sum(tally.bad for tally in self.tallies.values())

    def side(self, side: str) -> Tally:
        """Return the counts of one side, over all its revisions."""
        return _merge(tally for responder, tally in self.tallies.items() if responder.side == side)

    def revisions(self) -> dict[str, Tally]:
        """Return the counts by revision, over both sides; unanswered requests have the revision ""."""
        names = dict.fromkeys(responder.revision for responder in self.tallies)
        return {
            name: _merge(tally for responder, tally in self.tallies.items() if responder.revision == name)
            for name in names
        }

    def split(self) -> float | None:
        """Return the canary's percentage of the answered requests; None without answers."""
        canary, primary = self.side("canary").requests, self.side("primary").requests
        return 100.0 * canary / (canary + primary) if canary + primary else None

    def copy(self) -> TrafficWindow:
        """Return a copy that later requests do not change."""
        return TrafficWindow(
            label=self.label, tallies={responder: tally.copy() for responder, tally in self.tallies.items()}
        )

    def count(self, responder: Responder, *, bad: bool, latency: float | None) -> None:
        """Count one request. `latency` is in seconds; None without an answer."""
        tally = self.tallies.get(responder)
        if tally is None:
            tally = self.tallies[responder] = Tally()
        tally.count(bad=bad, latency=latency)


class Generator:
    """A sender of traffic to `url` between `start` and `stop`. `open_generator` opens one."""

    def __init__(self, session: aiohttp.ClientSession, url: str, traffic: TrafficPlan) -> None:
        self._session = session
        self._url = url
        self._traffic = traffic
        self._random = random.Random(traffic.seed)  # noqa: S311 - no secrets here
        self._in_flight = 0
        self._started = asyncio.Event()
        self._stopped = False
        self._all = TrafficWindow(label="all")
        self._windows = [TrafficWindow(label="start")]

    @property
    def total(self) -> TrafficWindow:
        """All requests so far. The object is live: copy it to keep its counts."""
        return self._all

    @property
    def window(self) -> TrafficWindow:
        """The open window. The object is live: copy it to keep its counts."""
        return self._windows[-1]

    @property
    def windows(self) -> tuple[TrafficWindow, ...]:
        """All windows, in order."""
        return tuple(self._windows)

    @property
    def running(self) -> bool:
        """Whether the generator sends requests."""
        return self._started.is_set() and not self._stopped

    def open_window(self, label: str) -> None:
        """Open a new window for the requests that start from now on."""
        self._windows.append(TrafficWindow(label=label))

    def start(self) -> None:
        """Begin to send requests, unless already begun."""
        self._started.set()

    def stop(self) -> None:
        """Start no further requests."""
        self._stopped = True
        self._started.set()

    async def run(self) -> None:
        """Send requests between `start` and `stop`. Returns after the last answer."""
        await self._started.wait()
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with asyncio.TaskGroup() as group:
            for after in self._arrivals():
                due = start + after
                await asyncio.sleep(due - loop.time())
                if self._stopped:
                    return
                if self._in_flight >= self._traffic.most_in_flight:
                    self._count(self.window, Responder(), bad=True, latency=None)
                else:
                    self._in_flight += 1
                    group.create_task(self._send(due, self.window))

    def _arrivals(self) -> Iterator[float]:
        gap = 1.0 / self._traffic.rate
        if not self._traffic.poisson:
            yield from (gap * number for number in count())
        after = 0.0
        while True:
            yield after
            after += self._random.expovariate(self._traffic.rate)

    async def _send(self, due: float, window: TrafficWindow) -> None:
        traffic = self._traffic
        is_matching = self._random.uniform(0, 100) < traffic.share
        url = self._url + (traffic.matching_path if is_matching else traffic.path)
        headers = {**traffic.headers, **traffic.matching} if is_matching else traffic.headers
        try:
            async with self._session.get(url, headers=headers) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError):
            self._count(window, Responder(), bad=True, latency=None)
        else:
            latency = asyncio.get_running_loop().time() - due
            self._count(window, _responder(response.headers), bad=_is_bad(response.status), latency=latency)
        finally:
            self._in_flight -= 1

    def _count(self, window: TrafficWindow, responder: Responder, *, bad: bool, latency: float | None) -> None:
        window.count(responder, bad=bad, latency=latency)
        self._all.count(responder, bad=bad, latency=latency)


@asynccontextmanager
async def open_generator(url: str, traffic: TrafficPlan) -> AsyncIterator[Generator]:
    """Open a generator, which waits for `start`. The context ends after the last answer."""
    timeout = aiohttp.ClientTimeout(total=traffic.timeout)
    connections, no_memory = (
        aiohttp.TCPConnector(limit=0),
        aiohttp.DummyCookieJar(),
    )  # each request comes from a new user
    async with aiohttp.ClientSession(timeout=timeout, connector=connections, cookie_jar=no_memory) as session:
        generator = Generator(session, url, traffic)
        async with run_in_background(generator.run(), generator.stop):
            yield generator


def _merge(tallies: Iterator[Tally]) -> Tally:
    merged = Tally()
    for tally in tallies:
        merged.requests += tally.requests
        merged.bad += tally.bad
        merged.latencies.update(tally.latencies)
    return merged


def _responder(headers: Mapping[str, str]) -> Responder:
    return Responder(side=headers.get(VERSION_HEADER, UNANSWERED), revision=headers.get(REVISION_HEADER, ""))


def _is_bad(status: int) -> bool:
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR
