"""Here the only server there is is a provider."""

import pytest


@pytest.fixture
def server(scripted):
    return scripted
