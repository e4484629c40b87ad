"""The claims of tests/cluster about a real API server, on the one in memory."""

from tests.cluster.api.test_client import *  # noqa: F403 - the same claims
