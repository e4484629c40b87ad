"""Amazon CloudWatch: metric data queries, as JSON, over ten times the check's window; the newest value counts.

Credentials are those of the pod, role or profile that this runs as; botocore finds them and signs with them.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from canarycore_metrics.source import HttpSource, SourceError, is_ok, short

try:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import BotoCoreError
    from botocore.session import get_session
except ImportError as _missing:
    raise ImportError(f"{_missing}: pip install canarycore-metrics[cloudwatch]") from _missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from yarl import URL

LOOK_BACK = 10
"""Windows."""

POINTS = 20
"""At most."""

SERVICE = "monitoring"
TARGET = "GraniteServiceVersion20100801.GetMetricData"
CONTENT = "application/x-amz-json-1.0"


class CloudWatchSource(HttpSource):
    """CloudWatch in a region. It has no secret; an address is needed only where the region's own is not the one."""

    name = "cloudwatch"

    def checked(self, address: str) -> URL:
        if not self.region:
            raise ValueError("region not specified: expected one such as eu-west-1 in the template's provider")
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        self._session_of_aws = get_session()
        return super().checked(address or f"https://{SERVICE}.{self.region}.{suffix}")

    async def measure(self, query: str, window: float) -> float | None:
        try:
            queries = json.loads(query)
        except ValueError as error:
            raise SourceError(f"error unmarshaling query: {error}, '{short(query)}'") from None
        now = int(self.clock())
        span = {"StartTime": now - int(LOOK_BACK * window), "EndTime": now}
        body = await self._get({"MetricDataQueries": queries, "MaxDatapoints": POINTS, **span}, passes=is_ok)
        return self.read(body, _newest_value, expected="results with values")

    async def probe(self) -> None:
        """To be told that a request for nothing is invalid is to be let in."""
        nothing = {"MetricDataQueries": [], "StartTime": 0, "EndTime": 0}
        body = await self._get(nothing, passes=lambda status: status in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST})
        told = _type(body)
        if told and "Parameter" not in told and "Validation" not in told:
            raise SourceError(f"error response: {short(body)}")

    async def _get(self, request: dict[str, Any], passes: Callable[[int], bool]) -> str:
        body = json.dumps(request).encode()
        headers = await asyncio.to_thread(self._signed, body)
        return await self.ask("", method="POST", data=body, headers=headers, passes=passes)

    def _signed(self, body: bytes) -> dict[str, str]:
        """The headers of a request. Finding and renewing credentials may take a while."""
        try:
            credentials = self._session_of_aws.get_credentials()
            if credentials is None:
                raise SourceError("error creating aws session: there are no credentials")
            known = credentials.get_frozen_credentials()
            self.hide(known.secret_key, known.token or "")
            request = AWSRequest("POST", str(self.url / ""), {"Content-Type": CONTENT, "X-Amz-Target": TARGET}, body)
            SigV4Auth(known, SERVICE, self.region).add_auth(request)
        except BotoCoreError as error:
            raise SourceError(f"error creating aws session: {error}") from error
        return dict(request.headers.items())


def _newest_value(document: Any) -> float | None:
    results = document["MetricDataResults"]
    values = results[0]["Values"] if results else ()
    return values[0] if values else None


def _type(body: str) -> str:
    """The kind of an error."""
    try:
        return str(json.loads(body).get("__type", ""))
    except (ValueError, AttributeError):
        return ""
