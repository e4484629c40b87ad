"""The errors, grouped by the party at fault.

    CanaryError
    ├── ManifestError      the owner's manifest: every problem at once, each with path, found, expected and remedy
    ├── FieldError         a value in code that a field refuses: path, found, expected and remedy
    │   ├── WrongType      a value of another type; also a TypeError
    │   └── WrongValue     a value out of its range, or one that contradicts another; also a ValueError
    ├── UnknownProvider    a provider that is not installed: lists those that are
    ├── WorldError         the environment refused or did not answer: try again
    │   ├── Conflict       another process committed first: observe again
    │   ├── Refused        an effect that must not happen, such as promoting another revision than the one that passed
    │   └── Unanswered     a question without an answer of the right type
    └── CannotHappen       a fault in canarycore

Each message says what it found, what it expected, where, and what to do.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from canarycore.text import clip


class CanaryError(Exception):
    """The base class of every error that canarycore raises on purpose."""


@frozen(kw_only=True)
class Problem:
    """One problem of a manifest or of an object built in code.

    It cuts each text after `canarycore.text.LONGEST_TEXT` characters.
    """

    path: str = field(converter=clip)
    """The path of the field, such as `spec.analysis.metrics[0].thresholdRange.min`."""
    found: str = field(converter=clip)
    """The value in the manifest."""
    expected: str = field(converter=clip)
    """The values that the field accepts."""
    remedy: str = field(converter=clip)
    """The way to mend it."""
    rule: str
    """The name of the check that found the problem."""
    severity: Literal["error", "warning"] = "error"
    """An error makes the manifest unusable; a warning does not."""
    line: int | None = None
    """The line in the file, from 1."""
    file: str | None = None
    """The file of the manifest."""

    def __str__(self) -> str:
        position = ":".join(str(part) for part in (self.file, self.line) if part)
        place = ": ".join(part for part in (position, self.path) if part) or "manifest"
        return f"{place}: found {self.found}, expected {self.expected}. {self.remedy} [{self.severity}: {self.rule}]"


class ManifestError(CanaryError):
    """The owner's manifest is unusable. `problems` lists everything wrong with it, warnings included."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class FieldError(CanaryError):
    """A field refuses its value. `problem` has the field's path, the value, the expected values and the remedy."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem)

    def __str__(self) -> str:
        return str(self.problem)


class WrongType(FieldError, TypeError):
    """A value has another type than its field."""


class WrongValue(FieldError, ValueError):
    """A value is out of its field's range, or contradicts another field."""


class WorldError(CanaryError):
    """The environment refused or did not answer: try again."""


class Conflict(WorldError):
    """Another process committed the status since the last read."""


class Refused(WorldError):
    """An adapter refused an effect, as carrying it out would be wrong."""


class Unanswered(WorldError):
    """A driver had no answer of the right type to a question; the message contains the question's key."""


class CannotHappen(CanaryError):
    """A fault in canarycore. Please report it with the message."""


class UnknownProvider(CanaryError):
    """No adapter of that name is installed."""

    def __init__(self, port: str, name: str, installed: tuple[str, ...], distribution: str = "") -> None:
        """Build the message. `distribution` is the one that provides the adapter, or empty if unknown."""
        self.port: str = port
        self.name: str = name
        self.installed: tuple[str, ...] = installed
        self.distribution: str = distribution
        names = ", ".join(installed) or "none"
        remedy = f"pip install {distribution}" if distribution else "Install the distribution that provides it"
        super().__init__(f"unknown {port} {name!r}: installed are {names}. {remedy}.")
