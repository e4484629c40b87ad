"""Our fields in objects that we made, in objects that we took over, and after giving them back."""

from __future__ import annotations

import json

import pytest

from canarycore_kubernetes.api.client import MANAGER
from canarycore_kubernetes.api.metadata import owner_reference
from canarycore_kubernetes.api.ownership import OWNER_ANNOTATION, Owner, ownership_of
from canarycore_kubernetes.api.snapshots import OUR_MANAGERS, Snapshot, make_snapshot
from canarycore_kubernetes.routing.takeover import GITOPS_OPT_OUT, LAST_APPLIED, NOTE, give_back, is_made, merge_owned

OWNER = Owner(namespace="test", name="podinfo", reference=owner_reference("podinfo", "1"))
ELSEWHERE = Owner(namespace="test", name="podinfo", reference=None)

RENDERED = {
    "apiVersion": "example.com/v1",
    "kind": "Route",
    "metadata": {
        "name": "podinfo",
        "namespace": "test",
        "labels": {"team": "web"},
        "annotations": dict(GITOPS_OPT_OUT),
    },
    "spec": {"hosts": ["podinfo"], "rules": [{"weight": 10}]},
}


def make_snapshot_of(spec, *, owned=(), **metadata):
    body = {"apiVersion": "example.com/v1", "kind": "Route", "metadata": {"name": "podinfo", **metadata}, "spec": spec}
    return Snapshot(json.dumps(body), frozenset(owned), ownership_of(body))


def ours(spec, *, owned=(), **metadata):
    return make_snapshot_of(spec, owned=owned, ownerReferences=[OWNER.reference], **metadata)


def test_new_objects_belong_to_the_canary():
    body = merge_owned(None, RENDERED, OWNER, is_taken_over=False)
    annotations = {**GITOPS_OPT_OUT, OWNER_ANNOTATION: "test/podinfo"}
    metadata = RENDERED["metadata"] | {"annotations": annotations, "ownerReferences": [OWNER.reference]}
    assert body == RENDERED | {"metadata": metadata}


def test_an_object_without_a_reference_names_its_canary_in_an_annotation():
    body = merge_owned(None, RENDERED, ELSEWHERE, is_taken_over=False)
    assert body["metadata"]["annotations"] == {**GITOPS_OPT_OUT, OWNER_ANNOTATION: "test/podinfo"}
    assert is_made(make_snapshot(OUR_MANAGERS, False, body), ELSEWHERE)
    assert not is_made(make_snapshot(OUR_MANAGERS, False, body), Owner(namespace="test", name="other", reference=None))


def written_by(*managers, **metadata):
    entries = [{"manager": manager, "fieldsV1": {"f:spec": {}}} for manager in managers]
    return make_snapshot(
        OUR_MANAGERS, False, {**RENDERED, "metadata": {"name": "podinfo", "managedFields": entries, **metadata}}
    )


@pytest.mark.parametrize(
    ("present", "made"),
    [
        (written_by("flagger"), True),
        (written_by("flagger", "kubectl-edit"), False),
        (written_by("kubectl-client-side-apply"), False),
        (written_by("kubectl-client-side-apply", annotations=GITOPS_OPT_OUT), False),
        (written_by("kubectl-client-side-apply", annotations={**GITOPS_OPT_OUT, LAST_APPLIED: "{}"}), False),
        (written_by("kubectl", annotations={OWNER_ANNOTATION: "test/web"}), False),
    ],
)
def test_the_writers_identify_an_ownerless_object_of_flaggers(present, made):
    """Annotations that keep GitOps tools away are no evidence: anybody may set them, and a takeover does."""
    assert is_made(present, ELSEWHERE) is made


def test_the_first_change_marks_an_ownerless_object_of_flaggers():
    present = written_by("flagger", namespace="test")
    after = merge_owned(present, RENDERED, ELSEWHERE, is_taken_over=True)
    assert after["metadata"]["annotations"] == {**GITOPS_OPT_OUT, OWNER_ANNOTATION: "test/podinfo"}
    unchanged = written_by("flagger", **RENDERED["metadata"])
    assert merge_owned(unchanged, RENDERED, ELSEWHERE, is_taken_over=True) == unchanged.body


def test_an_object_taken_over_on_another_cluster_stays_its_owners():
    """This holds too where kubectl's annotation makes a note unnecessary."""
    applied = {LAST_APPLIED: json.dumps({"spec": {"hosts": ["theirs"]}})}
    present = written_by("kubectl-client-side-apply", namespace="test", annotations=applied)
    after = merge_owned(present, RENDERED, ELSEWHERE, is_taken_over=False)
    entries = [{"manager": name, "fieldsV1": {"f:spec": {}}} for name in ("kubectl-client-side-apply", MANAGER)]
    again = make_snapshot(OUR_MANAGERS, False, after | {"metadata": after["metadata"] | {"managedFields": entries}})
    assert not is_made(again, ELSEWHERE)
    assert give_back(again, RENDERED)["spec"]["hosts"] == ["theirs"]


def test_only_stale_fields_of_ours_go_from_an_object_that_we_made():
    present = ours(
        {"hosts": ["podinfo"], "policy": {"tls": {"mode": "X"}}, "exportTo": ["."]},
        owned=[("spec", "hosts"), ("spec", "policy", "tls", "mode"), ("metadata", "labels", "old"), ("kind",)],
        labels={"old": "1", "theirs": "1"},
    )
    body = merge_owned(present, RENDERED, OWNER, is_taken_over=True)
    assert body["spec"] == {"hosts": ["podinfo"], "rules": [{"weight": 10}], "exportTo": ["."]}
    assert body["metadata"]["labels"] == {"theirs": "1", "team": "web"}


def test_a_selector_is_replaced_as_a_whole():
    present = ours({"selector": {"app": "podinfo", "tier": "web"}})
    body = merge_owned(
        present, RENDERED | {"spec": {"selector": {"app": "podinfo-primary"}}}, OWNER, is_taken_over=True
    )
    assert body["spec"] == {"selector": {"app": "podinfo-primary"}}


def test_a_missing_list_equals_an_empty_one():
    rendered = RENDERED | {"spec": {"hosts": [], "gateways": []}}
    assert merge_owned(ours({"hosts": ["x"]}), rendered, OWNER, is_taken_over=True)["spec"] == {"hosts": []}


# foreign objects ---------------------------------------------------------------------------------------------------


def test_a_note_keeps_the_replaced_fields_of_a_foreign_object():
    present = make_snapshot_of({"hosts": ["old"], "exportTo": ["."]}, labels={"team": "theirs"})
    body = merge_owned(present, RENDERED, OWNER, is_taken_over=False)
    assert body["spec"] == {"hosts": ["podinfo"], "rules": [{"weight": 10}], "exportTo": ["."]}
    assert json.loads(body["metadata"]["annotations"][NOTE]) == {"hosts": ["old"]}
    assert body["metadata"]["labels"] == {"team": "theirs"}
    assert "ownerReferences" not in body["metadata"]


@pytest.mark.parametrize(
    ("metadata", "taken"),
    [({"annotations": {LAST_APPLIED: "{}"}}, False), ({"annotations": {NOTE: "{}"}}, False), ({}, True)],
    ids=["kubectl noted it", "noted before", "taken over before"],
)
def test_a_known_original_gets_no_second_note(metadata, taken):
    present = make_snapshot_of({"hosts": ["old"]}, **metadata)
    before = present.body["metadata"].get("annotations", {})
    after = merge_owned(present, RENDERED, OWNER, is_taken_over=taken)["metadata"]["annotations"]
    assert after == before | GITOPS_OPT_OUT


def test_a_change_that_replaces_nothing_needs_no_note():
    assert (
        NOTE
        not in merge_owned(make_snapshot_of({"exportTo": ["."]}), RENDERED, OWNER, is_taken_over=False)["metadata"][
            "annotations"
        ]
    )


@pytest.mark.parametrize(
    ("annotations", "hosts"),
    [
        ({NOTE: '{"hosts":["old"]}'}, ["old"]),
        ({LAST_APPLIED: '{"spec":{"hosts":["applied"],"exportTo":["*"]}}'}, ["applied"]),
    ],
)
def test_an_object_is_given_back_as_it_was(annotations, hosts):
    """Later changes of others stay."""
    before = make_snapshot_of({"hosts": hosts, "exportTo": ["."]}, annotations={LAST_APPLIED: "{}", **annotations})
    owned_fields = [
        ("spec", "hosts"),
        ("spec", "rules"),
        *(("metadata", "annotations", name) for name in GITOPS_OPT_OUT),
    ]
    taken = make_snapshot_of(
        {"hosts": ["podinfo"], "rules": [], "exportTo": ["."]},
        owned=owned_fields,
        annotations={**annotations, **GITOPS_OPT_OUT},
    )
    body = give_back(taken, RENDERED)
    assert body["spec"] == before.body["spec"]
    assert body["metadata"].get("annotations", {}) == {k: v for k, v in annotations.items() if k == LAST_APPLIED}


# snapshots ----------------------------------------------------------------------------------------------------------


def stored(*entries, **fields):
    return {"metadata": {"name": "podinfo", "resourceVersion": "7", "managedFields": list(entries)}, **fields}


def entry(manager, fields, **more):
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


def test_a_list_is_one_field_and_a_mapping_is_its_entries():
    fields = {
        "f:metadata": {"f:labels": {".": {}, "f:a/b": {}}},
        "f:spec": {"f:hosts": {}, "f:ports": {".": {}, 'k:{"port":80}': {".": {}, "f:name": {}}}},
    }
    present = make_snapshot(OUR_MANAGERS, False, stored(entry("canarycore", fields)))
    assert present.owned_fields == {("metadata", "labels", "a/b"), ("spec", "hosts"), ("spec", "ports")}


def test_a_field_with_another_writer_is_not_ours_to_remove():
    one, other = {"f:spec": {"f:hosts": {}}}, {"f:spec": {"f:rules": {}}}
    present = make_snapshot(
        OUR_MANAGERS,
        False,
        stored(entry("flagger", {"f:spec": {**one["f:spec"], **other["f:spec"]}}), entry("me", one)),
    )
    assert present.owned_fields == {("spec", "rules")}


def test_snapshots_have_a_status_on_request_and_never_a_version():
    body = stored(entry("canarycore", {"f:status": {"f:a": {}}}, subresource="status"), status={"a": 1}, spec={})
    assert make_snapshot(OUR_MANAGERS, False, body).body == {"metadata": {"name": "podinfo"}, "spec": {}}
    assert make_snapshot(OUR_MANAGERS, True, body).body == {
        "metadata": {"name": "podinfo"},
        "status": {"a": 1},
        "spec": {},
    }
    assert not make_snapshot(OUR_MANAGERS, True, body).owned_fields


def test_an_unchanged_object_keeps_its_snapshot():
    before = make_snapshot(OUR_MANAGERS, False, stored(spec={"a": 1}))
    later = stored(spec={"a": 1})
    later["metadata"]["resourceVersion"] = "8"
    assert make_snapshot(OUR_MANAGERS, False, later, before) is before
