"""Paths of fields, as problems name them: `spec.analysis.metrics[0].name`."""

from __future__ import annotations

import re

from canarycore.text import clip

_PLAIN = re.compile(r"[\w-]++")

_LONGEST_KEY = 100
"""Most characters of a key in a path; a longer key is cut."""

_LONGEST_PATH = 400
"""Number of characters above which a path gets no further keys."""


def join(path: str, key: str | int) -> str:
    """Return the path one step down: `a.b`, `a[0]`, or `a["b.c"]` for a key that is no plain word."""
    if len(path) >= _LONGEST_PATH:
        return path
    if isinstance(key, int):
        return f"{path}[{key}]"
    key = clip(key, _LONGEST_KEY)
    if not _PLAIN.fullmatch(key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key
