"""What a policy will do, told before production runs it.

    scenario = Scenario(old=Behaviour(error_rate=0.001), new=Behaviour(error_rate=0.02), rps=100)
    runs = [canarycore.testing.simulation.simulate(rollout, scenario, seed) for seed in range(1000)]
    told = summarise(runs)      probabilities of promotion and rollback, time to each, harm done to users

A `Scenario` is the assumed world, a `Run` what one rollout did in it, a `Summary` what many came to.
Nothing here draws a random number: that is `canarycore.testing.simulation`.
"""

from canarycore.policy._scenario import Behaviour, Scenario
from canarycore.policy._summary import Mean, Outcome, Run, Share, Summary, summarise

__all__ = ["Behaviour", "Mean", "Outcome", "Run", "Scenario", "Share", "Summary", "summarise"]
