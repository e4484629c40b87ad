"""What is decided in every situation stays as it is recorded. A change here has to be meant: write the stories anew
(`python -m tests.core.stories`) and read the difference.
"""

from __future__ import annotations

import pytest

from tests.core.stories import TOLD, recorded, story


@pytest.mark.parametrize(
    ("policy", "situation"), [(policy, situation) for policy, situations in TOLD.items() for situation in situations]
)
def test_a_policy_fares_in_a_situation_as_recorded(policy, situation):
    assert list(story(policy, situation)) == recorded(policy, situation)
