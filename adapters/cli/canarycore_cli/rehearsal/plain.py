"""A printer of the story of a rehearsal: one line an event, for pipes and above the live view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.text import describe_traffic, format_timespan

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from canarycore_cli.console import Json


class PlainPrinter:
    """A listener that prints the lines for people. It leaves decisions and alerts to the trace."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last_trouble = ""

    def __call__(self, line: Json) -> None:
        if "outcome" in line:
            self._print_end(line)
            return
        formatter = _FORMATTERS.get(line["kind"])
        if formatter is None or (line["kind"] == "trouble" and self._is_repeated(line["text"])):
            return
        text, style = formatter(line)
        self._console.print(f"{line['seconds']:>7.1f}s  {text}", style=style, markup=False)

    def _is_repeated(self, trouble: str) -> bool:
        repeated, self._last_trouble = trouble == self._last_trouble, trouble
        return repeated

    def _print_end(self, result: Json) -> None:
        is_promoted = result["outcome"] == "Succeeded"
        outcome = "Promoted" if is_promoted else "Rolled back" if result["outcome"] == "Failed" else result["outcome"]
        reason = f" ({result['reason']})" if result["reason"] else ""
        self._console.print(
            f"{outcome}{reason} after {format_timespan(result['seconds'])}",
            style="bold green" if is_promoted else "bold red",
            markup=False,
        )
        by_version = ", ".join(f"{version} {count}" for version, count in result["requests_by_version"].items())
        self._console.print(
            f"{result['requests']} requests ({by_version}); users saw {result['bad_requests']} bad ones",
            markup=False,
        )


def _start(line: Json) -> tuple[str, str]:
    versions = " → ".join(line["versions"])
    speed = "" if line["speed"] == 1 else f", {line['speed']:g} times as fast"
    return f"{line['policy']}; {versions}, {line['rps']:g} requests per second{speed}", "bold"


def _event(line: Json) -> tuple[str, str]:
    return line["text"], "yellow" if line["type"] == "Warning" else "none"


def _split(line: Json) -> tuple[str, str]:
    measured = "no answers" if line["measured"] is None else f"{line['measured']:.1f}% answered by the canary"
    bad = f", {line['bad']} bad" if line["bad"] else ""
    return f"  {_describe_routes(line)}: {measured}, {line['requests']} requests{bad}", "dim"


def _describe_routes(line: Json) -> str:
    return describe_traffic(line["weight"], mirrored=line["mirrored"], matched=line["matched"])


_FORMATTERS: dict[str, Callable[[Json], tuple[str, str]]] = {
    "start": _start,
    "remark": lambda line: (line["text"], "dim"),
    "event": _event,
    "split": _split,
    "trouble": lambda line: (f"trouble: {line['text']}", "red"),
}
"""The text and the style of each kind of line. The trace alone has the other kinds."""
