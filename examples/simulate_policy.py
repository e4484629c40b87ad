"""What a policy does to good and to bad versions, told before production runs it.

For each error rate of the new version a few hundred rollouts of the same Canary are simulated, with sampled traffic:
how often it is promoted, how long that takes, and how many bad requests users see by it.
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
        told = summarise(sweep(rollout, scenario, runs=runs, seed=1))
        low, high = told.promoted.interval
        print(
            f"{error_rate:>9.1%}  {told.promoted.value:>9.0%}   {low:>5.0%} to {high:<4.0%}"
            f"  {told.minutes.value:>8.1f}  {told.excess_bad_requests.value:>12.0f}"
        )


if __name__ == "__main__":
    main()
