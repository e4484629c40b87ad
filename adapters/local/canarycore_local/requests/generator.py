"""The traffic generator: open loop, at a constant rate.

Requests are due by the clock, not when the last one was answered, and latency counts from when a request was due. So a
service that stalls is seen to stall for everybody who would have come meanwhile (no "coordinated omission"). What
cannot be sent because too many requests are in flight counts as a bad request, not as none.

Counts are kept by who answered (`x-canary-version`, `x-canary-revision`) and by **window**. A request belongs to the
window in which it was started, so the split of a window that was opened after routes came into force is the split of
these routes.
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

from canarycore_local.alongside import alongside
from canarycore_local.envoy.router import REVISION_HEADER, VERSION_HEADER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

NOBODY = ""
"""Who answered a request that got no answer from either side."""

_SMALLEST = 0.0001
_STEP = math.log(1.05)


@frozen(kw_only=True)
class TrafficPlan:
    """What to send.

    rate: requests a second. share: percent of requests that carry the `matching` headers. timeout: seconds.
    path and matching_path: with the query. poisson: arrivals at random by `seed`, instead of evenly spaced.
    most_in_flight: requests beyond are dropped, and bad.
    """

    rate: float = field(default=100.0, validator=gt(0))
    path: str = "/"
    headers: Mapping[str, str] = {}
    share: float = field(default=0.0, validator=[ge(0), le(100)])
    matching: Mapping[str, str] = {}
    matching_path: str = "/"
    poisson: bool = False
    seed: int = 0
    timeout: float = field(default=20.0, validator=gt(0))
    most_in_flight: int = field(default=2000, validator=gt(0))


@frozen(kw_only=True)
class Receiver:
    """Who answered: `side` is primary, canary or NOBODY; `revision` as its endpoint says."""

    side: str = NOBODY
    revision: str = ""


@define
class Tally:
    """Counts of one answerer. `bad`: status 500 and above, resets, timeouts, drops. Latencies in buckets of 5%."""

    requests: int = 0
    bad: int = 0
    latencies: Counter[int] = field(factory=Counter)

    def quantile(self, share: float) -> float | None:
        """The latency (seconds) that `share` (0 to 1) of the answers did not exceed; None without answers."""
        rank, seen = share * self.latencies.total(), 0
        for bucket in sorted(self.latencies):
            seen += self.latencies[bucket]
            if seen >= rank:
                return _SMALLEST * math.exp(_STEP * (bucket + 0.5))
        return None

    @property
    def success_rate(self) -> float | None:
        """Percent of good requests; None without requests."""
        return 100.0 * (self.requests - self.bad) / self.requests if self.requests else None

    def count(self, *, bad: bool, latency: float | None) -> None:
        """One more request; `latency` in seconds, None when it was not answered."""
        self.requests += 1
        self.bad += bad
        if latency is not None:
            self.latencies[int(math.log(max(latency / _SMALLEST, 1.0)) / _STEP)] += 1

    def copy(self) -> Tally:
        return Tally(self.requests, self.bad, self.latencies.copy())


@frozen(kw_only=True)
class TrafficWindow:
    """Requests started in one stretch of time, by who answered. `label` says what was in force."""

    label: str
    tallies: dict[Receiver, Tally] = field(factory=dict)

    @property
    def requests(self) -> int:
        return sum(tally.requests for tally in self.tallies.values())

    @property
    def bad(self) -> int:
        return sum(tally.bad for tally in self.tallies.values())

    def side(self, side: str) -> Tally:
        """What one side answered, all its revisions together."""
        return _merged(tally for who, tally in self.tallies.items() if who.side == side)

    def revisions(self) -> dict[str, Tally]:
        """What each revision answered, wherever it ran; NOBODY's are under ""."""
        names = dict.fromkeys(who.revision for who in self.tallies)
        return {name: _merged(t for who, t in self.tallies.items() if who.revision == name) for name in names}

    def split(self) -> float | None:
        """Percent of the answered requests that the canary answered; None without any."""
        canary, primary = self.side("canary").requests, self.side("primary").requests
        return 100.0 * canary / (canary + primary) if canary + primary else None

    def copy(self) -> TrafficWindow:
        return TrafficWindow(label=self.label, tallies={who: tally.copy() for who, tally in self.tallies.items()})

    def count(self, who: Receiver, *, bad: bool, latency: float | None) -> None:
        tally = self.tallies.get(who)
        if tally is None:
            tally = self.tallies[who] = Tally()
        tally.count(bad=bad, latency=latency)


class Generator:
    """Sends traffic to `url` between `start` and `stop`. `generating` gives one."""

    def __init__(self, session: aiohttp.ClientSession, url: str, traffic: TrafficPlan) -> None:
        self._session = session
        self._url = url
        self._traffic = traffic
        self._random = random.Random(traffic.seed)  # noqa: S311 - no secrets here
        self._in_flight = 0
        self._begun = asyncio.Event()
        self._stopped = False
        self._all = TrafficWindow(label="all")
        self._windows = [TrafficWindow(label="start")]

    @property
    def total(self) -> TrafficWindow:
        """Everything so far; live, copy it to keep it."""
        return self._all

    @property
    def window(self) -> TrafficWindow:
        """The window that is open; live, copy it to keep it."""
        return self._windows[-1]

    @property
    def windows(self) -> tuple[TrafficWindow, ...]:
        """All windows, in order; live."""
        return tuple(self._windows)

    @property
    def running(self) -> bool:
        """Whether requests are being sent."""
        return self._begun.is_set() and not self._stopped

    def open_window(self, label: str) -> None:
        """Requests started from now on belong to a new window."""
        self._windows.append(TrafficWindow(label=label))

    def start(self) -> None:
        """Begin to send, if nothing is sent yet."""
        self._begun.set()

    def stop(self) -> None:
        """Start no further request."""
        self._stopped = True
        self._begun.set()

    async def run(self) -> None:
        """Send from the start until stopped; returns when the last request is answered."""
        await self._begun.wait()
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with asyncio.TaskGroup() as group:
            for after in self._arrivals():
                due = start + after
                await asyncio.sleep(due - loop.time())
                if self._stopped:
                    return
                if self._in_flight >= self._traffic.most_in_flight:
                    self._count(self.window, Receiver(), bad=True, latency=None)
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
        matching = self._random.uniform(0, 100) < traffic.share
        url = self._url + (traffic.matching_path if matching else traffic.path)
        headers = {**traffic.headers, **traffic.matching} if matching else traffic.headers
        try:
            async with self._session.get(url, headers=headers) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError):
            self._count(window, Receiver(), bad=True, latency=None)
        else:
            latency = asyncio.get_running_loop().time() - due
            self._count(window, _who(response.headers), bad=_is_bad(response.status), latency=latency)
        finally:
            self._in_flight -= 1

    def _count(self, window: TrafficWindow, who: Receiver, *, bad: bool, latency: float | None) -> None:
        window.count(who, bad=bad, latency=latency)
        self._all.count(who, bad=bad, latency=latency)


@asynccontextmanager
async def generating(url: str, traffic: TrafficPlan) -> AsyncIterator[Generator]:
    """A generator that waits to be started; the context ends when its last request is answered."""
    timeout = aiohttp.ClientTimeout(total=traffic.timeout)
    connections, no_memory = aiohttp.TCPConnector(limit=0), aiohttp.DummyCookieJar()  # each request is a new user
    async with aiohttp.ClientSession(timeout=timeout, connector=connections, cookie_jar=no_memory) as session:
        generator = Generator(session, url, traffic)
        async with alongside(generator.run(), generator.stop):
            yield generator


def _merged(tallies: Iterator[Tally]) -> Tally:
    merged = Tally()
    for tally in tallies:
        merged.requests += tally.requests
        merged.bad += tally.bad
        merged.latencies.update(tally.latencies)
    return merged


def _who(headers: Mapping[str, str]) -> Receiver:
    return Receiver(side=headers.get(VERSION_HEADER, NOBODY), revision=headers.get(REVISION_HEADER, ""))


def _is_bad(status: int) -> bool:
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR
