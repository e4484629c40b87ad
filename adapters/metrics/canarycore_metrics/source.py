"""The base of all providers: it renders a query, sends it over HTTP, and reads a number from the answer.

    class Fancy(HttpSource):
        name = "fancy"
        async def measure(self, query, window):
            answer = await self.ask("api/query", params={"q": query})
            return self.read_number(answer, lambda document: number(document["value"]))
        async def probe(self):
            await self.ask("api/health")

A provider defines its request and the place of the number in its answer. It returns None for no data, and raises
`SourceError` for a failure. The base turns every other exception into an answer too, so an unexpected body fails one
check and nothing else.

Credentials come from a Secret, by the names that Flagger defines. They go into headers, to the provider's address, and
over no redirect to another origin; messages redact them. Some providers also have ambient credentials, which belong to
the controller and not to the template: those of its pod, role or workload. They go to the provider's `home` only, over
verified TLS and without the template's headers.
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
"""The longest query of a provider (seconds)."""

_LONGEST_ERROR = 1000
"""The most characters of an error."""


class SourceError(Exception):
    """The reason why there is no answer, in the terms of the provider."""


def is_no_error(status: int) -> bool:
    """Check for a status below 400."""
    return status < HTTPStatus.BAD_REQUEST


def is_ok(status: int) -> bool:
    """Check for status 200, the only success of some providers."""
    return status == HTTPStatus.OK


class HttpSource(ABC):
    """A metric provider, while its context is open."""

    name: ClassVar[str]
    """The name of the provider, for messages."""

    home: ClassVar[str] = ""
    """The default address."""

    default_timeout: ClassVar[float] = TIMEOUT
    """The default time limit of a query (seconds)."""

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
        """Query the provider at `address`.

        `headers` go with each query, each with one value or several. `secret` has the credentials, by their names in
        the Secret. `region` selects one of a provider's regions. `insecure_skip_verify` accepts any TLS certificate.
        `timeout` is the time limit of a query in seconds. `built_in` has the queries of checks without one, which
        depend on the mesh. `query_variables` returns the variables of queries beside `interval` and `variables`, by
        default those of the rollout. `clock` returns seconds since the epoch.

        Raises ValueError when the address or the secret is not valid.
        """
        self.secret: dict[str, str] = dict(secret or {})
        self.region: str = region
        self.url: URL = self.parse_address(address or self.home)
        self.clock: Callable[[], float] = clock
        self._headers = _flat(headers or {})
        self._authorization = [*self.credentials()]
        all_headers = (*self._headers, *self._authorization)
        header_values = [part for _, value in all_headers for part in (value, value.partition(" ")[2])]
        secrets = {*header_values, *self.secret.values(), *extract_secrets(self.url.with_path(""))}
        self._fixed_secrets = tuple(value for value in secrets if len(value) >= SHORTEST_SECRET)
        self._renewable_secrets: tuple[str, ...] = ()
        self._insecure = insecure_skip_verify
        self.timeout: float = timeout or self.default_timeout
        self._built_in = built_in or {}
        self._query_variables = query_variables
        self._threads = Threads()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open a session. Ambient credentials go without the template's headers, and to verified servers only."""
        is_ambient = self.has_ambient_credentials
        headers = [*(() if is_ambient else self._headers), *self._authorization]
        certificates = False if self._insecure and not is_ambient else self.trusted_certificates()
        self._session = open_session(headers=headers, connector=open_connector(ssl=certificates))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        """Return the present value of the check's query."""
        try:
            text = await self._guard(self._render(rollout, question.check))
        except SourceError as error:
            return MetricAnswer(error=str(error))
        return await self.value(text, question.check.window)

    async def online(self, rollout: Rollout) -> str:
        """Return an empty text when the provider answers and accepts the credentials, else the reason."""
        del rollout
        try:
            await self._guard(self.probe())
        except SourceError as error:
            return str(error)
        return ""

    async def value(self, query: str, window: float = 60.0) -> MetricAnswer:
        """Return the value of a rendered query. `window` is the look-back of the check (seconds)."""
        try:
            value = await self._guard(self._measure_number(query, window))
        except SourceError as error:
            return MetricAnswer(error=str(error))
        return MetricAnswer(value=None if value is None or math.isnan(value) else value)

    # the parts of a provider ------------------------------------------------------------------------------------

    @abstractmethod
    async def measure(self, query: str, window: float) -> float | None:
        """Return the value of a rendered query, or None when there is no data. Raises SourceError."""

    @abstractmethod
    async def probe(self) -> None:
        """Raise SourceError when the provider does not answer, or does not accept the credentials."""

    def credentials(self) -> Iterable[tuple[str, str]]:
        """Return the headers with the credentials of `self.secret`. Raises ValueError when one is missing."""
        return ()

    @property
    def has_ambient_credentials(self) -> bool:
        """Whether requests have credentials of the controller, and not of the template's Secret."""
        return False

    @property
    def is_at_home(self) -> bool:
        """Whether the address is the provider's home over https, to which ambient credentials may go."""
        return is_server(self.url, URL(self.home))

    async def look_up(self, function: Callable[[], T]) -> T:
        """Return the result of a blocking look-up of credentials. Raises SourceError when it takes too long."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self._threads.run(function)
        except TimeoutError:
            raise SourceError(f"no credentials of the controller within {self.timeout:g} s") from None

    def hide(self, *credentials: str) -> None:
        """Redact these renewed credentials from now on, in place of those of the last call."""
        self._renewable_secrets = credentials

    def trusted_certificates(self) -> ssl.SSLContext | bool:
        """Return the trusted certificates, by default those of the system."""
        return True

    def parse_address(self, address: str) -> URL:
        """Return the address as a URL. Raises ValueError when it is not valid."""
        try:
            url = URL(address)
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.host:
            expected = f"expected one such as {self.home or f'http://{self.name}:9090'}"
            raise ValueError(f"{self.name} address is not a valid URL: {expected}")
        return url

    def require_credential(self, key: str) -> str:
        """Return a credential of the Secret. Raises ValueError when the Secret lacks it."""
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
        """Return the answer to a request for `path`, at another host where `at` names one.

        Raises SourceError when there is no answer, it is too long, or its status does not satisfy `passes`.
        """
        if self._session is None:
            raise RuntimeError("the source is not open: use it inside `async with`")
        url = (at or self.url) / path
        try:
            answer = await exchange(
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
        if answer.is_truncated:
            raise SourceError(f"request failed: the answer is longer than {METRIC_ANSWER_LIMIT} bytes")
        if not passes(answer.status):
            raise SourceError(f"error response: {self.excerpt(answer)}")
        return answer

    def read_number(
        self, answer: HttpAnswer, value: Callable[[Any], float | None], expected: str = "a number"
    ) -> float | None:
        """Return the number that `value` finds in a JSON document. Raises SourceError for any other answer."""
        return self.parse_answer(answer, lambda: value(parse_json(answer.text)), expected)

    def parse_answer(self, answer: HttpAnswer, parse: Callable[[], T], expected: str) -> T:
        """Return the result of `parse`. Raises SourceError when the answer has another form."""
        try:
            return parse()
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            reason = str(error) if isinstance(error, AnswerError) else f"expected {expected}"
            line = first_line(answer, self._secrets())
            raise SourceError(f"error unmarshaling result: {reason}" + (f", '{line}'" if line else "")) from None

    def excerpt(self, answer: HttpAnswer) -> str:
        """Return a short excerpt of an answer for a message."""
        excerpt = describe_answer(answer, self._secrets())
        return f"{excerpt[:1].upper()}{excerpt[1:]}"  # as Flagger spells it

    async def _render(self, rollout: Rollout, check: Check) -> str:
        query = check.query or self._built_in.get(check.kind, "")
        if not query:
            raise SourceError(f"{check.name} has no query: expected one in its template, or the mesh's own")
        try:
            return render(query, self._variables_for(rollout, check), dict(check.variables))
        except TemplateError as error:
            raise SourceError(str(error)) from None

    async def _measure_number(self, query: str, window: float) -> float | None:
        return number(await self.measure(query, window))

    async def _guard(self, work: Awaitable[T]) -> T:
        """Return the result of a provider's own code. Turns each of its exceptions into a SourceError."""
        try:
            return await work
        except (SourceError, CanaryError) as error:
            raise SourceError(escape_controls(self._redacted(str(error)), _LONGEST_ERROR)) from error
        except Exception as error:  # an unexpected answer fails one check only
            raise SourceError(f"{self.name} failed with {type(error).__name__}") from error

    def _variables_for(self, rollout: Rollout, check: Check) -> dict[str, str]:
        return {**self._query_variables(rollout), "interval": check.window_text}

    def _redacted(self, text: str) -> str:
        return redact(text, self._secrets(), len(text))

    def _secrets(self) -> tuple[str, ...]:
        """Return the texts to redact."""
        return (*self._fixed_secrets, *self._renewable_secrets)


def is_server(url: URL, server: URL) -> bool:
    """Check whether `url` is the root of `server`, over https and without credentials."""
    is_root = url.raw_path_qs in {"", "/"} and url.user is None and url.password is None
    return is_root and server.scheme == "https" and is_same_origin(url, server)


def _flat(headers: Mapping[str, str | Iterable[str]]) -> list[tuple[str, str]]:
    return [
        (name, value) for name, values in headers.items() for value in ([values] if isinstance(values, str) else values)
    ]
