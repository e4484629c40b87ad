"""No text in the log controls a terminal or imitates a line of its own."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from canarycore.errors import WorldError
from canarycore_kubernetes.telemetry import logs
from canarycore_runtime import AdapterFault

FORGED = "x\x1b[2J\nfake line\u202e"
SAFE = r"x\x1b[2J\nfake line\u202e"


@pytest.fixture(params=["json", "console"])
def lines(request):
    """Return the lines that logging writes, by encoding."""
    root, level = logging.getLogger(), logging.getLogger().level
    handlers, configured = root.handlers[:], structlog.get_config()
    logs.set_up("info", request.param)
    written = io.StringIO()
    root.handlers[0].setStream(written)
    yield lambda: written.getvalue().splitlines()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configured)


def test_text_from_outside_is_on_the_line_that_tells_it(lines):
    structlog.get_logger("canarycore.test").warning("trouble", error=FORGED, effects=[FORGED], number=7)
    logging.getLogger("canarycore.test").warning("%s cannot be read", FORGED)
    found = lines()
    assert len(found) == 2
    assert all(SAFE in line.replace("\\\\", "\\") for line in found)
    assert not any("[2J" in line and "\x1b[2J" in line for line in found)


def test_a_long_text_is_shortened(lines):
    structlog.get_logger("canarycore.test").warning("trouble", error="x" * 1_000_000)
    assert len("".join(lines())) < 2 * logs.LONGEST_VALUE


def test_a_trouble_of_the_cluster_is_left_to_the_log_of_cycles_but_not_a_fault_of_an_adapter(lines):
    rollouts = logging.getLogger("canarycore.runner.rollouts")
    for error in (WorldError("status 500"), AdapterFault("a TypeError")):
        rollouts.warning("default/podinfo: %s", error, exc_info=error)
    text = "\n".join(lines())
    assert "a TypeError" in text
    assert "status 500" not in text


def fail():
    raise ValueError(FORGED)


def test_a_traceback_keeps_its_lines_and_no_line_of_it_looks_like_another(lines):
    try:
        fail()
    except ValueError:
        logging.getLogger("canarycore.test").exception("broken")
    text = "\n".join(json.loads(line)["exception"] if line.startswith("{") else line for line in lines())
    assert "Traceback" in text
    assert "    fake line" in text
    assert "\nfake line" not in text
    assert "\x1b[2J" not in text


def test_numbers_and_flags_stay_unchanged():
    event = logs.escape(None, "info", {"late": 0.5, "weight": 3, "adoptable": True, "nothing": None})
    assert event == {"late": 0.5, "weight": 3, "adoptable": True, "nothing": None}
