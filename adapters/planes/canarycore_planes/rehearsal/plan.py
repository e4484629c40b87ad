"""All that a rehearsal needs, as plain data: it goes as JSON to the process that plays it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import asdict, field, frozen

from canarycore_planes.bench import Installation
from canarycore_planes.control_plane.api import Json

IMAGE = "rehearsal"
"""The name of the image of all versions; the tag is the label of the version."""


@frozen(kw_only=True)
class Stream:
    """Requests at a constant rate."""

    rate: float
    """Requests a second."""
    path: str = "/"
    """The path of each."""
    headers: Mapping[str, str] = field(factory=dict)
    """Further headers of each."""


@frozen(kw_only=True)
class RehearsalPlan:
    """The plan of a rehearsal."""

    plane: str
    """The name of the data plane."""
    installation: Installation
    """The parts of the controller."""
    namespaces: Sequence[str]
    """The namespaces to create."""
    objects: Sequence[Json]
    """The objects to apply before the Canary."""
    deployment: Json
    """The target, without the image of its only container."""
    canary: Json
    """The Canary."""
    versions: Mapping[str, Sequence[str]]
    """The command of each version, by label: the one that runs first, and each version to roll out after it."""
    host: str
    """The host of all requests."""
    streams: Sequence[Stream]
    """The requests of users."""
    policy: str
    """The policy, for people."""
    descriptions: Sequence[str]
    """The versions, for people."""

    @property
    def rate(self) -> float:
        """Requests a second of all users."""
        return sum(stream.rate for stream in self.streams)

    def dump(self) -> str:
        """Return the plan as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> RehearsalPlan:
        """Return the plan of a line of JSON."""
        data: dict[str, Any] = json.loads(text)
        data["installation"] = Installation(**data["installation"])
        data["streams"] = [Stream(**stream) for stream in data["streams"]]
        return cls(**data)
