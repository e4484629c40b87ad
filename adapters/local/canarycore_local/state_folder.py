"""The private folder of a rehearsal: only its user can read and write it, and foreign files in it stay safe.

Theory of operation. The script in the folder names commands to run, and `warden.json` names a socket to obey. So this
module reads nothing from a folder or file that another user owns or can write. `claim` accepts only an empty folder,
puts a marker in it and gives it the mode 0700; it refuses a folder with other files and without the marker. From then
on no other user can put anything there, so no race can defeat the checks.

`remove` deletes the names that its caller lists, one by one, and only regular files of this user. It never deletes a
tree and never matches a pattern. Foreign files in a marked folder stay in place.

Every open follows no symbolic link, and every file has the mode 0600 under any umask.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from canarycore.errors import CanaryError
from canarycore.text import clip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import IO

MARKER = ".canarycore-rehearsal"
"""The file that marks a folder as a rehearsal's."""

DRAFT = ".draft"
"""The suffix of an incomplete file."""

FOLDER_MODE, FILE_MODE = 0o700, 0o600

_NOTE = "canarycore rehearses in this folder. The next rehearsal deletes the files that canarycore created here.\n"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class RehearsalError(CanaryError):
    """A folder that a rehearsal cannot use. The message says what to do."""


def claim(folder: Path) -> None:
    """Create the folder, or accept an empty or a marked one. Raises RehearsalError for any other."""
    with _as_rehearsal_error(folder):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    if is_marked(folder):
        demand_private(folder)
        return
    _demand_own(folder.lstat(), folder, stat.S_ISDIR)
    _demand_empty(folder)
    folder.chmod(FOLDER_MODE)
    _demand_empty(folder)  # until now, others may have been able to write there
    write_private(folder / MARKER, _NOTE)


def is_marked(folder: Path) -> bool:
    """Whether the folder belongs to a rehearsal."""
    return os.path.lexists(folder / MARKER)


def demand_private(folder: Path, names: Iterable[str] = (MARKER,)) -> None:
    """Raise RehearsalError if another user can write the folder, or one of the named files in it that exist.

    Remove the rights of others to read them.
    """
    _close_to_others(folder, stat.S_ISDIR, FOLDER_MODE)
    for name in names:
        path = folder / name
        for parent in reversed(path.relative_to(folder).parents[:-1]):
            if os.path.lexists(folder / parent):
                _close_to_others(folder / parent, stat.S_ISDIR, FOLDER_MODE)
        if os.path.lexists(path):
            _close_to_others(path, stat.S_ISREG, FILE_MODE)


def make_private(folder: Path) -> None:
    """Create a private folder, or make one of this user private. Raises RehearsalError for any other."""
    with _as_rehearsal_error(folder):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    _demand_own(folder.lstat(), folder, stat.S_ISDIR)
    folder.chmod(FOLDER_MODE)


def remove(folder: Path, names: Iterable[str]) -> None:
    """Delete the named files of a marked folder, and the subfolders that become empty.

    Raises RehearsalError, and deletes nothing, unless this user owns all of them.
    """
    listed = tuple(names)
    demand_private(folder, (MARKER, *listed))
    for name in listed:
        (folder / name).unlink(missing_ok=True)
    parents = {parent for name in listed for parent in (folder / name).relative_to(folder).parents[:-1]}
    for parent in sorted(parents, reverse=True):  # inner folders first
        with suppress(OSError):  # not empty, or never created
            (folder / parent).rmdir()


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open a file of this user, or create one that only this user can read. Raises RehearsalError for any other."""

    def opener(name: str, flags: int) -> int:
        descriptor = os.open(name, (flags & ~os.O_TRUNC) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE)
        try:
            _demand_closed(os.fstat(descriptor), path, stat.S_ISREG)
            os.fchmod(descriptor, FILE_MODE)
            if flags & os.O_TRUNC:
                os.ftruncate(descriptor, 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    with _as_rehearsal_error(path):
        return open(path, mode, opener=opener, encoding=None if "b" in mode else "utf-8")


def read_private(path: Path) -> str:
    """Return the text of a file that no other user can write. Raises RehearsalError or FileNotFoundError."""
    with open_private(path, "r") as file:
        text: str = file.read()
        return text


def write_private(path: Path, text: str, *, draft: Path | None = None) -> None:
    """Replace the file's text durably and atomically: a reader gets the old text or the new one.

    `draft` is the incomplete file, on the same file system; by default it is beside the file.
    """
    draft = draft or path.with_name(path.name + DRAFT)
    with open_private(draft, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def make_empty(path: Path) -> None:
    """Create an empty private file if it does not exist, without ever opening an existing one.

    SQLite's locks on a file belong to the process: closing any other descriptor of the file would release them.
    """
    if os.path.lexists(path):
        _close_to_others(path, stat.S_ISREG, FILE_MODE)
        return
    draft = path.with_name(path.name + DRAFT)
    open_private(draft, "a").close()
    with suppress(FileExistsError, FileNotFoundError):  # another thread created it first
        os.link(draft, path)
    draft.unlink(missing_ok=True)


def _close_to_others(path: Path, is_kind: Any, mode: int) -> None:
    entry = path.lstat()
    _demand_closed(entry, path, is_kind)
    if stat.S_IMODE(entry.st_mode) != mode:
        path.chmod(mode)


def _demand_closed(entry: os.stat_result, path: Path, is_kind: Any) -> None:
    """Raise RehearsalError unless this user owns the entry and no other user can write it."""
    _demand_own(entry, path, is_kind)
    if entry.st_mode & _WRITABLE_BY_OTHERS:
        raise RehearsalError(
            f"{path}: found the mode {stat.S_IMODE(entry.st_mode):04o}, expected one that lets no other user write: "
            "inspect it, then delete it or choose another folder"
        )


def _demand_own(entry: os.stat_result, path: Path, is_kind: Any) -> None:
    expected = "a folder" if is_kind is stat.S_ISDIR else "a regular file"
    if not is_kind(entry.st_mode):
        raise RehearsalError(
            f"{path}: found {_kind(entry)}, expected {expected}: move it away or choose another folder"
        )
    if entry.st_uid != os.geteuid():
        raise RehearsalError(
            f"{path}: found {expected} of user {entry.st_uid}, expected your own (user {os.geteuid()}): "
            "choose another folder"
        )


def _kind(entry: os.stat_result) -> str:
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file"}
    return kinds.get(stat.S_IFMT(entry.st_mode), "a special file")


def _demand_empty(folder: Path) -> None:
    names = {entry.name for entry in folder.iterdir()} - {MARKER, MARKER + DRAFT}
    if names:
        raise RehearsalError(
            f"{folder}: found other files ({len(names)}, such as {min(names)}), expected an empty folder or the "
            "folder of a rehearsal: choose another folder"
        )


@contextmanager
def _as_rehearsal_error(path: Path) -> Iterator[None]:
    """Convert OSError to RehearsalError, except FileNotFoundError."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        if error.errno not in _OTHER_KINDS:
            raise RehearsalError(
                f"{clip(str(path))}: cannot be used ({error.strerror}), expected a folder that you may write: "
                "choose another folder"
            ) from error
        raise RehearsalError(
            f"{path}: found {_OTHER_KINDS[error.errno]} on the path, expected folders and regular files: "
            "move it away or choose another folder"
        ) from error


_OTHER_KINDS = {
    errno.ELOOP: "a symbolic link",
    errno.EEXIST: "a file that is no folder",
    errno.ENOTDIR: "a file that is no folder",
    errno.EISDIR: "a folder",
    errno.ENXIO: "a special file",
}
