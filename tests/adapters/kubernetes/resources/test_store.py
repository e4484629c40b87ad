"""The store of Canaries keeps its promises on an API server in memory."""

from tests.cluster.contracts.store import CanaryStoreContract, StoreContract


class TestCanaryStore(CanaryStoreContract):
    """The store of Canaries on an API server in memory."""


class TestStore(StoreContract):
    """The store of Canaries on an API server in memory."""
