"""Targets that are Knative Services.

Knative makes a Revision of each template, runs it, and scales it by its traffic. So the target needs no copy and no
scaling. One annotation names the Revision that is the primary. Another says whether the newest Revision takes part in a
rollout, in place of scaling it up. The names of Knative's Revisions are our revisions. The router sets the traffic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore.errors import Refused
from canarycore.foreign import get_items, get_text, get_time
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import KNATIVE_SERVICE
from canarycore_kubernetes.api.merge_patch import lock_version
from canarycore_kubernetes.api.metadata import KEPT_REVISIONS, UP, get_annotation, get_annotation_list
from canarycore_kubernetes.api.snapshots import snapshot_view
from canarycore_kubernetes.workloads.base import WorkloadTarget, podless_workload
from canarycore_kubernetes.workloads.history import KEEP
from canarycore_runtime.mesh import Kind
from canarycore_runtime.ports import Workloads

if TYPE_CHECKING:
    from canarycore import Workload
    from canarycore_runtime.mesh import Json

KNATIVE_REVISION = Kind("serving.knative.dev", "v1", "Revision", "revisions")

PRIMARY = "flagger.app/primary-revision"
"""The annotation that names the Revision with the primary's traffic."""


@frozen
class RevisionFacts:
    """The projection of a Knative Revision that a cache keeps."""

    ready: bool

    unready_since: float | None = None
    """The time of its last change to not ready (seconds since the epoch), if its status has one."""

    created_at: float | None = None
    """When Knative created it (seconds since the epoch)."""


def revision_facts(body: Json, _: RevisionFacts | None = None) -> RevisionFacts:
    """Return the projection of a Knative Revision."""
    conditions = {get_text(condition, "type"): condition for condition in get_items(body, "status", "conditions")}
    condition = conditions.get("Ready", {})
    ready = get_text(condition, "status") == "True"
    unready_since = None if ready else get_time(condition, "lastTransitionTime")
    return RevisionFacts(ready, unready_since, get_time(body, "metadata", "creationTimestamp"))


REVISIONS = View(kind=KNATIVE_REVISION, project=revision_facts)


@frozen(kw_only=True)
class KnativeTarget(WorkloadTarget):
    """A Knative Service. The methods are those of the port."""

    async def observe(self) -> Workloads:
        service = await self._find_service()
        newest, primary = ("", "") if service is None else (_newest(service), get_annotation(service, PRIMARY))
        up = service is not None and (not primary or bool(get_annotation(service, UP)))
        return Workloads(
            target=await self._workload(newest, up=up),
            primary=await self._workload(primary, up=True),
            restorable=() if service is None else get_annotation_list(service, KEPT_REVISIONS),
            is_restored=self.is_restored,
        )

    async def _find_service(self) -> Json | None:
        view = snapshot_view(KNATIVE_SERVICE, status=True)
        snapshot = (await self.cluster.cache(view).ready()).look(self.namespace, self.name, self.key)
        return None if snapshot is None else snapshot.body

    async def _workload(self, revision: str, *, up: bool) -> Workload | None:
        if not revision:
            return None
        facts = (await self.cluster.cache(REVISIONS).ready()).look(self.namespace, revision, self.key)
        if facts is None:
            return podless_workload(revision, up=up, ready=False)
        workload = podless_workload(revision, up=up, ready=facts.ready, unready_since=facts.unready_since)
        return evolve(workload, revised_at=facts.created_at)

    # effects ----------------------------------------------------------------------------------------------------

    async def initialise(self, revision: str) -> None:
        service = await self.read(KNATIVE_SERVICE)
        if not get_annotation(service, PRIMARY):
            self._require_newest(service, revision)
            await self._mark({PRIMARY: revision, UP: "true"}, service)

    async def promote(self, revision: str) -> None:
        service = await self.read(KNATIVE_SERVICE)
        primary = get_annotation(service, PRIMARY)
        if primary == revision:
            return
        self._require_newest(service, revision)
        saved = tuple(dict.fromkeys((primary, *get_annotation_list(service, KEPT_REVISIONS))))
        await self._mark({PRIMARY: revision, KEPT_REVISIONS: ",".join(saved[:KEEP])}, service)

    def _require_newest(self, service: Json, revision: str) -> None:
        """Raise Refused where another Revision is the newest."""
        if _newest(service) != revision:
            raise Refused(f"service {self.name}.{self.namespace} carries {_newest(service)}, not {revision}")

    async def restore_primary(self, revision: str) -> None:
        service = await self.read(KNATIVE_SERVICE)
        if get_annotation(service, PRIMARY) == revision:
            return
        if revision not in get_annotation_list(service, KEPT_REVISIONS):
            raise Refused(f"revision {revision} of service {self.name}.{self.namespace} was not saved")
        if await self.cluster.get(KNATIVE_REVISION, self.namespace, revision) is None:
            raise Refused(f"revision {revision} of service {self.name}.{self.namespace} is gone: Knative removed it")
        await self._mark({PRIMARY: revision}, service)

    async def scale_up(self) -> None:
        service = await self._find_service()
        if service is not None and not get_annotation(service, UP):
            await self._mark({UP: "true"})

    async def scale_down(self) -> None:
        service = await self._find_service()
        if service is not None and get_annotation(service, UP):
            await self._mark({UP: None})

    async def restore(self) -> None:
        """Remove the annotations. The router gives the traffic back."""
        service = await self._find_service()
        ours = (
            {}
            if service is None
            else {key: None for key in (PRIMARY, UP, KEPT_REVISIONS) if get_annotation(service, key)}
        )
        if ours:
            await self._mark(ours)
        self.mark_restored()

    async def _mark(self, annotations: Json, service: Json | None = None) -> None:
        """Change annotations of the target. If `service` is given, the target must not have changed since."""
        patch: Json = {"metadata": {"annotations": annotations}}
        await self.cluster.merge(
            KNATIVE_SERVICE, self.namespace, self.name, patch if service is None else lock_version(patch, service)
        )


def _newest(service: Json) -> str:
    """Return the Revision that Knative made of the present template."""
    return get_text(service, "status", "latestCreatedRevisionName")
