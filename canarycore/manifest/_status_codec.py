"""The status subresource: Flagger's fields for everybody, ours beside them.

What Flagger's status has a field for is written there, so that its users' dashboards, `kubectl get canary` and
`kubectl wait` go on working. What it has no field for is compact JSON in `status.canarycore`. Both together give the
status back without loss. A status without `canarycore` was written by Flagger itself and is adopted: the rung follows
from its weight and iterations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from canarycore._goal import goal
from canarycore._ladder import Rung, Strategy
from canarycore._spec import Rollout
from canarycore._status import Reason, Status
from canarycore.codec import from_data, to_data
from canarycore.errors import ManifestError, Problem
from canarycore.phases import Phase

OURS = "canarycore"
"""The field of the status that holds what Flagger has no field for."""

FLAGGERS = {
    "phase": "phase",
    "failed_checks": "failedChecks",
    "applied": "lastAppliedSpec",
    "promoted": "lastPromotedSpec",
}
"""The attributes of a Status that a field of Flagger's holds in full."""

DEFAULTS: dict[str, Any] = to_data(Status())
"""What goes without saying."""

PROMOTED_STATUS = {Phase.INITIALIZED: "True", Phase.SUCCEEDED: "True", Phase.FAILED: "False"}
"""The status of the condition Promoted; of every other phase it is Unknown."""

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
    # Flagger says one of the above here too, though it is not so
    (Phase.PROMOTING, Reason.COMMANDED): "Promotion commanded, starting primary rolling update.",
    (Phase.FINALISING, Reason.COMMANDED): "Promotion commanded, routing all traffic to primary.",
    (Phase.SUCCEEDED, Reason.COMMANDED): "Promotion commanded, promotion finished.",
    (Phase.SUCCEEDED, Reason.WITHDRAWN): "Rollout withdrawn, {kind} is back at the promoted revision.",
    (Phase.FAILED, Reason.INCONCLUSIVE): "Canary analysis inconclusive, {kind} scaled to zero.",
    (Phase.FAILED, Reason.ABORTED): "Rollout aborted, {kind} scaled to zero.",
    (Phase.FAILED, Reason.PROMOTION): "Promotion failed, the primary did not get ready.",
    (Phase.TERMINATING, Reason.NONE): "Canary deleted, restoring {kind}.",
    (Phase.TERMINATED, Reason.NONE): "Canary deleted.",
}
"""What the condition Promoted says; a reason without a row of its own says what its phase says."""


def status_to_dict(rollout: Rollout, status: Status) -> dict[str, Any]:
    """The status subresource of a rollout, as plain JSON data."""
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


def status_from_dict(rollout: Rollout, found: Mapping[str, Any] | None) -> Status:
    """The status that a status subresource holds; nothing at all is a rollout that was never seen before.

    Raises ManifestError where it cannot be read.
    """
    if not found or not found.get("phase"):
        return Status()
    fields = {name: found[field] for name, field in FLAGGERS.items() if found.get(field) is not None}
    try:
        if OURS in found:
            return from_data({**json.loads(found[OURS]), **fields}, Status)
        return _adopt(rollout, found, from_data(fields, Status))
    except (ValueError, TypeError, RecursionError) as error:
        problem = Problem(
            path="status",
            found="a status that cannot be read",
            expected="one that Flagger or canarycore wrote",
            remedy=f"Correct or remove it ({error}).",
            rule="status",
        )
        raise ManifestError((problem,)) from error


def _cookies(rollout: Rollout, status: Status) -> dict[str, str]:
    """The session cookies, as `name=value`: what the routes are meant to set and to take back."""
    routes = goal(rollout, status).routes
    if rollout.affinity is None or routes is None:
        return {}
    name = rollout.affinity.cookie_name
    cookies = {"sessionAffinityCookie": routes.cookie, "previousSessionAffinityCookie": routes.expired}
    return {field: f"{name}={value}" for field, value in cookies.items() if value}


def _condition(rollout: Rollout, status: Status) -> dict[str, str]:
    message = MESSAGES.get((status.phase, status.reason)) or MESSAGES[status.phase, Reason.NONE]
    time = _rfc3339(status.since or 0.0)
    return {
        "type": "Promoted",
        "status": PROMOTED_STATUS.get(status.phase, "Unknown"),
        "reason": status.phase.value,
        "message": message.format(kind=rollout.target.kind),
        **({"lastUpdateTime": time, "lastTransitionTime": time} if time else {}),
    }


def _rfc3339(seconds: float) -> str:
    """Seconds since the epoch as Kubernetes writes them; "" for no time, and where no calendar reaches."""
    if not seconds:
        return ""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""


def _adopt(rollout: Rollout, found: Mapping[str, Any], status: Status) -> Status:
    """A status of Flagger's, with what it leaves open filled in.

    A phase without a time began long ago: without any time it would be taken for a rollout that has not begun.
    """
    text = found.get("lastTransitionTime")
    since = datetime.fromisoformat(text).timestamp() if text else 0.0
    return status.but(since=since, analysed_at=since, rung=_rung(rollout, found, status.phase))


def _rung(rollout: Rollout, found: Mapping[str, Any], phase: Phase) -> Rung:
    """Where Flagger's status leaves the traffic. Of a closed confirm-promotion gate it forgets the weight."""
    ladder = rollout.ladder
    if phase is Phase.WAITING_PROMOTION:
        return ladder.last_confirmed
    if ladder.strategy is not Strategy.WEIGHTS:
        return ladder.at_iteration(found.get("iterations", 0))
    return Rung(weight=found.get("canaryWeight", 0))
