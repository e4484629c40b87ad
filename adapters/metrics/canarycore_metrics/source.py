"""What all providers have in common: a query that is rendered and put over HTTP, and an answer that is a number or not.

    class Fancy(HttpSource):
        name = "fancy"
        async def measure(self, query, window):
            received = await self.ask("api/query", params={"q": query})
            return self.read(received, lambda document: number(document["value"]))
        async def probe(self):
            await self.ask("api/health")

A provider says what it is asked and where the number is in its answer. No data is None, whatever goes wrong is a
`SourceError` in the provider's words; the rest is done here. Any other exception becomes an answer too, so a body that
nobody expected stops nothing.

Credentials come from a Secret by the names that Flagger gives them; they go into headers, to the provider's address and
over no redirect to another origin, and an answer that repeats one has it blotted out. Some providers have ambient
credentials besides, which belong to the controller and not to the template: those of its pod, role or workload. They go
to the provider's `home` only, over verified TLS and without the template's headers.
"""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from yarl import URL

from canarycore.errors import CanaryError
from canarycore.questions import MetricAnswer
from canarycore.text import escape_controls
from canarycore_metrics.answers import AnswerError, number, parse_json
from canarycore_metrics.template import TemplateError, render
from canarycore_runtime.http import (
    METRIC_ANSWER_LIMIT,
    SHORTEST_SECRET,
    ExchangeError,
    HttpAnswer,
    describe_answer,
    environment_proxy,
    exchange,
    extract_secrets,
    first_line,
    is_same_origin,
    open_connector,
    open_session,
    redact,
)
from canarycore_runtime.mesh import query_variables
from canarycore_runtime.threads import Threads

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    import aiohttp

    from canarycore import Check, CheckKind, Rollout
    from canarycore.questions import MetricQuestion

T = TypeVar("T")

TIMEOUT = 5.0
"""Seconds that a provider may take over one query."""

_LONGEST_ERROR = 1000


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
    seconds for one query. built_in: the queries of checks that bring none, which depend on the mesh.
    query_variables: what queries may name besides `interval` and `variables`; by default what the rollout itself says.
    clock: seconds since the epoch.

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
        query_variables: Callable[[Rollout], Mapping[str, str]] = query_variables,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.secret: dict[str, str] = dict(secret or {})
        self.region: str = region
        self.url: URL = self.checked(address or self.home)
        self.clock: Callable[[], float] = clock
        self._headers = _flat(headers or {})
        self._authorization = [*self.credentials()]
        both = (*self._headers, *self._authorization)
        sent = [part for _, value in both for part in (value, value.partition(" ")[2])]
        hidden = {*sent, *self.secret.values(), *extract_secrets(self.url.with_path(""))}
        self._hidden = tuple(value for value in hidden if len(value) >= SHORTEST_SECRET)
        self._passing: tuple[str, ...] = ()
        self._insecure = insecure_skip_verify
        self.timeout: float = timeout or self.patience
        self._built_in = built_in or {}
        self._query_variables = query_variables
        self._threads = Threads()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open it. Ambient credentials go without the template's headers, and to verified servers only."""
        is_ambient = self.has_ambient_credentials
        headers = [*(() if is_ambient else self._headers), *self._authorization]
        trusted = False if self._insecure and not is_ambient else self.trusted()
        self._session = open_session(headers=headers, connector=open_connector(ssl=trusted))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        """The value of the check's query now."""
        try:
            text = await self._settled(self._rendered(rollout, question.check))
        except SourceError as error:
            return MetricAnswer(error=str(error))
        return await self.value(text, question.check.window)

    async def online(self, rollout: Rollout) -> str:
        """Empty when the provider answers, and takes the credentials."""
        del rollout
        try:
            await self._settled(self.probe())
        except SourceError as error:
            return str(error)
        return ""

    async def value(self, query: str, window: float = 60.0) -> MetricAnswer:
        """The value of a rendered query. `window`: the check's look-back (seconds)."""
        try:
            value = await self._settled(self._measured(query, window))
        except SourceError as error:
            return MetricAnswer(error=str(error))
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

    @property
    def has_ambient_credentials(self) -> bool:
        """Whether requests carry credentials of the controller, and not of the template's Secret."""
        return False

    @property
    def is_at_home(self) -> bool:
        """Whether the address is the provider's own, over https: where ambient credentials may go."""
        return is_server(self.url, URL(self.home))

    async def look_up(self, function: Callable[[], T]) -> T:
        """Return what a blocking look-up of ambient credentials returns. Raises SourceError when it takes too long."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self._threads.run(function)
        except TimeoutError:
            raise SourceError(f"no credentials of the controller within {self.timeout:g} s") from None

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
    ) -> HttpAnswer:
        """Return the answer, of another host if `at` is given.

        Raises SourceError when there is no answer, it is too long, or its status is none that passes.
        """
        if self._session is None:
            raise RuntimeError("the source is not open: use it inside `async with`")
        url = (at or self.url) / path
        try:
            received = await exchange(
                self._session,
                method,
                url,
                limit=METRIC_ANSWER_LIMIT,
                timeout=self.timeout,
                proxy=environment_proxy(url),
                **more,
            )
        except ExchangeError as error:
            raise SourceError(f"request failed: {error}") from error
        if received.is_truncated:
            raise SourceError(f"request failed: the answer is longer than {METRIC_ANSWER_LIMIT} bytes")
        if not passes(received.status):
            raise SourceError(f"error response: {self.excerpt(received)}")
        return received

    def read(
        self, received: HttpAnswer, value: Callable[[Any], float | None], expected: str = "a number"
    ) -> float | None:
        """Return the number in a JSON document. Raises SourceError when the answer is anything else."""
        return self.parsed(received, lambda: value(parse_json(received.text)), expected)

    def parsed(self, received: HttpAnswer, parse: Callable[[], T], expected: str) -> T:
        """Return the outcome of `parse`. Raises SourceError when the answer has another form than it expects."""
        try:
            return parse()
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            why = str(error) if isinstance(error, AnswerError) else f"expected {expected}"
            line = first_line(received, self._secrets())
            raise SourceError(f"error unmarshaling result: {why}" + (f", '{line}'" if line else "")) from None

    def excerpt(self, received: HttpAnswer) -> str:
        """Return what a message may repeat of an answer."""
        excerpt = describe_answer(received, self._secrets())
        return f"{excerpt[:1].upper()}{excerpt[1:]}"  # as Flagger spells it

    async def _rendered(self, rollout: Rollout, check: Check) -> str:
        query = check.query or self._built_in.get(check.kind, "")
        if not query:
            raise SourceError(f"{check.name} has no query: expected one in its template, or the mesh's own")
        try:
            return render(query, self._variables_for(rollout, check), dict(check.variables))
        except TemplateError as error:
            raise SourceError(str(error)) from None

    async def _measured(self, query: str, window: float) -> float | None:
        return number(await self.measure(query, window))

    async def _settled(self, work: Awaitable[T]) -> T:
        """Return the outcome of a provider's own code. Raises SourceError, whatever that code raises."""
        try:
            return await work
        except (SourceError, CanaryError) as error:
            raise SourceError(escape_controls(self._redacted(str(error)), _LONGEST_ERROR)) from error
        except Exception as error:  # an answer that a provider's code does not expect concerns one check
            raise SourceError(f"{self.name} failed with {type(error).__name__}") from error

    def _variables_for(self, rollout: Rollout, check: Check) -> dict[str, str]:
        return {**self._query_variables(rollout), "interval": check.window_text}

    def _redacted(self, text: str) -> str:
        return redact(text, self._secrets(), len(text))

    def _secrets(self) -> tuple[str, ...]:
        """Return what is blotted out."""
        return (*self._hidden, *self._passing)


def is_server(url: URL, server: URL) -> bool:
    """Tell whether `url` is the root of a server that is reached over https, and nothing else."""
    is_root = url.raw_path_qs in {"", "/"} and url.user is None and url.password is None
    return is_root and server.scheme == "https" and is_same_origin(url, server)


def _flat(headers: Mapping[str, str | Iterable[str]]) -> list[tuple[str, str]]:
    return [
        (name, one) for name, values in headers.items() for one in ([values] if isinstance(values, str) else values)
    ]
