"""Every planted defect makes its test fail; the list itself stays true."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.planted.defects import DEFECTS
from tests.planted.planted import ADAPTERS, ROOT, changed, copied, failure_without_any

NAMES = [defect.name for defect in DEFECTS]
OF_FLAGGER = set("abcdefghijklmnop")


@pytest.fixture(scope="module")
def copy():
    with copied() as copy:
        yield copy


def test_there_are_many_and_each_has_its_own_name():
    assert len(DEFECTS) >= 80
    assert [name for name, count in Counter(NAMES).items() if count > 1] == []


def test_each_defect_of_flagger_is_planted():
    assert {name.removeprefix("flagger ")[0] for name in NAMES if name.startswith("flagger ")} == OF_FLAGGER


def test_the_core_and_every_adapter_but_the_command_has_some():
    sources = {defect.file.split("/")[1] for defect in DEFECTS if defect.file.startswith("adapters/")}
    assert sources == set(ADAPTERS) - {"cli"}


@pytest.mark.parametrize("defect", DEFECTS, ids=NAMES)
def test_its_place_and_its_test_are_still_there(defect):
    text = (ROOT / defect.file).read_text(encoding="utf-8")
    assert changed(text, defect) != text
    file, *_, test = defect.caught_by.split("::")
    assert (ROOT / file).exists()
    assert test.startswith("test_")


@pytest.mark.planted
@pytest.mark.timeout(900)
def test_without_a_defect_no_test_fails(copy):
    assert failure_without_any(copy) == ""


@pytest.mark.planted
@pytest.mark.timeout(900)
@pytest.mark.parametrize("defect", DEFECTS, ids=NAMES)
def test_a_planted_defect_makes_its_test_fail(copy, defect):
    assert copy.plant(defect).caught
