"""The revisions of a Canary's target: which of them were promoted or rejected, and which one an undo returns to.

    history = await read_history(cluster, canaries, key)
    past = history.choose("")              the one that was promoted before the present one
    await undo(cluster, canaries, history, past)

The pod templates come from Kubernetes, which keeps as many as `revisionHistoryLimit` of the target says. The status
knows what became of each: the last promoted revisions, and those that were rejected. The primary names the promoted
ones to which it could be restored. An undo writes the target only: the rollout that follows is an ordinary one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from canarycore.errors import ManifestError, Refused
from canarycore.phases import UNDER_WAY
from canarycore.text import enumerate_some
from canarycore_kubernetes.resources.canaries import ValidCanary
from canarycore_kubernetes.resources.flagger_status import adopt_status
from canarycore_kubernetes.workloads.port import ClusterWorkloads

if TYPE_CHECKING:
    from canarycore import Rollout, Status
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.resources.canaries import Canaries
    from canarycore_kubernetes.selection.past_templates import PastTemplate


@frozen(kw_only=True)
class PastRevision:
    """One revision of a target."""

    revision: str
    """The revision, as in the status."""
    running: bool = False
    """Whether the primary runs it."""
    on_target: bool = False
    """Whether the target has it."""
    under_test: bool = False
    """Whether a rollout of it is under way."""
    promoted: bool = False
    """Whether it was promoted, as far as the status and the primary know."""
    rejected: bool = False
    """Whether it was rolled back or aborted once, as far as the status knows."""
    template: PastTemplate | None = field(default=None, repr=False)
    """Its pod template; None where Kubernetes does not keep it."""

    @property
    def states(self) -> tuple[str, ...]:
        """The state in words: `running`, `under test`, `promoted`, `rejected`, or `never promoted`."""
        names = ("running", "under_test", "promoted", "rejected")
        states = [name.replace("_", " ") for name in names if getattr(self, name)]
        if self.running and self.promoted:
            states.remove("promoted")
        return tuple(states) or ("never promoted",)

    @property
    def is_eligible(self) -> bool:
        """Whether an undo may return to it."""
        return self.promoted and not self.rejected and not self.on_target and self.template is not None


@frozen(kw_only=True)
class RevisionHistory:
    """The revisions of a Canary's target, the latest first."""

    key: str
    """The Canary, as `namespace/name`."""
    rollout: Rollout
    """Its rollout."""
    status: Status
    """Its status."""
    revisions: tuple[PastRevision, ...]
    """Those that Kubernetes keeps, then those that only the status knows."""

    def choose(self, revision: str) -> PastRevision:
        """Return the revision that an undo returns to: this one, or the one promoted before the present if empty.

        Raise Refused for a revision that was once rejected, that is unknown or was never promoted, that the target has,
        or that Kubernetes does not keep.
        """
        status, chosen = self.status, revision or self.status.previous
        if not revision and status.phase in UNDER_WAY:
            raise self._refuse(
                f"a rollout of revision {status.applied} is under way, expected none: canary abort ends it",
            )
        if not chosen:
            raise self._refuse(f"found no revision that was promoted before {status.promoted or 'the present one'}")
        past = next((each for each in self.revisions if each.revision == chosen), None)
        if chosen in status.rejected:
            raise self._refuse(f"revision {chosen} was rejected once, and is never served again")
        if past is None or not past.promoted:
            raise self._refuse(f"revision {chosen} is {'unknown' if past is None else 'not a promoted one'}")
        if past.on_target:
            raise self._refuse(f"the target has revision {chosen} already")
        if past.template is None:
            raise self._refuse(
                f"Kubernetes keeps no pod template of revision {chosen}, or its configs have changed since: apply its"
                " manifests again"
            )
        return past

    def _refuse(self, found: str) -> Refused:
        names = enumerate_some([each.revision for each in self.revisions if each.is_eligible])
        return Refused(f"{self.key}: {found}. canary undo --to can return to: {names or 'none'}")


async def read_history(cluster: Cluster, canaries: Canaries, key: str) -> RevisionHistory:
    """Return the revisions of a Canary's target. It writes nothing.

    Raise Refused if the Canary was deleted, and ManifestError if it is invalid.
    """
    canary = await _find(canaries, key)
    workloads, rollout = ClusterWorkloads(cluster, canaries), canary.rollout
    observed = await workloads.observe(rollout)
    status = canary.status
    if canary.is_flagger_status:
        status = adopt_status(rollout, status, observed.target, observed.primary, None)
    on_target = "" if observed.target is None else observed.target.revision
    running = status.promoted if observed.primary is None else observed.primary.revision
    promoted = tuple(filter(None, (status.promoted, status.previous, *status.history, *observed.restorable)))
    templates = () if observed.target is None else await workloads.past_templates(rollout)
    kept = {template.revision: template for template in templates}
    return RevisionHistory(
        key=key,
        rollout=rollout,
        status=status,
        revisions=tuple(
            PastRevision(
                revision=revision,
                running=revision == running,
                on_target=revision == on_target,
                under_test=status.phase in UNDER_WAY and revision == status.applied,
                promoted=revision in promoted,
                rejected=revision in status.rejected,
                template=kept.get(revision),
            )
            for revision in dict.fromkeys((*kept, *promoted, *reversed(status.rejected)))
        ),
    )


async def undo(cluster: Cluster, canaries: Canaries, history: RevisionHistory, past: PastRevision) -> None:
    """Give the target the pod template of a revision that `choose` has returned.

    Raise Refused if the Canary was deleted or Kubernetes keeps no template, and Conflict if the target has changed.
    """
    await _find(canaries, history.key)
    if past.template is None:
        raise Refused(f"{history.key}: Kubernetes keeps no pod template of revision {past.revision}")
    await ClusterWorkloads(cluster, canaries).undo(history.rollout, past.template)


async def _find(canaries: Canaries, key: str) -> ValidCanary:
    canary = await canaries.find(key)
    if canary is None:
        raise Refused(f"canary {key} was deleted")
    if not isinstance(canary, ValidCanary):
        raise ManifestError(canary.problems)
    return canary
