"""Output, exit codes and errors of all commands.

Results go to stdout, everything else to stderr. Both pass through `canarycore_cli.safe_console`, so text from outside
cannot control the terminal. Only terminals get colour, and NO_COLOR turns it off. An error that the user can correct
ends a command with a message, never with a traceback.
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
    from canarycore_runtime.plugins import Plugin

P = ParamSpec("P")
T = TypeVar("T")

OK, TROUBLE, BAD_INPUT, ROLLED_BACK, TIMED_OUT = 0, 1, 2, 3, 5
"""The exit codes of all commands; `canary verify` has 4."""

LONGEST_RECORD = 4_000
"""The longest log record, in characters, without its traceback."""

_DISTRIBUTIONS = {
    "canarycore_runtime": "canarycore-runtime",
    "canarycore_local": "canarycore-local",
    "envoy": "canarycore-local",
    "aiohttp": "canarycore-local",
    "canarycore_hooks": "canarycore-hooks",
    "canarycore_metrics": "canarycore-metrics",
    "canarycore_kubernetes": "canarycore-kubernetes",
    "canarycore_loadtester": "canarycore-loadtester",
    "canarycore_planes": "canarycore-planes",
    "aiolimiter": "canarycore-kubernetes",
    "kubernetes_asyncio": "canarycore-kubernetes",
    "ruamel": "canarycore[yaml]",
    "numpy": "canarycore[simulation]",
    "matplotlib": "canarycore[simulation]",
}
"""The distribution of each module that may be missing."""


class BadInput(CanaryError):
    """Unusable input from the user. The message says what the command found and expected."""


def out() -> Console:
    """Return the console for results. It wraps lines on terminals only."""
    from canarycore_cli.safe_console import SafeConsole

    return SafeConsole(soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Return the console for everything but results."""
    from canarycore_cli.safe_console import SafeConsole

    return SafeConsole(stderr=True, soft_wrap=not sys.stderr.isatty())


def count_of(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun, such as `1 file` or `2 files`."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def print_json(data: object) -> None:
    """Print one line of JSON on stdout, and flush it: programs read along."""
    sys.stdout.write(json.dumps(data, allow_nan=False) + "\n")
    sys.stdout.flush()


class SafeGroup(TyperGroup):
    """A group of commands that escapes its usage errors, which repeat input such as a file's name."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the options before the command."""
        with _escaped_usage_errors():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Parse the options of the command, and run it."""
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


class OneLineFormatter(logging.Formatter):
    """A log format that keeps each record on one line and indents tracebacks, so that no text can forge a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format the record without its traceback."""
        return escape_controls(super().formatMessage(record), LONGEST_RECORD)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Format the traceback."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"    {escape_controls(line)}" for line in lines)


class JsonLines:
    """A printer of one JSON object a line. It stops when its reader is gone (`canary ... --json | head -1`)."""

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
    """Redirect stdout to /dev/null, so that the interpreter's last flush does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reports_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Decorate a command to print its errors as messages: exit code 2 for the user's errors, 1 for all others."""

    @wraps(command)
    def run(*args: P.args, **options: P.kwargs) -> T:
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

    return run


def fail(message: str, code: int) -> NoReturn:
    """Print a message and end the command."""
    err().print(message, style="red", markup=False)
    raise typer.Exit(code)


def print_problems(problems: Iterable[Problem], console: Console) -> None:
    """Print each problem: its place, the value found, the value expected, and the remedy."""
    from rich.text import Text

    for problem in problems:
        place = ":".join(str(part) for part in (problem.file, problem.line) if part)
        console.print(
            Text.assemble(
                (f"{place}  " if place else "", "bold"),
                (problem.severity, "red" if problem.severity == "error" else "yellow"),
                f"  {problem.path or 'the document'}  ",
                (f"[{problem.rule}]", "dim"),
            )
        )
        console.print(Text(f"    found {problem.found}, expected {problem.expected}"))
        console.print(Text(f"    {problem.remedy}"))


def parse_pairs(texts: Iterable[str], option: str, meaning: str, read: Callable[[str], T]) -> Mapping[str, T]:
    """Parse repeated options NAME=VALUE into a mapping. `read` raises ValueError for a bad value."""
    pairs: dict[str, T] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            pairs[name] = read(value)
        except ValueError:
            name = ""
        if not name:
            raise BadInput(f"{option} {text}: expected {meaning}")
    return pairs


def print_plugins(plugins: Iterable[Plugin], console: Console) -> None:
    """Print installed plug-ins, a line each, and the problem of one that cannot be used below its line."""
    rows = [("kind", "name", "distribution", "version", "source", "")]
    rows += [(each.kind, each.name, each.distribution, each.version, each.source, each.problem) for each in plugins]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for *columns, source, problem in rows:
        padded = (text.ljust(width) for text, width in zip(columns, widths, strict=True))
        console.print("  ".join((*padded, source)), markup=False, highlight=False, soft_wrap=True)
        if problem:
            console.print(f"  {problem}", style="red", markup=False, highlight=False, soft_wrap=True)


def split_names(text: str) -> tuple[str, ...]:
    """Split a list such as `one,two`."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parse_approval(value: str) -> bool:
    """Parse `approve` or `deny`. Raises ValueError."""
    answers = {"approve": True, "deny": False}
    if value not in answers:
        raise ValueError(value)
    return answers[value]


def parse_fraction(value: str) -> float:
    """Parse a fraction, `0.02` or `2%`, as a number from 0 to 1. Raises ValueError."""
    number = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    if not 0 <= number <= 1:
        raise ValueError(value)
    return number


def parse_old_and_new(text: str, option: str, meaning: str, read: Callable[[str], T]) -> tuple[T, T]:
    """Parse `OLD,NEW`. `read` raises ValueError for a bad value."""
    try:
        old, new = (read(part.strip()) for part in text.split(","))
    except ValueError:
        raise BadInput(f"{option} {text}: expected {meaning}") from None
    return old, new


def weight_bar(weight: int, width: int) -> str:
    """Return a bar of `width` characters for a weight in percent."""
    filled = round(weight * width / 100)
    return f"{'█' * filled}{'░' * (width - filled)}"


Json = dict[str, Any]
