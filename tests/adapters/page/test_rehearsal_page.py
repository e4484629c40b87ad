"""The page of a rehearsal, without its processes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from canarycore import Command, CommandKind, Rung
from canarycore_cli.rehearsal.page import MOST_EVENTS, RehearsalPage
from canarycore_runtime import StoredRollout
from tests.adapters.page.samples import PROGRESSING, rollout

KEY = "shop/podinfo"


class Store:
    def __init__(self):
        self.status, self.command = PROGRESSING, None

    async def load(self, key):
        assert key == KEY
        return StoredRollout(rollout=rollout(), status=self.status, version="1", command=self.command, deleted=False)

    async def send_command(self, key, kind):
        assert key == KEY
        self.command = Command(id="1", kind=kind)


@pytest.fixture
def page():
    tally = SimpleNamespace(requests=1200, success_rate=99.5, quantile=lambda _: 0.042)
    total = SimpleNamespace(revisions=lambda: {"aaa": tally})
    page = RehearsalPage()
    page.rehearsal = SimpleNamespace(
        key=KEY,
        store=Store(),
        address="http://127.0.0.1:1",
        script=SimpleNamespace(versions=[SimpleNamespace(revision="aaa", label="v1")]),
        generator=SimpleNamespace(total=total),
    )
    return page


def report(status):
    return SimpleNamespace(key=KEY, result=SimpleNamespace(decision=SimpleNamespace(status=status)))


async def test_it_shows_weights_events_and_the_requests_to_each_version(page):
    forwarded = []
    observe = page.observe(forwarded.append)
    for weight in (20, 30):
        observe(report(PROGRESSING.but(rung=Rung(weight=weight), analysis=None)))
    page({"kind": "event", "type": "Warning", "text": "halted", "seconds": 1.0})
    page({"kind": "weight", "weight": 20, "seconds": 1.0})
    details = await page.read_details(KEY, None)
    assert [point.weight for point in details.row.weights] == [20, 30]
    assert [(event.text, event.is_warning) for event in details.events] == [("halted", True)]
    assert dict(details.facts)["Requests to v1"] == "1,200, 99.50% successful, P99 42 ms"
    assert len(forwarded) == 2
    assert await page.read_details("shop/other", None) is None


async def test_a_command_goes_through_the_store(page):
    assert await page.may_command(KEY)
    await page.send_command("shop/other", CommandKind.ABORT)
    await page.send_command(KEY, CommandKind.PAUSE)
    assert (await page.read_details(KEY, page)).pending == "pause"


async def test_events_are_bounded(page):
    for number in range(2 * MOST_EVENTS):
        page({"kind": "event", "type": "Normal", "text": str(number)})
    details = await page.read_details(KEY, None)
    assert (len(details.events), details.events[0].text) == (MOST_EVENTS, str(2 * MOST_EVENTS - 1))


async def test_a_rehearsal_that_is_not_open_yet_has_no_rollout():
    page = RehearsalPage()
    assert await page.read_rows() == []
    assert not await page.may_command(KEY)
