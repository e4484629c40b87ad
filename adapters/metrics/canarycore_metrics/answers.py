"""Numbers in the answers of providers: read strictly, and with one kind of error.

An answer may be anything. JSON has booleans, which Python takes for numbers, and integers of any length; Python's own
`float` accepts digits with underscores between them and blanks around them. Here each of these is no number.
"""

from __future__ import annotations

import json
import re
from typing import Any

NUMBER_LIMIT = 400
"""Characters that a number may have."""

VALUES_LIMIT = 100_000
"""Values that a document may have. A metrics server answers with a few thousand, and a mebibyte may hold 300,000: they
keep the event loop and its garbage collector busy for a tenth of a second."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)|nan", re.ASCII | re.IGNORECASE)


class AnswerError(ValueError):
    """A text is no JSON document, or none that can be read."""


def parse_json(text: str) -> Any:
    """Return the document in `text`. Raises AnswerError where there is none, or it is too deep or too large."""
    if sum(map(text.count, ",[{")) > VALUES_LIMIT:
        raise AnswerError(f"it has more than {VALUES_LIMIT:,} values")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise AnswerError(error.msg) from None
    except RecursionError:  # the parser counts its levels, so the stack is safe
        raise AnswerError("it is nested too deeply") from None
    except ValueError:
        raise AnswerError("it has a number with too many digits") from None


def number(value: Any) -> float | None:
    """Return the number that a JSON document has, None for null. Raises ValueError for everything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"found {type(value).__name__}, expected a number")  # noqa: TRY004 - as for a wrong text
    try:
        return float(value)
    except OverflowError:
        raise ValueError("found an integer that is too large, expected a number") from None


def number_in_text(value: Any) -> float:
    """Return the number that a text spells, or a number itself. Raises ValueError for everything else."""
    if isinstance(value, str) and len(value) <= NUMBER_LIMIT and _NUMBER.fullmatch(value):
        return float(value)
    found = None if isinstance(value, str) else number(value)
    if found is None:
        raise ValueError("found another text, expected a number")
    return found
