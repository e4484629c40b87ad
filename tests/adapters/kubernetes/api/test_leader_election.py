"""Leader election keeps its promises on an API server in memory."""

from tests.cluster.contracts.leader_election import LeaderElectionContract


class TestLeaderElection(LeaderElectionContract):
    """Leader election on an API server in memory."""
