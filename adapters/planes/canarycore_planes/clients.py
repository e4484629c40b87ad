"""Clients that note every answer: so many requests a second over kept connections, from a thread of their own.

with requests(url, host="shop.test", rate=30) as log:
    …
log.lost()       the requests without a good answer
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from http.cookies import SimpleCookie
from types import MappingProxyType

import aiohttp
from attrs import define, field, frozen

from canarycore_planes.background import in_background

RATE = 30.0
"""Requests a second."""

_WHOLE = aiohttp.ClientTimeout(total=15)
_BEHIND = 1.0
_GOOD = 200


Cookies = tuple[tuple[str, str], ...]


@frozen(kw_only=True)
class NotedRequest:
    """A request and its answer."""

    at: float
    """When it was sent (seconds since the epoch)."""
    seconds: float
    """How long its answer took."""
    status: int
    """The status of the answer; 0 without an answer."""
    version: str
    """The version that answered; empty if no pod did."""
    error: str = ""
    """Why there was no answer."""
    user: int = 0
    """The number of its user."""
    cookies: Cookies = ()
    """The cookies that it carried."""

    def __str__(self) -> str:
        """The answer in a few words."""
        return f"{self.at:.2f} {self.status} {self.version or '-'} {self.error} after {self.seconds:.3f} s"


@define
class Log:
    """All requests of one client, in the order of their answers."""

    entries: list[NotedRequest] = field(factory=list)

    def between(self, begin: float, end: float = float("inf")) -> Log:
        """Return the requests sent in this time (seconds since the epoch)."""
        return Log([entry for entry in self.entries if begin <= entry.at < end])

    def lost(self) -> list[NotedRequest]:
        """Return the requests without a good answer."""
        return [entry for entry in self.entries if entry.status != _GOOD]

    def unanswered(self) -> list[NotedRequest]:
        """Return the requests that no pod answered: not even with an error of its own."""
        return [entry for entry in self.entries if not entry.version]

    def versions(self) -> Counter[str]:
        """Return the number of answers of each version."""
        return Counter(entry.version for entry in self.entries if entry.version)

    def share(self, version: str) -> float:
        """Return the percentage of the answers by this version; 0 without answers."""
        versions = self.versions()
        return 100 * versions[version] / (versions.total() or 1)


@contextmanager
def requests(
    url: str, host: str, rate: float = RATE, headers: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Log]:
    """Send requests at this rate, whatever the answers take, while the context is open."""
    log = Log()

    @asynccontextmanager
    async def serve() -> AsyncIterator[None]:
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(timeout=_WHOLE, cookie_jar=jar, headers={"Host": host, **headers}) as session:
            over = asyncio.Event()
            sending = asyncio.create_task(_send(session, url, rate, log, over))
            try:
                yield
            finally:
                over.set()
                await sending

    with in_background(serve):
        yield log


async def _send(session: aiohttp.ClientSession, url: str, rate: float, log: Log, over: asyncio.Event) -> None:
    due = time.monotonic()
    async with asyncio.TaskGroup() as group:
        while not over.is_set():
            group.create_task(_note(session, url, log))
            due = max(due + 1 / rate, time.monotonic() - _BEHIND)
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), max(0.0, due - time.monotonic()))


async def _note(
    session: aiohttp.ClientSession, url: str, log: Log, user: int = 0, cookies: Cookies = ()
) -> aiohttp.ClientResponse | None:
    at, began = time.time(), time.monotonic()
    status, version, error, answer = 0, "", "", None
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies)} if cookies else {}
    try:
        async with session.get(url, headers=headers) as answer:
            await answer.read()
            status, version = answer.status, answer.headers.get("X-Version", "")
    except (aiohttp.ClientError, TimeoutError, OSError) as problem:
        error = repr(problem)
    took = time.monotonic() - began
    log.entries.append(
        NotedRequest(at=at, seconds=took, status=status, version=version, error=error, user=user, cookies=cookies)
    )
    return answer


# -------------------------------------------------------------------------------------------------------------- users


@contextmanager
def users(url: str, host: str, count: int = 20, every: float = 0.5) -> Iterator[Log]:
    """So many users with browsers, each of whom keeps cookies and sends a request every so often (seconds)."""
    log = Log()

    async def browse(session: aiohttp.ClientSession, user: int, over: asyncio.Event) -> None:
        jar: dict[str, tuple[str, float]] = {}
        await asyncio.sleep(every * user / count)
        while not over.is_set():
            now = time.time()
            cookies = tuple((name, value) for name, (value, until) in jar.items() if until > now)
            answer = await _note(session, url, log, user=user, cookies=cookies)
            for text in answer.headers.getall("Set-Cookie", []) if answer is not None else ():
                for name, morsel in SimpleCookie(text).items():
                    jar[name] = morsel.value, now + float(morsel["max-age"] or 3600)
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), every)

    @asynccontextmanager
    async def serve() -> AsyncIterator[None]:
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(timeout=_WHOLE, cookie_jar=jar, headers={"Host": host}) as session:
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for user in range(count):
                    group.create_task(browse(session, user, over))
                try:
                    yield
                finally:
                    over.set()

    with in_background(serve):
        yield log
