"""What all providers have in common: a query that is rendered and put over HTTP, and an answer that is a number or not.

    class Fancy(HttpSource):
        name = "fancy"
        async def measure(self, query, window):
            return self.read(await self.ask("api/query", params={"q": query}), lambda document: document["value"])
        async def probe(self):
            await self.ask("api/health")

A provider says what it is asked and where the number is in its answer. No data is None, whatever goes wrong is a
`SourceError` in the provider's words; the rest is done here. Credentials come from a Secret by the names that Flagger
gives them; they go into headers, and an answer that repeats one has it blotted out.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.request import getproxies

import aiohttp
from yarl import URL

from canarycore import MetricAnswer
from canarycore_metrics.template import TemplateError, render

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from canarycore import Check, CheckKind, MetricQuestion, Rollout

TIMEOUT = 5.0
"""Seconds that a provider may take over one query."""

_LONGEST_BODY = 2000
_SHORTEST_SECRET = 8
_BLOT = "…"


class SourceError(Exception):
    """Why there is no answer, in the provider's words."""


def is_no_error(status: int) -> bool:
    """For providers that answer in several ways."""
    return status < HTTPStatus.BAD_REQUEST


def is_ok(status: int) -> bool:
    """For providers that answer with 200 and nothing else."""
    return status == HTTPStatus.OK


class HttpSource(ABC):
    """A provider at `address`, while its context is open.

    headers: sent with each query, each with one value or several. secret: the provider's credentials, by the names in
    its Secret. region: where the provider has several. insecure_skip_verify: accept any TLS certificate. timeout:
    seconds for one query. built_in: the queries of checks that bring none, which depend on the mesh. words: what
    queries may name besides `interval` and `variables`; by default all that the rollout itself knows. clock: seconds
    since the epoch.

    Raises ValueError when the address or the secret cannot be used.
    """

    name: ClassVar[str]
    home: ClassVar[str] = ""
    """Where the provider is when no address is given."""
    patience: ClassVar[float] = TIMEOUT
    """Seconds for one query when none are given."""

    def __init__(
        self,
        address: str = "",
        *,
        headers: Mapping[str, str | Iterable[str]] | None = None,
        secret: Mapping[str, str] | None = None,
        region: str = "",
        insecure_skip_verify: bool = False,
        timeout: float | None = None,
        built_in: Mapping[CheckKind, str] | None = None,
        words: Callable[[Rollout], Mapping[str, str]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.secret: dict[str, str] = dict(secret or {})
        self.region: str = region
        self.url: URL = self.checked(address or self.home)
        self.clock: Callable[[], float] = clock
        self._headers = [*_flat(headers or {}), *self.credentials()]
        sent = [part for _, value in self._headers for part in (value, value.partition(" ")[2])]
        self._hidden = (*sent, *self.secret.values())
        self._passing: tuple[str, ...] = ()
        self._insecure = insecure_skip_verify
        self._timeout = timeout or self.patience
        self._built_in = built_in or {}
        self._words = words or words_of
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            headers=self._headers,
            connector=aiohttp.TCPConnector(ssl=False if self._insecure else self.trusted()),
            trust_env=bool(getproxies()),  # or it would look for proxies and a netrc at each query, in a thread
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        """The value of the check's query now."""
        check = question.check
        query = check.query or self._built_in.get(check.kind, "")
        if not query:
            return MetricAnswer(error=f"{check.name} has no query: expected one in its template, or the mesh's own")
        try:
            text = render(query, self._words_for(rollout, check), dict(check.variables))
        except TemplateError as error:
            return MetricAnswer(error=str(error))
        return await self.value(text, check.window)

    async def online(self, rollout: Rollout) -> str:
        """Empty when the provider answers, and takes the credentials."""
        del rollout
        try:
            await self.probe()
        except SourceError as error:
            return self._blotted(str(error))
        return ""

    async def value(self, query: str, window: float = 60.0) -> MetricAnswer:
        """The value of a rendered query. `window`: the check's look-back (seconds)."""
        try:
            value = await self.measure(query, window)
        except SourceError as error:
            return MetricAnswer(error=self._blotted(str(error)))
        return MetricAnswer(value=None if value is None or math.isnan(value) else value)

    # what a provider is made of ---------------------------------------------------------------------------------

    @abstractmethod
    async def measure(self, query: str, window: float) -> float | None:
        """The value of a rendered query, or None if there is no data. Raises SourceError."""

    @abstractmethod
    async def probe(self) -> None:
        """Raises SourceError when the provider does not answer, or does not take the credentials."""

    def credentials(self) -> Iterable[tuple[str, str]]:
        """The headers that `self.secret` makes. Raises ValueError when something is missing in it."""
        return ()

    def hide(self, *credentials: str) -> None:
        """Blot these out from now on, in place of those given before: credentials that are renewed."""
        self._passing = credentials

    def trusted(self) -> ssl.SSLContext | bool:
        """Which certificates are trusted: by default those that the system trusts."""
        return True

    def checked(self, address: str) -> URL:
        """The address. Raises ValueError when it is none."""
        try:
            url = URL(address)
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.host:
            expected = f"expected one such as {self.home or f'http://{self.name}:9090'}"
            raise ValueError(f"{self.name} address is not a valid URL: {expected}")
        return url

    def needed(self, key: str) -> str:
        """A credential that must be there."""
        if not self.secret.get(key):
            raise ValueError(f"{self.name} credentials does not contain {key}: expected it in the Secret")
        return self.secret[key]

    async def ask(
        self,
        path: str,
        *,
        at: URL | None = None,
        method: str = "GET",
        passes: Callable[[int], bool] = is_no_error,
        **more: Any,
    ) -> str:
        """The body of the answer, of another host if `at` is given.

        Raises SourceError when there is no answer, or its status is none that passes.
        """
        if self._session is None:
            raise RuntimeError("the source is not open: use it inside `async with`")
        try:
            async with self._session.request(method, (at or self.url) / path, **more) as response:
                body = await response.text(errors="replace")
        except TimeoutError:
            raise SourceError(f"request failed: no answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise SourceError(f"request failed: {str(error) or type(error).__name__}") from error
        if not passes(response.status):
            words = _phrase(response.status)
            raise SourceError(f"error response: Status {response.status} {words}: {short(body)}")
        return body

    @staticmethod
    def read(body: str, number: Callable[[Any], float | None], expected: str = "a number") -> float | None:
        """The number in a JSON document. Raises SourceError when it is no JSON, or there is something else in it."""
        try:
            found = number(json.loads(body))
            return None if found is None else float(found)
        except json.JSONDecodeError as error:
            raise SourceError(f"error unmarshaling result: {error.msg}, '{short(body)}'") from None
        except (LookupError, TypeError, ValueError, AttributeError):
            raise SourceError(f"error unmarshaling result: expected {expected}, '{short(body)}'") from None

    def _words_for(self, rollout: Rollout, check: Check) -> dict[str, str]:
        return {**self._words(rollout), "interval": check.window_text}

    def _blotted(self, text: str) -> str:
        """A text without credentials. What is shorter than a few characters cannot be told from other words."""
        for value in (*self._hidden, *self._passing):
            if len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, _BLOT)
        return text


def words_of(rollout: Rollout) -> dict[str, str]:
    """What a query may name. Services, ingresses and routes are called as the target unless somebody knows better."""
    target = rollout.target.name
    names = {"name": rollout.name, "namespace": rollout.namespace, "target": target}
    return names | dict.fromkeys(("service", "ingress", "route"), target)


def short(body: str) -> str:
    """What a message can carry of a body."""
    return body if len(body) <= _LONGEST_BODY else f"{body[:_LONGEST_BODY]}…"


def _flat(headers: Mapping[str, str | Iterable[str]]) -> list[tuple[str, str]]:
    return [
        (name, one) for name, values in headers.items() for one in ([values] if isinstance(values, str) else values)
    ]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
