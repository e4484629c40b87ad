"""The store of Canaries keeps its promises on a real API server."""

from tests.cluster.contracts.store import CanaryStoreContract, StoreContract


class TestCanaryStore(CanaryStoreContract):
    """The store of Canaries on a real API server."""


class TestStore(StoreContract):
    """The store of Canaries on a real API server."""
