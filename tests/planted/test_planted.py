"""Every planted defect makes a test fail; the list itself stays true."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.planted.planted import DEFECTS, ROOT, changed, plant

NAMES = [defect.name for defect in DEFECTS]


def test_there_are_many_and_each_has_its_own_name():
    assert len(DEFECTS) >= 25
    assert [name for name, count in Counter(NAMES).items() if count > 1] == []


@pytest.mark.parametrize("defect", DEFECTS, ids=NAMES)
def test_its_place_is_still_there(defect):
    text = (ROOT / defect.file).read_text(encoding="utf-8")
    assert changed(text, defect) != text
    assert (ROOT / defect.caught_by).exists()


@pytest.mark.planted
@pytest.mark.timeout(900)
def test_without_a_defect_no_test_fails():
    assert not plant(None).caught


@pytest.mark.planted
@pytest.mark.timeout(900)
@pytest.mark.parametrize("defect", DEFECTS, ids=NAMES)
def test_a_planted_defect_makes_a_test_fail(defect):
    assert plant(defect).caught
