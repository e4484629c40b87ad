"""Secrets: read on demand, cached for a minute."""

import asyncio

import pytest

from canarycore.errors import Refused, WorldError
from canarycore_kubernetes.api.secrets import LARGEST_SECRET, SECRET_LIFETIME, Secrets
from tests.adapters.kubernetes.small_cluster import Objects, secret


@pytest.fixture
def objects():
    return Objects(secret("key", token="first"))


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def secrets(objects, now):
    return Secrets(objects, clock=lambda: now[0])


async def test_a_secret_is_read_once_a_minute_for_all_readers(objects, secrets, now):
    read = await asyncio.gather(*(secrets.read("default", "key") for _ in range(5)))
    now[0] = SECRET_LIFETIME - 1
    assert [*read, await secrets.read("default", "key")] == [{"token": "first"}] * 6
    assert len(objects.reads) == 1


@pytest.mark.parametrize("event", ["a minute passes", "it is forgotten"])
async def test_a_renewed_secret_is_seen_when(objects, secrets, now, event):
    await secrets.read("default", "key")
    objects.put(secret("key", token="second"))
    if event == "it is forgotten":
        secrets.forget("default", "key")
    else:
        now[0] = SECRET_LIFETIME + 1
    assert await secrets.read("default", "key") == {"token": "second"}


async def test_the_line_break_at_the_end_of_a_file_is_no_part_of_a_secret(objects, secrets):
    objects.put(secret("file", token="t0ken\n", password=" spaces "))
    assert await secrets.read("default", "file") == {"token": "t0ken", "password": " spaces "}


async def test_a_secret_without_data_is_empty(objects, secrets):
    objects.bodies["Secret", "default", "empty"] = {"metadata": {"name": "empty"}}
    assert await secrets.read("default", "empty") == {}


async def test_a_secret_that_is_not_there_is_refused_and_looked_for_again(objects, secrets):
    with pytest.raises(Refused, match='secrets "nobody" not found'):
        await secrets.read("default", "nobody")
    objects.put(secret("nobody", token="late"))
    assert await secrets.read("default", "nobody") == {"token": "late"}


async def test_a_server_that_is_away_is_no_final_answer(objects, secrets):
    objects.down = True
    with pytest.raises(WorldError) as caught:
        await secrets.read("default", "key")
    assert not isinstance(caught.value, Refused)


async def test_a_secret_that_is_too_large_is_refused_with_its_size_and_without_its_values(objects, secrets):
    objects.put(secret("large", **{f"key{number}": "hush" * 2 for number in range(LARGEST_SECRET // 16)}))
    with pytest.raises(Refused, match=r'secrets "large" has [\d,]+ characters, expected at most 65,536') as refused:
        await secrets.read("default", "large")
    assert "hush" not in str(refused.value)


async def test_unused_secrets_leave_the_cache(objects, secrets, now):
    for number in range(100):
        objects.put(secret(f"s{number}", token="t"))
        await secrets.read("default", f"s{number}")
        now[0] += SECRET_LIFETIME / 10
    assert len(secrets._cache) <= 12
