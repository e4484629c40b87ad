"""The gates of Canaries. A gate is closed until somebody opens it, and a file keeps the open ones.

A change is written before it counts: to a new file, which then takes the place of the old one. So a crash leaves either
state, and an answer means that the state is safe. Only the owner may read the file (mode 0600).
"""

from __future__ import annotations

import asyncio
import json
import os
from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.errors import CanaryError

if TYPE_CHECKING:
    from pathlib import Path

MOST_GATES = 10_000
"""Most open gates: a caller that opens gates of made-up Canaries must not fill the memory."""

LONGEST_NAME = 253
"""The longest name of a Canary or a namespace."""


class GateKind(Enum):
    """The two gates of each Canary."""

    APPROVAL = "approval"
    """Whether the rollout may go on: `/gate`."""
    ROLLBACK = "rollback"
    """Whether the rollout must be rolled back: `/rollback`."""


@frozen(order=True)
class Gate:
    """A gate."""

    kind: str
    namespace: str
    name: str


class InvalidState(CanaryError):
    """The file with the gates is unreadable."""


class TooManyGates(CanaryError):
    """So many gates are open that no further one can be."""


class Gates:
    """The gates, and the file that keeps them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open = _read(file)
        self._lock = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def is_open(self, gate: Gate) -> bool:
        """Check whether a gate is open."""
        return gate in self._open

    async def open(self, gate: Gate) -> None:
        """Open a gate. Raise OSError or TooManyGates, and leave it as it was."""
        async with self._lock:
            await self._replace(self._open | {gate})

    async def close(self, gate: Gate) -> None:
        """Close a gate. Raise OSError, and leave it as it was."""
        async with self._lock:
            await self._replace(self._open - {gate})

    async def _replace(self, gates: frozenset[Gate]) -> None:
        if len(gates) > MOST_GATES:
            raise TooManyGates(f"{MOST_GATES} gates are open, expected fewer: close one first")
        if gates != self._open:
            await asyncio.to_thread(_write, self._file, gates)
            self._open = gates


def _read(file: Path) -> frozenset[Gate]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return frozenset()
    try:
        gates = frozenset(
            Gate(GateKind(kind).value, str(namespace), str(name)) for kind, namespace, name in json.loads(text)
        )
    except (ValueError, TypeError, RecursionError):
        raise InvalidState(
            f"{file}: found no list of gates, expected the load tester's own file. Delete it to close all gates."
        ) from None
    return gates


def _write(file: Path, gates: frozenset[Gate]) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)  # a killed process may have left one
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump([[gate.kind, gate.namespace, gate.name] for gate in sorted(gates)], stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
