"""Projections of objects from any writer: an object of unknown form stays in the cache and hides no other."""

from functools import partial

import pytest

from canarycore_kubernetes.api.budget import DEEPEST, BoundExceeded
from canarycore_kubernetes.api.kinds import DAEMON_SET, DEPLOYMENT
from canarycore_kubernetes.api.snapshots import MOST_SHARED, _shared, make_snapshot
from canarycore_kubernetes.resources.references import ALERT_PROVIDER_VIEW, ANALYSIS_TEMPLATE_VIEW, TEMPLATE_VIEW
from canarycore_kubernetes.routing.takeover import NOTE, original_spec
from canarycore_kubernetes.scaling.autoscalers import SCALERS
from canarycore_kubernetes.workloads.configs import CONFIGS
from canarycore_kubernetes.workloads.facts import ReadingOptions, pod_views
from canarycore_kubernetes.workloads.knative_workload import REVISIONS
from canarycore_runtime.mesh import LAST_APPLIED
from tests.adapters.mesh.test_foreign import with_one_wrong_value
from tests.fuzz.samples import OBJECTS
from tests.fuzz.targets import is_object

PODS = pod_views(ReadingOptions())
VIEWS = {
    "Deployment": PODS[DEPLOYMENT],
    "DaemonSet": PODS[DAEMON_SET],
    **{kind.kind: view for kind, view in CONFIGS.items()},
    **SCALERS,
    "KnativeRevision": REVISIONS,
    "MetricTemplate": TEMPLATE_VIEW,
    "AnalysisTemplate": ANALYSIS_TEMPLATE_VIEW,
    "AlertProvider": ALERT_PROVIDER_VIEW,
}


@pytest.mark.parametrize("kind", VIEWS)
def test_a_value_of_the_wrong_type_counts_as_absent(kind):
    project = VIEWS[kind].project
    before = project(OBJECTS[kind], None)
    for body in with_one_wrong_value(OBJECTS[kind]):
        if is_object(body) and body["kind"] == OBJECTS[kind]["kind"]:
            assert project(body, None) is not None
            assert project(body, before) is not None


def test_counts_that_are_none_are_no_ready_pods():
    body = OBJECTS["Deployment"] | {"status": {"availableReplicas": "2", "observedGeneration": 2, "conditions": [None]}}
    facts = VIEWS["Deployment"].project(body, None)
    assert (facts.ready, facts.unready_since) == (0, None)


@pytest.mark.parametrize("kind", [*SCALERS, "Service"])
def test_an_object_that_is_nested_too_deeply_is_refused_before_anything_copies_it(kind):
    deep = 0
    for _ in range(500):
        deep = [deep]
    project = VIEWS[kind].project if kind in VIEWS else partial(make_snapshot, ("canarycore",), False)
    with pytest.raises(BoundExceeded, match=r"at most 100 levels|deeper than 100 levels"):
        project(OBJECTS[kind] | {"spec": {"deep": deep}}, None)


@pytest.mark.parametrize(
    "entries",
    [
        5,
        "text",
        [None],
        ["a"],
        [{"fieldsV1": 5}],
        [{"fieldsV1": {"f:spec": "a"}}],
        [{"fieldsV1": {"f:spec": {"f:a": [1]}}}],
    ],
)
def test_field_managers_of_unknown_form_manage_nothing_inside(entries):
    metadata = OBJECTS["Service"]["metadata"] | {"managedFields": entries}
    owned = make_snapshot(("canarycore",), False, OBJECTS["Service"] | {"metadata": metadata}).owned_fields
    assert isinstance(owned, frozenset)


def managed(fields):
    entry = {"manager": "canarycore", "fieldsV1": fields}
    return OBJECTS["Service"] | {"metadata": OBJECTS["Service"]["metadata"] | {"managedFields": [entry]}}


def test_managed_fields_that_are_nested_too_deeply_end_at_a_bound():
    deep = {}
    for _ in range(700):
        deep = {"f:a": deep}
    (path,) = make_snapshot(("canarycore",), False, managed(deep)).owned_fields
    assert len(path) == DEEPEST


def test_large_sets_of_fields_are_not_remembered():
    before = _shared.cache_info().currsize
    for number in range(5):
        body = managed({"f:spec": {f"f:{number}-{field}": {} for field in range(2 * MOST_SHARED)}})
        assert len(make_snapshot(("canarycore",), False, body).owned_fields) == 2 * MOST_SHARED
    assert _shared.cache_info().currsize == before


@pytest.mark.parametrize("key", [NOTE, LAST_APPLIED])
@pytest.mark.parametrize("text", ["", "{", "[]", "5", "[" * 100_000, '{"spec": 5}'])
def test_a_note_that_cannot_be_read_gives_nothing_back(key, text):
    found = original_spec({"metadata": {"annotations": {key: text}}})
    assert found in ({}, {"spec": 5})
