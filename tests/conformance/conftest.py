"""`pytest tests/conformance --golden DIR`: any folder of traces in the format of the shared ones.

Without the option it is ../shared/golden beside the repository; where that is missing the traces are skipped, and in CI
(env CI is set) that is a failure. The traces in `extra/` are always replayed: in memory, and in the session `sweep` on
an API server. They differ from the others by decisions, and not by the objects that an API server sees.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster.conftest import plane as plane  # noqa: PLC0414 - a fixture, shared with the tests of the cluster

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "golden"
EXTRA = Path(__file__).parent / "extra"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", type=Path, default=None, help="folder of golden traces (default: ../shared/golden)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "trace_folder" in metafunc.fixturenames:
        given = metafunc.config.getoption("--golden", default=None)
        found = traces(given or SHARED)
        golden = [pytest.param(folder, id=folder.name) for folder in found]
        golden = golden or [pytest.param(given or SHARED, id="no-golden-traces")]
        extra = [pytest.param(folder, id=f"extra/{folder.name}", marks=pytest.mark.sweep) for folder in traces(EXTRA)]
        metafunc.parametrize("trace_folder", [*golden, *extra])


def traces(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/trace.json"))


@pytest.fixture
def folder(trace_folder: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with a trace in it."""
    if not (trace_folder / "trace.json").exists():
        asked_for = request.config.getoption("--golden", default=None) is not None
        message = f"no golden traces in {os.path.relpath(trace_folder, ROOT)}: expected folders with a trace.json"
        if asked_for or "CI" in os.environ:
            pytest.fail(message)
        pytest.skip(message)
    return trace_folder
