"""A rehearsal's story in words: one line each, for pipes and for the scrolling part of the live view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.text import describe_traffic, format_timespan

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from canarycore_cli.console import Json


class PlainPrinter:
    """A listener that prints what people want to read: no decisions (they are in the trace), no alerts."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last_trouble = ""

    def __call__(self, line: Json) -> None:
        if "outcome" in line:
            self._print_end(line)
            return
        words = _WORDS.get(line["kind"])
        if words is None or (line["kind"] == "trouble" and self._is_repeated(line["text"])):
            return
        text, style = words(line)
        self._console.print(f"{line['seconds']:>7.1f}s  {text}", style=style, markup=False)

    def _is_repeated(self, trouble: str) -> bool:
        repeated, self._last_trouble = trouble == self._last_trouble, trouble
        return repeated

    def _print_end(self, result: Json) -> None:
        good = result["outcome"] == "Succeeded"
        word = "Promoted" if good else "Rolled back" if result["outcome"] == "Failed" else result["outcome"]
        why = f" ({result['reason']})" if result["reason"] else ""
        self._console.print(
            f"{word}{why} after {format_timespan(result['seconds'])}",
            style="bold green" if good else "bold red",
            markup=False,
        )
        by_version = ", ".join(f"{version} {count}" for version, count in result["requests_by_version"].items())
        self._console.print(
            f"{result['requests']} requests ({by_version}); {result['bad_requests']} bad ones seen by users",
            markup=False,
        )


def _start(line: Json) -> tuple[str, str]:
    versions = " → ".join(line["versions"])
    return f"{line['policy']}; {versions}, {line['rps']:g} requests a second, {line['speed']:g} times as fast", "bold"


def _event(line: Json) -> tuple[str, str]:
    return line["text"], "yellow" if line["type"] == "Warning" else "none"


def _split(line: Json) -> tuple[str, str]:
    measured = "no answers" if line["measured"] is None else f"{line['measured']:.1f}% answered by the canary"
    bad = f", {line['bad']} bad" if line["bad"] else ""
    return f"  {_routed(line)}: {measured}, {line['requests']} requests{bad}", "dim"


def _routed(line: Json) -> str:
    return describe_traffic(line["weight"], mirrored=line["mirrored"], matched=line["matched"])


_WORDS: dict[str, Callable[[Json], tuple[str, str]]] = {
    "start": _start,
    "remark": lambda line: (line["text"], "dim"),
    "event": _event,
    "split": _split,
    "trouble": lambda line: (f"trouble: {line['text']}", "red"),
}
"""How a kind of line reads, and its style; kinds that are not here are left to the trace."""
