"""Caches keep their promises on a real API server."""

from tests.cluster.contracts.cache import CacheContract


class TestCache(CacheContract):
    """Caches on a real API server."""
