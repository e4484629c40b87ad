"""The faults of the built-in service.

They are a list such as `errors=5%,latency=300ms,start=crash`:

    errors=5%        this percentage of requests gets status 500
    latency=300ms    every answer takes this much longer
    jitter=50ms      every answer takes up to this much longer still, at random
    start=crash      the process exits at its start
    start=never      the process runs, but never gets ready
    start=slow:5s    the process gets ready after this time

Errors and latency spare the paths of health and readiness: a bad version may be healthy.
"""

from __future__ import annotations

import re
from enum import Enum

from attrs import evolve, field, frozen
from attrs.validators import ge, le

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_DURATION = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>ms|s|m)")
_PERCENT = re.compile(r"(?P<number>\d+(\.\d+)?)%")
_EXAMPLE = "errors=5%,latency=300ms,jitter=50ms,start=crash|never|slow:5s"


class Start(Enum):
    """The behaviour of a process at its start."""

    WELL = "well"
    CRASH = "crash"
    NEVER = "never"
    SLOW = "slow"


class BadFaults(ValueError):
    """An invalid list of faults. The message says what it found and expected."""


@frozen(kw_only=True)
class Faults:
    """The faults of one version."""

    errors: float = field(default=0.0, validator=[ge(0), le(100)])
    """Percent of requests that get status 500, from 0 to 100."""

    latency: float = field(default=0.0, validator=ge(0))
    """Additional seconds of every answer."""

    jitter: float = field(default=0.0, validator=ge(0))
    """The greatest further random delay, in seconds."""

    start: Start = Start.WELL
    """The behaviour at the start."""

    start_delay: float = field(default=0.0, validator=ge(0))
    """Seconds until the process is ready, with `Start.SLOW`."""

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Parse a list of faults; an empty text means none. Raises BadFaults."""
        faults = cls()
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition("=")
            reader = _READERS.get(name)
            if reader is None:
                raise BadFaults(f"unknown fault {name!r} in {text!r}: expected a list such as {_EXAMPLE}")
            faults = reader(faults, value)
        return faults

    def __str__(self) -> str:
        """Return the list in the form that `parse` accepts."""
        start = f"slow:{self.start_delay:g}s" if self.start is Start.SLOW else self.start.value
        parts = {
            "errors": f"{self.errors:g}%" if self.errors else "",
            "latency": f"{self.latency * 1000:g}ms" if self.latency else "",
            "jitter": f"{self.jitter * 1000:g}ms" if self.jitter else "",
            "start": "" if self.start is Start.WELL else start,
        }
        return ",".join(f"{name}={value}" for name, value in parts.items() if value)


def _errors(faults: Faults, value: str) -> Faults:
    match = _PERCENT.fullmatch(value)
    if match is None or float(match["number"]) > 100:
        raise BadFaults(f"errors={value}: expected a percentage of requests from 0% to 100%, such as errors=5%")
    return evolve(faults, errors=float(match["number"]))


def _start(faults: Faults, value: str) -> Faults:
    kind, _, delay = value.partition(":")
    if kind == Start.SLOW.value:
        return evolve(faults, start=Start.SLOW, start_delay=_seconds("start=slow:", delay))
    if value not in (Start.CRASH.value, Start.NEVER.value):
        raise BadFaults(f"start={value}: expected crash, never or slow:<duration>, such as start=slow:5s")
    return evolve(faults, start=Start(value))


def _seconds(name: str, value: str) -> float:
    match = _DURATION.fullmatch(value)
    if match is None:
        raise BadFaults(f"{name}{value}: expected a number and ms, s or m, such as 300ms")
    return float(match["number"]) * _UNITS[match["unit"]]


_READERS = {
    "errors": _errors,
    "latency": lambda faults, value: evolve(faults, latency=_seconds("latency=", value)),
    "jitter": lambda faults, value: evolve(faults, jitter=_seconds("jitter=", value)),
    "start": _start,
}
