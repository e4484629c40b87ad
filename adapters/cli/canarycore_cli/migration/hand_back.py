"""canary migrate --back: return the target of each Failed Canary to its promoted revision, before Flagger starts."""

from __future__ import annotations

import asyncio
import sys
from difflib import unified_diff
from typing import TYPE_CHECKING

from canarycore_cli.cluster.install import yaml_lines
from canarycore_cli.console import OK, TROUBLE, err, out, print_json
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.migration.plan import HAND_BACK_WARNING
from canarycore_kubernetes.migration.rejected_targets import ReturnOutcome, carry_out, preview_returns
from canarycore_kubernetes.resources.canaries import Canaries

if TYPE_CHECKING:
    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_kubernetes.migration.rejected_targets import TargetReturn
    from canarycore_kubernetes.workloads.pod_workload import TargetChange

_SHOWN = (ReturnOutcome.POSSIBLE, ReturnOutcome.RETURNED, ReturnOutcome.REFUSED, ReturnOutcome.UNDER_WAY)
_TROUBLED = (ReturnOutcome.REFUSED, ReturnOutcome.UNDER_WAY)


def hand_back(options: ClusterOptions, *, yes: bool, as_json: bool) -> int:
    """Return the rejected targets, and return the exit code.

    Args:
        options: The cluster and the namespace.
        yes: Whether to write without a question. Without it, a terminal gets the question; others get a dry run.
        as_json: Whether to print JSON, and to ask nothing.
    """
    return asyncio.run(_hand_back(options, yes=yes, as_json=as_json))


async def _hand_back(options: ClusterOptions, *, yes: bool, as_json: bool) -> int:
    async with options.client() as client, Cluster(client, namespace=options.namespace) as cluster:
        canaries = Canaries(cluster, provider=options.provider)
        returns = await preview_returns(cluster, canaries)
        is_possible = any(each.outcome is ReturnOutcome.POSSIBLE for each in returns)
        if not as_json:
            _print(returns)
        is_confirmed = yes or (not as_json and is_possible and sys.stdin.isatty() and await _confirm())
        if is_possible and is_confirmed:
            returns = await carry_out(cluster, canaries, returns)
            if not as_json:
                _print_results(returns)
        elif is_possible and not as_json:
            err().print("Nothing is written: give --yes to return these targets.", markup=False)
    if as_json:
        print_json({"canaries": list(map(_to_json, returns)), "warning": HAND_BACK_WARNING})
    return TROUBLE if any(each.outcome in _TROUBLED for each in returns) else OK


async def _confirm() -> bool:
    err().print("Return these targets? [y/N] ", end="", markup=False)
    answer = await asyncio.to_thread(sys.stdin.readline)
    return answer.strip().lower() in ("y", "yes")


def _print(returns: tuple[TargetReturn, ...]) -> None:
    console = out()
    for each in returns:
        if each.outcome not in _SHOWN:
            continue
        reason = f": {each.reason}" if each.reason else " to its promoted revision"
        console.print(f"{each.key}: {each.target} {each.outcome.value}{reason}".replace("  ", " "), markup=False)
        for line in _difference(each.change) if each.change is not None else ():
            style = "green" if line.startswith("+") else "red" if line.startswith("-") else None
            console.print(f"  {line}", style=style, markup=False, highlight=False)
    unneeded = sum(each.outcome is ReturnOutcome.NOT_NEEDED for each in returns)
    console.print(f"{unneeded} of {len(returns)} Canaries need no return. {HAND_BACK_WARNING}", markup=False)


def _print_results(returns: tuple[TargetReturn, ...]) -> None:
    for each in returns:
        if each.change is not None:
            reason = f": {each.reason}" if each.reason else ""
            out().print(f"{each.key}: {each.target} {each.outcome.value}{reason}", markup=False)


def _difference(change: TargetChange) -> list[str]:
    before, after = (yaml_lines(body["spec"]["template"]) for body in (change.before, change.after))
    return list(unified_diff(before, after, "on the cluster", "promoted revision", n=1, lineterm=""))


def _to_json(each: TargetReturn) -> dict[str, object]:
    change = None if each.change is None else _difference(each.change)
    return {
        "key": each.key,
        "target": each.target,
        "outcome": each.outcome.value,
        "reason": each.reason,
        "difference": change or [],
    }
