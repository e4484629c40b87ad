"""A contract suite per port: what every adapter promises, as pytest classes to derive from.

    class TestMyStore(StatusStoreContract):
        @pytest.fixture
        def bench(self, tmp_path: Path) -> MyBench:
            return MyBench(tmp_path)

The `bench` is what the tests work at: it builds the adapter and plays the world around it (the owner, the provider, the
receiver). What it has to offer is said by a Protocol beside each suite; what it cannot play it skips (`pytest.skip`).
Needs `pip install canarycore-runtime[testing]`.
"""

import pytest

for _port in ("store", "workload", "router", "metrics", "hooks", "notifiers", "faithful", "hostile"):
    pytest.register_assert_rewrite(f"{__name__}.{_port}")

from canarycore_runtime.testing.contracts.hooks import Call, HookBench, HookContract  # noqa: E402
from canarycore_runtime.testing.contracts.hostile import HostileReply, HostileServer, hostile_server  # noqa: E402
from canarycore_runtime.testing.contracts.metrics import MetricBench, MetricSourceContract, Reply, WebMetricBench  # noqa: E402
from canarycore_runtime.testing.contracts.notifiers import NotifierBench, NotifierContract  # noqa: E402
from canarycore_runtime.testing.contracts.router import RouterBench, RouterContract  # noqa: E402
from canarycore_runtime.testing.contracts.simulation_fidelity import (  # noqa: E402 - after the rewrite
    RealWorld,
    ServedRequests,
    SimulationFidelityContract,
)
from canarycore_runtime.testing.contracts.store import StatusStoreContract, StoreBench  # noqa: E402
from canarycore_runtime.testing.contracts.workload import WorkloadBench, WorkloadContract  # noqa: E402

__all__ = [
    "Call",
    "HookBench",
    "HookContract",
    "HostileReply",
    "HostileServer",
    "MetricBench",
    "MetricSourceContract",
    "NotifierBench",
    "NotifierContract",
    "RealWorld",
    "Reply",
    "RouterBench",
    "RouterContract",
    "ServedRequests",
    "SimulationFidelityContract",
    "StatusStoreContract",
    "StoreBench",
    "WebMetricBench",
    "WorkloadBench",
    "WorkloadContract",
    "hostile_server",
]
