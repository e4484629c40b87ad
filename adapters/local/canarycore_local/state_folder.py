"""The folder of a rehearsal: its user alone can read and write it, and no file of somebody else is lost in it.

Theory of operation. The script in the folder names commands to run, and `warden.json` names a socket to obey. So
nothing is read from a folder, or from a file in it, that another user owns or can write. `claim` takes an empty folder
only, leaves a marker in it and gives it the mode 0700; a folder with other files and without the marker is refused.
From then on no other user can put anything there, so the checks cannot be outrun.

`remove` deletes the names that its caller lists, one by one, and only regular files of this user. It never deletes a
tree and never matches a pattern. Files that others put into a marked folder stay where they are.

Every file is opened without following a symbolic link, and has the mode 0600 whatever the umask is.
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
"""The file that says that a rehearsal made the folder."""

DRAFT = ".draft"
"""The suffix of a file that is being written."""

FOLDER_MODE, FILE_MODE = 0o700, 0o600

_NOTE = "canarycore rehearses in this folder. It deletes the files that it made here when the next rehearsal begins.\n"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class RehearsalError(CanaryError):
    """The folder is not as the call expects it; the message says what to do."""


def claim(folder: Path) -> None:
    """Make the folder, or take one that is empty or that a rehearsal made. Raises RehearsalError for any other."""
    with _explained(folder):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    if is_marked(folder):
        demand_private(folder)
        return
    _demand_own(folder.lstat(), folder, stat.S_ISDIR)
    _demand_empty(folder)
    folder.chmod(FOLDER_MODE)
    _demand_empty(folder)  # until now, others may have been able to put something there
    write_private(folder / MARKER, _NOTE)


def is_marked(folder: Path) -> bool:
    """Whether a rehearsal made the folder, or took it when it was empty."""
    return os.path.lexists(folder / MARKER)


def demand_private(folder: Path, names: Iterable[str] = (MARKER,)) -> None:
    """Raise RehearsalError unless nobody else could have written the folder and those of the named files that exist.

    A folder or file that others can only read is closed to them.
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
    """Make a folder, or close one of this user to others. Raises RehearsalError for any other."""
    with _explained(folder):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    _demand_own(folder.lstat(), folder, stat.S_ISDIR)
    folder.chmod(FOLDER_MODE)


def remove(folder: Path, names: Iterable[str]) -> None:
    """Delete the named files of a marked folder, and the folders in it that this leaves empty.

    Raises RehearsalError, and deletes nothing, unless all of them are this user's.
    """
    listed = tuple(names)
    demand_private(folder, (MARKER, *listed))
    for name in listed:
        (folder / name).unlink(missing_ok=True)
    parents = {parent for name in listed for parent in (folder / name).relative_to(folder).parents[:-1]}
    for parent in sorted(parents, reverse=True):  # the inner ones first
        with suppress(OSError):  # others keep something there, or it was never made
            (folder / parent).rmdir()


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open a file of this user, or make one that only this user can read. Raises RehearsalError for any other."""

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

    with _explained(path):
        return open(path, mode, opener=opener, encoding=None if "b" in mode else "utf-8")


def read_private(path: Path) -> str:
    """Read a text that no other user could have written. Raises RehearsalError, or FileNotFoundError."""
    with open_private(path, "r") as file:
        text: str = file.read()
        return text


def write_private(path: Path, text: str, *, draft: Path | None = None) -> None:
    """Replace the file's text durably, in one move: a reader finds the old text or the new one.

    draft: where the text is written first, on the same file system; beside the file by default.
    """
    draft = draft or path.with_name(path.name + DRAFT)
    with open_private(draft, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def make_empty(path: Path) -> None:
    """Make an empty private file where there is none, without ever opening one that exists.

    SQLite's locks on a file are the process's: if any other descriptor of that file were closed, they would be lost.
    """
    if os.path.lexists(path):
        _close_to_others(path, stat.S_ISREG, FILE_MODE)
        return
    draft = path.with_name(path.name + DRAFT)
    open_private(draft, "a").close()
    with suppress(FileExistsError, FileNotFoundError):  # another thread was faster
        os.link(draft, path)
    draft.unlink(missing_ok=True)


def _close_to_others(path: Path, is_kind: Any, mode: int) -> None:
    found = path.lstat()
    _demand_closed(found, path, is_kind)
    if stat.S_IMODE(found.st_mode) != mode:
        path.chmod(mode)


def _demand_closed(found: os.stat_result, path: Path, is_kind: Any) -> None:
    """Like `_demand_own`, and demand that nobody else can write it."""
    _demand_own(found, path, is_kind)
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise RehearsalError(
            f"{path}: found the mode {stat.S_IMODE(found.st_mode):04o}, expected one that lets nobody else write it: "
            "look at what is in it, then delete it or choose another folder"
        )


def _demand_own(found: os.stat_result, path: Path, is_kind: Any) -> None:
    expected = "a folder" if is_kind is stat.S_ISDIR else "a regular file"
    if not is_kind(found.st_mode):
        raise RehearsalError(
            f"{path}: found {_kind(found)}, expected {expected}: move it away or choose another folder"
        )
    if found.st_uid != os.geteuid():
        raise RehearsalError(
            f"{path}: found {expected} of user {found.st_uid}, expected your own (user {os.geteuid()}): "
            "choose another folder"
        )


def _kind(found: os.stat_result) -> str:
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file"}
    return kinds.get(stat.S_IFMT(found.st_mode), "a special file")


def _demand_empty(folder: Path) -> None:
    names = {entry.name for entry in folder.iterdir()} - {MARKER, MARKER + DRAFT}
    if names:
        raise RehearsalError(
            f"{folder}: found other files ({len(names)}, such as {min(names)}), expected an empty folder or one of a "
            "rehearsal: choose another folder"
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raise RehearsalError for a path that holds another kind of file than the call expects, or cannot be used."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        if error.errno not in _OTHER_KINDS:
            raise RehearsalError(
                f"{clip(str(path))}: cannot be used ({error.strerror}), expected a place where you may write: "
                "choose another folder"
            ) from error
        raise RehearsalError(
            f"{path}: found {_OTHER_KINDS[error.errno]} on the way, expected folders and regular files: "
            "move it away or choose another folder"
        ) from error


_OTHER_KINDS = {
    errno.ELOOP: "a symbolic link",
    errno.EEXIST: "something that is no folder",
    errno.ENOTDIR: "something that is no folder",
    errno.EISDIR: "a folder",
    errno.ENXIO: "a special file",
}
