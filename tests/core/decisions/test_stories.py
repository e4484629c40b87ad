"""What is decided in every situation stays as it is recorded. A change here has to be meant: write the stories anew
(`python -m tests.core.stories`) and read the difference.
"""

from __future__ import annotations

import pytest

from tests.core.stories import TOLD, recorded, story


@pytest.mark.parametrize(("name", "title"), TOLD)
def test_what_happens_is_what_is_recorded(name, title):
    assert list(story(name, title)) == recorded(name, title)
