"""The status subresource as a cluster keeps it.

What Flagger has fields for is in those fields. What we remember beyond them travels in the message of a second entry of
`status.conditions`, for Flagger's own CustomResourceDefinition removes fields that it does not know, but keeps
conditions. So both are stored by one write, and whose definition is installed makes no difference.

The entry is sealed: its message begins with a checksum over the fields. If Flagger, or a person, has changed the fields
since, the seal is broken, what was remembered is about another status, and the fields alone are taken at their word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

from canarycore.manifest import status_from_dict, status_to_dict

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

OPTIONAL = (
    *("lastAppliedSpec", "lastPromotedSpec", "lastTransitionTime"),
    *("sessionAffinityCookie", "previousSessionAffinityCookie"),
    OURS,
)
"""Fields that a status may lack, and an earlier one had."""


def written(rollout: Rollout, status: Status, others: Iterable[Json] = ()) -> Json:
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


def read(rollout: Rollout, found: Mapping[str, Any]) -> tuple[Status, bool]:
    """The status that is stored, and whether Flagger wrote it. Raises ManifestError where it cannot be read."""
    fields = {name: value for name, value in found.items() if name != OURS}
    memory = _memory(found)
    if memory:
        fields[OURS] = memory
    return status_from_dict(rollout, fields), bool(found.get("phase")) and not memory


def _memory(found: Mapping[str, Any]) -> str:
    messages = (entry.get("message", "") for entry in found.get("conditions") or () if entry["type"] == MEMORY)
    seal, _, memory = next(messages, "").partition(" ")
    return memory if seal == _seal(found) else ""


def _seal(fields: Mapping[str, Any]) -> str:
    return f"{crc32('/'.join(str(fields.get(name, '')) for name in SEALED).encode()):08x}"
