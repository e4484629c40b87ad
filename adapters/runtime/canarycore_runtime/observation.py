"""The function that makes an observation from the ports, for every program that looks at a live rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Observation
from canarycore_runtime._calls import Limits, call_port

if TYPE_CHECKING:
    from canarycore_runtime.ports import Adapters, StoredRollout

_CALL_LIMIT = Limits().call


async def observe_rollout(
    adapters: Adapters, stored: StoredRollout, *, now: float, call_limit: float = _CALL_LIMIT
) -> Observation:
    """Return the observation of a loaded rollout: its record in the store, its workloads and its routes.

    `now` becomes the observation's time (seconds since the epoch). Each port has `call_limit` seconds to answer.
    Raises WorldError when one of them does not.
    """
    workloads = await call_port(call_limit, adapters.workload.observe, stored.rollout)
    routes = await call_port(call_limit, adapters.router.observe, stored.rollout)
    return Observation(
        now=now,
        target=workloads.target,
        primary=workloads.primary,
        routes=routes,
        scaler_paused=workloads.scaler_paused,
        restorable=workloads.restorable,
        command=stored.command,
        is_deleted=stored.deleted,
        is_restored=workloads.is_restored,
    )
