"""The facts that caches keep of Deployments and DaemonSets."""

from datetime import UTC, datetime

import pytest

from canarycore import Workload
from canarycore_kubernetes.api.kinds import DAEMON_SET, DEPLOYMENT
from canarycore_kubernetes.workloads.facts import Port, ReadingOptions, pod_facts, pod_views
from tests.adapters.kubernetes.workloads.test_primary import deployment, with_pods

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def with_status(body, status=None, *, generation=2, observed=2, uid="u", **metadata):
    status = {"observedGeneration": observed, **(status or {})}
    metadata = {**body["metadata"], "uid": uid, "generation": generation, **metadata}
    return {**body, "metadata": metadata, "status": status}


def facts(body, before=None, **reading):
    return pod_facts(ReadingOptions(**({"clock": Clock()} | reading)), body, before)


def pods(body, before=None, **reading):
    projection = facts(body, before, **reading)
    return projection.desired, projection.updated, projection.ready, projection.total


def condition(type_, status, reason, at=NOON):
    return {"type": type_, "status": status, "reason": reason, "lastUpdateTime": at.isoformat()}


LACKING = condition("Available", "False", "MinimumReplicasUnavailable")
LATE = condition("Progressing", "False", "ProgressDeadlineExceeded")
COUNTS = {"replicas": 3, "updatedReplicas": 2, "availableReplicas": 1}


def test_the_counts_are_those_of_the_deployments_status():
    assert pods(with_status(deployment(replicas=4), COUNTS)) == (4, 2, 1, 3)


def test_a_deployment_without_replicas_desires_one_pod():
    body = deployment()
    del body["spec"]["replicas"]
    assert pods(with_status(body)) == (1, 0, 0, 0)


def test_no_pod_is_updated_until_the_deployments_controller_sees_the_change():
    projection = facts(with_status(deployment(), COUNTS | {"conditions": [LATE]}, generation=3))
    assert (projection.updated, projection.ready, projection.total) == (0, 1, 3)
    assert not projection.stuck


def test_conditions_give_the_time_of_missing_pods_and_the_end_of_the_deadline():
    projection = facts(with_status(deployment(), COUNTS | {"conditions": [LACKING, LATE]}))
    assert projection.unready_since == NOON.timestamp()
    assert projection.stuck == 'deployment "podinfo" exceeded its progress deadline'


@pytest.mark.parametrize(
    "conditions",
    [
        [],
        [condition("Available", "True", "MinimumReplicasAvailable")],
        [condition("Progressing", "True", "NewReplicaSetAvailable")],
    ],
)
def test_without_conditions_no_pod_is_missing(conditions):
    projection = facts(with_status(deployment(), COUNTS | {"conditions": conditions}))
    assert (projection.unready_since, projection.stuck) == (None, "")


def test_no_pod_is_missing_at_zero():
    projection = facts(with_status(deployment(replicas=0), {"conditions": [LACKING, LATE]}))
    assert (projection.unready_since, projection.stuck) == (None, "")


# ---------------------------------------------------------------------------------------------------------- daemon sets

NODES = {
    "desiredNumberScheduled": 3,
    "currentNumberScheduled": 3,
    "updatedNumberScheduled": 2,
    "numberAvailable": 1,
    "numberMisscheduled": 0,
}
AT_ZERO = {"flagger.app/scale-to-zero": "true", "disk": "ssd"}


def daemon_set(**pod_spec):
    body = with_pods(deployment(), **pod_spec)
    del body["spec"]["replicas"]
    return {**body, "kind": "DaemonSet"}


def test_the_counts_of_a_daemon_set_are_nodes():
    assert pods(with_status(daemon_set(), NODES)) == (3, 2, 1, 3)


def test_a_daemon_set_without_permitted_nodes_is_at_zero():
    """Pods on nodes that it has left still count in the total."""
    left = NODES | {"desiredNumberScheduled": 0, "currentNumberScheduled": 0, "numberMisscheduled": 3}
    assert pods(with_status(daemon_set(nodeSelector=AT_ZERO), left)) == (0, 2, 1, 3)


def test_a_daemon_set_without_a_node_lacks_one_pod():
    assert pods(with_status(daemon_set(), {})) == (1, 0, 0, 0)


def test_a_daemon_set_lacks_pods_since_the_last_change_of_its_counts():
    clock = Clock()
    first = facts(with_status(daemon_set(), NODES), clock=clock)
    clock.now = 10.0
    second = facts(with_status(daemon_set(), NODES), first, clock=clock)
    clock.now = 20.0
    third = facts(with_status(daemon_set(), NODES | {"numberAvailable": 2}), second, clock=clock)
    whole = NODES | {"numberAvailable": 3, "updatedNumberScheduled": 3}
    last = facts(with_status(daemon_set(), whole), third, clock=clock)
    assert [projection.unready_since for projection in (first, second, third, last)] == [0.0, 0.0, 20.0, None]


def test_a_complete_daemon_set_is_a_ready_workload():
    whole = facts(with_status(daemon_set(), NODES | {"numberAvailable": 3, "updatedNumberScheduled": 3}))
    counts = {name: getattr(whole, name) for name in ("desired", "updated", "ready", "total", "unready_since", "stuck")}
    assert Workload(revision="r", **counts).is_whole


# --------------------------------------------------------------------------------------------- the owner's template


def test_the_template_is_reduced_once_per_generation():
    first = facts(with_status(deployment(), COUNTS))
    status = facts(with_status(deployment(), COUNTS | {"availableReplicas": 2}), first)
    change = facts(with_status(with_pods(deployment(), hostNetwork=True), COUNTS, generation=3), status)
    again = facts(with_status(with_pods(deployment(), hostNetwork=True), COUNTS, generation=3, uid="another"), status)
    assert status.template is first.template
    assert change.template.shape == again.template.shape != first.template.shape


def test_annotations_name_a_primarys_revision_and_its_saved_revisions():
    annotations = {"canarycore/revision": "two", "canarycore/kept": "one,zero"}
    primary, target = facts(with_status(deployment(), annotations=annotations)), facts(with_status(deployment()))
    assert (primary.revision, primary.saved_revisions) == ("two", ("one", "zero"))
    assert (target.revision, target.saved_revisions) == ("", ())


@pytest.mark.parametrize(("matched", "label"), [({"name": "x", "app": "y"}, "app"), ({"component": "x"}, "")])
def test_the_facts_have_the_labels_that_select_the_pods(matched, label):
    template = facts(with_status(deployment(selector={"matchLabels": matched}))).template
    assert (template.pods.label, template.selector) == (label, matched)
    assert template.pods.canary == (matched if label else {})


def test_the_facts_have_the_ports_of_all_containers_but_mesh_proxies():
    containers = [
        {"name": "app", "image": "a", "ports": [{"name": "http", "containerPort": 80}, {"containerPort": 81}]},
        {"name": "side", "image": "b", "ports": [{"containerPort": 82}]},
        {"name": "istio-proxy", "image": "c", "ports": [{"name": "proxy", "containerPort": 15000}]},
    ]
    projection = facts(with_status(with_pods(deployment(), containers=containers)))
    assert projection.template.ports == (Port("http", 80), Port("tcp-app-1", 81), Port("tcp-side-0", 82))


def test_equal_reading_options_share_one_view_per_kind():
    some, same, other = (
        pod_views(ReadingOptions()),
        pod_views(ReadingOptions()),
        pod_views(ReadingOptions(tracked=False)),
    )
    assert some[DEPLOYMENT] is same[DEPLOYMENT] is not other[DEPLOYMENT]
    assert some.keys() == {DEPLOYMENT, DAEMON_SET}
