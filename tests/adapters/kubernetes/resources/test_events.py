"""What tests/cluster claims of a real API server, on one in memory."""

from tests.cluster.resources.test_events import *  # noqa: F403 - the same claims
