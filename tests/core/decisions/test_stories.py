"""The core decides in every situation as recorded.

After an intended change, write the stories anew (`python -m tests.core.stories`) and read the difference.
"""

from __future__ import annotations

import pytest

from tests.core.stories import STORY_MAKERS, read_recorded, story


@pytest.mark.parametrize(("name", "title"), STORY_MAKERS)
def test_each_story_goes_as_recorded(name, title):
    assert list(story(name, title)) == read_recorded(name, title)
