"""The requests to the API server by user, verb and resource, from its audit log.

    mark = plane.audit.mark()
    …
    plane.audit.since(mark, user="system:serviceaccount:test:controller")
    Counter({("watch", "deployments.apps"): 1, ("update", "canaries.flagger.app/status"): 1})

The verbs are the API's: get, list, watch, create, update, patch, delete, deletecollection. A watch counts when it
begins, any other request when the server answers, also with a refusal.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from canarycore_planes.control_plane.api import Api, Json, eventually

Asked = tuple[str, str]
"""A verb and its subject: `deployments.apps`, `canaries.flagger.app/status`, or a path without an object."""


@frozen(kw_only=True)
class Request:
    """One request."""

    user: str
    agent: str
    verb: str
    resource: str
    namespace: str
    name: str
    uri: str
    code: int
    message: str
    at: str


@frozen
class Audit:
    """The audit log of an API server."""

    path: Path
    api: Api

    def mark(self) -> int:
        """Return the position in the log after all answers so far."""
        self._catch_up()
        return self.path.stat().st_size

    def since(self, mark: int, *, user: str = "", namespace: str = "") -> Counter[Asked]:
        """Return the number of requests by verb and subject, of one user and one namespace or of all."""
        return Counter((found.verb, found.resource) for found in self.requests(mark, user=user, namespace=namespace))

    def requests(self, mark: int, *, user: str = "", namespace: str = "") -> list[Request]:
        """Return the requests in order."""
        self._catch_up()
        return [
            found
            for found in read(self.path, mark)
            if (not user or found.user == user) and (not namespace or found.namespace == namespace)
        ]

    def _catch_up(self) -> None:
        """Wait for the log: the server may answer before it writes the line, so a later request marks the end."""
        sign = f"/version?{uuid.uuid4()}"
        before = self.path.stat().st_size if self.path.exists() else 0
        self.api.request("GET", sign)
        eventually(lambda: any(sign == found.uri for found in read(self.path, before)))


def read(path: Path, mark: int = 0) -> Iterator[Request]:
    """Yield the requests of a log file from a position on."""
    if not path.exists():
        return
    with path.open("rb") as log:
        if mark:
            log.seek(mark - 1)
            log.readline()  # the rest of a line that was being written when the mark was set
        for line in log:
            if line.endswith(b"\n"):
                found = json.loads(line)
                if (found["verb"] == "watch") == (found["stage"] == "ResponseStarted"):
                    yield _request(found)


def _request(found: Json) -> Request:
    of, answer = found.get("objectRef") or {}, found.get("responseStatus") or {}
    kind = ".".join(filter(None, (of.get("resource", ""), of.get("apiGroup", ""))))
    return Request(
        user=found["user"]["username"],
        agent=found.get("userAgent", ""),
        verb=found["verb"],
        resource="/".join(filter(None, (kind, of.get("subresource", "")))) or found["requestURI"].partition("?")[0],
        namespace=of.get("namespace", ""),
        name=of.get("name", ""),
        uri=found["requestURI"],
        code=answer.get("code", 0),
        message=answer.get("message", ""),
        at=found["requestReceivedTimestamp"],
    )
