"""Test tools for authors of adapters and for embedders: simulated time, simulated adapters, contract suites."""

from canarycore_runtime.testing.clock import Deadlock, SimulatedLoop, simulated
from canarycore_runtime.testing.clusters import SimulatedClusters, key_of

__all__ = ["Deadlock", "SimulatedClusters", "SimulatedLoop", "key_of", "simulated"]
