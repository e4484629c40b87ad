"""No mesh: pods of both sides behind one Service, or at one queue, share the work by their numbers.

`pod_split` has the numbers. At weight 0 the Service that users call selects the primary's pods, at weight 100 the
canary's. Between them it selects both, by the labels that both pod templates have. So a weight of 0 is exact, and the
canary's first pods get ready without requests. A target without `spec.service` has no Service: its pods take work from
the moment at which they run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore import Routes
from canarycore.foreign import get_integer, get_text, get_texts
from canarycore_mesh._objects import make_object, make_ref, refuse
from canarycore_mesh.kubernetes import APP_QUERIES, SECONDS
from canarycore_runtime.mesh import Kind, Mesh
from canarycore_runtime.workloads.pod_split import (
    ALL,
    ANNOTATION,
    PodSplit,
    ReplicaCounts,
    Side,
    count_pods,
    divide,
    gather,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
SERVICE = Kind("", "v1", "Service", "services")

_LABELS_PATH = "spec.targetRef"


class Replicas(Mesh):
    """Provider `replicas`."""

    queries: Queries = APP_QUERIES
    milliseconds = SECONDS

    statuses: frozenset[Kind] = frozenset({DEPLOYMENT})
    shared: frozenset[Kind] = frozenset({DEPLOYMENT})

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        apex = (make_ref(SERVICE, context, context.apex),) if self.has_services(context) else ()
        return (_target(context), _primary(context), *apex)

    def is_route(self, context: RenderContext, ref: Ref) -> bool:
        """Check whether the object is one that its owner may have made."""
        return ref in (_target(context), make_ref(SERVICE, context, context.apex))

    def has_services(self, context: RenderContext) -> bool:
        """Check whether users reach the target by a Service: workers have none."""
        return context.canary.spec.service is not None

    def apex_pods(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> Mapping[str, str]:
        split, present = _Split.read(context, objects), _present(context, objects)
        if not routes.weight:
            if not split.record.replicas or split.primary.desired == 0 or split.has_returned:
                return context.pods.primary
            return _both(context, objects) or present if present == context.pods.canary else present
        if routes.weight == ALL:
            return context.pods.canary if split.has_taken_over else present
        is_waiting = split.primary_body is not None and not split.has_joined(routes.weight)
        if present == context.pods.primary and is_waiting:
            return present
        return _both(context, objects) or _refuse_labels(context)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        """Return the next step. The primary's record comes first, and the writer has led the Service before."""
        if routes.matched or routes.mirrored:
            refuse(
                context,
                "requests to send by match or mirror",
                "weights: the provider replicas splits by the numbers of pods, which see no request",
                context.match_path,
                "Remove match and mirror, or choose a provider that routes.",
            )
        split = _Split.read(context, objects)
        if split.primary_body is None:
            return ()
        apex = self.apex_pods(context, routes, objects) if self.has_services(context) else None
        counts, record = split.step(routes.weight, context, apex)
        metadata = {"annotations": {ANNOTATION: str(record)}}
        rendered = [make_object(context, DEPLOYMENT, _primary(context).name, {"replicas": counts.primary}, metadata)]
        if split.target_body is not None:
            rendered.append(make_object(context, DEPLOYMENT, _target(context).name, {"replicas": counts.canary}))
        return tuple(rendered)

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        """Return the routes once both sides have their pods, and those that went no longer count."""
        split = _Split.read(context, objects)
        record = split.record
        if split.primary_body is None or not split.is_recorded:
            return None
        if not record.weight:
            return None if record.replicas else Routes()
        sides = (split.primary, split.canary)
        is_there = split.has_counts(count_pods(split.replicas, record.weight))
        return Routes(weight=record.weight) if is_there and all(side.total <= side.desired for side in sides) else None

    def release(self, context: RenderContext, body: Json) -> Json:
        """Return the primary with all its replicas again, and without the record; the target stays as it is."""
        record = PodSplit.parse(get_texts(body, "metadata", "annotations").get(ANNOTATION, ""))
        if record is None or get_text(body, "metadata", "name") != _primary(context).name:
            return body
        annotations = {
            name: text for name, text in get_texts(body, "metadata", "annotations").items() if name != ANNOTATION
        }
        replicas = max(record.replicas, get_integer(body, "spec", "replicas") or 0)
        metadata = {**body["metadata"], "annotations": annotations}
        return {**body, "metadata": metadata, "spec": {**body["spec"], "replicas": replicas}}


# the state of both sides --------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class _Split:
    """Both sides and the record, as the cluster has them."""

    primary_body: Json | None
    target_body: Json | None
    primary: Side
    canary: Side
    record: PodSplit
    is_recorded: bool

    @classmethod
    def read(cls, context: RenderContext, objects: ObjectsByRef) -> _Split:
        primary, target = objects.get(_primary(context)), objects.get(_target(context))
        text = get_texts(primary, "metadata", "annotations").get(ANNOTATION, "")
        record = PodSplit.parse(text)
        return cls(
            primary_body=primary,
            target_body=target,
            primary=_side(primary, context.rollout.primary_ready),
            canary=_side(target, context.rollout.canary_ready),
            record=record or PodSplit(),
            is_recorded=record is not None,
        )

    @property
    def replicas(self) -> int:
        """The replicas of the app: the recorded ones, or those of the primary before the split."""
        return self.record.replicas or self.primary.desired or max(1, self.canary.desired)

    @property
    def has_returned(self) -> bool:
        """Whether the primary can serve everything again."""
        return self.primary.serving >= self.replicas

    @property
    def has_taken_over(self) -> bool:
        """Whether the canary can serve everything, or has to."""
        return self.canary.serving >= self.replicas or (self.primary.ready == 0 < self.canary.ready)

    def has_counts(self, goal: ReplicaCounts) -> bool:
        """Whether both sides have these replicas; a primary at zero is its owner's decision."""
        return self.canary.desired == goal.canary and self.primary.desired in (0, goal.primary)

    def has_joined(self, weight: int) -> bool:
        """Whether the canary has no more pods than its share, so that requests may reach it."""
        return max(self.canary.total, self.canary.desired) <= count_pods(self.replicas, weight).canary

    def step(
        self, weight: int, context: RenderContext, apex: Mapping[str, str] | None
    ) -> tuple[ReplicaCounts, PodSplit]:
        """Return the replicas of the next step, and its record. apex: the pods of the Service; None without one."""
        primary = evolve(self.primary, takes_part=apex != context.pods.canary or apex is None)
        canary = evolve(self.canary, takes_part=apex != context.pods.primary or apex is None)
        if weight:
            record = PodSplit(weight=weight, replicas=self.replicas)
            return divide(self.replicas, weight, primary, canary), record
        if not self.record.replicas:
            return ReplicaCounts(primary=primary.desired, canary=canary.desired), PodSplit()
        is_back = self.has_returned or primary.desired == 0
        record = PodSplit() if is_back else PodSplit(replicas=self.replicas)
        return gather(self.replicas, primary, canary), record


def _side(body: Json | None, threshold: int) -> Side:
    if body is None:
        return Side()
    desired = get_integer(body, "spec", "replicas")
    return Side(
        desired=1 if desired is None else desired,
        total=get_integer(body, "status", "replicas") or 0,
        ready=get_integer(body, "status", "availableReplicas") or 0,
        threshold=threshold,
    )


# pods ---------------------------------------------------------------------------------------------------------------


def _present(context: RenderContext, objects: ObjectsByRef) -> Mapping[str, str]:
    """Return the pods that the Service selects now; the primary's where it selects none of ours."""
    selector = get_texts(objects.get(make_ref(SERVICE, context, context.apex)), "spec", "selector")
    ours = (context.pods.primary, context.pods.canary, _both(context, objects))
    return selector if selector and selector in ours else context.pods.primary


def _both(context: RenderContext, objects: ObjectsByRef) -> Mapping[str, str]:
    """Return the labels that the pods of both sides have; the Service's present ones while both have these."""
    primary, canary = context.pods.primary, context.pods.canary
    target, copy = objects.get(_target(context)), objects.get(_primary(context))
    own = get_texts(target if target is not None else copy, "spec", "template", "metadata", "labels")
    copied = own if copy is None else get_texts(copy, "spec", "template", "metadata", "labels")
    both = {
        name: text for name, text in own.items() if copied.get(name) == text and primary.get(name) == canary.get(name)
    }
    selector = get_texts(objects.get(make_ref(SERVICE, context, context.apex)), "spec", "selector")
    return selector if selector and selector.items() <= both.items() else both


def _refuse_labels(context: RenderContext) -> Mapping[str, str]:
    own = ", ".join(f"{name}={text}" for name, text in context.pods.canary.items())
    refuse(
        context,
        f"no label of the pods beside {own}, which the primary's pods do not have",
        "one that the pods of both sides have: the Service selects both by it",
        _LABELS_PATH,
        "Add a label to the target's pod template that no other workload has, such as "
        f"app.kubernetes.io/part-of: {context.apex}.",
    )


def _target(context: RenderContext) -> Ref:
    return make_ref(DEPLOYMENT, context, context.canary.spec.target_ref.name)


def _primary(context: RenderContext) -> Ref:
    return make_ref(DEPLOYMENT, context, f"{context.canary.spec.target_ref.name}-primary")
