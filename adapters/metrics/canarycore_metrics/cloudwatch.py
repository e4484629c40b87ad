"""Amazon CloudWatch: metric data queries as JSON over ten times the check's window. The newest value counts.

Credentials are those of the Secret, or those of the controller's pod, role or profile, which botocore finds. The latter
sign requests to the region's own CloudWatch only; another address needs a Secret.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from yarl import URL

from canarycore.text import escape_controls
from canarycore_metrics.answers import AnswerError, first_number, parse_json
from canarycore_metrics.source import HttpSource, SourceError, is_ok, is_server
from canarycore_runtime.http import EXCERPT_LIMIT

try:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    from botocore.exceptions import BotoCoreError
    from botocore.session import get_session
except ImportError as _missing:
    raise ImportError(f"{_missing}: pip install canarycore-metrics[cloudwatch]") from _missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from canarycore_runtime.http import HttpAnswer

LOOK_BACK = 10
"""The time range of a query, in windows of the check."""

POINTS = 20
"""The most data points of an answer."""

SERVICE = "monitoring"
TARGET = "GraniteServiceVersion20100801.GetMetricData"
CONTENT = "application/x-amz-json-1.0"

_REGION = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class CloudWatchSource(HttpSource):
    """CloudWatch in a region, at the region's own address by default.

    Its secret may have `aws_access_key_id` and `aws_secret_access_key`, and perhaps `aws_session_token`.
    """

    name = "cloudwatch"

    def parse_address(self, address: str) -> URL:
        if not self.region:
            raise ValueError("region not specified: expected one such as eu-west-1 in the template's provider")
        if _REGION.fullmatch(self.region) is None:  # it becomes part of the host that gets the credentials
            raise ValueError(
                f"region is not valid: found {escape_controls(self.region, EXCERPT_LIMIT)!r}, "
                "expected one such as eu-west-1"
            )
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        self._home = URL(f"https://{SERVICE}.{self.region}.{suffix}")
        return super().parse_address(address or str(self._home))

    def credentials(self) -> Iterable[tuple[str, str]]:
        self._own = self._credentials_of_secret()
        self._session_of_aws = get_session()
        return ()

    @property
    def has_ambient_credentials(self) -> bool:
        return self._own is None and self.is_at_home

    @property
    def is_at_home(self) -> bool:
        return is_server(self.url, self._home)

    async def measure(self, query: str, window: float) -> float | None:
        try:
            queries = parse_json(query)
        except AnswerError as error:
            raise SourceError(f"error unmarshaling query: {error}, '{escape_controls(query, EXCERPT_LIMIT)}'") from None
        now = int(self.clock())
        span = {"StartTime": now - int(LOOK_BACK * window), "EndTime": now}
        answer = await self._get({"MetricDataQueries": queries, "MaxDatapoints": POINTS, **span}, passes=is_ok)
        return self.read_number(answer, _newest_value, expected="results with values")

    async def probe(self) -> None:
        """Send an empty request: the server calls it invalid only after it accepts the credentials."""
        nothing = {"MetricDataQueries": [], "StartTime": 0, "EndTime": 0}
        answer = await self._get(nothing, passes=lambda status: status in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST})
        kind = _error_type(answer.text)
        if kind and "Parameter" not in kind and "Validation" not in kind:
            raise SourceError(f"error response: {self.excerpt(answer)}")

    async def _get(self, request: dict[str, Any], passes: Callable[[int], bool]) -> HttpAnswer:
        body = json.dumps(request).encode()
        credentials = self._own or await self._ambient_credentials()
        self.hide(credentials.secret_key, credentials.token or "")
        return await self.ask("", method="POST", data=body, headers=self._sign(credentials, body), passes=passes)

    def _credentials_of_secret(self) -> Any:
        """Return the credentials of the Secret, or None without one."""
        if not self.secret:
            return None
        key, secret = self.require_credential("aws_access_key_id"), self.require_credential("aws_secret_access_key")
        return Credentials(key, secret, self.secret.get("aws_session_token") or None).get_frozen_credentials()

    async def _ambient_credentials(self) -> Any:
        if not self.is_at_home:
            raise SourceError(
                "error creating aws session: at an address of its own cloudwatch needs aws_access_key_id and "
                f"aws_secret_access_key in a Secret, as the controller's credentials go to {self._home.host} only"
            )
        return await self.look_up(self._find)

    def _find(self) -> Any:
        """Find and renew the credentials of the pod, role or profile, which may take seconds."""
        try:
            credentials = self._session_of_aws.get_credentials()
            if credentials is None:
                raise SourceError("error creating aws session: there are no credentials")
            return credentials.get_frozen_credentials()
        except BotoCoreError as error:
            raise SourceError(f"error creating aws session: {error}") from error

    def _sign(self, credentials: Any, body: bytes) -> dict[str, str]:
        """Return the headers of a signed request."""
        request = AWSRequest("POST", str(self.url / ""), {"Content-Type": CONTENT, "X-Amz-Target": TARGET}, body)
        SigV4Auth(credentials, SERVICE, self.region).add_auth(request)
        return dict(request.headers.items())


def _newest_value(document: Any) -> float | None:
    results = document["MetricDataResults"]
    values = results[0]["Values"] if results else ()
    return first_number(values)


def _error_type(body: str) -> str:
    """Return the type of an error; empty when the body has none."""
    try:
        return str(parse_json(body).get("__type", ""))
    except (AnswerError, AttributeError, RecursionError):
        return ""
