"""The base of our enumerations."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING


class TextEnum(Enum):
    """A closed set of members, which hash by identity: Enum would hash the name on every look-up, slowly."""

    if not TYPE_CHECKING:  # where Enum's own signature is known
        __hash__ = object.__hash__
