"""Predict the outcomes of a policy for good and bad versions.

For each error rate of the new version, the program simulates a few hundred rollouts of the same Canary with random
traffic. It prints the share of promotions, their time, and the number of bad requests that users see because of it.
"""

from pathlib import Path

from canarycore.manifest import load, resolve
from canarycore.policy import Behaviour, Scenario, summarise
from canarycore.policy.sampled import sweep

CANARY = Path(__file__).parent / "manifests" / "flagger-appmesh-guide" / "canary.yaml"
OLD = Behaviour(error_rate=0.001)


def main(runs: int = 200) -> None:
    """Print one line per error rate."""
    rollout = resolve(load([(CANARY.name, CANARY.read_text())]).canaries[0])
    print("error rate   promoted   95% interval    minutes   bad requests by it")
    for error_rate in (0.001, 0.005, 0.008, 0.01, 0.012, 0.02, 0.05):
        scenario = Scenario(old=OLD, new=Behaviour(error_rate=error_rate), rps=50)
        summary = summarise(sweep(rollout, scenario, runs=runs, seed=1))
        low, high = summary.promoted.interval
        print(
            f"{error_rate:>9.1%}  {summary.promoted.value:>9.0%}   {low:>5.0%} to {high:<4.0%}"
            f"  {summary.minutes.value:>8.1f}  {summary.excess_bad_requests.value:>12.0f}"
        )


if __name__ == "__main__":
    main()
