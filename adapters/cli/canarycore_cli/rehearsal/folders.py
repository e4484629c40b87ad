"""Where rehearsals keep their state, and which of them are running.

    <cache>/canarycore/rehearsals/<namespace>-<name>    the default folder of a rehearsal
    <cache>/canarycore/running/<pid>.json               a rehearsal that runs, wherever its folder is

A record is locked for as long as its process lives, so one that was killed is told from one that runs without trusting
process ids. <cache> is $XDG_CACHE_HOME, else ~/.cache.
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
"""The story of a rehearsal in its folder, one JSON object a line."""

LOG = "canary.log"
"""What the library logged."""

OPTIONS = "options.json"
"""What whoever resumes a rehearsal has to know and is not in its script."""

FILES = (TRACE, LOG, OPTIONS, f"{OPTIONS}{DRAFT}")
"""The files that the command adds to those of `canarycore_local` in the folder of a rehearsal."""

_RECORD = re.compile(r"[0-9]+\.json")


@frozen(kw_only=True)
class Running:
    """A rehearsal that runs. `key` is `namespace/name`, its key in the store."""

    key: str
    folder: Path
    pid: int


def default_folder(rollout: Rollout) -> Path:
    """Where the rehearsal of a rollout keeps its state unless told otherwise."""
    return _cache() / "rehearsals" / quote(f"{rollout.namespace}-{rollout.name}", safe="")


def latest_folder() -> Path:
    """The folder of the rehearsal that was begun last. Raises BadInput when there is none."""
    scripts = sorted(_cache().glob(f"rehearsals/*/{SCRIPT}"), key=lambda script: script.stat().st_mtime)
    if not scripts:
        raise BadInput("found no rehearsal to resume, expected one that was interrupted: give its --state-dir")
    return scripts[-1].parent


def make_room(folder: Path) -> None:
    """End what a killed rehearsal left running in the folder, and delete the files that it made there.

    Raises BadInput, and deletes nothing, for a folder that no rehearsal made, or that others could have written.
    """
    with _refusing(folder):
        claim(folder)
        asyncio.run(local.stop(folder))
        local.clear(folder, FILES)


def read_script(folder: Path) -> local.Script:
    """Read the script of the rehearsal to resume. Raises BadInput for a folder that others could have written."""
    with _refusing(folder):
        script = local.read_script(folder)
        demand_private(folder, FILES)
        return script


@contextmanager
def registered(key: str, folder: Path) -> Iterator[None]:
    """Be found by other commands meanwhile."""
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


def running() -> tuple[Running, ...]:
    """All rehearsals that run; records of those that were killed are removed."""
    return tuple(one for record in _records() for one in _read(record))


def refuse_if_running(folder: Path) -> None:
    """Raise BadInput if a rehearsal runs in the folder."""
    for one in running():
        if one.folder == folder.resolve():
            raise BadInput(
                f"a rehearsal of {one.key} is running in {folder} (process {one.pid}): "
                "stop it by Ctrl-C there, or choose another folder by --state-dir"
            )


def choose(name: str, state_dir: Path | None) -> Running:
    """The running rehearsal that is meant. Raises BadInput unless it is exactly one."""
    everywhere = running()
    found = [one for one in everywhere if _is_meant(one, name, state_dir)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{one.key} in {one.folder}" for one in everywhere) or "none"
    if not found:
        raise BadInput(f"found no running rehearsal{f' of {name}' if name else ''}; running are: {known}")
    raise BadInput(f"found {len(found)} running rehearsals, expected one: give a NAME or --state-dir ({known})")


def _records() -> list[Path]:
    records = _cache() / "running"
    if not records.is_dir():
        return []
    make_private(records)
    return sorted(path for path in records.iterdir() if _RECORD.fullmatch(path.name))


@contextmanager
def _refusing(folder: Path) -> Iterator[None]:
    """Raise BadInput for a folder that is refused."""
    try:
        yield
    except RehearsalError as error:
        raise BadInput(f"--state-dir {folder}: {error}") from None


def _is_meant(one: Running, name: str, state_dir: Path | None) -> bool:
    namespace, _, plain = one.key.partition("/")
    names = ("", plain, one.key, f"{plain}.{namespace}")
    return name in names and (state_dir is None or one.folder == state_dir.resolve())


def _read(record: Path) -> Iterator[Running]:
    try:
        with open_private(record, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found = json.load(file)
                yield Running(key=found["key"], folder=Path(found["folder"]), pid=found["pid"])
            else:
                record.unlink(missing_ok=True)  # nobody holds it: its process was killed
    except (FileNotFoundError, ValueError, RehearsalError):
        return  # it ended, is just being written, or is none of ours


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "canarycore"
