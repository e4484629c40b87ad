"""Events keep their promises on a real API server."""

from tests.cluster.contracts.events import EventNotifierContract, EventsContract


class TestEventNotifier(EventNotifierContract):
    """Events on a real API server."""


class TestEvents(EventsContract):
    """Events on a real API server."""
