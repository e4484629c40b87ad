"""Leader election keeps its promises on a real API server."""

from tests.cluster.contracts.leader_election import LeaderElectionContract


class TestLeaderElection(LeaderElectionContract):
    """Leader election on a real API server."""
