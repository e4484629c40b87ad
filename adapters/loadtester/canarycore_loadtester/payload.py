"""The body of a request: the payload of Flagger's webhooks.

    {"name": "podinfo", "namespace": "test", "phase": "Progressing", "metadata": {"type": "cmd", "cmd": "hey ..."}}

Each part may be missing. A part of another type is an error, as in Flagger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from attrs import frozen

LARGEST_PAYLOAD = 1024 * 1024
"""The largest body of a request, in bytes."""


class InvalidPayload(ValueError):
    """The body of a request is no payload."""


@frozen(kw_only=True)
class Payload:
    """A call about a Canary."""

    name: str = ""
    namespace: str = ""
    metadata: Mapping[str, str] = {}
    """The metadata of the webhook."""

    @property
    def canary(self) -> str:
        """The Canary, for logs."""
        return f"{self.name}.{self.namespace}"


def parse_payload(body: bytes) -> Payload:
    """Parse the body of a request. Raise InvalidPayload."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidPayload("expected JSON") from None
    if data is None:
        return Payload()
    if not isinstance(data, dict):
        raise InvalidPayload("expected a JSON object")
    metadata = data.get("metadata") or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InvalidPayload("metadata: expected texts by name")
    return Payload(name=_text(data, "name"), namespace=_text(data, "namespace"), metadata=metadata)


def _text(data: Mapping[str, object], name: str) -> str:
    value = data.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidPayload(f"{name}: expected a text")
    return value


def parse_switch(metadata: Mapping[str, str], name: str) -> bool:
    """Parse a switch of the metadata as Go does. Any other text counts as off."""
    return metadata.get(name, "") in {"1", "t", "T", "true", "True", "TRUE"}
