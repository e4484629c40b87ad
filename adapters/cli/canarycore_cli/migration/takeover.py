"""canary migrate: print the installation that is equivalent to an installed Flagger, the steps, and the way back."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

from canarycore.errors import Refused
from canarycore.manifest import documents
from canarycore_cli.cluster.install import yaml_lines
from canarycore_cli.console import OK, TROUBLE, BadInput, out, print_json
from canarycore_cli.manifests.read import read_texts
from canarycore_kubernetes.migration.plan import HAND_BACK_WARNING, find_deployment, make_plan, plan_migration
from canarycore_kubernetes.migration.settings import read_deployment, read_values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_kubernetes.migration.plan import MigrationPlan, MigrationStep


def migrate(options: ClusterOptions, *, deployment: str, values: str, as_json: bool) -> int:
    """Print the plan of a migration, and return the exit code.

    Args:
        options: The cluster, and the namespace of Flagger.
        deployment: A file with Flagger's Deployment; empty to read the cluster.
        values: A file with the values of Flagger's chart; empty to read the cluster.
        as_json: Whether to print JSON.
    """
    if values:
        plan = _plan_from_values(values)
    elif deployment:
        plan = _plan_from_deployment(deployment)
    else:
        plan = asyncio.run(_plan_from_cluster(options))
    if as_json:
        print_json(plan.to_json())
    else:
        _print(plan)
    return TROUBLE if plan.equivalent.refusals else OK


async def _plan_from_cluster(options: ClusterOptions) -> MigrationPlan:
    async with options.client() as client:
        try:
            return await plan_migration(client, namespace=options.namespace)
        except Refused as error:
            raise BadInput(str(error)) from None


def _plan_from_values(file: str) -> MigrationPlan:
    ((name, text),) = read_texts([file])
    contents = [dict(document.content) for document in documents(text)]
    if len(contents) > 1 or any("apiVersion" in content and "kind" in content for content in contents):
        raise BadInput(f"{name}: found manifests, expected the values of Flagger's chart: leave out --values")
    return make_plan(read_values(contents[0] if contents else {}, name))


def _plan_from_deployment(file: str) -> MigrationPlan:
    ((name, text),) = read_texts([file])
    body = find_deployment(dict(document.content) for document in documents(text))
    if body is None:
        raise BadInput(f"{name}: found no Deployment of Flagger, expected one with the image flagger")
    return make_plan(read_deployment(body))


def _print(plan: MigrationPlan) -> None:
    console, equivalent = out(), plan.equivalent

    def section(title: str, lines: Iterable[str]) -> None:
        lines = list(lines)
        if lines:
            console.print(title, style="bold", markup=False)
            for line in lines:
                console.print(f"  {line}", markup=False, highlight=False)

    section("Found", [plan.settings.source])
    section("Refused", map(str, equivalent.refusals))
    section("Secret, and not printed", [f"{path}: give it as ${name}" for path, name in equivalent.secrets.items()])
    section(
        "Different",
        (
            f"{each.name}: Flagger has {each.flagger or 'none'}"
            + (f", canarycore {each.own}" if each.own else "")
            + (f". {each.note}" if each.note else "")
            for each in equivalent.differences
        ),
    )
    section("Rollouts under way", (f"{key}: {plan.phases[key]}" for key in plan.under_way))
    section("Arguments of canary install", [shlex.join(equivalent.install)])
    section("Only the chart sets", equivalent.chart_only)
    console.print("Values of the chart", style="bold", markup=False)
    for line in yaml_lines(equivalent.values):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    section("Steps", _numbered(plan.steps))
    section("The way back", [*_numbered(plan.way_back), HAND_BACK_WARNING])


def _numbered(steps: Iterable[MigrationStep]) -> Iterable[str]:
    for number, step in enumerate(steps, 1):
        yield f"{number}. {step.text}"
        yield f"   {step.command}"
