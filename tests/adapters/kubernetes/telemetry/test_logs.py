"""The log of a controller: its keys, levels and colours; and no text imitates a line or controls a terminal."""

from __future__ import annotations

import io
import json
import logging
import re
from datetime import datetime
from types import SimpleNamespace

import pytest
import structlog

from canarycore import Phase, Rollout, Status, TargetRef
from canarycore.errors import WorldError
from canarycore.notices import Notice, NoticeKind
from canarycore_kubernetes.telemetry import logs
from canarycore_runtime import AdapterFault, CycleReport

FORGED = "x\x1b[2J\nfake line\u202e"
SAFE = r"x\x1b[2J\nfake line\u202e"


@pytest.fixture
def configured():
    """Return a function that sets up logging and returns a function for the lines that it writes."""
    root, level = logging.getLogger(), logging.getLogger().level
    handlers, before = root.handlers[:], structlog.get_config()

    def set_up(*options):
        logs.set_up(*options)
        written = io.StringIO()
        root.handlers[0].setStream(written)
        return lambda: written.getvalue().splitlines()

    yield set_up
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


@pytest.fixture(params=["json", "console"])
def lines(request, configured):
    """Return the lines that logging writes, by encoding."""
    return configured("info", request.param)


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


# ---------------------------------------------------------------------------------------------------- keys and colours


def test_a_line_has_flaggers_keys(configured):
    lines = configured("info", "json", "flagger")
    structlog.get_logger("canarycore.test").warning("Halt podinfo.shop advancement", canary="shop/podinfo", weight=5)
    logging.getLogger("canarycore.test").info("started")
    first, second = map(json.loads, lines())
    assert list(first) == ["level", "ts", "logger", "caller", "msg", "canary", "weight"]
    assert (first["level"], first["msg"], first["canary"]) == ("warn", "Halt podinfo.shop advancement", "podinfo.shop")
    assert datetime.strptime(first["ts"], "%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: DTZ007 - the zone is the letter
    assert re.fullmatch(r"telemetry/test_logs\.py:\d+", first["caller"])
    assert list(second) == ["level", "ts", "logger", "caller", "msg"]


def test_a_traceback_is_flaggers_stacktrace(configured):
    lines = configured("info", "json", "flagger")
    try:
        fail()
    except ValueError:
        logging.getLogger("canarycore.test").exception("broken")
    (line,) = map(json.loads, lines())
    assert (line["level"], line["msg"], "Traceback" in line["stacktrace"]) == ("error", "broken", True)


@pytest.mark.parametrize(
    ("is_terminal", "no_color", "has_colour"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_only_a_terminal_without_no_color_gets_colours(configured, monkeypatch, is_terminal, no_color, has_colour):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stderr", Screen(is_terminal=is_terminal))
    lines = configured("info", "console")
    structlog.get_logger("canarycore.test").info("started", canary="shop/podinfo")
    assert ("\x1b[" in lines()[0]) is has_colour


class Screen(io.StringIO):
    """A stream that is a terminal or a file."""

    def __init__(self, *, is_terminal):
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal


# ------------------------------------------------------------------------------------------------- rollouts in the log


@pytest.fixture
def written(configured):
    """Return a function that logs reports and returns the pairs of level and text."""
    lines = configured("info", "json")

    def write(*reports):
        log = logs.CycleLog()
        for one in reports:
            log.write(one)
        return [(line["level"], line["event"]) for line in map(json.loads, lines())]

    return write


def cycle(status, *, before=None, notices=(), rule="ADVANCED"):
    """Return the report of a cycle."""
    explanation = SimpleNamespace(rule=SimpleNamespace(name=rule))
    decision = SimpleNamespace(status=status, notices=notices, explanation=explanation)
    result = SimpleNamespace(decision=decision, errors=(), effects=())
    return CycleReport("shop/podinfo", SimpleNamespace(status=before or status), result, 0.0)


def notice(kind, *args):
    return Notice(kind, kind.name, Phase.PROGRESSING, Rollout(**ROLLOUT).names, args)


ROLLOUT = {"name": "podinfo", "namespace": "shop", "target": TargetRef(name="podinfo"), "skip_analysis": True}
BEFORE, AFTER = Status(phase=Phase.PROGRESSING, since=0.0), Status(phase=Phase.PROGRESSING, since=0.0, failed_checks=1)


def test_the_text_of_an_event_is_in_the_log(written):
    assert written(cycle(AFTER, before=BEFORE, notices=(notice(NoticeKind.ADVANCED_WEIGHT, "10"),))) == [
        ("info", "Advance podinfo.shop canary weight 10"),
        ("info", "decision"),
    ]


@pytest.mark.parametrize("kind", [NoticeKind.CHECK_FAILED, NoticeKind.ROLLING_BACK_CHECKS, NoticeKind.ABORTED])
def test_halts_and_rollbacks_are_warnings(written, kind):
    event = notice(kind, "Halt podinfo.shop advancement success rate 90.00% < 99%")
    assert written(cycle(AFTER, before=BEFORE, notices=(event,))) == [("warning", event.text), ("warning", "decision")]


def test_an_event_that_repeats_without_a_change_is_logged_once(written):
    closed = notice(NoticeKind.GATE_ROLLOUT_CLOSED, "gate")
    waits = [cycle(BEFORE, notices=(closed,)), cycle(BEFORE), cycle(BEFORE, notices=(closed,))]
    assert written(*waits) == [("warning", closed.text)]
    again = [cycle(AFTER, before=BEFORE, notices=(closed,)), cycle(AFTER, notices=(closed,))]
    assert [text for _, text in written(*again)].count(closed.text) == 3


def test_an_alert_is_no_line(written):
    assert written(cycle(BEFORE, notices=(notice(NoticeKind.GATE_ROLLOUT_ALERT),))) == []
