"""What a policy will do, told before production runs it.

    scenario = Scenario(old=Behaviour(error_rate=0.001), new=Behaviour(error_rate=0.02), rps=100)
    runs = [canarycore.policy.sampled.simulate(rollout, scenario, seed) for seed in range(1000)]
    told = summarise(runs)      probabilities of promotion and rollback, time to each, harm done to users

A `Scenario` is the assumed world, a `Run` what one rollout did in it, a `Summary` what many came to. Three engines tell
the same story at different speeds:

    canarycore.policy.sampled    the reference: the core itself decides, event by event; covers everything
    canarycore.policy.vector         the same model in NumPy arrays, more than a hundred times as fast
    canarycore.policy.exact          no draws at all: a Markov chain, where analyses are independent

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
