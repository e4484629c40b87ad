"""Caches keep their promises on an API server in memory."""

from tests.cluster.contracts.cache import CacheContract


class TestCache(CacheContract):
    """Caches on an API server in memory."""
