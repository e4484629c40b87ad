"""What tests/cluster claims of a real API server, on one in memory."""

from tests.cluster.api.test_cache import *  # noqa: F403 - the same claims
