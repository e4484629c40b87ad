"""The return of rejected targets to their promoted revisions, before Flagger takes over again.

    returns = await preview_returns(cluster, canaries)      one for each Canary; it writes nothing
    await carry_out(cluster, canaries, returns)             writes the targets of those that are possible

Flagger does not know our names of revisions, so it analyses the revision of each target again. In Failed that is the
rejected one. The primary runs the promoted one, so the target gets the primary's pod template back, if the result is
exactly the promoted revision. A target at rest has no pods: the change starts none. A revision that arrived after the
rejection stays: nobody has judged it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore import Phase
from canarycore.errors import WorldError
from canarycore.foreign import get_texts
from canarycore.phases import IDLE
from canarycore.text import shorten
from canarycore_kubernetes.api.metadata import is_gitops_key, is_revision
from canarycore_kubernetes.resources.canaries import ValidCanary
from canarycore_kubernetes.workloads.port import ClusterWorkloads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.resources.canaries import Canaries
    from canarycore_kubernetes.workloads.pod_workload import TargetChange
    from canarycore_runtime.mesh import Json


class ReturnOutcome(Enum):
    """The outcome for one Canary."""

    NOT_NEEDED = "not needed"
    """The target has its promoted revision, or no revision of it was rejected."""
    POSSIBLE = "possible"
    """The target can be returned."""
    RETURNED = "returned"
    """The target was returned."""
    REFUSED = "refused"
    """The target cannot be returned, for a reason."""
    UNDER_WAY = "under way"
    """A rollout is under way: Flagger would begin its analysis again."""


@frozen(kw_only=True)
class TargetReturn:
    """The return of one Canary's target."""

    key: str
    """The Canary as `namespace/name`."""
    target: str
    """The kind and the name of the target; empty for an invalid Canary."""
    outcome: ReturnOutcome
    """The outcome."""
    reason: str = ""
    """The reason of the outcome; empty if it needs none."""
    change: TargetChange | None = None
    """The change of the target, if it is possible."""


async def preview_returns(cluster: Cluster, canaries: Canaries) -> tuple[TargetReturn, ...]:
    """Return the returns of all Canaries, sorted by name. It writes nothing."""
    workloads = ClusterWorkloads(cluster, canaries)
    return tuple([await _preview(workloads, canaries, key) for key in sorted(await canaries.keys())])


async def _preview(workloads: ClusterWorkloads, canaries: Canaries, key: str) -> TargetReturn:
    canary = await canaries.find(key)
    if not isinstance(canary, ValidCanary):
        reason = "the Canary is invalid: canary describe shows why. Look at its target yourself."
        return TargetReturn(key=key, target="", outcome=ReturnOutcome.REFUSED, reason=reason)
    rollout, status = canary.rollout, canary.status
    plain = TargetReturn(
        key=key, target=f"{rollout.target.kind} {rollout.target.name}", outcome=ReturnOutcome.NOT_NEEDED
    )
    if status.phase not in IDLE:
        reason = f"{status.phase.value}: wait for its end, or give canary abort"
        return evolve(plain, outcome=ReturnOutcome.UNDER_WAY, reason=reason)
    if status.phase is not Phase.FAILED:
        return plain
    if canary.is_flagger_status:
        return evolve(plain, reason="Flagger wrote the status, and knows the revision")
    promoted = status.promoted if is_revision(status.promoted) else ""
    try:
        observed = await workloads.observe(rollout)
        target, primary = observed.target, observed.primary
        if target is not None and primary is not None and target.revision == primary.revision:
            return plain
        if target is not None and target.revision != status.applied:
            return evolve(plain, reason="the target has a new revision, which was not rejected")
        change = await workloads.preview_return(rollout, promoted)
    except WorldError as error:
        return evolve(plain, outcome=ReturnOutcome.REFUSED, reason=str(error))
    tool = find_gitops_key(change.before)
    if tool:
        reason = (
            f"found {shorten(tool)} on the target: its tool would apply the rejected revision again. Revert it in the"
            " source of that tool, and repeat."
        )
        return evolve(plain, outcome=ReturnOutcome.REFUSED, reason=reason)
    return evolve(plain, outcome=ReturnOutcome.POSSIBLE, change=change)


_ARGO_CD = "argocd.argoproj.io/"


def find_gitops_key(body: Json) -> str:
    """Return a label or an annotation by which a GitOps tool marks its objects; empty if there is none."""
    keys = (*get_texts(body, "metadata", "labels"), *get_texts(body, "metadata", "annotations"))
    return next((key for key in keys if is_gitops_key(key) or key.startswith(_ARGO_CD)), "")


async def carry_out(cluster: Cluster, canaries: Canaries, returns: Iterable[TargetReturn]) -> tuple[TargetReturn, ...]:
    """Change the targets of the possible returns. Return all with their outcomes: a failure stops no other."""
    workloads = ClusterWorkloads(cluster, canaries)
    return tuple([await _carry_out(workloads, canaries, each) for each in returns])


async def _carry_out(workloads: ClusterWorkloads, canaries: Canaries, each: TargetReturn) -> TargetReturn:
    canary = await canaries.find(each.key)
    if each.change is None or each.outcome is not ReturnOutcome.POSSIBLE:
        return each
    if not isinstance(canary, ValidCanary) or canary.status.phase is not Phase.FAILED:
        return evolve(each, outcome=ReturnOutcome.REFUSED, reason="the Canary has changed meanwhile: repeat")
    try:
        await workloads.return_target(canary.rollout, each.change)
    except WorldError as error:
        return evolve(each, outcome=ReturnOutcome.REFUSED, reason=str(error))
    return evolve(each, outcome=ReturnOutcome.RETURNED)
