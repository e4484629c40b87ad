"""canary lint --cluster: print the problems of a cluster's Canaries, and the parts that the cluster lacks for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from canarycore_cli.console import BAD_INPUT, OK, out, print_json, print_problems
from canarycore_kubernetes.preflight import check_cluster

if TYPE_CHECKING:
    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_kubernetes.preflight import PreflightReport


def lint(
    options: ClusterOptions,
    account: str,
    *,
    strict: bool,
    as_json: bool,
    shared_gateways: tuple[str, ...] | None = None,
) -> int:
    """Print the problems, and return the exit code.

    Args:
        options: The cluster and the namespace.
        account: The controller's service account, as NAMESPACE/NAME.
        strict: Whether warnings fail too.
        as_json: Whether to print JSON.
        shared_gateways: As for `canarycore_kubernetes.preflight.check_cluster`.
    """
    report = asyncio.run(_check(options, account, shared_gateways))
    errors, warnings = len(report.errors), len(report.problems) - len(report.errors)
    if as_json:
        problems = [attrs.asdict(problem) for problem in report.problems]
        print_json({"canaries": list(report.canaries), "errors": errors, "warnings": warnings, "problems": problems})
    else:
        console = out()
        print_problems(report.problems, console)
        verdict = f"errors: {errors}, warnings: {warnings}" if report.problems else "clean"
        console.print(f"{verdict}; Canaries {options.scope}: {len(report.canaries)}", style="bold", markup=False)
    return BAD_INPUT if report.errors or (strict and report.problems) else OK


async def _check(options: ClusterOptions, account: str, shared_gateways: tuple[str, ...] | None) -> PreflightReport:
    async with options.client() as client:
        return await check_cluster(
            client,
            namespace=options.selected_namespace,
            provider=options.provider,
            account=account,
            shared_gateways=shared_gateways,
        )
