"""Google Cloud Monitoring: queries in MQL; the first value of the first series counts.

Credentials are the service account's key in the Secret, or those of the workload that this runs as; google-auth knows
how either becomes a token.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from canarycore_metrics.source import HttpSource, SourceError, is_ok, short

try:
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request
    from google.oauth2 import service_account
except ImportError as _missing:
    raise ImportError(f"{_missing}: pip install canarycore-metrics[stackdriver]") from _missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SCOPE = "https://www.googleapis.com/auth/monitoring.read"


class StackdriverSource(HttpSource):
    """Google Cloud Monitoring. Its secret has `project`, and perhaps `serviceAccountKey`."""

    name = "stackdriver"
    home = "https://monitoring.googleapis.com"

    def credentials(self) -> Iterable[tuple[str, str]]:
        self.needed("project")
        self._account: Any = _account(self.secret.get("serviceAccountKey", ""))
        self._renewing = asyncio.Lock()
        return ()

    async def measure(self, query: str, window: float) -> float | None:
        del window  # it is in the query
        return self.read(await self._run(query, passes=is_ok), _first_value, expected="series of points")

    async def probe(self) -> None:
        """To be told that an empty query is invalid is to be let in."""
        await self._run("", passes=lambda status: status in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST})

    async def _run(self, query: str, passes: Callable[[int], bool]) -> str:
        headers = {"Authorization": f"Bearer {await self._token()}"}
        path = f"v3/projects/{self.secret['project']}/timeSeries:query"
        return await self.ask(path, method="POST", json={"query": query}, headers=headers, passes=passes)

    async def _token(self) -> str:
        async with self._renewing:
            try:
                token = await asyncio.to_thread(self._renewed)
            except GoogleAuthError as error:
                raise SourceError(f"error requesting stackdriver: {short(str(error))}") from error
        self.hide(token)
        return token

    def _renewed(self) -> str:
        """A token that is good now."""
        if self._account is None:
            self._account, _ = google.auth.default(scopes=[SCOPE])
        if not self._account.valid:
            self._account.refresh(Request())
        return str(self._account.token)


def _account(key: str) -> Any:
    """The credentials that a service account's key makes; None without a key."""
    if not key:
        return None
    made: Any = service_account.Credentials
    try:
        return made.from_service_account_info(json.loads(key), scopes=[SCOPE])
    except (ValueError, GoogleAuthError):
        raise ValueError(
            "stackdriver serviceAccountKey is not valid: expected a service account's key in JSON"
        ) from None


def _first_value(document: Any) -> float | None:
    series = document.get("timeSeriesData") or ()
    points = series[0].get("pointData") if series else ()
    values = points[0].get("values") if points else ()
    if not values:
        return None
    value = values[0].get("doubleValue", values[0].get("int64Value"))
    return None if value is None else float(value)
