"""Debian's Chromium, driven by Playwright: light and dark, at a desk and on a phone.

Where Chromium or Playwright is missing, the tests are skipped; in CI (env CI is set) that is a failure. SCREENSHOTS
names a folder for pictures of the pages; without it they go to the test's temporary folder.
"""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from canarycore_runtime.page.server import serve_page
from tests.adapters.page.samples import Gate, Person, Source

CHROMIUM = "chromium"
SIZES = {"desk": (1280, 900), "phone": (360, 740)}
SECRET = "sesame"


def pytest_collection_modifyitems(items):
    own = {path for path in {item.path for item in items} if path.is_relative_to(Path(__file__).parent)}
    for item in items:
        if item.path in own:
            item.add_marker(pytest.mark.browser)


@pytest.fixture
async def chromium():
    program = shutil.which(CHROMIUM)
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        async_playwright = None
    if program is None or async_playwright is None:
        missing = "the program chromium" if program is None else "the distribution playwright"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{missing} is missing")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


class Tab:
    """A tab on the page of a source, and everything that a page should not do."""

    def __init__(self, page, address, pictures):
        self.page, self.address, self.pictures = page, address, pictures
        self.errors, self.foreign, self.dialogs = [], [], []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._note_request)
        page.on("dialog", self._accept)

    def _note_request(self, request):
        if not request.url.startswith(self.address):
            self.foreign.append(request.url)

    async def _accept(self, dialog):
        self.dialogs.append(dialog.message)
        await dialog.accept()

    async def open(self, path="/"):
        await self.page.goto(self.address + path)

    async def sign_in(self):
        await self.open(f"/sign-in#key={SECRET}")
        await self.page.get_by_text("jane").wait_for()

    async def picture(self, name):
        self.pictures.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=self.pictures / f"{name}.png", full_page=True)

    async def press_until(self, selector, key="Tab", most=60):
        """Press a key until the element of a selector has the focus."""
        for _ in range(most):
            if await self.page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
                return
            await self.page.keyboard.press(key)
        focused = await self.page.evaluate("document.activeElement.outerHTML")
        raise AssertionError(f"{selector} is not reached by {key}; the focus is on {focused}")


@pytest.fixture
def pictures(tmp_path):
    folder = os.environ.get("SCREENSHOTS")
    return Path(folder) if folder else tmp_path


@pytest.fixture
def person():
    return Person()


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def open_tab(chromium, pictures):
    """Open a tab on a page: `open_tab(address, size="phone", scheme="dark")`."""

    @asynccontextmanager
    async def opened(address, *, size="desk", scheme="light"):
        width, height = SIZES[size]
        context = await chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        tab = Tab(await context.new_page(), address, pictures)
        yield tab
        await context.close()
        assert tab.errors == []
        assert tab.foreign == []

    return opened


@pytest.fixture
def served(source, person):
    """Serve the page of the source, and yield its address."""

    @asynccontextmanager
    async def serving():
        async with serve_page(source, Gate(person, SECRET), host="127.0.0.1", port=0) as port:
            yield f"http://127.0.0.1:{port}"

    return serving
