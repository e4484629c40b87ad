"""The revisions that a status remembers, and the rollback window: a return to a promoted one skips steps.

`Status.history` has the revisions that were promoted before the present one, `Status.rejected` those that a rollback or
an abort rejected. A rejection takes a revision out of the history, in the same commit: so neither the window nor an
undo ever serves it again. While a rollout is under way nothing changes the history, so every process takes the same
steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.bounds import REVISIONS

if TYPE_CHECKING:
    from typing import Any

    from canarycore._ladder import Rung
    from canarycore._spec import Rollout
    from canarycore._status import Status


def record_rejection(status: Status, revision: str) -> dict[str, Any]:
    """Return the changes of a status that rejects a revision. The promoted one is never rejected."""
    if revision in ("", status.promoted):
        return {}
    rejected = (*(each for each in status.rejected if each != revision), revision)[-REVISIONS.most :]
    return {"rejected": rejected, "history": tuple([each for each in status.history if each != revision])}


def record_promotion(status: Status) -> dict[str, Any]:
    """Return the changes of a status whose revision under test has been promoted."""
    history, applied, before = status.history, status.applied, status.promoted
    if applied in history:
        history = history[history.index(applied) + 1 :]
    elif before not in ("", applied, *status.rejected):
        history = (before, *history)[: REVISIONS.most]
    return {"promoted": applied, "previous": before, "history": history}


def is_return(rollout: Rollout, status: Status, revision: str) -> bool:
    """Whether a rollout of this revision is a return within the rollback window."""
    window = rollout.rollback_window
    return window is not None and revision in status.history[: window.revisions]


def next_rung(rollout: Rollout, status: Status, rung: Rung, revision: str) -> Rung | None:
    """Return the rung after `rung` in a rollout of this revision; None after the last: it is then promoted."""
    window = rollout.rollback_window
    if window is None or not is_return(rollout, status, revision):
        return rollout.ladder.after(rung)
    return rollout.ladder.after_skipping(rung, window.steps)
