"""Targets that are Knative Services.

Knative makes a Revision of each template, runs it, and scales it by its traffic; so there is no copy and nothing to
scale. An annotation names the Revision that is the primary, and another says that the newest one takes part in a
rollout: that is its being scaled up. Revisions bear names, so ours are theirs; where traffic goes is the router's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.errors import Refused
from canarycore.foreign import get_items, get_text, get_time
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import KNATIVE_SERVICE
from canarycore_kubernetes.api.merge_patch import lock_version
from canarycore_kubernetes.api.metadata import KEPT_REVISIONS, get_annotation, get_annotation_list
from canarycore_kubernetes.api.snapshots import snapshot_view
from canarycore_kubernetes.workloads.base import WorkloadTarget, podless_workload
from canarycore_kubernetes.workloads.history import KEEP
from canarycore_runtime.mesh import Kind
from canarycore_runtime.ports import Workloads

if TYPE_CHECKING:
    from canarycore import Workload
    from canarycore_kubernetes.api.ownership import ForeignObject
    from canarycore_runtime.mesh import Json

KNATIVE_REVISION = Kind("serving.knative.dev", "v1", "Revision", "revisions")

PRIMARY = "flagger.app/primary-revision"
"""The annotation that names the Revision which gets the primary's traffic."""

UP = "canarycore/up"
"""The annotation of a Service of which the newest Revision takes part in a rollout."""


@frozen
class RevisionFacts:
    """What is held of a Knative Revision. unready_since: since when it is not ready (seconds), if it says so."""

    ready: bool
    unready_since: float | None = None


def revision_facts(body: Json, _: RevisionFacts | None = None) -> RevisionFacts:
    """The projection of a Knative Revision."""
    conditions = {get_text(one, "type"): one for one in get_items(body, "status", "conditions")}
    condition = conditions.get("Ready", {})
    ready = get_text(condition, "status") == "True"
    return RevisionFacts(ready, None if ready else get_time(condition, "lastTransitionTime"))


REVISIONS = View(kind=KNATIVE_REVISION, project=revision_facts)


@frozen(kw_only=True)
class KnativeTarget(WorkloadTarget):
    """A Knative Service. The methods are those of the port."""

    async def observe(self) -> Workloads:
        found = await self._found()
        newest, primary = ("", "") if found is None else (_newest(found), get_annotation(found, PRIMARY))
        up = found is not None and (not primary or bool(get_annotation(found, UP)))
        return Workloads(
            target=await self._workload(newest, up=up),
            primary=await self._workload(primary, up=True),
            kept=() if found is None else get_annotation_list(found, KEPT_REVISIONS),
            restored=self.restored,
        )

    async def other_canary(self) -> str:
        """Return nothing: there are no copies that another Canary could have made."""
        return ""

    async def has_primary(self) -> bool:
        """Tell that there is none: nothing shows which Canary has the target."""
        return False

    async def foreign_objects(self) -> tuple[ForeignObject, ...]:
        """Return nothing: there are no copies."""
        return ()

    async def _found(self) -> Json | None:
        view = snapshot_view(KNATIVE_SERVICE, status=True)
        found = (await self.cluster.cache(view).ready()).look(self.namespace, self.name, self.key)
        return None if found is None else found.body

    async def _workload(self, revision: str, *, up: bool) -> Workload | None:
        if not revision:
            return None
        facts = (await self.cluster.cache(REVISIONS).ready()).look(self.namespace, revision, self.key)
        if facts is None:
            return podless_workload(revision, up=up, ready=False)
        return podless_workload(revision, up=up, ready=facts.ready, unready_since=facts.unready_since)

    # what is done -----------------------------------------------------------------------------------------------

    async def initialise(self, revision: str) -> None:
        service = await self.read(KNATIVE_SERVICE)
        if not get_annotation(service, PRIMARY):
            self._demand(service, revision)
            await self._mark({PRIMARY: revision, UP: "true"}, service)

    async def promote(self, revision: str) -> None:
        service = await self.read(KNATIVE_SERVICE)
        primary = get_annotation(service, PRIMARY)
        if primary == revision:
            return
        self._demand(service, revision)
        kept = tuple(dict.fromkeys((primary, *get_annotation_list(service, KEPT_REVISIONS))))
        await self._mark({PRIMARY: revision, KEPT_REVISIONS: ",".join(kept[:KEEP])}, service)

    def _demand(self, service: Json, revision: str) -> None:
        if _newest(service) != revision:
            raise Refused(f"service {self.name}.{self.namespace} carries {_newest(service)}, not {revision}")

    async def restore_primary(self, revision: str) -> None:
        service = await self.read(KNATIVE_SERVICE)
        if get_annotation(service, PRIMARY) == revision:
            return
        if revision not in get_annotation_list(service, KEPT_REVISIONS):
            raise Refused(f"revision {revision} of service {self.name}.{self.namespace} was not kept")
        if await self.cluster.get(KNATIVE_REVISION, self.namespace, revision) is None:
            raise Refused(f"revision {revision} of service {self.name}.{self.namespace} is gone: Knative removed it")
        await self._mark({PRIMARY: revision}, service)

    async def scale_up(self) -> None:
        service = await self._found()
        if service is not None and not get_annotation(service, UP):
            await self._mark({UP: "true"})

    async def scale_down(self) -> None:
        service = await self._found()
        if service is not None and get_annotation(service, UP):
            await self._mark({UP: None})

    async def restore(self) -> None:
        """The annotations go; where traffic goes is given back by the router."""
        service = await self._found()
        ours = (
            {}
            if service is None
            else {key: None for key in (PRIMARY, UP, KEPT_REVISIONS) if get_annotation(service, key)}
        )
        if ours:
            await self._mark(ours)
        self.is_restored()

    async def pause_scaler(self) -> None:
        """Knative's own scaler needs no pause."""

    async def resume_scaler(self) -> None:
        """Knative's own scaler needs no pause."""

    async def _mark(self, annotations: Json, found: Json | None = None) -> None:
        """Change annotations of the owner's object, if it is still the one that was found."""
        patch: Json = {"metadata": {"annotations": annotations}}
        await self.cluster.merge(
            KNATIVE_SERVICE, self.namespace, self.name, patch if found is None else lock_version(patch, found)
        )


def _newest(service: Json) -> str:
    """The Revision that Knative made of the template."""
    return get_text(service, "status", "latestCreatedRevisionName")
