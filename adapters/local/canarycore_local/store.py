"""The port StatusStore: rollouts, their statuses and commands to them, in one SQLite file.

Several processes may use the file at once: one runs the rollout, others send commands. `commit` uses an optimistic
lock, the row's version, and returns once the status is on the disk. Each call opens its own connection in a thread, so
the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from canarycore import Command, CommandKind, Rollout, Status
from canarycore.codec import from_json, to_json
from canarycore.errors import Conflict, WorldError
from canarycore_local.state_folder import DRAFT, make_empty
from canarycore_runtime.ports import StoredRollout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS rollouts (
    key TEXT PRIMARY KEY,
    rollout TEXT NOT NULL,
    status TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    deleted INTEGER NOT NULL DEFAULT 0,
    wishes INTEGER NOT NULL DEFAULT 0  -- the number of changes by users; `changes` polls it
);
CREATE TABLE IF NOT EXISTS commands (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL REFERENCES rollouts (key),
    kind TEXT NOT NULL,
    weight INTEGER NOT NULL
);
"""

STORE = "status.sqlite"
"""The name of the store's file in the folder of a rehearsal."""

FILES = (STORE, f"{STORE}-wal", f"{STORE}-shm", f"{STORE}-journal", f"{STORE}{DRAFT}")
"""All files of a store. SQLite gives the later ones the mode of the first."""

_BUSY = 5.0
_POLL = 0.2


class SqliteStore:
    """The rollouts in the file at `path`. The first use creates the file, and only its user can read it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    # the port ---------------------------------------------------------------------------------------------------

    async def keys(self) -> tuple[str, ...]:
        """Return the keys of all rollouts, sorted."""
        return tuple(key for (key,) in await self._rows("SELECT key FROM rollouts ORDER BY key"))

    async def load(self, key: str) -> StoredRollout | None:
        """Return the rollout, its status and its newest command; None if it does not exist."""

        def read(database: sqlite3.Connection) -> tuple[Any, Any]:
            database.execute("BEGIN")  # both reads see the same state
            rollout = "SELECT rollout, status, version, deleted FROM rollouts WHERE key = ?"
            newest = "SELECT number, kind, weight FROM commands WHERE key = ? ORDER BY number DESC LIMIT 1"
            return database.execute(rollout, (key,)).fetchone(), database.execute(newest, (key,)).fetchone()

        row, command = await self._do(read)
        if row is None:
            return None
        rollout, status, version, deleted = row
        return StoredRollout(
            rollout=from_json(rollout, Rollout),
            status=from_json(status, Status),
            version=str(version),
            command=None if command is None else _command(*command),
            deleted=bool(deleted),
        )

    async def commit(self, key: str, status: Status, version: str) -> str:
        """Store `status` durably and return the new version. Raises Conflict if the stored version is not `version`."""
        statement = "UPDATE rollouts SET status = ?, version = version + 1 WHERE key = ? AND version = ?"
        if not await self._write((statement, (to_json(status), key, int(version)))):
            raise Conflict(f"{key} is no longer at version {version}: another process committed first")
        return str(int(version) + 1)

    async def changes(self) -> AsyncIterator[str]:
        """Yield the key of each rollout that is added, edited or sent a command."""
        before = await self._wishes()
        while True:
            await asyncio.sleep(_POLL)
            now = await self._wishes()
            for key in {key for key, _ in now ^ before}:
                yield key
            before = now

    async def _wishes(self) -> frozenset[tuple[str, int]]:
        return frozenset(await self._rows("SELECT key, wishes FROM rollouts"))

    # users ---------------------------------------------------------------------------------------------------

    async def put(self, rollout: Rollout) -> str:
        """Add a rollout, or replace its spec and keep its status. Returns its key."""
        key = key_of(rollout)
        statement = """
            INSERT INTO rollouts (key, rollout, status) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE
            SET rollout = excluded.rollout, version = version + 1, wishes = wishes + 1
            WHERE rollouts.rollout <> excluded.rollout
        """
        await self._write((statement, (key, to_json(rollout), to_json(Status()))))
        return key

    async def delete(self, key: str) -> None:
        """Request the rollout's deletion: it ends in Terminated."""
        statement = "UPDATE rollouts SET deleted = 1, version = version + 1, wishes = wishes + 1 WHERE key = ?"
        await self._write((statement, (key,)))

    async def send_command(self, key: str, kind: CommandKind, weight: int = 0) -> None:
        """Send a command to a rollout. Raises WorldError if it does not exist."""
        command = "INSERT INTO commands (key, kind, weight) SELECT key, ?, ? FROM rollouts WHERE key = ?"
        notify = "UPDATE rollouts SET wishes = wishes + 1 WHERE key = ?"
        if not await self._write((command, (kind.value, weight, key)), (notify, (key,))):
            existing = ", ".join(await self.keys()) or "none"
            raise WorldError(f"found no rollout {key} in {self._path}, expected one of: {existing}")

    # SQLite -----------------------------------------------------------------------------------------------------

    async def _rows(self, query: str) -> list[Any]:
        return await self._do(lambda database: database.execute(query).fetchall())

    async def _write(self, *statements: tuple[str, tuple[object, ...]]) -> int:
        """Execute all statements in one transaction. Returns the number of rows that the last one changed."""

        def write(database: sqlite3.Connection) -> int:
            database.execute("BEGIN IMMEDIATE")
            changed = [database.execute(statement, values).rowcount for statement, values in statements]
            database.execute("COMMIT")
            return changed[-1]

        return await self._do(write)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def connect() -> T:
            make_empty(self._path)
            with closing(sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                database.executescript(_SCHEMA)
                return work(database)

        try:
            return await asyncio.to_thread(connect)
        except sqlite3.Error as error:
            raise WorldError(f"the store {self._path} failed: {error}") from error


def key_of(rollout: Rollout) -> str:
    """Return the key of a rollout in a store, `namespace/name`."""
    return f"{rollout.namespace}/{rollout.name}"


def _command(number: int, kind: str, weight: int) -> Command:
    return Command(id=f"{kind}-{number}", kind=CommandKind(kind), weight=weight)
