"""The claims of tests/cluster about a real API server, on the one in memory."""

from tests.cluster.api.test_cache import *  # noqa: F403 - the same claims
