"""Tasks that other systems carry out: nGrinder and Concord. The load tester starts them and asks for their end."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
from attrs import field, frozen
from yarl import URL

from canarycore.errors import WorldError
from canarycore.manifest import parse_duration
from canarycore.text import escape_controls
from canarycore_runtime.http import SHORT_ANSWER_LIMIT, describe_answer, exchange, open_session

if TYPE_CHECKING:
    from pathlib import Path

REQUEST_TIMEOUT = 60.0
"""Seconds of a request to one of the systems."""

LONGEST_KEY = 4096
"""The longest API key, in bytes."""

_NGRINDER_FAILURES = {"STOP_BY_ERROR", "CANCELED", "UNKNOWN"}
_CONCORD_PROCESSES = "api/v1/process"
_LONGEST_ID = 100


class TaskFailed(WorldError):
    """The other system did not carry out the task; the message says why."""


@frozen(kw_only=True)
class NGrinder:
    """A performance test of nGrinder, cloned from another."""

    server: URL
    clone: int
    """The number of the test to clone."""
    username: str
    password: str = field(repr=False)
    poll_interval: float = 1.0
    """Seconds between two questions for the state."""

    @classmethod
    def parse(cls, metadata: Mapping[str, str]) -> NGrinder:
        """Parse the metadata of a webhook. Raise ValueError."""
        server, clone, username, password = (
            metadata.get(name, "") for name in ("server", "clone", "username", "passwd")
        )
        if not (server and clone and username and password):
            raise ValueError("server, clone, username and passwd are required metadata")
        try:
            number = int(clone)
        except ValueError:
            raise ValueError("metadata clone must be integer") from None
        try:
            decoded = base64.b64decode(password, validate=True).decode()
        except ValueError:
            raise ValueError("metadata password is invalid: expected base64") from None
        try:
            interval = max(parse_duration(metadata.get("pollInterval", "")), 0.1)
        except ValueError:
            interval = 1.0
        return cls(server=_address(server), clone=number, username=username, password=decoded, poll_interval=interval)

    @property
    def key(self) -> str:
        """The text that identifies the test."""
        return str(self.clone)

    async def run(self) -> str:
        """Run the test to its end. Raise TaskFailed. A cancellation stops the test."""
        async with open_session() as session:
            started = await self._ask(session, "POST", f"perftest/api/{self.clone}/clone_and_start")
            number = started.get("id")
            if not isinstance(number, int):
                raise TaskFailed("nGrinder: found no id in the answer, expected that of the test")
            try:
                await self._wait(session, number)
            except asyncio.CancelledError:
                await self._ask(session, "PUT", f"perftest/api/{number}?action=stop")
                raise
            return f"nGrinder finished the test {number}"

    async def _wait(self, session: aiohttp.ClientSession, number: int) -> None:
        while True:
            await asyncio.sleep(self.poll_interval)
            try:
                answer = await self._ask(session, "GET", f"perftest/api/{number}/status")
            except WorldError:
                continue  # as Flagger does: the time of the task ends this
            states = answer.get("status")
            state = (
                states[0].get("status_id")
                if isinstance(states, list) and states and isinstance(states[0], dict)
                else ""
            )
            if state == "FINISHED":
                return
            if state in _NGRINDER_FAILURES:
                raise TaskFailed(f"nGrinder: the test {number} ended as {state}")

    async def _ask(self, session: aiohttp.ClientSession, method: str, path: str) -> dict[str, Any]:
        credentials = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}"}
        answer = await _ask(session, method, self.server.join(URL(path)), (self.password,), headers=headers)
        if answer.get("success") is False:
            raise TaskFailed("nGrinder: the request failed")
        return answer


@frozen(kw_only=True)
class Concord:
    """A process of Concord."""

    server: URL
    fields: Mapping[str, str]
    """The fields of the form that starts the process."""
    api_key: str = field(repr=False)
    poll_interval: float = 5.0
    poll_timeout: float = 30.0
    """Seconds until the process must have ended."""

    @classmethod
    def parse(cls, metadata: Mapping[str, str], folder: Path | None) -> Concord:
        """Parse the metadata of a webhook. The file with the API key is in `folder`. Raise ValueError."""
        for name in ("server", "org", "project", "repo", "entrypoint", "apiKeyPath", "endpoint"):
            if name not in metadata:
                raise ValueError(f"`{name}` is required with type concord")
        if "arguments.endpoint" in metadata:
            raise ValueError("found arguments.endpoint, expected endpoint")
        return cls(
            server=_address(metadata["server"]),
            fields={
                **{name: metadata[name] for name in ("org", "project", "repo")},
                "entryPoint": metadata["entrypoint"],
                "arguments.endpoint": metadata["endpoint"],
                **{name: value for name, value in metadata.items() if name.startswith("arguments.")},
            },
            api_key=_read_key(metadata["apiKeyPath"], folder),
            poll_interval=_seconds(metadata, "pollInterval", 5),
            poll_timeout=_seconds(metadata, "pollTimeout", 30),
        )

    async def run(self) -> str:
        """Run the process to its end. Raise TaskFailed."""
        async with open_session() as session:
            try:
                async with asyncio.timeout(self.poll_timeout + REQUEST_TIMEOUT):
                    return await self._run(session)
            except TimeoutError:
                raise TaskFailed(f"concord process timed out, after {self.poll_timeout:.0f} seconds") from None

    async def _run(self, session: aiohttp.ClientSession) -> str:
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in self.fields.items():
            form.add_field(name, value)
        started = await self._ask(session, "POST", _CONCORD_PROCESSES, data=form)
        process = started.get("instanceId")
        if not isinstance(process, str) or not process.replace("-", "").isalnum() or len(process) > _LONGEST_ID:
            raise TaskFailed("Concord: found no instanceId in the answer, expected that of the process")
        async with asyncio.timeout(self.poll_timeout):
            while True:
                await asyncio.sleep(self.poll_interval)
                status = (await self._ask(session, "GET", f"{_CONCORD_PROCESSES}/{process}")).get("status")
                if status == "FINISHED":
                    return f"Concord finished the process {process}"
                if status == "FAILED":
                    raise TaskFailed(f"concord instanceID: {process} failed")

    async def _ask(self, session: aiohttp.ClientSession, method: str, path: str, **request: Any) -> dict[str, Any]:
        headers = {"Authorization": self.api_key} if self.api_key else {}
        return await _ask(
            session, method, self.server.join(URL(f"/{path}")), (self.api_key,), headers=headers, **request
        )


async def _ask(
    session: aiohttp.ClientSession, method: str, url: URL, secrets: tuple[str, ...], **request: Any
) -> dict[str, Any]:
    """Send a request, and return the JSON object of its answer. Raise ExchangeError or TaskFailed."""
    answer = await exchange(session, method, url, limit=SHORT_ANSWER_LIMIT, timeout=REQUEST_TIMEOUT, **request)
    try:
        data = json.loads(answer.text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise TaskFailed(f"expected a JSON object, {describe_answer(answer, secrets)}")
    return data


def _address(text: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"invalid url: found {escape_controls(text, 100)}, expected http://host:port")
    return url


def _seconds(metadata: Mapping[str, str], name: str, default: int) -> float:
    text = metadata.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 6 or int(text) == 0:
        raise ValueError(f"unable to convert `{name}` to int")
    return float(text)


def _read_key(path: str, folder: Path | None) -> str:
    """Return the API key in a file of `folder`. A task names the file, so it must not lead anywhere else."""
    if folder is None:
        raise ValueError("`apiKeyPath`: the load tester has no folder of API keys: see --api-key-folder")
    file = (folder / path).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise ValueError("`apiKeyPath`: expected a file in the load tester's folder of API keys: see --api-key-folder")
    try:
        with file.open("rb") as stream:
            return stream.read(LONGEST_KEY).decode("ascii").strip()
    except (OSError, ValueError):
        raise ValueError(f"`apiKeyPath` file doesn't exist {escape_controls(path, 100)}") from None
