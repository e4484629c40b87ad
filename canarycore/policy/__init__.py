"""Operating characteristics of a policy: the probability of a rollback, times, and harm done to users.

    scenario = Scenario(old=Behaviour(error_rate=0.001), new=Behaviour(error_rate=0.02), rps=100)
    runs = [canarycore.policy.sampled.simulate(rollout, scenario, seed) for seed in range(1000)]
    summary = summarise(runs)

A `Scenario` is a set of assumptions, a `Run` one simulated rollout, and a `Summary` the characteristics of many runs.
Three engines compute the same model at different speeds:

    canarycore.policy.sampled    the reference: the core itself decides, event by event; covers every policy
    canarycore.policy.vector     the same model in NumPy arrays, more than a hundred times as fast
    canarycore.policy.exact      a Markov chain without draws, for independent analyses

`estimate` is one call for all of them; `choose_engine` returns the engine that it uses, and the reason. The vector and
the exact engine each have `find_gap(rollout, scenario)`, which returns why they do not cover a policy.
docs/simulation.md lists the assumptions, and the tests that compare the engines.
"""

from canarycore.policy._description import describe_policy
from canarycore.policy._engines import Engine, EngineChoice, Estimate, choose_engine, estimate
from canarycore.policy._model import NotCovered, time_limit
from canarycore.policy._scenario import Behaviour, Scenario
from canarycore.policy._summary import Mean, Outcome, Run, Share, Summary, summarise

__all__ = [
    "Behaviour",
    "Engine",
    "EngineChoice",
    "Estimate",
    "Mean",
    "NotCovered",
    "Outcome",
    "Run",
    "Scenario",
    "Share",
    "Summary",
    "choose_engine",
    "describe_policy",
    "estimate",
    "summarise",
    "time_limit",
]
