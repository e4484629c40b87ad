"""What tests/cluster claims of a real API server, on one in memory."""

from tests.cluster.api.test_client import *  # noqa: F403 - the same claims
