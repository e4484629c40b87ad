"""Writers who change the fields of routes back, each time that the router has written them.

    if reversions.is_repair(key, ref, rendered): …       somebody has changed what the router wrote last
    reversions.record(key, ref, rendered, describe(…))   after each write
    reversions.text(key)                                 the report for the owner; empty while there is peace

A GitOps tool that applies the same object, or a second controller, never ends: the router repairs the object, and
requests take a wrong way in between. A single change by hand is no such case, so the report begins with the third
repair in a row. It ends when nobody has changed the object for a while.
"""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore.foreign import get_items, get_mapping, get_text
from canarycore.text import LONGEST_SHOWN, escape_controls
from canarycore_kubernetes.api.client import MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from canarycore_runtime.mesh import Json, Ref

REPAIRS = 3
"""Repairs of one object from which on they are reported."""

PAUSE = 3600.0
"""Seconds after a repair from which on another one belongs to no series with it: tools correct drift more often."""

PEACE = 60.0
"""Least seconds without a repair after which the report ends."""

_SHOWN = 3
"""Most fields and most writers in a report."""


@define
class _Series:
    """The writes of one object."""

    written: int
    """A hash of the fields that the router wrote last: the fields themselves need far more memory."""

    repairs: list[float] = field(factory=list)
    """The times of the last repairs in a row."""

    text: str = ""
    """The report."""

    @property
    def calm_at(self) -> float:
        """When the report ends: no repair for twice as long as between the last ones."""
        gaps = [after - before for before, after in pairwise(self.repairs)]
        return self.repairs[-1] + max(PEACE, 2 * max(gaps, default=0.0))


class Reversions:
    """The repairs of all rollouts' routing objects."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._series: dict[str, dict[Ref, _Series]] = {}

    def is_repair(self, key: str, ref: Ref, rendered: Json) -> bool:
        """Check whether a write repeats the last one, so somebody has changed the object in between."""
        series = self._series.get(key, {}).get(ref)
        return series is not None and series.written == _hash(rendered)

    def is_due(self, key: str, ref: Ref) -> bool:
        """Check whether the next repair of an object is reported."""
        series = self._series.get(key, {}).get(ref)
        return series is not None and len(self._recent(series)) >= REPAIRS - 1

    def record(self, key: str, ref: Ref, rendered: Json, report: str = "") -> float:
        """Record a write. Return in how many seconds its report ends, if there is no repair until then; 0 without one.

        report: the text about a repair that is due.
        """
        series, written = self._series.setdefault(key, {}).setdefault(ref, _Series(0)), _hash(rendered)
        if series.written != written:
            series.written = written
            return 0.0
        now = self._clock()
        series.repairs = [*self._recent(series), now][-REPAIRS:]
        series.text = report
        return series.calm_at - now if report else 0.0

    def _recent(self, series: _Series) -> list[float]:
        is_over = not series.repairs or self._clock() > series.repairs[-1] + PAUSE
        return [] if is_over else series.repairs

    def text(self, key: str) -> str:
        """Return the report of a rollout; empty if nobody changes its objects back."""
        now = self._clock()
        texts = [each.text for each in self._series.get(key, {}).values() if each.text and now < each.calm_at]
        return "; ".join(texts)

    def forget(self, key: str, ref: Ref | None = None) -> None:
        """Forget the writes of one object, or of all objects of a rollout."""
        if ref is None:
            self._series.pop(key, None)
        else:
            self._series.get(key, {}).pop(ref, None)

    def keep(self, keys: Container[str]) -> None:
        """Forget all other rollouts."""
        self._series = {key: series for key, series in self._series.items() if key in keys}


def _hash(rendered: Json) -> int:
    return hash(json.dumps(rendered, sort_keys=True))


def describe(ref: Ref, body: Json | None, patch: Json) -> str:
    """Return the report of a repair: the object, its fields, their writer, and the remedy.

    body: the object before the repair; None if somebody has deleted it. patch: the repair.
    """
    place = f"{ref.kind.kind} {ref.name}"
    if body is None:
        return f"{place}: another writer deletes it each time that the rollout creates it. {_REMEDY}"
    fields, writers = _join([".".join(path) for path in _leaves(patch)]), _join(_writers(body, patch))
    return (
        f"{place}, {fields}: {writers or 'another writer'} changes this back each time that the rollout writes it, "
        f"so requests may take a wrong way in between. {_REMEDY}"
    )


_REMEDY = "Leave it out of what that writer applies, or let that writer ignore it."


def _join(names: list[str]) -> str:
    shown = [escape_controls(name, LONGEST_SHOWN) for name in names[:_SHOWN]]
    return ", ".join([*shown, *([f"and {len(names) - len(shown)} more"] if len(names) > len(shown) else ())])


def _leaves(patch: Json, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, part in patch.items():
        if isinstance(part, dict) and part:
            yield from _leaves(part, (*at, name))
        else:
            yield (*at, name)


def _writers(body: Json, patch: Json) -> list[str]:
    """Return the field managers of the fields that a repair changes."""
    entries = get_items(body, "metadata", "managedFields")
    names = (
        get_text(entry, "manager")
        for entry in entries
        if not get_text(entry, "subresource") and _has_any(get_mapping(entry, "fieldsV1"), patch)
    )
    return list(dict.fromkeys(name for name in names if name and name != MANAGER))


def _has_any(fields: Json, patch: object) -> bool:
    """Check whether an entry of managedFields has a field that a patch changes."""
    if not isinstance(patch, dict) or not fields.keys() - {"."}:
        return True
    return any(
        f"f:{name}" in fields and _has_any(get_mapping(fields, f"f:{name}"), part) for name, part in patch.items()
    )
