"""The simulator's engines: whole rollouts a second, ten rungs and two checks, beside the same work by a general tool.

Each simulates the same. Every minute it counts the canary's requests, draws the failed ones from the binomial and their
P99, and judges both checks; then the rollout advances, halts, is promoted or rolled back. The peers are SimPy with a
process and its clock, and `transitions` with a machine and its guards. They have no gates, drains, notices or crashes.
"""

from __future__ import annotations

from itertools import count
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import simpy
from attrs import evolve
from transitions import Machine

from bench._cases import POLICY
from bench._measure import Row, throughput
from canarycore.policy import Behaviour, Scenario, exact, vector
from canarycore.policy.sampled import simulate, sweep
from canarycore.simulation.chance import binomial

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from canarycore import Rollout
    from canarycore.policy import Run

SCENARIO = Scenario(old=Behaviour(error_rate=0.001), new=Behaviour(error_rate=0.005, p99=400.0), rps=100.0)
MANY, SOME = 65_536, 1000
"""Rollouts in one call of the vectorised engine, and in one call of the reference."""

WEIGHTS = tuple(rung.weight for rung in POLICY.ladder.rungs)


def arrays() -> Row:
    """Measure the vectorised engine, beside SimPy."""
    seeds = count()
    ours = lambda: vector.simulate(POLICY, SCENARIO, runs=MANY, seed=next(seeds))  # noqa: E731  a named function would add to the time
    return _times(MANY, throughput("vector", "rollouts", ours, "SimPy", _simpy_rollout))


def chain() -> Row:
    """Measure the exact engine beside NumPy's inverse of the chain's matrix; each policy has its own error rate."""
    ours, theirs = (map(_at, count()) for _ in range(2))
    return throughput(
        "exact",
        "policies",
        lambda: exact.solve(POLICY, next(ours)),
        "NumPy, (I - Q)^-1",
        lambda: _invert(next(theirs)),
    )


def core_beside_simpy() -> Row:
    """Measure the reference, in which the core decides: whole sweeps, beside SimPy."""
    seeds = count()
    return _times(SOME, throughput("simulation", "rollouts", lambda: _sweep(next(seeds)), "SimPy", _simpy_rollout))


def core_beside_transitions() -> Row:
    """Measure the same sweeps beside a `transitions.Machine` for each rollout."""
    seeds, peer = count(), "transitions.Machine"
    return _times(SOME, throughput("machine", "rollouts", lambda: _sweep(next(seeds)), peer, _machine_rollout))


def core_alone() -> Row:
    """Measure the reference without shared work: single runs, beside SimPy."""
    seeds = count()
    return throughput("single", "rollouts", lambda: simulate(POLICY, SCENARIO, next(seeds)), "SimPy", _simpy_rollout)


ENGINES: dict[str, Callable[[], Row]] = {
    "vector": arrays,
    "exact": chain,
    "simulation": core_beside_simpy,
    "machine": core_beside_transitions,
    "single": core_alone,
}


def _sweep(seed: int) -> list[Run]:
    return list(sweep(POLICY, SCENARIO, runs=SOME, seed=seed))


def _at(number: int) -> Scenario:
    return evolve(SCENARIO, new=Behaviour(error_rate=number % 99_991 / 1e6, p99=400.0))


def _times(many: int, row: Row) -> Row:
    """Return the row for calls that each do `many` pieces of work; a call of the peer does one piece."""
    assert row.per_second is not None
    assert row.ratio is not None
    return evolve(row, per_second=row.per_second * many, ratio=row.ratio * many)


# ------------------------------------------------------------------------------------------------------------- peers

_random = Random(0)  # noqa: S311  a seeded generator makes runs repeatable


class _Rollout:
    """The model of a rollout that both peers use."""

    def __init__(self, policy: Rollout = POLICY, weights: tuple[int, ...] = WEIGHTS) -> None:
        self.policy, self.weights = policy, weights
        self.minimum = policy.checks[0].minimum or 0.0
        self.place = self.failed = self.canary_requests = self.bad = 0

    def passes(self) -> bool:
        """Draw an interval's traffic; return whether both checks pass."""
        weight, seconds = self.weights[self.place], self.policy.interval
        if not weight:
            return True
        requests = round(SCENARIO.rps * seconds * weight / 100)
        bad = binomial(_random, requests, SCENARIO.new.error_rate)
        self.canary_requests += requests
        self.bad += bad + binomial(_random, round(SCENARIO.rps * seconds) - requests, SCENARIO.old.error_rate)
        rank = -(-requests * 99 // 100)
        p99 = 400.0 * _random.betavariate(rank, requests + 1 - rank) / 0.99
        return 100.0 * (requests - bad) / requests >= self.minimum and p99 <= 500.0

    @property
    def is_at_the_top(self) -> bool:
        return self.place + 1 == len(self.weights)

    @property
    def is_failing(self) -> bool:
        return self.failed + 1 >= self.policy.threshold

    def climb(self) -> None:
        self.place += 1

    def halt(self) -> None:
        self.failed += 1


def _simpy_rollout() -> None:
    _run_by_simpy(_Rollout())


def simpy_rollouts(policy: Rollout, runs: int) -> None:
    """Simulate so many rollouts of a policy by SimPy."""
    weights = tuple(rung.weight for rung in policy.ladder.rungs)
    for _ in range(runs):
        _run_by_simpy(_Rollout(policy, weights))


def _run_by_simpy(rollout: _Rollout) -> None:
    environment = simpy.Environment()
    environment.process(_analyse(environment, rollout))
    environment.run()


def _analyse(environment: simpy.Environment, rollout: _Rollout) -> Generator[simpy.Event, object, None]:
    while True:
        yield environment.timeout(rollout.policy.interval)
        if rollout.passes():
            if rollout.is_at_the_top:
                yield environment.timeout(2 * rollout.policy.interval)
                return
            rollout.climb()
        else:
            rollout.halt()
            if rollout.failed >= rollout.policy.threshold:
                return


class _MachineModel(_Rollout):
    """A model of a machine whose guards read the verdict, the rung and the failed checks."""

    state: str
    analysed: Callable[[], bool]

    def __init__(self) -> None:
        super().__init__()
        self.passed = True

    def measure(self) -> None:
        self.passed = self.passes()


_MACHINE = Machine(
    model=None,
    states=["progressing", "promoting", "finalising", "succeeded", "failed"],
    initial="progressing",
    transitions=[
        {"trigger": "analysed", "source": "progressing", "dest": "promoting", "prepare": "measure",
         "conditions": ["passed", "is_at_the_top"]},
        {"trigger": "analysed", "source": "progressing", "dest": "=", "conditions": "passed", "after": "climb"},
        {"trigger": "analysed", "source": "progressing", "dest": "failed", "conditions": "is_failing"},
        {"trigger": "analysed", "source": "progressing", "dest": "=", "after": "halt"},
        {"trigger": "analysed", "source": "promoting", "dest": "finalising"},
        {"trigger": "analysed", "source": "finalising", "dest": "succeeded"},
    ],
    auto_transitions=False,
)  # fmt: skip


def _machine_rollout() -> None:
    rollout = _MachineModel()
    _MACHINE.add_model(rollout)
    while rollout.state not in {"succeeded", "failed"}:
        rollout.analysed()
    _MACHINE.remove_model(rollout)


def _invert(scenario: Scenario) -> float:
    """Return the probability of a rollback, by a formula for this policy only: its two checks as sums of a binomial."""
    requests = np.rint(scenario.rps * 60 * np.array(WEIGHTS[1:]) / 100)
    most, rate = int(requests[-1] / 100), scenario.new.error_rate
    bad = np.arange(most)
    ratios = (requests[:, None] - bad) / (bad + 1) * rate / (1 - rate)
    chances = (1 - rate) ** requests[:, None] * np.cumprod(np.hstack([np.ones((len(requests), 1)), ratios]), axis=1)
    passes = np.where(np.arange(most + 1) * 100 <= requests[:, None], chances, 0.0).sum(axis=1)
    fails = np.array([0.0, *(1 - passes)])
    threshold = POLICY.threshold
    moves = np.kron(np.diag(fails), np.eye(threshold, k=1)) + np.kron(np.diag(1 - fails[:-1], k=1), np.eye(threshold))
    visits = np.linalg.inv(np.eye(len(moves)) - moves)[0]
    return float(visits[threshold - 1 :: threshold] @ fails)
