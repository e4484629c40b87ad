"""A Git server on a loopback address, and the repositories that it serves.

    with git_server(folder) as server:
        repository = server.repository("shop")
        repository.commit("Release v2", deployment={"apiVersion": "apps/v1", …})
        f"{server.url}/shop"                     its address for Flux

Git itself answers the requests: `git http-backend` behind a small server of CGI.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aiohttp import web
from attrs import define

from canarycore_planes.background import in_background
from canarycore_planes.control_plane.api import Json
from tests.servers import serving

BRANCH = "main"

_SETTINGS = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{role}_NAME": "tests" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "tests@example.com" for role in ("AUTHOR", "COMMITTER")},
}


@define
class Repository:
    """A repository with a file for each object, or a few that belong together."""

    folder: Path

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self._git("init", f"--initial-branch={BRANCH}")

    def commit(self, subject: str, **files: Json | list[Json] | None) -> str:
        """Commit these files, and return the id of the commit. None deletes a file."""
        for name, content in files.items():
            path = self.folder / f"{name}.yaml"
            if content is None:
                path.unlink()
                continue
            bodies = content if isinstance(content, list) else [content]
            path.write_text("\n---\n".join(json.dumps(body, indent=2) for body in bodies))
        self._git("add", "--all")
        self._git("commit", f"--message={subject}")
        return self._git("rev-parse", "HEAD")

    def revert(self) -> str:
        """Revert the last commit, and return the id of the new one."""
        self._git("revert", "--no-edit", "HEAD")
        return self._git("rev-parse", "HEAD")

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.folder), *arguments]
        process = subprocess.run(command, env=os.environ | _SETTINGS, capture_output=True, text=True, check=True)
        return process.stdout.strip()


@define
class GitServer:
    """The server of all repositories in a folder."""

    folder: Path
    url: str = ""
    """Its address."""

    def repository(self, name: str) -> Repository:
        """Return a new repository."""
        return Repository(self.folder / name)

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        server = web.Application()
        server.router.add_route("*", "/{path:.*}", self._answer)
        async with serving(server) as self.url:
            yield

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        variables = {
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=os.environ | _SETTINGS | variables,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate(body)
        head, _, content = output.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode("latin-1").splitlines())
        status = int(headers.pop("Status", "200").partition(" ")[0])
        return web.Response(status=status, headers=headers, body=content)


@contextmanager
def git_server(folder: Path) -> Iterator[GitServer]:
    """Serve the repositories from a thread of its own."""
    server = GitServer(folder)
    with in_background(server._serve):
        yield server
