"""The client keeps its promises on an API server in memory."""

from tests.cluster.contracts.client import ClientContract


class TestClient(ClientContract):
    """The client on an API server in memory."""
