"""A split by numbers of pods: its shares, and the capacity of both sides on every way, whatever is late."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from canarycore_runtime.workloads.pod_split import ALL, PodSplit, ReplicaCounts, Side, count_pods, divide, gather


@pytest.mark.parametrize(
    ("replicas", "weight", "primary", "canary"),
    [
        (10, 10, 9, 1),
        (10, 50, 5, 5),
        (10, 95, 1, 9),
        (10, 1, 9, 1),
        (10, 100, 1, 10),
        (3, 50, 1, 2),
        (2, 10, 1, 1),
        (1, 10, 1, 1),
        (1, 100, 1, 1),
        (200, 1, 198, 2),
    ],
)
def test_the_pods_of_a_weight(replicas, weight, primary, canary):
    assert count_pods(replicas, weight) == ReplicaCounts(primary=primary, canary=canary)


@given(st.integers(2, 500), st.integers(1, 99))
def test_no_other_number_of_pods_is_nearer_to_the_weight(replicas, weight):
    canary = count_pods(replicas, weight).canary
    nearest = min(abs(other / replicas - weight / ALL) for other in range(1, replicas))
    assert abs(canary / replicas - weight / ALL) <= nearest + 1e-9


@given(st.integers(1, 500), st.integers(1, ALL))
def test_both_sides_together_have_at_least_the_replicas_and_each_has_a_pod(replicas, weight):
    counts = count_pods(replicas, weight)
    assert counts.primary >= 1 <= counts.canary
    assert counts.primary + counts.canary == max(replicas, replicas + (weight == ALL), 2)


@given(st.integers(0, ALL), st.integers(0, 10**9 - 1))
def test_a_record_is_read_as_it_was_written(weight, replicas):
    split = PodSplit(weight=weight, replicas=replicas)
    assert PodSplit.parse(str(split)) == split


@pytest.mark.parametrize("text", ["", "weight=101", "weight=-1", "weight=5,replicas=", "weight=5,replicas=1e9", "x"])
def test_another_text_is_no_record(text):
    assert PodSplit.parse(text) is None


class Cluster:
    """Two sides whose pods follow their specs late, in any order. Pods that are not ready go first."""

    def __init__(self, replicas):
        self.replicas = replicas
        self.primary = Side(desired=replicas, total=replicas, ready=replicas)
        self.canary = Side()

    def serving(self):
        return self.primary.ready + self.canary.ready

    def step(self, weight):
        if weight:
            counts = divide(self.replicas, weight, self.primary, self.canary)
        else:
            counts = gather(self.replicas, self.primary, self.canary)
        is_new = counts != ReplicaCounts(primary=self.primary.desired, canary=self.canary.desired)
        self.primary = evolve(self.primary, desired=counts.primary)
        self.canary = evolve(self.canary, desired=counts.canary)
        return is_new

    def follow(self, name, pods):
        """Let a Deployment's controller delete the pods that are too many, or start some, or let some get ready."""
        side = getattr(self, name)
        if side.total > side.desired:
            side = evolve(side, total=side.desired, ready=min(side.ready, side.desired))
        elif side.total < side.desired:
            side = evolve(side, total=min(side.desired, side.total + pods))
        else:
            side = evolve(side, ready=min(side.total, side.ready + pods))
        setattr(self, name, side)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("weight"), st.integers(0, ALL)),
        st.tuples(st.just("step"), st.just(0)),
        st.tuples(st.sampled_from(["primary", "canary"]), st.integers(1, 4)),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(st.integers(1, 12), EVENTS)
def test_the_ready_pods_of_both_sides_never_fall_below_the_replicas(replicas, events):
    cluster, weight = Cluster(replicas), 0
    for event, number in events:
        if event == "weight":
            weight = number
        elif event == "step":
            cluster.step(weight)
        else:
            cluster.follow(event, number)
        assert cluster.serving() >= replicas, (event, number, cluster.primary, cluster.canary)


@settings(max_examples=200)
@given(st.integers(1, 12), st.integers(1, ALL), EVENTS)
def test_every_way_ends_at_the_pods_of_the_last_weight(replicas, last, events):
    cluster, weight = Cluster(replicas), 0
    for event, number in [*events, ("weight", last)]:
        if event == "weight":
            weight = number
        elif event == "step":
            cluster.step(weight)
        else:
            cluster.follow(event, number)
    for _ in range(200):
        cluster.step(last)
        cluster.follow("primary", 1)
        cluster.follow("canary", 1)
    goal = count_pods(replicas, last)
    assert (cluster.primary.ready, cluster.canary.ready) == (goal.primary, goal.canary)
    assert not cluster.step(last)


def test_a_primary_at_zero_stays_there():
    """Its owner has scaled it; the canary serves everything."""
    primary, canary = Side(), Side(desired=2, total=2, ready=2)
    assert divide(10, ALL, primary, canary) == ReplicaCounts(primary=0, canary=10)
    assert gather(10, primary, canary) == ReplicaCounts(primary=0, canary=2)


def test_a_side_that_takes_no_part_replaces_no_pod():
    ready = Side(desired=10, total=10, ready=10)
    assert divide(10, 50, ready, evolve(ready, takes_part=False)).primary == 10
    assert gather(10, evolve(ready, takes_part=False), evolve(ready, desired=8)).canary == 8


def test_a_side_with_enough_ready_pods_by_its_threshold_counts_as_ready():
    """A pod that never gets ready would stop the split for ever, although the policy is content."""
    canary = Side(desired=5, total=5, ready=4, threshold=80)
    assert divide(10, 50, Side(desired=10, total=10, ready=10), canary).primary == 5
    assert divide(10, 50, Side(desired=10, total=10, ready=10), evolve(canary, threshold=100)).primary == 6
