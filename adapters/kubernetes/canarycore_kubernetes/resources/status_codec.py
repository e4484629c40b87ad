"""The status subresource as a cluster keeps it.

What Flagger has fields for is in those fields. What we remember beyond them travels in the message of a second entry of
`status.conditions`, for Flagger's own CustomResourceDefinition removes fields that it does not know, but keeps
conditions. So both are stored by one write, and whose definition is installed makes no difference.

The entry is sealed: its message begins with a checksum over the fields. If Flagger, or a person, has changed the fields
since, the seal is broken, what was remembered is about another status, and the fields alone are taken at their word.
An entry that is no sealed text at all is nobody's word: then the Canary cannot be used until somebody decides.
"""

from __future__ import annotations

import re
from types import NoneType
from typing import TYPE_CHECKING, Any
from zlib import crc32

from canarycore import TOTAL_WEIGHT
from canarycore.errors import ManifestError, Problem
from canarycore.foreign import get_items, get_text
from canarycore.manifest import status_from_dict, status_to_dict
from canarycore_kubernetes.api.budget import BoundExceeded, demand_small
from canarycore_kubernetes.api.client import MANAGER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from canarycore import Rollout, Status
    from canarycore_runtime.mesh import Json

MEMORY = "Canarycore"
"""The type of the condition that holds what Flagger has no field for."""

OURS = "canarycore"
"""The field that holds it where fields are not removed: as the status codec writes it."""

SEALED = ("phase", "failedChecks", "canaryWeight", "iterations", "lastAppliedSpec", "lastPromotedSpec")
"""The fields under the seal."""

LONGEST_MEMORY = 2**18
"""Characters of what is remembered."""

MOST_CONDITION_VALUES = 1_000
LONGEST_CONDITIONS = 2**16
"""Values and characters of the conditions that are held; ours and Flagger's are five."""

LATEST = 1e11
"""Seconds since 1970 that no clock shows before the year 5138."""

_MEMORY = re.compile(r"[0-9a-f]{8} \{")

OPTIONAL = (
    *("lastAppliedSpec", "lastPromotedSpec", "lastTransitionTime"),
    *("sessionAffinityCookie", "previousSessionAffinityCookie"),
    OURS,
)
"""Fields that a status may lack, and an earlier one had."""


def write_status(rollout: Rollout, status: Status, others: Iterable[Json] = ()) -> Json:
    """The status, as a merge patch of whatever is there. others: more conditions, that say nothing of time."""
    fields = status_to_dict(rollout, status)
    memory = fields.pop(OURS)
    (promoted,) = fields["conditions"]
    ours = {**promoted, "type": MEMORY, "status": "True", "reason": "Memory", "message": f"{_seal(fields)} {memory}"}
    return {
        **dict.fromkeys(OPTIONAL),
        **fields,
        "conditions": [promoted, ours, *({**promoted, **other} for other in others)],
    }


def read_status(rollout: Rollout, found: object) -> tuple[Status, bool]:
    """The status that is stored, and whether Flagger wrote it. Raises ManifestError where it cannot be read.

    A status that cannot be read is never taken for none: without one a rollout would begin anew.
    """
    status = _checked(found)
    fields = {name: value for name, value in status.items() if name != OURS}
    memory = _memory(status)
    if memory:
        fields[OURS] = memory
    try:
        stands = status_from_dict(rollout, fields)
    except ManifestError:
        raise
    except Exception as error:  # whatever the decoder stumbles over, it is the status that is wrong
        raise _unreadable("", f"{type(error).__name__}: {error}", "what Flagger or canarycore wrote") from error
    _demand_possible(stands)
    return stands, bool(status.get("phase")) and not memory


def conditions_of(status: Mapping[str, Any]) -> tuple[Json, ...] | None:
    """The conditions that have a type; None where they are no list, or too many to read them.

    Conditions that cannot be read are not written either: what is wrong with a Canary would be lost with them.
    """
    found = status.get("conditions")
    if found is None:
        return ()
    if not isinstance(found, list):
        return None
    try:
        demand_small(found, values=MOST_CONDITION_VALUES, characters=LONGEST_CONDITIONS)
    except BoundExceeded:
        return None
    return tuple(entry for entry in found if get_text(entry, "type"))


def _checked(found: object) -> Mapping[str, Any]:
    """The status, with fields of the right form."""
    if not isinstance(found, dict):
        raise _unreadable("", f"a value of type {type(found).__name__}", "a mapping")
    for name in SEALED:
        if not isinstance(found.get(name), (str, int, float, NoneType)):
            raise _unreadable(f".{name}", f"a value of type {type(found[name]).__name__}", "a text or a number")
    if not isinstance(found.get("conditions"), (list, NoneType)):
        raise _unreadable(".conditions", f"a value of type {type(found['conditions']).__name__}", "a list")
    if not found.get("phase") and (found.get("phase") not in {None, ""} or _has_begun(found)):
        raise _unreadable(".phase", repr(found.get("phase")), "the phase of the rollout that the other fields tell of")
    return found


def _has_begun(found: Mapping[str, Any]) -> bool:
    """Whether the status tells of a rollout beside its phase."""
    return bool(found.get("lastAppliedSpec") or found.get("lastPromotedSpec") or _entry(found) is not None)


def _memory(found: Mapping[str, Any]) -> str:
    """Return the memory beside the fields; "" where Flagger or a person has changed them since."""
    entry = _entry(found)
    if entry is None:
        return ""
    message = entry.get("message")
    if not isinstance(message, str) or len(message) > LONGEST_MEMORY or not _MEMORY.match(message):
        raise _unreadable(f".conditions[{MEMORY}].message", "another text", f"a seal and JSON, as {MANAGER} writes it")
    seal, _, memory = message.partition(" ")
    return memory if seal == _seal(found) else ""


def _entry(found: Mapping[str, Any]) -> Json | None:
    """The condition that holds what is remembered."""
    return next((entry for entry in get_items(found, "conditions") if entry.get("type") == MEMORY), None)


def _seal(fields: Mapping[str, Any]) -> str:
    text = "/".join(str(fields.get(name, "")) for name in SEALED)
    return f"{crc32(text.encode(errors='surrogatepass')):08x}"


def _demand_possible(status: Status) -> None:
    """Raise ManifestError where a number of the status is none that a rollout can have."""
    rung = status.rung
    if not 0 <= rung.weight <= TOTAL_WEIGHT:
        raise _unreadable(".canaryWeight", str(rung.weight), f"a number from 0 to {TOTAL_WEIGHT}")
    if min(rung.iteration, status.failed_checks, status.holds) < 0:
        raise _unreadable("", "a negative count", "counts of 0 and more")
    if not all(abs(time) < LATEST for time in (status.since or 0.0, status.analysed_at, status.drain_until)):
        raise _unreadable("", "a time that no clock shows", f"seconds since 1970, below {LATEST:.0e}")


def _unreadable(path: str, found: str, expected: str) -> ManifestError:
    problem = Problem(
        path=f"status{path}",
        found=found,
        expected=expected,
        remedy=f"Restore it. Or remove the condition {MEMORY} from status.conditions, to go on from the other fields.",
        rule="status",
    )
    return ManifestError((problem,))
