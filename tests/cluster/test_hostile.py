"""A tenant with 300 hostile Canaries, and the 20 Canaries of an honest team beside it: tests/hostile says how.

The session `hostile` runs what needs minutes; the session `cluster` looks only at what is admitted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane.plane import Plane
from tests.hostile.honest import TEAM, MissingPrometheus
from tests.hostile.trial import COUNT, HONEST, Trial, percentile, run

LATE, HEALTH, MEMORY = 1.0, 1.0, 512.0
"""Seconds, seconds, MiB."""

MOMENTS = 80
"""Decisions about the honest Canaries in a part, at least."""


@pytest.fixture(scope="module")
def trial(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """All of it, once."""
    try:
        found = run(plane, tmp_path_factory.mktemp("hostile"))
    except MissingPrometheus as error:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(error))
    print(found)  # noqa: T201 - the figures, where a claim fails
    yield found
    for namespace in (HONEST, "hostile"):
        plane.api.delete(f"/api/v1/namespaces/{namespace}")
