"""600 policies in one call, by two processes, beside SimPy over the same policies in the same pool.

Both draw a thousand rollouts of each policy. The time is wall time, with the start of the processes. SimPy takes most
of a minute for all of them, so it draws a part of the rollouts, and its time counts in proportion, without the start.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from time import perf_counter

from bench._cases import POLICY
from bench._engines import SCENARIO, simpy_rollouts
from bench._measure import Row, duration
from canarycore.policy import sweep

PROCESSES = 2
RUNS, PART = 1000, 20
"""Rollouts of a policy, and those that SimPy draws."""

ROUNDS = 3

GRID = {
    "ladder.step": [1, 2, 3, 4, 5, 10, 15, 20, 25, 50],
    "threshold": [1, 2, 3, 4, 5],
    "interval": [30.0, 60.0, 120.0],
    "checks[request-success-rate].minimum": [98.0, 98.5, 99.0, 99.5],
}


def sweep_of_600() -> Row:
    """Measure the sweep, beside the same policies by SimPy."""
    policies = [cell.rollout for cell in sweep(POLICY, GRID, scenario=SCENARIO, runs=1)]
    assert len(policies) == 600

    def ours() -> float:
        before = perf_counter()
        with ProcessPoolExecutor(PROCESSES) as executor:
            sweep(POLICY, GRID, scenario=SCENARIO, runs=RUNS, executor=executor)
        return perf_counter() - before

    def theirs() -> float:
        with ProcessPoolExecutor(PROCESSES) as executor:
            list(executor.map(partial(simpy_rollouts, runs=1), policies[: 2 * PROCESSES]))
            before = perf_counter()
            list(executor.map(partial(simpy_rollouts, runs=PART), policies, chunksize=8))
            return (perf_counter() - before) * RUNS / PART

    return duration("sweep", "sweeps of 600 policies", ours, "SimPy", theirs, rounds=ROUNDS)
