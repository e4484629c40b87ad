"""What a policy will do, told before production runs it.

    scenario = Scenario(old=Behaviour(error_rate=0.001), new=Behaviour(error_rate=0.02), rps=100)
    runs = [canarycore.policy.sampled.simulate(rollout, scenario, seed) for seed in range(1000)]
    told = summarise(runs)      probabilities of promotion and rollback, time to each, harm done to users

A `Scenario` is the assumed world, a `Run` what one rollout did in it, a `Summary` what many came to. Three engines tell
the same story at different speeds:

    canarycore.policy.sampled    the reference: the core itself decides, event by event; covers everything
    canarycore.policy.vector         the same model in NumPy arrays, more than a hundred times as fast
    canarycore.policy.exact          no draws at all: a Markov chain, where analyses are independent

Each of the latter two has `why_not(rollout, scenario)`: why it does not cover a policy. docs/simulation.md says what is
assumed, and how they are held together.
"""

from canarycore.policy._model import NotCovered, patience
from canarycore.policy._scenario import Behaviour, Scenario
from canarycore.policy._summary import Mean, Outcome, Run, Share, Summary, summarise

__all__ = [
    "Behaviour",
    "Mean",
    "NotCovered",
    "Outcome",
    "Run",
    "Scenario",
    "Share",
    "Summary",
    "patience",
    "summarise",
]
