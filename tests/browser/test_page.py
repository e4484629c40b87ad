"""The web page in a real browser."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from canarycore import Rung
from canarycore.results import RolloutEnd
from canarycore_kubernetes.api.kinds import CANARY, KINDS
from canarycore_planes.control_plane.api import Api
from tests.adapters.page.samples import FAILED, HOSTILE, NOW, PROGRESSING, SUCCEEDED, analysis
from tests.cluster.controller.test_controller import canary, target
from tests.controlplane.in_memory.server import faked

MANIFEST = Path(__file__).parents[2] / "examples" / "manifests" / "flagger-appmesh-guide" / "canary.yaml"
ROLLOUT = "/canary/shop/podinfo"

CONTRASTS = """
() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const linear = (v) => (v <= 10 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map(linear);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const ink = parse(element.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(element))].sort((p, q) => q - p);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName} ${element.className} ${ratio.toFixed(2)}`);
  }
  return poor;
}
"""
"""The texts whose contrast with what is behind them is below 4.5 to 1."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desk", "phone"])
async def test_each_page_is_legible_and_fits(served, open_tab, size, scheme):
    async with served() as address, open_tab(address, size=size, scheme=scheme) as tab:
        for name, path in (
            ("sign-in", "/sign-in"),
            ("list", "/"),
            ("rollout", ROLLOUT),
            ("failed", "/canary/shop/pay"),
        ):
            if name == "list":
                await tab.sign_in()
            await tab.open(path)
            await tab.picture(f"{name}-{size}-{scheme}")
            assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            assert await tab.page.evaluate(CONTRASTS) == [], name
        background = await tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (min(map(int, re.findall(r"\d+", background))) > 128) is (scheme == "light")


async def test_the_keyboard_alone_reaches_a_rollout_and_promotes_it(served, open_tab, person):
    async with served() as address, open_tab(address) as tab:
        await tab.sign_in()
        await tab.open()
        await tab.page.keyboard.press("Tab")
        assert await tab.page.evaluate("document.activeElement.textContent") == "Skip to content"
        await tab.page.keyboard.press("Enter")
        await tab.press_until("#to-shop-podinfo")
        outline = await tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "the focus is visible"
        await tab.page.keyboard.press("Enter")
        await tab.page.wait_for_url("**/canary/shop/podinfo")
        await tab.press_until("#do-promote")
        await tab.page.keyboard.press("Enter")
        await until(lambda: person.sent)
        assert tab.dialogs == ["Promote the new version now?"]
        assert person.sent == [("shop/podinfo", "promote")]


@pytest.mark.parametrize("kind", ["Promote", "Abort", "Pause"])
async def test_a_viewer_sends_a_command(served, open_tab, person, kind):
    async with served() as address, open_tab(address, size="phone") as tab:
        await tab.sign_in()
        await tab.open(ROLLOUT)
        await tab.page.get_by_role("button", name=kind).click()
        await until(lambda: person.sent)
        assert person.sent == [("shop/podinfo", kind.lower())]
        await tab.page.wait_for_url("**/canary/shop/podinfo")


async def test_a_visitor_reads_and_has_no_buttons(served, open_tab):
    async with served() as address, open_tab(address) as tab:
        await tab.open(ROLLOUT)
        assert await tab.page.get_by_text("Sign in to send commands.").is_visible()
        assert await tab.page.get_by_role("button").count() == 0
        assert await tab.page.get_by_role("heading", name="shop/podinfo").is_visible()
        assert await tab.page.get_by_role("img").is_visible()


async def test_a_refused_command_says_why(served, open_tab, person):
    person.refusal = "403 jane cannot patch canaries"
    async with served() as address, open_tab(address) as tab:
        await tab.sign_in()
        await tab.open(ROLLOUT)
        await tab.page.get_by_role("button", name="Pause").click()
        await tab.page.get_by_role("alert").filter(has_text="jane cannot patch canaries").wait_for()
        tab.errors.clear()  # the browser reports the status 403


async def test_a_change_appears_without_a_reload_and_keeps_the_focus_and_what_is_open(served, open_tab, source):
    async with served() as address, open_tab(address) as tab:
        await tab.sign_in()
        await tab.open(ROLLOUT)
        await tab.page.get_by_text("Weights as a table").click()
        await tab.page.locator("#do-abort").focus()
        source.statuses["shop/podinfo"] = PROGRESSING.but(rung=Rung(weight=40), failed_checks=2)
        source.weights = (*source.weights, type(source.weights[0])(NOW - 5, 40))
        await tab.page.get_by_text("weight 40, 2 of 5 checks failed").wait_for(timeout=10_000)
        assert await tab.page.evaluate("document.activeElement.id") == "do-abort"
        assert await tab.page.get_by_role("cell", name="40%").is_visible()


async def test_a_server_that_is_gone_is_reported(served, open_tab):
    async with open_tab("http://127.0.0.1") as tab:
        async with served() as address:
            tab.address = address
            await tab.open()
            assert not await tab.page.locator("#stale").is_visible()
        await tab.page.locator("#stale").wait_for(timeout=10_000)
        tab.errors.clear()  # the browser reports the refused connection


async def test_a_thousand_canaries_are_usable(served, open_tab, source):
    states = (SUCCEEDED, SUCCEEDED, SUCCEEDED, PROGRESSING, FAILED)
    source.statuses = {f"shop/app-{number:04}": states[number % 5] for number in range(1000)}
    async with served() as address, open_tab(address) as tab:
        begun = asyncio.get_running_loop().time()
        await tab.open()
        assert asyncio.get_running_loop().time() - begun < 5
        await tab.picture("thousand")
        assert await tab.page.locator("#rollouts > li").count() == 50
        await tab.press_until("#page-next", most=70)
        await tab.page.keyboard.press("Enter")
        await tab.page.get_by_text("Page 2 of 20").wait_for()
        await tab.page.get_by_label("Name").fill("app-0042")
        await tab.page.keyboard.press("Enter")
        await tab.page.get_by_role("link", name="shop/app-0042").click()
        await tab.page.get_by_role("heading", name="shop/app-0042").wait_for()


async def test_hostile_texts_run_nothing(served, open_tab, source):
    end = RolloutEnd(NOW, FAILED.phase, FAILED.reason, HOSTILE, HOSTILE, analysis(HOSTILE, error=HOSTILE))
    source.statuses["shop/podinfo"] = FAILED.but(end=end, applied=HOSTILE, analysis=analysis(HOSTILE, error=HOSTILE))
    source.broken = {"shop/broken": HOSTILE}
    async with served() as address, open_tab(address) as tab:
        for path in ("/", ROLLOUT, "/?q=" + "%3Cscript%3Ealert(1)%3C/script%3E"):
            await tab.open(path)
            await tab.page.wait_for_timeout(300)
        assert tab.dialogs == []


@pytest.mark.parametrize("path", ["/", ROLLOUT, "/sign-in"])
async def test_every_control_has_a_name(served, open_tab, path):
    async with served() as address, open_tab(address) as tab:
        await tab.sign_in()
        await tab.open(path)
        for role in ("button", "link", "textbox", "searchbox", "combobox", "region", "img", "heading"):
            controls = tab.page.get_by_role(role)
            named = tab.page.get_by_role(role, name=re.compile(r"\S"))
            assert await controls.count() == await named.count(), role
        assert await tab.page.get_by_role("heading", level=1).count() == 1
        assert await tab.page.evaluate("document.documentElement.lang") == "en"


async def test_the_command_serves_the_page_of_a_cluster(open_tab, tmp_path):
    with faked(KINDS, bookmark=0.5) as server:
        api = Api(server.access)
        for body in (target("shop"), canary("shop")):
            api.create(body, "shop")
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(str(server.access.kubeconfig).replace("'", '"'))
        arguments = ("ui", "-n", "shop", "--kubeconfig", str(kubeconfig), "--provider", "kubernetes")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "canarycore_cli", *arguments, stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        address = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
        async with open_tab(address.partition("/sign-in")[0]) as tab:
            await tab.page.goto(address)
            await tab.page.get_by_role("button", name="Sign out").wait_for()
            assert "key" not in tab.page.url
            await tab.page.get_by_role("link", name="shop/podinfo").click()
            status = {"phase": "Progressing", "canaryWeight": 20, "failedChecks": 0, "iterations": 0,
                      "lastAppliedSpec": "abc"}  # fmt: skip
            api.patch(f"{CANARY.path('shop', 'podinfo')}/status", {"status": status})
            await tab.page.get_by_role("button", name="Pause").click(timeout=10_000)
            await tab.page.get_by_text("The command pause waits for the controller.").wait_for(timeout=10_000)
            await tab.picture("cluster")
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 15) == 0


async def test_a_rehearsal_is_shown_live_and_aborted(open_tab, tmp_path):
    arguments = ("rehearse", str(MANIFEST), "--page", "--json", "--speed", "10", "--state-dir", str(tmp_path / "state"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "canarycore_cli", *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        address = await asyncio.wait_for(page_of(process.stdout), 60)
        draining = asyncio.create_task(process.stdout.read())
        async with open_tab(address.partition("/sign-in")[0]) as tab:
            await tab.page.goto(address)
            await tab.page.get_by_role("button", name="Sign out").wait_for()
            await tab.page.locator("#rollouts a").click(timeout=30_000)
            await tab.page.get_by_text(re.compile(r"Progressing, weight [1-9]")).first.wait_for(timeout=90_000)
            await tab.page.locator("#analysis tbody tr").first.wait_for(timeout=30_000)
            await tab.picture("rehearsal")
            await tab.page.get_by_role("button", name="Abort").click()
            assert await asyncio.wait_for(process.wait(), 60) == 3, "rolled back"
            await draining
            tab.errors.clear()  # the page ends with the rehearsal
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def page_of(lines):
    async for line in lines:
        text = json.loads(line).get("text", "")
        if text.startswith("page: "):
            return text.removeprefix("page: ")
    raise AssertionError("the rehearsal has no page")


async def until(look, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not look():  # noqa: ASYNC110 - the browser is another process
            await asyncio.sleep(0.05)
