"""Printing, exit codes, and what becomes of errors.

Results go to stdout, everything else to stderr. Both pass `canarycore_cli.safe_console`, so a text from outside is
shown and does nothing. Colour is for terminals only, and NO_COLOR is respected. No command ends with a traceback over
something that its user can put right.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import typer
from typer.core import TyperGroup

from canarycore.errors import CanaryError, ManifestError, UnknownProvider
from canarycore.text import escape_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rich.console import Console

    from canarycore.errors import Problem

P = ParamSpec("P")
T = TypeVar("T")

OK, TROUBLE, BAD_INPUT, ROLLED_BACK = 0, 1, 2, 3
"""Exit codes of every command."""

LONGEST_RECORD = 4_000
"""Characters of a log record that are kept, its traceback aside."""

_DISTRIBUTIONS = {
    "canarycore_runtime": "canarycore-runtime",
    "canarycore_local": "canarycore-local",
    "envoy": "canarycore-local",
    "aiohttp": "canarycore-local",
    "canarycore_hooks": "canarycore-hooks",
    "canarycore_metrics": "canarycore-metrics",
    "canarycore_kubernetes": "canarycore-kubernetes",
    "aiolimiter": "canarycore-kubernetes",
    "kubernetes_asyncio": "canarycore-kubernetes",
    "ruamel": "canarycore[yaml]",
    "numpy": "canarycore[simulation]",
    "matplotlib": "canarycore[simulation]",
}
"""Which distribution brings a module that may be missing."""


class BadInput(CanaryError):
    """What the user typed cannot be used; the message says what was expected."""


def out() -> Console:
    """The console of results. Lines are wrapped on terminals only."""
    from canarycore_cli.safe_console import SafeConsole

    return SafeConsole(soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """The console of everything that is not a result."""
    from canarycore_cli.safe_console import SafeConsole

    return SafeConsole(stderr=True, soft_wrap=not sys.stderr.isatty())


def print_json(data: object) -> None:
    """One line of JSON on stdout, at once: programs read along."""
    sys.stdout.write(json.dumps(data, allow_nan=False) + "\n")
    sys.stdout.flush()


class SafeGroup(TyperGroup):
    """A group of commands whose usage errors are safe to show: they repeat what was typed, such as a file's name."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the options before the command."""
        with _escaped_usage_errors():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Read the options of the command, and run it."""
        with _escaped_usage_errors():
            return super().invoke(ctx)


@contextmanager
def _escaped_usage_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message") and isinstance(vars(error).get("message"), str):  # typer exports no base
            vars(error)["message"] = escape_controls(vars(error)["message"])
        raise


class OneLine(logging.Formatter):
    """A format of log files in which no text from outside can forge a line: a traceback's lines are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format the record but for its traceback."""
        return escape_controls(super().formatMessage(record), LONGEST_RECORD)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Format the traceback."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"    {escape_controls(line)}" for line in lines)


class JsonLines:
    """Prints one object a line, until its reader has gone (`canary ... --json | head -1`)."""

    def __init__(self) -> None:
        self.is_read = True

    def __call__(self, data: object) -> None:
        if not self.is_read:
            return
        try:
            print_json(data)
        except BrokenPipeError:
            self.is_read = False
            _close_stdout()


def _close_stdout() -> None:
    """Nobody reads: what is left in buffers must not fail again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tells_errors(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose errors are told in words: 2 for what the user can put right, 1 for the rest."""

    @wraps(command)
    def told(*args: P.args, **options: P.kwargs) -> T:
        try:
            return command(*args, **options)
        except ManifestError as error:
            print_problems(error.problems, err())
            raise typer.Exit(BAD_INPUT) from None
        except (BadInput, UnknownProvider) as error:
            fail(str(error), BAD_INPUT)
        except ModuleNotFoundError as error:
            distribution = _DISTRIBUTIONS.get((error.name or "").partition(".")[0])
            if distribution is None:
                raise
            fail(f"this needs {distribution}, which is not installed: pip install {distribution!r}", BAD_INPUT)
        except BrokenPipeError:
            _close_stdout()
            raise typer.Exit(TROUBLE) from None
        except (CanaryError, OSError) as error:
            fail(str(error), TROUBLE)

    return told


def fail(message: str, code: int) -> NoReturn:
    """End with a message."""
    err().print(message, style="red", markup=False)
    raise typer.Exit(code)


def print_problems(problems: Iterable[Problem], console: Console) -> None:
    """Every problem: where, what was found, what was expected, what to do."""
    from rich.text import Text

    for problem in problems:
        where = ":".join(str(part) for part in (problem.file, problem.line) if part)
        console.print(
            Text.assemble(
                (f"{where}  " if where else "", "bold"),
                (problem.severity, "red" if problem.severity == "error" else "yellow"),
                f"  {problem.path or 'the document'}  ",
                (f"[{problem.rule}]", "dim"),
            )
        )
        console.print(Text(f"    found {problem.found}, expected {problem.expected}"))
        console.print(Text(f"    {problem.remedy}"))


def parse_pairs(texts: Iterable[str], option: str, meaning: str, read: Callable[[str], T]) -> Mapping[str, T]:
    """Repeated options NAME=VALUE as a mapping. `read` raises ValueError for a value it cannot read."""
    found: dict[str, T] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name] = read(value)
        except ValueError:
            name = ""
        if not name:
            raise BadInput(f"{option} {text}: expected {meaning}")
    return found


def split_names(text: str) -> tuple[str, ...]:
    """Read a list such as `one,two`."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parse_approval(value: str) -> bool:
    """Read `approve` or `deny`."""
    known = {"approve": True, "deny": False}
    if value not in known:
        raise ValueError(value)
    return known[value]


def parse_fraction(value: str) -> float:
    """Read a share, `0.02` or `2%`, as a number from 0 to 1."""
    number = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    if not 0 <= number <= 1:
        raise ValueError(value)
    return number


def old_and_new(text: str, option: str, meaning: str, read: Callable[[str], T]) -> tuple[T, T]:
    """Read `old,new`."""
    try:
        old, new = (read(part.strip()) for part in text.split(","))
    except ValueError:
        raise BadInput(f"{option} {text}: expected {meaning}") from None
    return old, new


def format_timespan(seconds: float) -> str:
    """A time span for people: 45s, 2m05s, 1h02m."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}s" if seconds != whole and seconds < 10 else f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    return f"{minutes // 60}h{minutes % 60:02}m"


Json = dict[str, Any]
