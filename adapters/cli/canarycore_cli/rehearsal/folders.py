"""The folders of rehearsals, and the records of those that run.

    <cache>/canarycore/rehearsals/<namespace>-<name>    the default folder of a rehearsal
    <cache>/canarycore/running/<pid>.json               the record of a running rehearsal, for any folder

A process locks its record while it lives. The lock distinguishes a running rehearsal from a killed one, without trust
in process ids. <cache> is $XDG_CACHE_HOME, or else ~/.cache.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from attrs import frozen

from canarycore_cli.console import BadInput
from canarycore_local import rehearsal as local
from canarycore_local.rehearsal import SCRIPT, RehearsalError
from canarycore_local.state_folder import DRAFT, claim, demand_private, make_private, open_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore import Rollout

TRACE = "trace.ndjson"
"""The file with the story of a rehearsal, one JSON object a line."""

LOG = "canary.log"
"""The file with the library's log."""

OPTIONS = "options.json"
"""The file with the options that a resumed rehearsal needs beside its script."""

FILES = (TRACE, LOG, OPTIONS, f"{OPTIONS}{DRAFT}")
"""The files that `canary` adds to those of `canarycore_local` in the folder of a rehearsal."""

_RECORD = re.compile(r"[0-9]+\.json")


@frozen(kw_only=True)
class RunningRehearsal:
    """A running rehearsal."""

    key: str
    """The key of the rollout in the store, `namespace/name`."""

    folder: Path
    """The rehearsal's folder, as an absolute path."""

    pid: int
    """The process that rehearses."""


def default_folder(rollout: Rollout) -> Path:
    """Return the default folder for the rehearsal of a rollout."""
    return _cache() / "rehearsals" / quote(f"{rollout.namespace}-{rollout.name}", safe="")


def latest_folder() -> Path:
    """Return the folder of the rehearsal that began last. Raises BadInput when there is none."""
    scripts = sorted(_cache().glob(f"rehearsals/*/{SCRIPT}"), key=lambda script: script.stat().st_mtime)
    if not scripts:
        raise BadInput("found no rehearsal to resume, expected an interrupted one: give its --state-dir")
    return scripts[-1].parent


def clear(folder: Path) -> None:
    """End the processes that a killed rehearsal left behind in the folder, and delete its files there.

    Raises BadInput, and deletes nothing, for a folder that no rehearsal made or that other users can write.
    """
    with _as_bad_input(folder):
        claim(folder)
        asyncio.run(local.stop(folder))
        local.clear(folder, FILES)


def read_script(folder: Path) -> local.Script:
    """Return the script of the rehearsal to resume. Raises BadInput for a folder that other users can write."""
    with _as_bad_input(folder):
        script = local.read_script(folder)
        demand_private(folder, FILES)
        return script


@contextmanager
def registered(key: str, folder: Path) -> Iterator[None]:
    """Keep a record of this rehearsal while the context is open, so that other commands find it."""
    records = _cache() / "running"
    make_private(records)
    record = records / f"{os.getpid()}.json"
    with open_private(record, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({"key": key, "folder": str(folder.resolve()), "pid": os.getpid()}, file)
        file.flush()
        try:
            yield
        finally:
            record.unlink(missing_ok=True)


def running() -> tuple[RunningRehearsal, ...]:
    """Return the running rehearsals, and remove the records of killed ones."""
    return tuple(rehearsal for record in _records() for rehearsal in _read(record))


def refuse_if_running(folder: Path) -> None:
    """Raise BadInput if a rehearsal runs in the folder."""
    for rehearsal in running():
        if rehearsal.folder == folder.resolve():
            raise BadInput(
                f"a rehearsal of {rehearsal.key} is running in {folder} (process {rehearsal.pid}): "
                "stop it by Ctrl-C there, or choose another folder by --state-dir"
            )


def choose(name: str, state_dir: Path | None) -> RunningRehearsal:
    """Return the running rehearsal of that name and folder. Raises BadInput unless exactly one matches."""
    rehearsals = running()
    matching = [rehearsal for rehearsal in rehearsals if _matches(rehearsal, name, state_dir)]
    if len(matching) == 1:
        return matching[0]
    listed = ", ".join(f"{rehearsal.key} in {rehearsal.folder}" for rehearsal in rehearsals) or "none"
    if not matching:
        raise BadInput(f"found no running rehearsal{f' of {name}' if name else ''}; running are: {listed}")
    raise BadInput(f"found {len(matching)} running rehearsals, expected one: give a NAME or --state-dir ({listed})")


def _records() -> list[Path]:
    records = _cache() / "running"
    if not records.is_dir():
        return []
    make_private(records)
    return sorted(path for path in records.iterdir() if _RECORD.fullmatch(path.name))


@contextmanager
def _as_bad_input(folder: Path) -> Iterator[None]:
    """Convert RehearsalError to BadInput."""
    try:
        yield
    except RehearsalError as error:
        raise BadInput(f"--state-dir {folder}: {error}") from None


def _matches(rehearsal: RunningRehearsal, name: str, state_dir: Path | None) -> bool:
    namespace, _, canary = rehearsal.key.partition("/")
    names = ("", canary, rehearsal.key, f"{canary}.{namespace}")
    return name in names and (state_dir is None or rehearsal.folder == state_dir.resolve())


def _read(record: Path) -> Iterator[RunningRehearsal]:
    try:
        with open_private(record, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                data = json.load(file)
                yield RunningRehearsal(key=data["key"], folder=Path(data["folder"]), pid=data["pid"])
            else:
                record.unlink(missing_ok=True)  # without a lock: its process was killed
    except (FileNotFoundError, ValueError, RehearsalError):
        return  # it has ended, is not yet complete, or belongs to another user


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "canarycore"
