"""Faults that the built-in service can be told to have.

Written as a list, `errors=5%,latency=300ms,start=crash`:

    errors=5%        this share of requests is answered with 500
    latency=300ms    every answer takes this much longer
    jitter=50ms      ... and up to this much more, at random
    start=crash      the process exits as soon as it is started
    start=never      it runs, but never gets ready
    start=slow:5s    it gets ready after this time

Health and readiness are answered without errors and latency: a version may be healthy and bad.
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
    """How a process comes up."""

    WELL = "well"
    CRASH = "crash"
    NEVER = "never"
    SLOW = "slow"


class BadFaults(ValueError):
    """A list of faults that cannot be read; the message says what was found and what was expected."""


@frozen(kw_only=True)
class Faults:
    """`errors` is percent of requests; `latency`, `jitter` and `start_delay` are seconds."""

    errors: float = field(default=0.0, validator=[ge(0), le(100)])
    latency: float = field(default=0.0, validator=ge(0))
    jitter: float = field(default=0.0, validator=ge(0))
    start: Start = Start.WELL
    start_delay: float = field(default=0.0, validator=ge(0))

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Read a list of faults; an empty text means none. Raises BadFaults."""
        faults = cls()
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition("=")
            reader = _READERS.get(name)
            if reader is None:
                raise BadFaults(f"unknown fault {name!r} in {text!r}: expected a list such as {_EXAMPLE}")
            faults = reader(faults, value)
        return faults

    def __str__(self) -> str:
        """The list that `parse` reads."""
        start = f"slow:{self.start_delay:g}s" if self.start is Start.SLOW else self.start.value
        parts = {
            "errors": f"{self.errors:g}%" if self.errors else "",
            "latency": f"{self.latency * 1000:g}ms" if self.latency else "",
            "jitter": f"{self.jitter * 1000:g}ms" if self.jitter else "",
            "start": "" if self.start is Start.WELL else start,
        }
        return ",".join(f"{name}={value}" for name, value in parts.items() if value)


def _errors(faults: Faults, value: str) -> Faults:
    found = _PERCENT.fullmatch(value)
    if found is None or float(found["number"]) > 100:
        raise BadFaults(f"errors={value}: expected a share of requests from 0% to 100%, such as errors=5%")
    return evolve(faults, errors=float(found["number"]))


def _start(faults: Faults, value: str) -> Faults:
    word, _, delay = value.partition(":")
    if word == Start.SLOW.value:
        return evolve(faults, start=Start.SLOW, start_delay=_seconds("start=slow:", delay))
    if value not in (Start.CRASH.value, Start.NEVER.value):
        raise BadFaults(f"start={value}: expected crash, never or slow:<duration>, such as start=slow:5s")
    return evolve(faults, start=Start(value))


def _seconds(name: str, value: str) -> float:
    found = _DURATION.fullmatch(value)
    if found is None:
        raise BadFaults(f"{name}{value}: expected a number and ms, s or m, such as 300ms")
    return float(found["number"]) * _UNITS[found["unit"]]


_READERS = {
    "errors": _errors,
    "latency": lambda faults, value: evolve(faults, latency=_seconds("latency=", value)),
    "jitter": lambda faults, value: evolve(faults, jitter=_seconds("jitter=", value)),
    "start": _start,
}
