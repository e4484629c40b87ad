"""A browser's part without a browser: cookies, the token of the last page, the origin of a form."""

from __future__ import annotations

import re


class Browser:
    """`session`: its cookie jar accepts addresses. `port`: where the page is."""

    def __init__(self, session, port):
        self.session, self.address = session, f"http://127.0.0.1:{port}"
        self.token = ""

    async def get(self, path, **headers):
        async with self.session.get(self.address + path, headers=headers, allow_redirects=False) as answer:
            text = await answer.text()
            token = re.search('name="token" value="([0-9a-f]+)"', text)
            self.token = token[1] if token else self.token
            return answer, text

    async def post(self, path, fields=None, *, origin=None, token=None, **headers):
        headers = {"Origin": self.address if origin is None else origin} | headers
        data = {"token": self.token if token is None else token} | (fields or {})
        async with self.session.post(self.address + path, data=data, headers=headers, allow_redirects=False) as answer:
            return answer, await answer.text()

    async def sign_in(self, secret="sesame"):
        await self.get("/sign-in")
        answer, text = await self.post("/sign-in", {"secret": secret})
        await self.get("/sign-in")
        return answer, text
