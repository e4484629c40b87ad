"""I7: any single crash or conflict, at any write of any situation, leads to the same end."""

from __future__ import annotations

import pytest

from canarycore import Status
from canarycore.questions import HookQuestion
from canarycore.simulation import Fault, FaultKind, SimulatedCluster, check_at_rest, fingerprint
from tests.core.scenarios import POLICIES, SITUATIONS, play

WEIGHTS = "weights"
TIMEOUTS = {FaultKind.LOST, FaultKind.APPLIED}
CASES = [(WEIGHTS, situation) for situation in SITUATIONS] + [
    (policy, situation) for policy in POLICIES if policy != WEIGHTS for situation in ("promoted", "rolled back")
]
ALL_CASES = [(policy, situation) for policy in POLICIES for situation in SITUATIONS]


def faults_at(cluster: SimulatedCluster, kinds: list[FaultKind]) -> list[Fault]:
    """Each kind of fault at each write that it can meet; a call that times out is another answer, hence no fault."""
    return [
        Fault(kind, write.number)
        for kind in kinds
        for write in cluster.writes
        if (kind is not FaultKind.CONFLICT or isinstance(write.of, Status))
        and (kind not in TIMEOUTS or not isinstance(write.of, HookQuestion))
    ]


def differences(policy: str, situation: str, kinds: list[FaultKind]) -> list[str]:
    """Every fault that leads elsewhere, and where; invariants are checked on the way."""
    plain = play(POLICIES[policy], SITUATIONS[situation])
    expected, wrong = fingerprint(plain.state), []
    for fault in faults_at(plain, kinds):
        cluster = play(POLICIES[policy], SITUATIONS[situation], (fault,))
        if fingerprint(cluster.state) != expected:
            wrong.append(f"{fault} led to {fingerprint(cluster.state)}, not to {expected}\n{cluster.program()}")
        elif check_at_rest(plain.state, plain.history) is None and (
            unrest := check_at_rest(cluster.state, cluster.history)
        ):
            wrong.append(f"{fault}: {unrest}\n{cluster.program()}")
    return wrong


@pytest.mark.parametrize(("policy", "situation"), CASES)
def test_a_crash_after_any_write_leads_to_the_same_end(policy, situation):
    assert not differences(policy, situation, [FaultKind.CRASH_AFTER])


@pytest.mark.parametrize(("policy", "situation"), CASES)
def test_a_conflict_at_any_commit_leads_to_the_same_end(policy, situation):
    assert not differences(policy, situation, [FaultKind.CONFLICT])


@pytest.mark.deep
@pytest.mark.parametrize(("policy", "situation"), ALL_CASES)
def test_any_fault_at_any_write_leads_to_the_same_end(policy, situation):
    kinds = [FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER, FaultKind.CONFLICT, FaultKind.LOST, FaultKind.APPLIED]
    assert not differences(policy, situation, [*kinds, FaultKind.RIVAL])
