"""A contract suite for each port, as pytest classes to derive from.

    class TestMyStore(StatusStoreContract):
        @pytest.fixture
        def bench(self, tmp_path: Path) -> MyBench:
            return MyBench(tmp_path)

The fixture `bench` builds the adapter and plays its environment: the owner, the provider or the receiver. A Protocol
beside each suite lists the methods of its bench. A bench skips a test that it cannot play (`pytest.skip`). This package
needs `pip install canarycore-runtime[testing]`.
"""

import pytest

_SUITES = (
    *("store", "workload", "router", "metrics", "hooks", "notifiers", "mesh", "plugins"),
    *("simulation_fidelity", "hostile"),
)
for _suite in _SUITES:
    pytest.register_assert_rewrite(f"{__name__}.{_suite}")

from canarycore_runtime.testing.contracts.hooks import Call, HookBench, HookContract  # noqa: E402
from canarycore_runtime.testing.contracts.hostile import HostileReply, HostileServer, hostile_server  # noqa: E402
from canarycore_runtime.testing.contracts.mesh import MeshBench, MeshContract  # noqa: E402
from canarycore_runtime.testing.contracts.metrics import MetricBench, MetricSourceContract, Reply, WebMetricBench  # noqa: E402
from canarycore_runtime.testing.contracts.notifiers import NotifierBench, NotifierContract  # noqa: E402
from canarycore_runtime.testing.contracts.plugins import PluginContract  # noqa: E402
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
    "MeshBench",
    "MeshContract",
    "MetricBench",
    "MetricSourceContract",
    "NotifierBench",
    "NotifierContract",
    "PluginContract",
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
