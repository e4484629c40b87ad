"""canary wait: wait until a Canary has promoted the present revision of its target, or has finished with it.

A status alone cannot answer this: right after `kubectl apply` it is still about the revision before. So the command
compares the revision of the target on the cluster with the status, as the controller does. It writes nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from canarycore import Phase
from canarycore.errors import ManifestError, Refused, WorldError
from canarycore.manifest import parse_duration
from canarycore.phases import IDLE
from canarycore_cli.cluster.connect import find_key
from canarycore_cli.cluster.describe import observe_canary
from canarycore_cli.console import OK, ROLLED_BACK, TIMED_OUT, BadInput, err, out
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.controller import open_adapters
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.overview import ClusterOverview
from canarycore_kubernetes.resources.canaries import Canaries, InvalidCanary

if TYPE_CHECKING:
    from canarycore import Observation, Status
    from canarycore_cli.cluster.connect import ClusterOptions

POLL = 0.5
"""Seconds between two looks at the local cache; they cost the API server nothing."""


class WaitGoal(Enum):
    """The state to wait for."""

    PROMOTED = "promoted"
    """The target's present revision is promoted. A rollback of this revision ends the wait with a failure."""

    FINISHED = "finished"
    """The rollout of the target's present revision has ended, with a promotion or a rollback."""


class RolloutResult(Enum):
    """The result of the rollout of a target's present revision."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    PENDING = "pending"


def find_result(status: Status, observation: Observation) -> RolloutResult:
    """Return the result of the rollout of the target's present revision."""
    target = observation.target
    if target is None or status.since is None or status.phase not in IDLE:
        return RolloutResult.PENDING
    if target.revision == status.promoted:
        return RolloutResult.PROMOTED
    is_rejected = status.phase is Phase.FAILED and target.revision == status.applied
    return RolloutResult.ROLLED_BACK if is_rejected else RolloutResult.PENDING


def find_exit_code(goal: WaitGoal, result: RolloutResult) -> int | None:
    """Return the exit code for a result; None to go on waiting."""
    if result is RolloutResult.PENDING:
        return None
    return ROLLED_BACK if goal is WaitGoal.PROMOTED and result is RolloutResult.ROLLED_BACK else OK


def wait(options: ClusterOptions, name: str, *, goal: str, timeout: str) -> int:
    """Wait for the Canary called `name`, print the result, and return the exit code."""
    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        raise BadInput(f"--timeout: {error}") from error
    return asyncio.run(_wait(options, name, WaitGoal(goal), seconds))


async def _wait(options: ClusterOptions, name: str, goal: WaitGoal, seconds: float) -> int:
    settings, latest = Options(mesh_provider=options.provider), "not seen yet"
    key = name
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(seconds),
            options.client() as client,
            Cluster(client.read_only("wait"), namespace=options.selected_namespace) as cluster,
        ):
            canaries = Canaries(cluster, provider=options.provider)
            async with open_adapters(cluster, canaries, settings) as adapters:
                overview = ClusterOverview(cluster, canaries, adapters.workload)
                key = await find_key(canaries, options, name)
                while True:
                    if isinstance(invalid := await canaries.find(key), InvalidCanary):
                        raise ManifestError(invalid.problems)
                    try:
                        stored, observation = await observe_canary(adapters, canaries, key)
                    except Refused:
                        raise
                    except WorldError as error:  # a cache that is not current, or an object that is not there yet
                        latest = str(error)
                    else:
                        result = find_result(stored.status, observation)
                        code = find_exit_code(goal, result)
                        state = await overview.read(key)
                        latest = latest if state is None else state.describe()
                        if code is not None:
                            end = stored.status.end
                            cause = f"; {end}" if result is RolloutResult.ROLLED_BACK and end is not None else ""
                            out().print(f"{key}: {result.value}: {latest}{cause}", markup=False)
                            return code
                    await asyncio.sleep(POLL)
    err().print(f"{key}: not {goal.value} within {seconds:g} s: {latest}", markup=False)
    return TIMED_OUT
