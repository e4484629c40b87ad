"""The base class of the enumerations."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING


class TextEnum(Enum):
    """An enumeration whose members hash by identity, as Enum hashes the name on every look-up, slowly."""

    if not TYPE_CHECKING:  # type checkers see Enum's own signature
        __hash__ = object.__hash__
