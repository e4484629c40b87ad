"""The metrics of the load tester, and those of its process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class LoadtesterMetrics:
    """The metrics."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        self.finished: Counter = Counter(
            "canarycore_loadtester_tasks", "Tasks that ended, by result.", ("type", "result"), registry=registry
        )
        self.refused: Counter = Counter(
            "canarycore_loadtester_refused", "Requests that were refused, by status.", ("status",), registry=registry
        )
        self.seconds: Histogram = Histogram(
            "canarycore_loadtester_task_seconds", "The time of tasks.", ("type",), buckets=SECONDS, registry=registry
        )

    def observe(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value is read at each scrape."""
        Gauge(f"canarycore_loadtester_{name}", text, registry=self.registry).set_function(read)
