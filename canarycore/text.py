"""Text from outside, made safe to show: in a terminal, an event, a condition, a log line or a label of a metric.

A name, an error or an answer may hold escape sequences that drive a terminal, line ends that forge a log line, and
marks that reorder or hide the text beside them. The core passes such texts on unchanged. The place that shows a text
escapes it, so no decision depends on the escaping.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_TEXT = 1024
"""The most characters of a shown text, unless its reader sets another limit; Kubernetes allows an event as many."""

_UNSAFE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # controls: C0 with escape, tab and line ends, DEL, C1
    "\xad\u180e\u200b-\u200d\u2060-\u2065\ufeff\ufff9-\ufffb"  # no width of their own
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # reorder the text around them
    "\u2028\u2029"  # end a line
    "\ud800-\udfff"  # half of a pair: no encoding has it
    "\U000e0000-\U000e0fff"  # tags and selectors: never shown
    "]"
)


def escape_controls(text: str, limit: int = LONGEST_TEXT) -> str:
    r"""Return `text` on one line, with `\x1b` for an escape, and of at most `limit` (1 or more) characters.

    The result is printable (`str.isprintable`), with a plain space for each other kind of space. A longer text ends in
    "…". The cost is bounded by `limit`, not by the length of `text`. Escaping twice changes nothing.
    """
    escaped = _UNSAFE.sub(lambda match: _escape(match[0]), text[: limit + 1])  # no character becomes shorter
    if not escaped.isprintable():
        escaped = "".join(map(_printable, escaped))
    return clip(escaped, limit)


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else _escape(character)


def _escape(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


LONGEST_SHOWN = 60
"""The most characters of a value in a message."""

_MOST_BITS = 128
"""The most bits of a whole number in a message: Python refuses to write one of more than 4,300 digits."""


def shorten(value: object) -> str:
    """Return `value` for a message, as `repr` writes it, cut after `LONGEST_SHOWN` characters.

    The cost does not depend on the size of the value.
    """
    match value:
        case str() | bytes():
            return repr(value) if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]!r}..."
        case int() if value.bit_length() > _MOST_BITS:
            return "a number of more than 38 digits"
        case None | int() | float():
            return repr(value)
        case _:
            return f"a {type(value).__name__}"


def clip(text: str, limit: int = LONGEST_TEXT) -> str:
    """Return `text`, or its first characters and "…" where it has more than `limit` (1 or more)."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def compose_name(name: str, suffix: str, most: int) -> str:
    """Return `name` with a suffix, of at most `most` characters.

    A longer name is cut, and a hash of the whole name precedes the suffix. So different names stay different, and the
    result is a valid name or label value wherever `name` is one.
    """
    if len(name) + len(suffix) <= most:
        return name + suffix
    import hashlib  # only here: loading it costs milliseconds, and few names are too long

    mark = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_MARK]
    return f"{name[: most - len(suffix) - _MARK - 1].rstrip('-._')}-{mark}{suffix}"


_MARK = 8
"""Characters of the hash in a shortened name."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the known name that is most similar to `name`, or "" where none is."""
    import difflib

    near = difflib.get_close_matches(name, names, n=1) if len(name) <= LONGEST_SHOWN else []
    return near[0] if near else ""


def enumerate_some(texts: Iterable[str], separator: str = ", ", most: int = 10, longest: int = LONGEST_SHOWN) -> str:
    """Return the first `most` texts, each cut after `longest` characters, and how many more there are."""
    every = list(texts)
    first = separator.join(clip(text, longest) for text in every[:most])
    return first if len(every) <= most else f"{first} and {len(every) - most} more"


def format_timespan(seconds: float) -> str:
    """Return a time span for people: `45s`, `2m05s`, `1h02m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}s" if seconds != whole and seconds < 10 else f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def format_weight(weight: int, *, tenths: bool = False) -> str:
    """Return a weight in percent: `30`, or `0.5` for a weight of 5 `tenths` of a percent."""
    return f"{weight / 10:g}" if tenths else str(weight)


def describe_traffic(
    weight: int, *, iteration: int = 0, mirrored: bool = False, matched: bool = False, tenths: bool = False
) -> str:
    """Return where requests go, such as `weight 30, mirrored`.

    `weight` is percent of requests to the canary, or `tenths` of a percent; the text is in percent.
    """
    parts = [f"weight {format_weight(weight, tenths=tenths)}"]
    if iteration:
        parts.append(f"iteration {iteration}")
    if mirrored:
        parts.append("mirrored")
    if matched:
        parts.append("matched")
    return ", ".join(parts)


def describe_state(
    phase: str,
    traffic: str = "",
    *,
    reason: str = "",
    revision: str = "",
    checks: tuple[int, int | None] | None = None,
    flags: Iterable[str] = (),
) -> str:
    """Return the state of a rollout, such as `Progressing, weight 30, 1 of 5 checks failed, paused`.

    Args:
        phase: The phase, as users see it.
        traffic: The result of `describe_traffic`; empty to leave it out.
        reason: The reason for the phase; it follows the phase in parentheses.
        revision: The revision under test; it follows the phase after "of".
        checks: The number of failed checks, and the threshold (None: not known).
        flags: Further words, such as `paused`.
    """
    parts = [f"{phase} of {revision}" if revision else phase]
    if reason:
        parts[0] += f" ({reason})"
    if traffic:
        parts.append(traffic)
    if checks is not None:
        failed, threshold = checks
        parts.append(f"{failed} checks failed" if threshold is None else f"{failed} of {threshold} checks failed")
    return ", ".join([*parts, *flags])
