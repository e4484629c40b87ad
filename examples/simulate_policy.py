"""Predict the outcomes of a policy for good and bad versions.

For each error rate of the new version, the program simulates a few hundred rollouts of the same Canary with random
traffic. It prints the share of promotions, their time, and the number of bad requests that users see because of it.
"""

from pathlib import Path

from canarycore.manifest import load, resolve
from canarycore.policy import Behaviour, Scenario, sweep

CANARY = Path(__file__).parent / "manifests" / "flagger-appmesh-guide" / "canary.yaml"
RATES = [0.001, 0.005, 0.008, 0.01, 0.012, 0.02, 0.05]
SCENARIO = Scenario(old=Behaviour(error_rate=0.001), rps=50)


def main(runs: int = 200) -> None:
    """Print one line per error rate."""
    rollout = resolve(load([(CANARY.name, CANARY.read_text())]).canaries[0])
    print("error rate   promoted   95% interval    minutes (95%)   bad requests by it")
    for cell in sweep(rollout, {}, {"new.error_rate": RATES}, scenario=SCENARIO, runs=runs, seed=1):
        promoted, minutes = cell.evaluation.promoted, cell.evaluation.minutes
        error_rate, harm = cell.scenario.new.error_rate, cell.evaluation.excess_bad_requests
        print(
            f"{error_rate:>9.1%}  {promoted.value:>9.0%}   {promoted.low:>5.0%} to {promoted.high:<4.0%}"
            f"  {minutes.mean.value:>8.1f} ({minutes.p95.value:.0f})  {harm.value:>18.0f}"
        )


if __name__ == "__main__":
    main()
