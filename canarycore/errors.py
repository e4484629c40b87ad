"""The errors, by whose fault it is.

    CanaryError
    ├── ManifestError      the owner's manifest: every problem at once, each with path, found, expected and remedy
    ├── UnknownProvider    a provider nobody installed: names those that are
    ├── WorldError         the world refused or could not be reached; trying again is right
    │   ├── Conflict       somebody else committed first: observe again
    │   ├── Refused        an effect that must not happen, such as promoting another revision than the one that passed
    │   └── Unanswered     a question got no answer, or one of another kind
    └── CannotHappen       a fault of ours

Each message says what was found, what was expected, where, and what to do.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from canarycore.text import clip


class CanaryError(Exception):
    """Every error that canarycore raises on purpose."""


@frozen(kw_only=True)
class Problem:
    """One thing wrong with a manifest.

    `path` is where (`spec.analysis.metrics[0].thresholdRange.min`), `remedy` what to do about it. `line` counts from 1.
    An `error` keeps the manifest from being used; a `warning` does not. `rule` names the check that found it. Each text
    is cut after `canarycore.text.LONGEST_TEXT` characters.
    """

    path: str = field(converter=clip)
    found: str = field(converter=clip)
    expected: str = field(converter=clip)
    remedy: str = field(converter=clip)
    rule: str
    severity: Literal["error", "warning"] = "error"
    line: int | None = None
    file: str | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part)
        place = ": ".join(part for part in (where, self.path) if part) or "manifest"
        return f"{place}: found {self.found}, expected {self.expected}. {self.remedy} [{self.severity}: {self.rule}]"


class ManifestError(CanaryError):
    """The owner's manifest cannot be used. `problems` are all that is wrong with it, warnings included."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class WorldError(CanaryError):
    """The world refused or could not be reached; trying again is right."""


class Conflict(WorldError):
    """The status was committed by somebody else since it was read."""


class Refused(WorldError):
    """An adapter refused an effect because carrying it out would be wrong."""


class Unanswered(WorldError):
    """A driver had no answer of the right kind to a question; the message has the question's key."""


class CannotHappen(CanaryError):
    """A fault in canarycore itself; please report it with the message."""


class UnknownProvider(CanaryError):
    """No adapter of that name is installed."""

    def __init__(self, port: str, name: str, installed: tuple[str, ...], distribution: str = "") -> None:
        """`distribution`: the one that is known to provide it, or empty."""
        self.port: str = port
        self.name: str = name
        self.installed: tuple[str, ...] = installed
        self.distribution: str = distribution
        known = ", ".join(installed) or "none"
        remedy = f"pip install {distribution}" if distribution else "Install the distribution that provides it"
        super().__init__(f"unknown {port} {name!r}: installed are {known}. {remedy}.")
