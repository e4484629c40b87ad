"""Operating characteristics of a policy: the probability of a rollback, times, and harm done to users.

    scenario = Scenario(old=Behaviour(error_rate=0.001), new=Behaviour(error_rate=0.02), rps=100)
    evaluation = evaluate(rollout, scenario)
    evaluation.rolled_back, evaluation.minutes.p95, evaluation.bad_requests.p99

    table = sweep(rollout, {"ladder.step": [5, 10, 20], "threshold": [3, 5]}, {"new.error_rate": [0.001, 0.02]})
    table.to_frame()

`evaluate` computes the figures of a policy in a scenario, and `sweep` those of many policies in many scenarios. A
`Scenario` is a set of assumptions. Each figure of an `Evaluation` is an `Estimate`: a value with its interval.

Three engines compute the same model at different speeds:

    canarycore.policy.sampled    the reference: the core itself decides, event by event; covers every policy
    canarycore.policy.vector     the same model in NumPy arrays, more than a hundred times as fast
    canarycore.policy.exact      a Markov chain without draws, for independent analyses

Only the reference covers `Scenario.pods`: pods that take a limited number of requests, and their autoscalers.

`choose_engine` returns the engine that `evaluate` uses, and the reason. The vector and the exact engine each have
`find_gap(rollout, scenario)`, which returns why they do not cover a policy. A `Run` is one simulated rollout, and a
`Summary` has the characteristics of many runs. docs/simulation.md lists the assumptions, and the tests that compare the
engines.
"""

from canarycore.policy._description import describe_policy
from canarycore.policy._evaluation._engines import Engine, EngineChoice, choose_engine
from canarycore.policy._evaluation._evaluate import evaluate
from canarycore.policy._evaluation._evaluation import Distribution, Estimate, Evaluation
from canarycore.policy._evaluation._sweep import Cell, Sweep, sweep
from canarycore.policy._model import NotCovered, time_limit
from canarycore.policy._pods import PodLoad, SideLoad
from canarycore.policy._scenario import Autoscaler, Behaviour, Pods, Scenario
from canarycore.policy._summary import Mean, Outcome, Run, Share, Summary, summarise

__all__ = [
    "Autoscaler",
    "Behaviour",
    "Cell",
    "Distribution",
    "Engine",
    "EngineChoice",
    "Estimate",
    "Evaluation",
    "Mean",
    "NotCovered",
    "Outcome",
    "PodLoad",
    "Pods",
    "Run",
    "Scenario",
    "Share",
    "SideLoad",
    "Summary",
    "Sweep",
    "choose_engine",
    "describe_policy",
    "evaluate",
    "summarise",
    "sweep",
    "time_limit",
]
