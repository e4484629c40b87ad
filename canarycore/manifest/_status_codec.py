"""The status subresource: Flagger's fields, and one field of ours.

Flagger's fields keep their meaning, so dashboards, `kubectl get canary` and `kubectl wait` go on working. The field
`status.canarycore` has the rest as compact JSON. Both together restore the status without loss. A status without
`canarycore` is Flagger's own: its rung follows from its weight and iterations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from canarycore._goal import goal
from canarycore._ladder import Rung, Strategy
from canarycore._spec import Rollout
from canarycore._status import Status
from canarycore.codec import from_data, to_data
from canarycore.errors import ManifestError, Problem
from canarycore.phases import Phase, Reason

OURS = "canarycore"
"""The field of the status for values that Flagger has no field for."""

FLAGGERS = {
    "phase": "phase",
    "failed_checks": "failedChecks",
    "applied": "lastAppliedSpec",
    "promoted": "lastPromotedSpec",
}
"""Flagger's fields that hold an attribute of a Status in full, by the attribute."""

DEFAULTS: dict[str, Any] = to_data(Status())
"""Default values, which the field of ours leaves out."""

PROMOTED_STATUS = {Phase.INITIALIZED: "True", Phase.SUCCEEDED: "True", Phase.FAILED: "False"}
"""Status of the condition Promoted by phase; Unknown in every other phase."""

MESSAGES: dict[tuple[Phase, Reason], str] = {
    (Phase.INITIALIZING, Reason.NONE): "New {kind} detected, starting initialization.",
    (Phase.INITIALIZED, Reason.NONE): "{kind} initialization completed.",
    (Phase.WAITING, Reason.NONE): "Waiting for approval.",
    (Phase.PROGRESSING, Reason.NONE): "New revision detected, progressing canary analysis.",
    (Phase.WAITING_PROMOTION, Reason.NONE): "Waiting for approval.",
    (Phase.PROMOTING, Reason.NONE): "Canary analysis completed, starting primary rolling update.",
    (Phase.FINALISING, Reason.NONE): "Canary analysis completed, routing all traffic to primary.",
    (Phase.SUCCEEDED, Reason.NONE): "Canary analysis completed successfully, promotion finished.",
    (Phase.FAILED, Reason.NONE): "Canary analysis failed, {kind} scaled to zero.",
    # Flagger has one of the messages above here too, although they are wrong
    (Phase.PROMOTING, Reason.COMMANDED): "Promotion commanded, starting primary rolling update.",
    (Phase.FINALISING, Reason.COMMANDED): "Promotion commanded, routing all traffic to primary.",
    (Phase.SUCCEEDED, Reason.COMMANDED): "Promotion commanded, promotion finished.",
    (Phase.PROMOTING, Reason.REPLACED): "The primary is down, the new revision replaces it.",
    (Phase.FINALISING, Reason.REPLACED): "The primary was down, routing all traffic to the new revision's primary.",
    (Phase.SUCCEEDED, Reason.REPLACED): "The primary was down, the new revision has replaced it.",
    (Phase.SUCCEEDED, Reason.WITHDRAWN): "Rollout withdrawn, {kind} is back at the promoted revision.",
    (Phase.FAILED, Reason.INCONCLUSIVE): "Canary analysis inconclusive, {kind} scaled to zero.",
    (Phase.FAILED, Reason.ABORTED): "Rollout aborted, {kind} scaled to zero.",
    (Phase.FAILED, Reason.PROMOTION): "Promotion failed, the primary did not get ready.",
    (Phase.PROGRESSING, Reason.CHECKS): "Canary analysis failed, the rollout is frozen.",
    (Phase.PROGRESSING, Reason.INCONCLUSIVE): "Canary analysis inconclusive, the rollout is frozen.",
    (Phase.PROGRESSING, Reason.DEADLINE): "Progress deadline exceeded, the rollout is frozen.",
    (Phase.WAITING_PROMOTION, Reason.CHECKS): "Canary analysis failed, the rollout is frozen.",
    (Phase.WAITING_PROMOTION, Reason.INCONCLUSIVE): "Canary analysis inconclusive, the rollout is frozen.",
    (Phase.WAITING_PROMOTION, Reason.DEADLINE): "Progress deadline exceeded, the rollout is frozen.",
    (Phase.TERMINATING, Reason.NONE): "Canary deleted, restoring {kind}.",
    (Phase.TERMINATED, Reason.NONE): "Canary deleted.",
}
"""Message of the condition Promoted by phase and reason; a reason without a row has the message of its phase."""


RETURNING = "Rollout failed, traffic goes back to the primary by steps."
"""Message of the condition Promoted during a gradual return."""


def status_to_dict(rollout: Rollout, status: Status) -> dict[str, Any]:
    """Return the status subresource of a rollout, as plain JSON data."""
    fields: dict[str, Any] = to_data(status)
    ours = {name: value for name, value in fields.items() if name not in FLAGGERS and value != DEFAULTS[name]}
    written = {
        "phase": status.phase.value,
        "failedChecks": status.failed_checks,
        "canaryWeight": status.rung.weight,
        "iterations": status.rung.iteration,
        "lastAppliedSpec": status.applied,
        "lastPromotedSpec": status.promoted,
        "lastTransitionTime": _rfc3339(max(status.since or 0.0, status.analysed_at)),
        **_cookies(rollout, status),
        "conditions": [_condition(rollout, status)],
        OURS: json.dumps(ours, separators=(",", ":")),
    }
    return {name: value for name, value in written.items() if value != ""}


def status_from_dict(rollout: Rollout, subresource: Mapping[str, Any] | None) -> Status:
    """Return the status in a status subresource; an empty or missing one is the status of a new rollout.

    Raise ManifestError where the subresource is invalid.
    """
    if not subresource or not subresource.get("phase"):
        return Status()
    fields = {name: subresource[field] for name, field in FLAGGERS.items() if subresource.get(field) is not None}
    try:
        if OURS in subresource:
            return from_data({**json.loads(subresource[OURS]), **fields}, Status)
        return _adopt(rollout, subresource, from_data(fields, Status))
    except (ValueError, TypeError, RecursionError) as error:
        problem = Problem(
            path="status",
            found="an invalid status",
            expected="one that Flagger or canarycore wrote",
            remedy=f"Correct or remove the status ({error}).",
            rule="status",
        )
        raise ManifestError((problem,)) from error


def _cookies(rollout: Rollout, status: Status) -> dict[str, str]:
    """Return the session cookies that the routes set and expire, as `name=value`."""
    routes = goal(rollout, status).routes
    if rollout.affinity is None or routes is None:
        return {}
    name = rollout.affinity.cookie_name
    cookies = {"sessionAffinityCookie": routes.cookie, "previousSessionAffinityCookie": routes.expired}
    return {field: f"{name}={value}" for field, value in cookies.items() if value}


def _condition(rollout: Rollout, status: Status) -> dict[str, str]:
    message = MESSAGES.get((status.phase, status.reason)) or MESSAGES[status.phase, Reason.NONE]
    message = RETURNING if status.returning and status.phase is Phase.FAILED else message
    time = _rfc3339(status.since or 0.0)
    return {
        "type": "Promoted",
        "status": PROMOTED_STATUS.get(status.phase, "Unknown"),
        "reason": status.phase.value,
        "message": message.format(kind=rollout.target.kind),
        **({"lastUpdateTime": time, "lastTransitionTime": time} if time else {}),
    }


def _rfc3339(seconds: float) -> str:
    """Return seconds since the epoch in the format of Kubernetes, or "" for no time and for one out of range."""
    if not seconds:
        return ""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""


def _adopt(rollout: Rollout, subresource: Mapping[str, Any], status: Status) -> Status:
    """Complete a status of Flagger's.

    A phase without a time gets the time 0: without a time it would count as a rollout that has not begun.
    """
    text = subresource.get("lastTransitionTime")
    since = datetime.fromisoformat(text).timestamp() if text else 0.0
    return status.but(since=since, analysed_at=since, rung=_rung(rollout, subresource, status.phase))


def _rung(rollout: Rollout, subresource: Mapping[str, Any], phase: Phase) -> Rung:
    """Return the rung of Flagger's status. With a closed confirm-promotion gate Flagger does not store the weight."""
    ladder = rollout.ladder
    if phase is Phase.WAITING_PROMOTION:
        return ladder.last_confirmed
    if ladder.strategy is not Strategy.WEIGHTS:
        return ladder.at_iteration(subresource.get("iterations", 0))
    return Rung(weight=subresource.get("canaryWeight", 0))
