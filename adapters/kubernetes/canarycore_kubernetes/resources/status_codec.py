"""The status subresource of a Canary.

Flagger's fields hold the data that Flagger has fields for. The rest, the memory, is in the message of a second entry of
`status.conditions`, because Flagger's CustomResourceDefinition prunes unknown fields but keeps conditions. So one write
stores both, with Flagger's definition or ours.

Our own definition also keeps plain fields for readers, which no decision uses: `lastAnalysis`, `lastEnd`,
`rejectedRevisions` and `observedGeneration`. The memory has the same data, and its condition names the generation as
its reason.

A seal protects the memory: its message begins with a checksum over the fields. If Flagger or a user changes the fields,
the checksum no longer matches; the memory then belongs to another status, and the reader uses the fields alone. If the
entry is not a sealed text at all, the Canary is invalid until a user repairs it.
"""

from __future__ import annotations

import re
from types import NoneType
from typing import TYPE_CHECKING, Any
from zlib import crc32

from canarycore import TOTAL_WEIGHT
from canarycore.errors import ManifestError, Problem
from canarycore.foreign import get_integer, get_items, get_text
from canarycore.manifest import status_from_dict, status_to_dict
from canarycore.results import format_time
from canarycore_kubernetes.api.budget import BoundExceeded, demand_small
from canarycore_kubernetes.api.client import MANAGER
from canarycore_kubernetes.telemetry.conditions import make_readiness_conditions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from canarycore import Rollout, Status
    from canarycore.results import AnalysisResult, CheckResult, RolloutEnd
    from canarycore_runtime.mesh import Json

MEMORY = "Canarycore"
"""Type of the condition with the data that Flagger has no field for."""

MEMORY_FIELD = "canarycore"
"""Key of that data in the output of `status_to_dict`."""

SEALED_FIELDS = ("phase", "failedChecks", "canaryWeight", "iterations", "lastAppliedSpec", "lastPromotedSpec")
"""The fields under the seal."""

LONGEST_MEMORY = 2**18
"""Most characters of the memory."""

MOST_CONDITION_VALUES = 1_000
"""Most values in the conditions of a status; ours and Flagger's have about 30."""

LONGEST_CONDITIONS = 2**16
"""Most characters in the conditions of a status."""

LATEST_TIME = 1e11
"""Upper bound of a time in a status, in seconds since 1970: the year 5138."""

_MEMORY = re.compile(r"[0-9a-f]{8} \{")

_GENERATION = re.compile(r"Generation(\d{1,18})")

OPTIONAL = (
    *("lastAppliedSpec", "lastPromotedSpec", "lastTransitionTime"),
    *("sessionAffinityCookie", "previousSessionAffinityCookie"),
    *("observedGeneration", "lastAnalysis", "lastEnd", "rejectedRevisions"),
    MEMORY_FIELD,
)
"""Fields that a status may lack although the previous one had them."""


def write_status(
    rollout: Rollout,
    status: Status,
    others: Iterable[Json] = (),
    *,
    weight: int | None = None,
    generation: int = 0,
    trouble: str = "",
) -> Json:
    """Return the status as a merge patch.

    `others` are further conditions, without times. `weight` is the canary's share if it is not the rung's. `generation`
    is that of the Canary, 0 if it has none. `trouble` is why a rollout is blocked, or empty.
    """
    fields = status_to_dict(rollout, status)
    if weight is not None:
        fields["canaryWeight"] = weight
    memory = fields.pop(MEMORY_FIELD)
    (promoted,) = fields["conditions"]
    ours = {"type": MEMORY, "status": "True", "reason": f"Generation{generation}"}
    ours["message"] = f"{_seal(fields)} {memory}"
    conditions = (*make_readiness_conditions(status, trouble), *others, ours)
    return {
        **dict.fromkeys(OPTIONAL),
        **fields,
        **({"observedGeneration": generation} if generation else {}),
        **({"lastAnalysis": _write_analysis(status.analysis)} if status.analysis is not None else {}),
        **({"lastEnd": _write_end(status.end)} if status.end is not None else {}),
        **({"rejectedRevisions": list(status.rejected)} if status.rejected else {}),
        "conditions": [promoted, *({**promoted, **condition} for condition in conditions)],
    }


def _write_analysis(analysis: AnalysisResult) -> Json:
    """Return an analysis as a plain field. A merge patch keeps the keys that it lacks, so each key has a value."""
    return {
        "time": format_time(analysis.at),
        "revision": analysis.revision,
        "weight": analysis.weight,
        "iteration": analysis.iteration,
        "failures": analysis.failures,
        "checks": [_write_check(check) for check in analysis.checks],
    }


def _write_check(check: CheckResult) -> Json:
    """Return a check's result. Numbers are texts, as JSON has no infinity; an absent one is absent."""
    values = {
        "name": check.name,
        "verdict": check.verdict.value,
        "value": None if check.value is None else f"{check.value:g}",
        "range": check.range,
        "samples": check.samples,
        "error": check.error,
    }
    return {name: value for name, value in values.items() if value not in (None, "")}


def _write_end(end: RolloutEnd) -> Json:
    """Return the end of a rollout as a plain field."""
    return {
        "time": format_time(end.at),
        "phase": end.phase.value,
        "reason": end.reason.value,
        "revision": end.revision,
        "cause": end.cause,
        "lastAnalysis": None if end.analysis is None else _write_analysis(end.analysis),
    }


def observed_generation(stored: Mapping[str, Any]) -> int:
    """Return the generation of the Canary that a stored status is about; 0 if it names none.

    Flagger's definition drops `observedGeneration`, so the condition with the memory names it too.
    """
    match = _GENERATION.fullmatch(get_text(_entry(stored), "reason"))
    return get_integer(stored, "observedGeneration") or (int(match[1]) if match else 0)


def read_status(rollout: Rollout, value: object) -> tuple[Status, bool]:
    """Return a stored status and whether Flagger wrote it. Raise ManifestError if it is unreadable.

    An unreadable status never counts as missing: a rollout without a status would start from the beginning.
    """
    stored = _checked(value)
    fields = {name: value for name, value in stored.items() if name != MEMORY_FIELD}
    memory = _memory(stored)
    if memory:
        fields[MEMORY_FIELD] = memory
    try:
        status = status_from_dict(rollout, fields)
    except ManifestError:
        raise
    except Exception as error:  # every error of the decoder is a fault of the status
        raise _unreadable("", f"{type(error).__name__}: {error}", "what Flagger or canarycore wrote") from error
    _demand_possible(status)
    return status, bool(stored.get("phase")) and not memory


def conditions_of(status: Mapping[str, Any]) -> tuple[Json, ...] | None:
    """Return the conditions that have a type; None if they are not a list or exceed the bounds.

    The store does not write to unreadable conditions, because that would lose them.
    """
    conditions = status.get("conditions")
    if conditions is None:
        return ()
    if not isinstance(conditions, list):
        return None
    try:
        demand_small(conditions, values=MOST_CONDITION_VALUES, characters=LONGEST_CONDITIONS)
    except BoundExceeded:
        return None
    return tuple(entry for entry in conditions if get_text(entry, "type"))


def seal_of_status(stored: Mapping[str, Any]) -> str:
    """Return a checksum over everything that a rollout depends on in a stored status: each commit changes it."""
    memory = get_text(_entry(stored), "message")
    return _crc("/".join((_sealed_text(stored), str(stored.get("lastTransitionTime", "")), memory)))


def _checked(stored: object) -> Mapping[str, Any]:
    """Return the status if its fields have the right types. Raise ManifestError if not."""
    if not isinstance(stored, dict):
        raise _unreadable("", f"a value of type {type(stored).__name__}", "a mapping")
    for name in SEALED_FIELDS:
        if not isinstance(stored.get(name), (str, int, float, NoneType)):
            raise _unreadable(f".{name}", f"a value of type {type(stored[name]).__name__}", "a string or a number")
    if not isinstance(stored.get("conditions"), (list, NoneType)):
        raise _unreadable(".conditions", f"a value of type {type(stored['conditions']).__name__}", "a list")
    if not stored.get("phase") and (stored.get("phase") not in {None, ""} or _has_begun(stored)):
        raise _unreadable(".phase", repr(stored.get("phase")), "the phase of the rollout in the other fields")
    return stored


def _has_begun(stored: Mapping[str, Any]) -> bool:
    """Return whether fields other than the phase show that a rollout has begun."""
    return bool(stored.get("lastAppliedSpec") or stored.get("lastPromotedSpec") or _entry(stored) is not None)


def _memory(stored: Mapping[str, Any]) -> str:
    """Return the memory; "" if there is none, or if Flagger or a user has changed the fields since."""
    entry = _entry(stored)
    if entry is None:
        return ""
    message = entry.get("message")
    if not isinstance(message, str) or len(message) > LONGEST_MEMORY or not _MEMORY.match(message):
        raise _unreadable(f".conditions[{MEMORY}].message", "another text", f"a seal and JSON, as {MANAGER} writes it")
    seal, _, memory = message.partition(" ")
    return memory if seal == _seal(stored) else ""


def _entry(stored: Mapping[str, Any]) -> Json | None:
    """Return the condition with the memory."""
    return next((entry for entry in get_items(stored, "conditions") if entry.get("type") == MEMORY), None)


def _seal(fields: Mapping[str, Any]) -> str:
    return _crc(_sealed_text(fields))


def _sealed_text(fields: Mapping[str, Any]) -> str:
    return "/".join(str(fields.get(name, "")) for name in SEALED_FIELDS)


def _crc(text: str) -> str:
    return f"{crc32(text.encode(errors='surrogatepass')):08x}"


def _demand_possible(status: Status) -> None:
    """Raise ManifestError if a number of the status is out of range."""
    rung = status.rung
    if not 0 <= rung.weight <= TOTAL_WEIGHT:
        raise _unreadable(".canaryWeight", str(rung.weight), f"a number from 0 to {TOTAL_WEIGHT}")
    if min(rung.iteration, status.failed_checks, status.holds) < 0:
        raise _unreadable("", "a negative count", "counts of 0 and more")
    if not all(abs(time) < LATEST_TIME for time in (status.since or 0.0, status.analysed_at, status.drain_until)):
        raise _unreadable("", "a time out of range", f"seconds since 1970, below {LATEST_TIME:.0e}")


def _unreadable(path: str, found: str, expected: str) -> ManifestError:
    problem = Problem(
        path=f"status{path}",
        found=found,
        expected=expected,
        remedy=f"Restore it. Or remove the condition {MEMORY} from status.conditions, to go on from the other fields.",
        rule="status",
    )
    return ManifestError((problem,))
