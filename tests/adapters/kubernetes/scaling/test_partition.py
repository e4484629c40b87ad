"""The shares of a StatefulSet's revisions, and the next step towards them."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from canarycore import Routes
from canarycore_kubernetes.api.ownership import UNOWNED
from canarycore_kubernetes.scaling.partition import (
    ALL_STABLE,
    OrdinalPod,
    PartitionRecord,
    RevisionShares,
    StatefulSetFacts,
)

STABLE, CANARY, LATER = "db-1", "db-2", "db-3"
REST = StatefulSetFacts(
    uid="u",
    generation=1,
    replicas=4,
    first=0,
    partition=ALL_STABLE,
    current=STABLE,
    update=CANARY,
    is_observed=True,
    ready=4,
    recorded=STABLE,
    takes_part=False,
    weight=0,
    record=PartitionRecord(set_to=ALL_STABLE),
    obstacle="",
    ownership=UNOWNED,
)


def pod(ordinal, revision, state="ready"):
    if state == "missing":
        return None
    return OrdinalPod(
        name=f"db-{ordinal}",
        uid=str(ordinal),
        owner="u",
        revision=revision,
        is_ready=state == "ready",
        is_leaving=state == "leaving",
    )


def shares(revisions, states=None, **facts):
    """Return the shares of pods by their revisions, such as "1122"."""
    names = {"1": STABLE, "2": CANARY, "3": LATER}
    states = states or ["ready"] * len(revisions)
    pods = [
        pod(ordinal, names[each], state) for ordinal, (each, state) in enumerate(zip(revisions, states, strict=True))
    ]
    ready = sum(each is not None and each.is_ready for each in pods)
    return RevisionShares(facts=evolve(REST, replicas=len(pods), ready=ready, **facts), pods=tuple(pods))


@pytest.mark.parametrize(
    ("facts", "partition"),
    [
        ({}, ALL_STABLE),
        ({"takes_part": True}, 3),
        ({"takes_part": True, "weight": 20}, 3),
        ({"takes_part": True, "weight": 50}, 2),
        ({"takes_part": True, "weight": 99}, 1),
        ({"weight": 50}, ALL_STABLE),
        ({"takes_part": True, "weight": 50, "update": STABLE}, ALL_STABLE),
        ({"takes_part": True, "weight": 50, "recorded": CANARY}, 0),
        ({"recorded": CANARY}, 0),
        ({"recorded": CANARY, "current": CANARY, "takes_part": True}, ALL_STABLE),
        ({"recorded": CANARY, "update": LATER, "takes_part": True}, 3),
        ({"recorded": ""}, ALL_STABLE),
        ({"recorded": "", "partition": 1}, 1),
    ],
)
def test_the_partition_follows_from_the_object_alone(facts, partition):
    assert shares("1111", **facts).required_partition == partition


def test_a_missing_annotation_is_replaced_by_the_promoted_revision_of_the_status():
    bare = shares("1111", recorded="", takes_part=True)
    assert bare.primary() is None
    known = evolve(bare, promoted=STABLE)
    assert (known.stable, known.required_partition) == (STABLE, 3)


def test_a_third_revision_ends_a_promotion_and_the_current_one_is_stable_again():
    taken = shares("1123", recorded=CANARY, update=LATER, takes_part=True, partition=0)
    assert taken.primary().revision == STABLE
    assert [each.name for each in taken.surplus] == ["db-2"]


@pytest.mark.parametrize(
    ("revisions", "states", "name"),
    [
        ("1122", None, "db-3"),
        ("1121", None, "db-2"),
        ("1122", ["ready", "ready", "unready", "ready"], "db-2"),
        ("1122", ["unready", "ready", "ready", "ready"], None),
        ("1122", ["missing", "ready", "ready", "ready"], None),
        ("1122", ["ready", "ready", "ready", "leaving"], None),
        ("1122", ["ready", "ready", "unready", "missing"], "db-2"),
        ("1111", None, None),
    ],
)
def test_one_pod_goes_back_at_a_time_and_none_while_another_serves_nothing(revisions, states, name):
    evicted = shares(revisions, states).next_eviction()
    assert (evicted and evicted.name) == name


def test_a_pod_that_is_ready_for_too_short_a_time_keeps_the_others():
    """A StatefulSet with `minReadySeconds` counts it later."""
    early = shares("1122")
    assert evolve(early, facts=evolve(early.facts, ready=3)).next_eviction() is None


@pytest.mark.parametrize(
    ("facts", "revisions", "routes"),
    [
        ({}, "1111", Routes()),
        ({"takes_part": True, "weight": 50, "partition": 2}, "1122", Routes(weight=50)),
        ({"takes_part": True, "weight": 50, "partition": 2}, "1112", None),
        ({"takes_part": True, "weight": 25, "partition": 3}, "1122", None),
        ({}, "1112", None),
        ({"partition": 0}, "1111", Routes(weight=99)),
        ({"partition": 0, "record": PartitionRecord(set_to=0)}, "1111", None),
        (
            {"takes_part": True, "weight": 50, "partition": 0, "record": PartitionRecord(set_to=2)},
            "1122",
            Routes(weight=99),
        ),
        ({"takes_part": True, "weight": 25, "partition": 0, "recorded": CANARY}, "1122", Routes(weight=25)),
    ],
)
def test_the_routes_are_in_force_once_the_pods_have_followed(facts, revisions, routes):
    assert shares(revisions, **facts).routes() == routes


def test_the_stable_side_of_a_promotion_is_whole_once_all_pods_have_the_revision():
    half = shares("1122", recorded=CANARY, partition=0).primary()
    assert (half.revision, half.desired, half.updated, half.total) == (CANARY, 4, 2, 4)
    assert not half.is_whole
    assert shares("2222", recorded=CANARY, current=CANARY).primary().is_whole


def test_the_canary_is_down_only_once_its_last_pod_has_gone_back():
    assert shares("1112").canary().desired == 1
    assert shares("1111").canary().is_scaled_down


@pytest.mark.parametrize("text", ["", "set=1", "set=-1,owner=0", "set=1,owner=99999999999", "set=2147483648,owner=0"])
def test_a_record_of_another_form_is_none(text):
    assert PartitionRecord.parse(text) is None


@given(
    replicas=st.integers(2, 12),
    weight=st.integers(0, 100),
    takes_part=st.booleans(),
    partition=st.integers(0, 12),
    revisions=st.lists(st.sampled_from("123"), min_size=12, max_size=12),
    states=st.lists(st.sampled_from(["ready", "unready", "leaving", "missing"]), min_size=12, max_size=12),
    current=st.sampled_from([STABLE, CANARY]),
    update=st.sampled_from([STABLE, CANARY, LATER]),
    recorded=st.sampled_from([STABLE, CANARY, LATER]),
)
def test_each_side_keeps_a_pod_and_no_stable_pod_is_ever_evicted(
    replicas, weight, takes_part, partition, revisions, states, current, update, recorded
):
    facts = {"weight": weight, "takes_part": takes_part, "partition": partition}
    revisions_of = {"current": current, "update": update, "recorded": recorded}
    found = shares("".join(revisions[:replicas]), states[:replicas], **facts, **revisions_of)
    assert found.stable in (current, update)
    if found.has_candidate:
        assert 1 <= found.required_partition <= replicas - 1
    else:
        assert found.required_partition in (0, ALL_STABLE)
    evicted = found.next_eviction()
    if evicted is not None:
        assert evicted.revision != found.stable
        others = [each for each in found.pods if each is not evicted]
        assert not evicted.is_ready or all(each is not None and each.is_ready for each in others)
    found.canary(), found.primary(), found.routes()
    done = evolve(found, facts=evolve(found.facts, partition=found.required_partition))
    assert done.required_partition == found.required_partition or weight == 100
