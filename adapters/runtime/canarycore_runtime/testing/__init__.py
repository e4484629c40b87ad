"""For authors of adapters and embedders: simulated time, simulated adapters, and a contract suite per port."""

from canarycore_runtime.testing.clock import Deadlock, SimulatedLoop, simulated
from canarycore_runtime.testing.clusters import SimulatedClusters, key_of

__all__ = ["Deadlock", "SimulatedClusters", "SimulatedLoop", "key_of", "simulated"]
