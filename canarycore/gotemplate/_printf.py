"""`printf` as Go's package fmt formats: verbs, flags, widths and precisions, and its words for what does not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import copysign, isinf, isnan
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from canarycore.gotemplate._errors import TemplateError
from canarycore.gotemplate._values import MISSING, describe, float_text, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from canarycore.gotemplate._values import Value

__all__ = ["quote", "sprint", "sprintf", "sprintln"]

_DIRECTIVE = re.compile(
    r"""
    %(?P<flags>[-+#\ 0]*)
    (?:\[(?P<width_index>\d{1,4})\])?
    (?P<width>\*|\d+)?
    (?:(?P<dot>\.)
       (?:\[(?P<precision_index>\d{1,4})\])?
       (?P<precision>\*|\d+)?)?
    (?:\[(?P<value_index>\d{1,4})\])?
    (?P<verb>.?)
    """,
    re.DOTALL | re.VERBOSE,
)
_WIDEST = 1000
"""The largest width and precision: no query needs a wider field. Go's is 1,000,000."""

_SIX = 6
_LAST = 0x10FFFF


def sprint(values: Sequence[Value]) -> str:
    """Return the texts of values, with a space between two that are both no strings."""
    parts: list[str] = []
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            parts.append(" ")
        parts.append(_plain(value))
    return "".join(parts)


def sprintln(values: Sequence[Value]) -> str:
    """Return the texts of values with spaces between them and a line feed behind them."""
    return " ".join(map(_plain, values)) + "\n"


def sprintf(template: str, values: Sequence[Value]) -> str:
    """Return a text with values in place of its directives. Raises TemplateError for a width that is too large."""
    arguments = _Arguments(values)
    parts, at = [], 0
    for match in _DIRECTIVE.finditer(template):
        parts.append(template[at : match.start()])
        parts.append(_directive(match, arguments))
        at = match.end()
    parts.append(template[at:])
    left = [] if arguments.are_reordered else values[arguments.at :]
    rest = [
        f"{describe_type(value)}={_plain(value)}" if value is not None and value is not MISSING else "<nil>"
        for value in left
    ]
    if rest:
        parts.append(f"%!(EXTRA {', '.join(rest)})")
    return "".join(parts)


@define
class _Arguments:
    """The arguments of a printf, taken in their order or by their numbers."""

    values: Sequence[Value]
    at: int = 0
    are_reordered: bool = False
    is_wrong: bool = False

    def go_to(self, number: str | None) -> None:
        """Go to the argument with this number, counted from 1."""
        if number is not None:
            self.are_reordered = True
            self.is_wrong = not 1 <= int(number) <= len(self.values)
            self.at = self.at if self.is_wrong else int(number) - 1

    def take(self) -> Value:
        """Return the next argument; `_ABSENT` behind the last one."""
        if self.at >= len(self.values):
            return _ABSENT
        self.at += 1
        return self.values[self.at - 1]


def describe_type(value: Value) -> str:
    """Return the type of a value as `%T` writes it."""
    return "<nil>" if value is None or value is MISSING else describe(value)


def quote(text: str) -> str:
    """Return a text in double quotes, with Go's escapes (`%q`)."""
    return '"' + "".join(_escaped(letter, '"') for letter in text) + '"'


_ABSENT = object()


def _plain(value: Value) -> str:
    return text_of(None if value is MISSING else value)


def _directive(match: re.Match[str], arguments: _Arguments) -> str:
    verb, flags = match["verb"], set(match["flags"])
    if verb == "[":
        return "%!(BADINDEX)"
    arguments.go_to(match["width_index"])
    width = _size(match["width"], arguments) or 0
    if width < 0:
        flags, width = flags | {"-"}, -width
    arguments.go_to(match["precision_index"])
    precision = _size(match["precision"], arguments)
    if match["dot"] and precision is None:
        precision = 0
    if precision is not None and precision < 0:
        precision = None
    arguments.go_to(match["value_index"])
    if not verb:
        return "%!(NOVERB)"
    if verb == "%":
        return "%"
    if arguments.is_wrong:
        arguments.is_wrong = False
        return f"%!{verb}(BADINDEX)"
    value = arguments.take()
    if value is _ABSENT:
        return f"%!{verb}(MISSING)"
    is_go = verb == "v" and "#" in flags
    if verb == "v":
        flags -= {"#", "+"}
    return _Directive(verb, frozenset(flags), width, precision, is_go=is_go).text(None if value is MISSING else value)


@frozen
class _Directive:
    """A directive of a printf, without its argument."""

    verb: str
    flags: frozenset[str]
    width: int
    precision: int | None
    is_go: bool = field(kw_only=True)
    """Whether a value is written as Go's source has it (`%#v`)."""

    def text(self, value: Value) -> str:
        """Return the text of a value."""
        if value is None:
            return self.pad("<nil>") if self.verb in "vT" else self.misfit(value)
        if self.verb == "T":
            return self.pad(_cut(describe_type(value), self.precision))
        if isinstance(value, Mapping):
            pairs = [f"{self.text(name)}:{self.text(value[name])}" for name in sorted(value)]
            return f"map[string]string{{{', '.join(pairs)}}}" if self.is_go else f"map[{' '.join(pairs)}]"
        return _TEXTS[type(value)](self, value)

    def boolean(self, value: Value) -> str:
        """Return the text of a bool."""
        return self.pad(text_of(value)) if self.verb in "tv" else self.misfit(value)

    def string(self, value: Value) -> str:
        """Return the text of a str."""
        shown = _cut(value, self.precision)
        if self.verb in "sv" and not self.is_go:
            return self.pad(shown)
        if self.verb in "qv":
            if "#" in self.flags and _fits_back_quotes(shown):
                return self.pad(f"`{shown}`")
            return self.pad(quote_ascii(shown) if "+" in self.flags else quote(shown))
        return self.pad(self.hexadecimal(value)) if self.verb in "xX" else self.misfit(value)

    def hexadecimal(self, value: str) -> str:
        """Return the hexadecimal text of a str."""
        data = value.encode("utf-8", "surrogateescape")[: self.precision]
        between = " " if " " in self.flags else ""
        mark = f"0{self.verb}" if "#" in self.flags and data else ""
        digits = [f"{byte:02x}" if self.verb == "x" else f"{byte:02X}" for byte in data]
        return mark + (f"{between}{mark if between else ''}").join(digits)

    def integer(self, value: Value) -> str:
        """Return the text of an int."""
        if self.verb in _BASES:
            return self.digits(value)
        if self.verb == "c":
            return self.pad(_rune(value))
        if self.verb == "q":
            shown = _rune(value)
            is_short = "+" not in self.flags or shown < "\x7f"
            return self.pad(f"'{_escaped(shown, chr(39)) if is_short else _numbered(shown)}'")
        if self.verb == "U":
            shown = _rune(value)
            mark = f" '{shown}'" if "#" in self.flags and 0 <= value <= _LAST and shown.isprintable() else ""
            digits = format(value % 2**64, "X").rjust(max(4, self.precision or 0), "0")
            return self.pad(f"U+{digits}{mark}", zeros=False)
        return self.misfit(value)

    def digits(self, value: int) -> str:
        """Return the digits of an int in a base. Zeros come before its mark is added."""
        sign = self.sign(is_negative=value < 0)
        digits = format(abs(value), _BASES[self.verb])
        if self.precision is not None:
            if self.precision == 0 and value == 0:
                return " " * self.width
            digits = digits.rjust(self.precision, "0")
        elif self.has_zeros:
            digits = digits.rjust(self.width - len(sign), "0")
        mark = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}.get(self.verb, "") if "#" in self.flags else ""
        if self.verb == "o" and digits.startswith("0"):
            mark = ""
        return self.pad(sign + ("0o" if self.verb == "O" else mark) + digits, zeros=False)

    def real(self, value: Value) -> str:
        """Return the text of a float."""
        if self.verb not in "vgGeEfFxXb":
            return self.misfit(value)
        if isnan(value):
            return self.pad(("+" if "+" in self.flags else " " if " " in self.flags else "") + "NaN", zeros=False)
        sign = self.sign(is_negative=copysign(1.0, value) < 0)
        if isinf(value):
            return self.pad(f"{sign or '+'}Inf" if sign or "+" in self.flags else "+Inf", zeros=False)
        number = self.number(abs(value))
        if sign and self.has_zeros:
            return sign + number.rjust(self.width - 1, "0")
        return self.pad(sign + number)

    def number(self, value: float) -> str:
        """Return the text of a float that is not negative."""
        if "#" in self.flags or self.verb == "b" or (self.verb in "xX" and self.precision is not None):
            raise TemplateError(f"found %{self.verb} of a float with this flag or precision in printf, expected %g")
        if self.verb in "xX":
            return _hexadecimal(value, self.verb)
        precision = _SIX if self.precision is None else self.precision
        if self.verb in "fF":
            return f"{value:.{precision}f}"
        if self.verb in "eE":
            return f"{value:.{precision}{self.verb}}"
        text = float_text(value) if self.precision is None else f"{value:.{self.precision or 1}g}"
        return text.upper() if self.verb == "G" else text

    # helpers ----------------------------------------------------------------------------------------------------------

    @property
    def has_zeros(self) -> bool:
        """Whether zeros fill the width."""
        return "0" in self.flags and "-" not in self.flags

    def sign(self, *, is_negative: bool) -> str:
        """Return the sign of a number."""
        return "-" if is_negative else "+" if "+" in self.flags else " " if " " in self.flags else ""

    def pad(self, text: str, *, zeros: bool = True) -> str:
        """Return a text that fills the width."""
        if "-" in self.flags:
            return text.ljust(self.width)
        return text.rjust(self.width, "0" if zeros and self.has_zeros else " ")

    def misfit(self, value: Value) -> str:
        """Return Go's words for a value that has no text under the verb."""
        shown = "<nil>" if value is None else f"{describe_type(value)}={evolve(self, verb='v').text(value)}"
        return f"%!{self.verb}({shown})"


_BASES = {"d": "d", "v": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_TEXTS = {bool: _Directive.boolean, str: _Directive.string, int: _Directive.integer, float: _Directive.real}


def _cut(text: str, precision: int | None) -> str:
    return text if precision is None else text[:precision]


def _rune(value: int) -> str:
    return chr(value) if 0 <= value <= _LAST and not 0xD800 <= value < 0xE000 else "\ufffd"


def _hexadecimal(value: float, verb: str) -> str:
    """Return the hexadecimal text of a float, with an exponent of two."""
    mantissa, _, exponent = value.hex().partition("p")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    text = f"{whole}{'.' if fraction else ''}{fraction}p{exponent[0]}{exponent[1:].rjust(2, '0')}"
    return text.upper() if verb == "X" else text


def _size(text: str | None, arguments: _Arguments) -> int | None:
    """Return a width or precision."""
    if text is None:
        return None
    if text == "*":
        value = arguments.take()
        if not isinstance(value, int) or isinstance(value, bool):
            raise TemplateError("found no whole number for the * in printf, expected one")
        size = value
    else:
        size = int(text) if len(text) < _SIX else _WIDEST + 1
    if abs(size) > _WIDEST:
        raise TemplateError(f"found a width or precision of more than {_WIDEST} in printf, expected less")
    return size


def quote_ascii(text: str) -> str:
    """Return a text in double quotes, without a letter beyond ASCII (`%+q`)."""
    parts = [_escaped(letter, '"') if letter < "\x7f" else _numbered(letter) for letter in text]
    return '"' + "".join(parts) + '"'


def _escaped(letter: str, mark: str) -> str:
    simple = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\"}
    if letter == mark:
        return f"\\{letter}"
    if letter in simple:
        return simple[letter]
    return letter if letter.isprintable() else _numbered(letter)


def _numbered(letter: str) -> str:
    point = ord(letter)
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


def _fits_back_quotes(text: str) -> bool:
    return all(letter != "`" and (letter.isprintable() or letter == "\t") for letter in text)
