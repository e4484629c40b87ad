"""A strict reader of numbers in the answers of providers, with one kind of error.

JSON has booleans, which are ints in Python, and integers of any length. Python's `float` accepts underscores between
digits and blanks around them. This module accepts none of these as a number.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBER_LIMIT = 400
"""The most characters of a number in a text."""

VALUES_LIMIT = 100_000
"""The most values of a document. A metrics server sends a few thousand. A mebibyte may contain 300,000, which would
block the event loop and the garbage collector for a tenth of a second."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)|nan", re.ASCII | re.IGNORECASE)


class AnswerError(ValueError):
    """A text is not a JSON document, or one that is too deep or too large."""


def parse_json(text: str) -> Any:
    """Return the document in `text`. Raises AnswerError when it is not valid, too deep or too large."""
    if sum(map(text.count, ",[{")) > VALUES_LIMIT:
        raise AnswerError(f"it has more than {VALUES_LIMIT:,} values")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise AnswerError(error.msg) from None
    except RecursionError:  # the parser counts its levels, so the stack cannot overflow
        raise AnswerError("it is nested too deeply") from None
    except ValueError:
        raise AnswerError("it has a number with too many digits") from None


def number(value: Any) -> float | None:
    """Return a number of a JSON document, or None for null. Raises ValueError for any other value."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"found {type(value).__name__}, expected a number")  # noqa: TRY004 - the same error as for a wrong text
    try:
        return float(value)
    except OverflowError:
        raise ValueError("found an integer that is too large, expected a number") from None


def first_number(values: Iterable[Any]) -> float | None:
    """Return the first number among values of a JSON document: null is an absent value. None where all are null."""
    numbers = (number(value) for value in values)
    return next((value for value in numbers if value is not None), None)


def number_in_text(value: Any) -> float:
    """Return the number in a text, or a number itself. Raises ValueError for any other value."""
    if isinstance(value, str) and len(value) <= NUMBER_LIMIT and _NUMBER.fullmatch(value):
        return float(value)
    found = None if isinstance(value, str) else number(value)
    if found is None:
        raise ValueError("found another text, expected a number")
    return found
