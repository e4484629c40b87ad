"""The rows of docs/differences.md and the rules that stand for them are the same, and each rule means something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance.conftest import EXTRA, ROOT, traces
from tests.conformance.drivers.simulated import WorldDriver
from tests.conformance.rows.table import DROPPING, REFUSALS, ROWS
from tests.conformance.story import Acted, Stand, Story, Told, differences, is_polling
from tests.conformance.trace import read
from tests.conformance.verdict import as_flagger, judge

TABLE = re.compile(r"^\| (D\d+) \|(.*)\|$", re.MULTILINE)
RULED = {name for name, _ in (*DROPPING, *ROWS)} | set(REFUSALS.values())

REWRITING = ["D01", "D02", "D04", "D06", "D14", "D15", "D16", "D22", "D24", "D25"]
"""Rows that rewrite what was recorded, and hold for the whole of a trace."""


@pytest.fixture(scope="module")
def rows() -> dict[str, list[str]]:
    """The cells of each row of the document, by its id."""
    text = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
    return {name: [cell.strip() for cell in cells.split(" | ")] for name, cells in TABLE.findall(text)}


@pytest.fixture(scope="module")
def users() -> dict[str, set[str]]:
    """Which of our own traces use a row."""
    found: dict[str, set[str]] = {}
    for folder in traces(EXTRA):
        for name in judge(folder, WorldDriver).used:
            found.setdefault(name, set()).add(folder.name)
    return found


def test_every_rule_has_its_row(rows: dict[str, list[str]]):
    assert set(rows) >= RULED


def test_every_row_has_a_rule_or_says_who_holds_it(rows: dict[str, list[str]]):
    for name, (*_, held_by) in rows.items():
        if name in RULED:
            assert held_by == "rows", name
        else:
            paths = re.findall(r"`([^`]+)`", held_by)
            assert held_by.startswith("later: ") or (paths and all((ROOT / path).exists() for path in paths)), (
                f"{name} is held by {held_by!r}: expected rows, a path in backquotes that exists, or later: who will"
            )


def test_every_rule_is_shown_by_a_trace_that_its_row_names(rows: dict[str, list[str]], users: dict[str, set[str]]):
    for name in sorted(RULED):
        shown_by = rows[name][2]
        assert users.get(name), f"no trace in extra/ uses {name}"
        assert any(user in shown_by for user in users[name]), (
            f"{name} is used by {users[name]}, its row names {shown_by}"
        )


@pytest.mark.parametrize("row", REWRITING)
def test_doing_as_flagger_did_is_a_failure_too(row: str, users: dict[str, set[str]]):
    """A row is a promise: where it applies, the recorded behaviour is wrong."""
    assert all(as_flagger(EXTRA / user) for user in users[row])


def test_whatever_is_left_out_is_noticed():
    """Each step of a story matters, but for one that only says once more that something is as it is."""
    verdict = judge(EXTRA / "stepweights-back-by-steps", WorldDriver)
    ticks = verdict.case.found.ticks
    unnoticed = [
        step
        for at, tick in enumerate(ticks)
        for place, step in enumerate(tick)
        if not isinstance(step, Acted)
        and not is_polling(step)
        and not differences(
            verdict.case.expected, Story((*ticks[:at], (*tick[:place], *tick[place + 1 :]), *ticks[at + 1 :]))
        )
    ]
    repeats = [step for step in unnoticed if isinstance(step, Stand)]
    assert unnoticed == repeats  # a status that is written again unchanged


def test_another_order_is_noticed():
    story = read(EXTRA / "mirror-rollback").recorded
    events = [step for step in story.steps if isinstance(step, Told) and not is_polling(step)]
    swapped = [*events[:2], events[3], events[2], *events[4:]]

    assert differences(Story((tuple(events),)), Story((tuple(swapped),)))


def test_the_name_of_a_scenario_means_nothing(tmp_path: Path):
    folder = EXTRA / "mirror-rollback"
    text = (folder / "trace.json").read_text(encoding="utf-8")
    (tmp_path / "trace.json").write_text(text.replace(folder.name, "renamed"), encoding="utf-8")

    assert judge(tmp_path, WorldDriver).used == judge(folder, WorldDriver).used
