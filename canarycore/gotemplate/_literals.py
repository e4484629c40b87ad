"""Constants of templates, as Go reads them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from canarycore.gotemplate._errors import TemplateError, show

if TYPE_CHECKING:
    from canarycore.gotemplate._lexer import Lexeme

__all__ = ["char", "number", "raw", "string"]

_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"',
}  # fmt: skip
_ESCAPE = re.compile(
    r"\\(?:(?P<simple>[abfnrtv\\'\"])|x(?P<byte>[0-9a-fA-F]{2})|(?P<octal>[0-7]{3})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<wrong>.))",
    re.DOTALL,
)
_SEPARATED = re.compile(r"[0-9a-fA-FxXbBoO]+(_[0-9a-fA-F]+)*")
_LARGEST = 2**63
_LAST, _SURROGATES = 0x10FFFF, range(0xD800, 0xE000)


def raw(token: Lexeme) -> str:
    """Return a text in back quotes."""
    return token.text[1:-1].replace("\r", "")


def string(token: Lexeme) -> str:
    """Return a text in double quotes. Raises TemplateError for an escape that Go does not have."""
    return _unescaped(token, quote='"')


def char(token: Lexeme) -> int:
    """Return the code point of a character in single quotes."""
    text = _unescaped(token, quote="'")
    if len(text) != 1:
        raise _wrong(token, "one character")
    return ord(text)


def number(token: Lexeme) -> int | float:
    """Return a number. Raises TemplateError for one that is complex or too large."""
    text = token.text
    sign, digits = (text[0], text[1:]) if text[0] in "+-" else ("", text)
    is_hex = digits[:2].lower() == "0x"
    if digits.endswith("i"):
        raise _wrong(token, "a number that is not complex")
    if (not is_hex and set(digits) & set(".eE")) or set(digits) & set("pP") or (is_hex and "." in digits):
        return _float(token, sign, digits, is_hex=is_hex)
    if not _SEPARATED.fullmatch(digits):
        raise _wrong(token, "a number")
    plain = digits.replace("_", "")
    is_old_octal = plain[:1] == "0" and plain[1:].isdigit()
    try:
        value = int(plain, 8) if is_old_octal else int(plain, 0)
    except ValueError:
        raise _wrong(token, "a number") from None
    value = -value if sign == "-" else value
    if not -_LARGEST <= value < _LARGEST:
        raise _wrong(token, "a number of 64 bits")
    return value


def _float(token: Lexeme, sign: str, digits: str, *, is_hex: bool) -> float:
    try:
        value = float.fromhex(digits) if is_hex else float(digits)
    except (ValueError, OverflowError):
        raise _wrong(token, "a number") from None
    if is_hex and not set(digits) & set("pP"):
        raise _wrong(token, "a hexadecimal number with an exponent")
    if value == float("inf"):
        raise _wrong(token, "a number of 64 bits")
    return -value if sign == "-" else value


def _unescaped(token: Lexeme, quote: str) -> str:
    """Return what is between the quotes. Bytes that are no text stay apart, as Python's surrogate escapes."""
    other = "'" if quote == '"' else '"'

    def replaced(match: re.Match[str]) -> str:
        if match["simple"] is not None:
            if match["simple"] == other:
                raise _wrong(token, "an escape that Go has")
            return _SIMPLE[match["simple"]]
        if match["byte"] is not None or match["octal"] is not None:
            value = int(match["byte"], 16) if match["byte"] is not None else int(match["octal"], 8)
            if value > 0xFF:
                raise _wrong(token, "an escape of a byte")
            if quote == "'":
                return chr(value)
            return bytes([value]).decode("utf-8", "surrogateescape")
        point = int(match["short"] or match["long"] or "110000", 16)
        if point > _LAST or point in _SURROGATES:
            raise _wrong(token, "an escape that Go has")
        return chr(point)

    text = _ESCAPE.sub(replaced, token.text[1:-1])
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _wrong(token: Lexeme, expected: str) -> TemplateError:
    return TemplateError(f"line {token.line}: found {show(token.text)}, expected {expected}")
