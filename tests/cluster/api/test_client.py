"""The client keeps its promises on a real API server."""

from tests.cluster.contracts.client import ClientContract


class TestClient(ClientContract):
    """The client on a real API server."""
