"""Events keep their promises on an API server in memory."""

from tests.cluster.contracts.events import EventNotifierContract, EventsContract


class TestEventNotifier(EventNotifierContract):
    """Events on an API server in memory."""


class TestEvents(EventsContract):
    """Events on an API server in memory."""
