"""The controller's own adapters on a real API server tell the same story as Flagger, but for docs/differences.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from canarycore_planes.control_plane.plane import Plane
from tests.conformance.drivers.api_server import ClusterDriver
from tests.conformance.leftovers import different
from tests.conformance.trace import Trace
from tests.conformance.verdict import judge

pytestmark = pytest.mark.cluster


def test_a_trace_tells_the_same_story_on_a_cluster(
    folder: Path, plane: Plane, record_property: Callable[[str, object], None]
):
    drivers: list[ClusterDriver] = []

    def driver(trace: Trace) -> ClusterDriver:
        drivers.append(ClusterDriver(trace, plane))
        return drivers[-1]

    try:
        verdict = judge(folder, driver)
        ends_alike = not verdict.parts and not verdict.case.expected.open_end and not drivers[-1].refused
        left = different(verdict.trace, verdict.used, drivers[-1].left()) if ends_alike else []
    finally:
        for one in drivers:
            one.close()

    record_property("rows", " ".join(verdict.used))
    parts = [*verdict.parts, *left]
    assert not parts, "\n".join([f"{folder.name} (rows used: {', '.join(verdict.used)})", *parts])
