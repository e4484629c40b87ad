"""Google Cloud Monitoring: queries in MQL. The first value of the first series counts.

Credentials are the service account's key in the Secret, or those of the controller's workload, which google-auth finds.
The latter go to Google Cloud Monitoring only; another address needs a key. The source never sends the key. The key
signs a request for a token, which goes to Google's token service or to one at the template's own address.
"""

from __future__ import annotations

import asyncio
import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from attrs import frozen
from yarl import URL

from canarycore.text import escape_controls
from canarycore_metrics.answers import number, number_in_text, parse_json
from canarycore_metrics.source import HttpSource, SourceError, is_ok
from canarycore_runtime.http import (
    EXCERPT_LIMIT,
    SHORT_ANSWER_LIMIT,
    ExchangeError,
    environment_proxy,
    exchange,
    is_same_origin,
    open_session,
)

try:
    import google.auth
    from google.auth import jwt
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request
    from google.oauth2 import service_account
except ImportError as _missing:
    raise ImportError(f"{_missing}: pip install canarycore-metrics[stackdriver]") from _missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from canarycore_runtime.http import HttpAnswer

SCOPE = "https://www.googleapis.com/auth/monitoring.read"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_SERVICES = (
    URL("https://oauth2.googleapis.com"),
    URL("https://accounts.google.com"),
    URL("https://www.googleapis.com"),
)
"""Origins of Google's token services, which return a token for a service account's signature."""

LIFETIME = 3600
"""The requested lifetime of a token (seconds)."""

_SPARE = 60  # seconds before the end of a token at which the source renews it
_LONGEST_KEY = 16 * 1024
_LONGEST_PRIVATE_KEY = 4 * 1024  # an RSA key of 4096 bits; a longer one would take too long to sign with
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,99}")


@frozen
class Token:
    """An access token."""

    text: str

    expires_at: float
    """When the source renews it (seconds since the epoch)."""


class StackdriverSource(HttpSource):
    """Google Cloud Monitoring. Its secret has `project`, and perhaps `serviceAccountKey`."""

    name = "stackdriver"
    home = "https://monitoring.googleapis.com"

    def credentials(self) -> Iterable[tuple[str, str]]:
        if _PROJECT.fullmatch(self.require_credential("project")) is None:
            raise ValueError("stackdriver project is not valid: expected the id of a project in the Secret")
        self._account: Any = self._account_of_secret()
        self._workload: Any = None
        self._renewing = asyncio.Lock()
        self._token = Token("", 0.0)
        return ()

    @property
    def has_ambient_credentials(self) -> bool:
        return self._account is None and self.is_at_home

    async def measure(self, query: str, window: float) -> float | None:
        del window  # the query has it
        return self.read_number(await self._run(query, passes=is_ok), _first_value, expected="series of points")

    async def probe(self) -> None:
        """Send an empty query: the server calls it invalid only after it accepts the token."""
        await self._run("", passes=lambda status: status in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST})

    async def _run(self, query: str, passes: Callable[[int], bool]) -> HttpAnswer:
        token = await (self._ambient_token() if self._account is None else self._own_token())
        self.hide(token)
        headers = {"Authorization": f"Bearer {token}"}
        path = f"v3/projects/{self.secret['project']}/timeSeries:query"
        return await self.ask(path, method="POST", json={"query": query}, headers=headers, passes=passes)

    # the controller's own credentials -----------------------------------------------------------------------------

    async def _ambient_token(self) -> str:
        if not self.is_at_home:
            raise SourceError(
                "error requesting stackdriver: at an address of its own stackdriver needs serviceAccountKey in its "
                f"Secret, as the controller's credentials go to {self.home} only"
            )
        return await self.look_up(self._find)

    def _find(self) -> str:
        """Return a valid token."""
        try:
            if self._workload is None:
                self._workload, _ = google.auth.default(scopes=[SCOPE])
            if not self._workload.valid:
                self._workload.refresh(Request())
        except GoogleAuthError as error:
            raise SourceError(f"error requesting stackdriver: {escape_controls(str(error), EXCERPT_LIMIT)}") from error
        return str(self._workload.token)

    # the Secret's key ---------------------------------------------------------------------------------------------

    def _account_of_secret(self) -> Any:
        """Return the credentials of the Secret's key, or None without a key. Raises ValueError when it is not valid."""
        key = self.secret.get("serviceAccountKey", "")
        if not key:
            return None
        try:
            return self._account_of(key)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError, GoogleAuthError):
            raise ValueError(
                "stackdriver serviceAccountKey is not valid: expected a service account's key in JSON, with Google's "
                "token_uri or one at the template's address"
            ) from None

    def _account_of(self, key: str) -> Any:
        credentials: Any = service_account.Credentials
        info = json.loads(key if len(key) <= _LONGEST_KEY else "")
        is_account = info.get("type", "service_account") == "service_account"
        is_short = len(info["private_key"]) <= _LONGEST_PRIVATE_KEY
        if not (is_account and is_short and self._is_token_service(URL(info["token_uri"]))):
            raise ValueError("another key")
        self._token_service = URL(info["token_uri"])
        return credentials.from_service_account_info(info, scopes=[SCOPE])

    def _is_token_service(self, url: URL) -> bool:
        """Check whether a key may name this server: the source calls no other one for it."""
        return any(is_same_origin(url, server) for server in (*TOKEN_SERVICES, self.url))

    async def _own_token(self) -> str:
        async with self._renewing:
            if self._token.expires_at <= self.clock():
                try:
                    self._token = await self._renew_token()
                except ExchangeError as error:
                    raise SourceError(f"error requesting stackdriver: {error}") from error
            return self._token.text

    async def _renew_token(self) -> Token:
        """Return a new token for a signature of the key. The request has none of the template's headers."""
        now, url = int(self.clock()), self._token_service
        claims = {"iss": self._account.service_account_email, "scope": SCOPE, "aud": str(url)}
        encode: Any = jwt.encode
        assertion = encode(self._account.signer, {**claims, "iat": now, "exp": now + LIFETIME})
        async with open_session() as session:
            answer = await exchange(
                session,
                "POST",
                url,
                limit=SHORT_ANSWER_LIMIT,
                timeout=self.timeout,
                data={"grant_type": GRANT, "assertion": assertion.decode()},
                proxy=environment_proxy(url),
            )
        if not is_ok(answer.status):
            raise SourceError(f"error requesting stackdriver: {self.excerpt(answer)}")
        text, lifetime = self.parse_answer(answer, lambda: _token(parse_json(answer.text)), "a token")
        return Token(text, now + min(lifetime, LIFETIME) - _SPARE)


def _token(document: Any) -> tuple[str, float]:
    """Return a token and its lifetime (seconds)."""
    text, lifetime = document["access_token"], number_in_text(document.get("expires_in", LIFETIME))
    if not isinstance(text, str):
        raise TypeError(type(text).__name__)
    return text, lifetime


def _first_value(document: Any) -> float | None:
    series = document.get("timeSeriesData") or ()
    points = series[0].get("pointData") if series else ()
    values = (values[0] for point in points or () if (values := point.get("values")))
    return next((_number(value) for value in values if _IS_NUMBER & value.keys()), None)


_IS_NUMBER = {"doubleValue", "int64Value"}
"""The fields of a value that is a number."""


def _number(value: Any) -> float | None:
    return number(value["doubleValue"]) if "doubleValue" in value else number_in_text(value["int64Value"])
