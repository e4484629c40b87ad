"""The errors, by whose fault it is.

    CanaryError
    ├── ManifestError      the owner's manifest: every problem at once, each with path, found, expected and remedy
    ├── UnknownProvider    a provider nobody installed: names those that are
    ├── WorldError         the world refused or could not be reached; trying again is right
    │   ├── Conflict       somebody else committed first: observe again
    │   └── Refused        an effect that must not happen, such as promoting another revision than the one that passed
    └── CannotHappen       a fault of ours
"""

from __future__ import annotations


class CanaryError(Exception):
    """Every error that canarycore raises on purpose."""


class WorldError(CanaryError):
    """The world refused or could not be reached; trying again is right."""


class Conflict(WorldError):
    """The status was committed by somebody else since it was read."""


class Refused(WorldError):
    """An adapter refused an effect because carrying it out would be wrong."""


class CannotHappen(CanaryError):
    """A fault in canarycore itself; please report it with the message."""


class UnknownProvider(CanaryError):
    """No adapter of that name is installed."""

    def __init__(self, port: str, name: str, installed: tuple[str, ...]) -> None:
        self.port, self.name, self.installed = port, name, installed
        known = ", ".join(installed) or "none"
        super().__init__(f"unknown {port} {name!r}: installed are {known}. Install the distribution that provides it.")
