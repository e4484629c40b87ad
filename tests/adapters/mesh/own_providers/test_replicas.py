"""The provider `replicas`: Services and replicas at each step of a split by numbers of pods."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canarycore import Routes
from canarycore.errors import Refused
from canarycore.manifest import parse, resolve
from canarycore_runtime.mesh import PodSelectors, RenderContext
from canarycore_runtime.workloads.pod_split import ANNOTATION, count_pods
from tests.adapters.mesh.meshes import manifest, mesh_of, render_context

MESH = mesh_of("replicas")
PRIMARY, CANARY, SHARED = {"app": "podinfo-primary"}, {"app": "podinfo"}, {"team": "web"}
UNNAMED = {"service": None}


class App:
    """Both Deployments and the Service of an app, as an API server has them, and the controllers that follow late."""

    def __init__(self, replicas=10, *, labels=SHARED, **spec):
        self.context = render_context("replicas", **spec) if spec != UNNAMED else worker()
        self.target, self.primary, *rest = MESH.refs(self.context)
        self.objects = {
            self.target: deployment("podinfo", 0, CANARY | labels),
            self.primary: deployment("podinfo-primary", replicas, PRIMARY | labels),
        }
        self.apex = rest[0] if rest else None
        if self.apex:
            self.objects[self.apex] = {"kind": "Service", "spec": {"selector": dict(PRIMARY)}}
        self.replicas = replicas
        self.follow()

    def scale(self, ref, replicas):
        self.objects[ref]["spec"]["replicas"] = replicas

    def set_routes(self, weight):
        """Write as the router does: the Service, then the objects. Return whether anything changed."""
        before = copy.deepcopy(self.objects)
        if self.apex:
            pods = MESH.apex_pods(self.context, Routes(weight=weight), self.objects)
        rendered = MESH.render(self.context, Routes(weight=weight), self.objects)
        if self.apex:
            self.objects[self.apex]["spec"]["selector"] = dict(pods)
        for body in rendered:
            ref = next(ref for ref in (self.target, self.primary) if ref.name == body["metadata"]["name"])
            present = self.objects[ref]
            present["metadata"].setdefault("annotations", {}).update(body["metadata"].get("annotations", {}))
            present["spec"] |= body["spec"]
        return self.objects != before

    def follow(self, ref=None, pods=100):
        """Let the controllers delete pods, else start some, else let some get ready."""
        for each in [ref] if ref else [self.target, self.primary]:
            spec, status = self.objects[each]["spec"]["replicas"], self.objects[each]["status"]
            total, ready = status["replicas"], status["availableReplicas"]
            if total > spec:
                total, ready = spec, min(ready, spec)
            elif total < spec:
                total = min(spec, total + pods)
            ready = min(total, ready + pods) if total == status["replicas"] else ready
            status |= {"replicas": total, "availableReplicas": ready}

    def bring(self, weight):
        for _ in range(12):
            self.set_routes(weight)
            self.follow()
            self.follow()
        assert self.routes() == Routes(weight=weight)

    def routes(self):
        routes = MESH.routes(self.context, self.objects)
        if routes is None or not self.apex:
            return routes
        return routes if MESH.apex_pods(self.context, routes, self.objects) == self.selector else None

    @property
    def selector(self):
        return self.objects[self.apex]["spec"]["selector"]

    @property
    def counts(self):
        return tuple(self.objects[ref]["spec"]["replicas"] for ref in (self.primary, self.target))

    def serving(self):
        """Return the ready pods that requests, or work, reach."""
        sides = (self.objects[self.primary], self.objects[self.target])
        labels = [side["spec"]["template"]["metadata"]["labels"] for side in sides]
        reached = [not self.apex or self.selector.items() <= each.items() for each in labels]
        return sum(
            side["status"]["availableReplicas"] for side, is_reached in zip(sides, reached, strict=True) if is_reached
        )


def worker():
    """Return the context of a Canary without `spec.service`."""
    document = manifest("replicas")
    del document["spec"]["service"]
    canary = parse(document)
    return RenderContext(canary=canary, rollout=resolve(canary), pods=PodSelectors())


def deployment(name, replicas, labels):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "test"},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": dict(labels)}}},
        "status": {"replicas": 0, "availableReplicas": 0},
    }


def joined(**fields):
    """Return an app whose canary has got its first pod without requests."""
    app = App(**fields)
    app.bring(0)
    app.scale(app.target, 1)
    app.follow()
    app.follow()
    return app


def test_at_weight_0_the_service_selects_the_primary_and_the_canarys_pods_get_no_request():
    app = joined()
    assert app.routes() == Routes()
    assert (app.selector, app.counts, app.serving()) == (PRIMARY, (10, 1), 10)


@pytest.mark.parametrize(("weight", "counts", "selector"), [(10, (9, 1), SHARED), (30, (7, 3), SHARED)])
def test_a_weight_is_a_number_of_pods_behind_one_service(weight, counts, selector):
    app = joined()
    app.bring(weight)
    assert (app.counts, app.selector, app.serving()) == (counts, selector, 10)


def test_at_weight_100_the_service_selects_the_canary_and_the_primary_keeps_a_pod():
    app = joined()
    app.bring(50)
    app.bring(100)
    assert (app.counts, app.selector) == ((1, 10), CANARY)


def test_a_split_scales_up_before_it_scales_down():
    app = joined()
    app.bring(10)
    app.set_routes(30)
    assert app.counts == (9, 3)
    assert app.routes() is None, "the new pods are not ready"
    app.follow(app.target)
    app.set_routes(30)
    assert app.counts == (9, 3), "they run, but they are not ready"
    app.follow(app.target)
    app.set_routes(30)
    assert app.counts == (7, 3)
    assert app.routes() is None, "the primary's pods have not gone"
    app.follow(app.primary)
    assert app.routes() == Routes(weight=30)


def test_a_return_fills_the_primary_before_it_takes_the_requests_away():
    app = joined()
    app.bring(50)
    app.set_routes(0)
    assert (app.counts, app.selector) == ((10, 5), SHARED)
    app.follow(app.primary)
    app.follow(app.primary, pods=3)
    app.set_routes(0)
    assert (app.counts, app.selector) == ((10, 2), SHARED), "each ready pod of the primary replaces one of the canary"
    app.follow()
    app.set_routes(0)
    app.set_routes(0)
    assert app.selector == PRIMARY
    assert app.routes() == Routes()
    assert app.objects[app.primary]["metadata"]["annotations"][ANNOTATION] == "weight=0"


def test_between_rollouts_the_owner_may_scale_the_primary():
    app = App()
    app.bring(0)
    app.scale(app.primary, 4)
    app.follow()
    assert not app.set_routes(0)
    assert app.routes() == Routes()
    app.scale(app.target, 1)
    app.follow()
    app.follow()
    app.bring(50)
    assert app.counts == (2, 2)


def test_a_canary_that_its_owner_has_scaled_joins_with_its_share_only():
    """kubectl apply of a manifest with replicas scales the target: half of all requests would go to it."""
    app = App()
    app.bring(0)
    app.scale(app.target, 10)
    app.follow()
    app.follow()
    app.set_routes(10)
    assert (app.counts, app.selector) == ((10, 1), PRIMARY)
    app.follow()
    app.set_routes(10)
    assert (app.counts, app.selector) == ((9, 1), SHARED)


def test_a_primary_without_pods_is_replaced_by_the_canary():
    app = joined()
    app.bring(10)
    app.objects[app.primary]["status"] |= {"availableReplicas": 0}
    app.set_routes(100)
    assert (app.counts[1], app.selector) == (10, CANARY)


def test_a_primary_that_its_owner_scaled_to_zero_stays_there():
    app = joined()
    app.bring(10)
    app.scale(app.primary, 0)
    app.follow()
    app.set_routes(100)
    assert app.counts == (0, 10)
    app.set_routes(0)
    assert app.counts[0] == 0


def test_another_process_goes_on_with_a_split_by_its_record():
    """The number of replicas of the app is nowhere else once the primary has fewer."""
    app = joined()
    app.bring(30)
    assert app.objects[app.primary]["metadata"]["annotations"][ANNOTATION] == "weight=30,replicas=10"
    app.bring(60)
    assert app.counts == (4, 6)


def test_a_worker_has_no_service_and_its_pods_share_the_work():
    app = App(**UNNAMED)
    assert not MESH.has_services(app.context)
    assert app.apex is None
    app.bring(0)
    app.bring(20)
    assert app.counts == (8, 2)
    app.bring(0)
    assert app.counts[0] == 10


def test_pods_without_a_label_of_both_sides_are_refused_with_the_remedy():
    app = App(labels={})
    app.scale(app.target, 1)
    app.follow()
    with pytest.raises(Refused) as refused:
        MESH.apex_pods(app.context, Routes(weight=10), app.objects)
    text = str(refused.value)
    assert text.startswith("canary podinfo.test, spec.targetRef: found no label of the pods beside app=podinfo")
    assert text.endswith("such as app.kubernetes.io/part-of: podinfo.")
    assert MESH.apex_pods(app.context, Routes(weight=100), app.objects) == PRIMARY, "blue/green needs none"


def test_a_promotion_that_changes_a_shared_label_keeps_the_services_labels():
    app = joined(labels=SHARED | {"version": "v1"})
    app.objects[app.target]["spec"]["template"]["metadata"]["labels"]["version"] = "v2"
    app.bring(50)
    assert app.selector == SHARED
    app.objects[app.primary]["spec"]["template"]["metadata"]["labels"]["version"] = "v2"
    app.set_routes(50)
    assert app.selector == SHARED, "the primary's old pods have the old version"


@pytest.mark.parametrize("routes", [Routes(matched=True), Routes(mirrored=True)])
def test_pods_cannot_tell_requests_apart(routes):
    app = App()
    with pytest.raises(Refused, match="splits by the numbers of pods, which see no request"):
        MESH.render(app.context, routes, app.objects)


def test_a_primary_that_is_given_back_has_all_its_replicas():
    app = joined()
    app.bring(50)
    primary, target = (copy.deepcopy(app.objects[ref]) for ref in (app.primary, app.target))
    released = MESH.release(app.context, primary)
    assert released["spec"]["replicas"] == 10
    assert ANNOTATION not in released["metadata"]["annotations"]
    assert MESH.release(app.context, target) == target


def test_without_a_primary_there_are_no_routes_and_nothing_to_write():
    app = App()
    del app.objects[app.primary]
    assert MESH.routes(app.context, app.objects) is None
    assert MESH.render(app.context, Routes(), app.objects) == ()


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("routes"), st.sampled_from([0, 0, 5, 10, 33, 50, 90, 99, 100])),
        st.tuples(st.just("again"), st.just(0)),
        st.tuples(st.sampled_from(["primary", "target"]), st.integers(1, 4)),
    ),
    max_size=50,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), EVENTS, st.booleans())
def test_requests_reach_as_many_ready_pods_as_the_app_had_on_every_way(replicas, events, has_service):
    app = App(replicas, **({} if has_service else UNNAMED))
    app.bring(0)
    app.scale(app.target, 1)
    weight = 0
    for event, number in events:
        if event in ("routes", "again"):
            weight = number if event == "routes" else weight
            app.set_routes(weight)
        else:
            app.follow(getattr(app, event), number)
        assert app.serving() >= replicas
    app.bring(40)
    goal = count_pods(replicas, 40)
    assert app.counts == (goal.primary, goal.canary)
    app.bring(0)
    assert app.serving() >= replicas
