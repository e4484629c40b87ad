"""A kubelet whose pods are processes: each listens on an address of its own.

A pod gets ready when its process answers. At its deletion it sleeps as its preStop hook says; then the process gets
SIGTERM, and SIGKILL after the grace period.
The program of an image is a command of `commands`, or else `app.py`. The image's tag is its version, and the
container's `env` its settings.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp
from attrs import define, field

from canarycore_planes.control_plane.api import Json
from canarycore_planes.control_plane.kubelet import Kubelet, Mode, _binding, _Pod
from canarycore_planes.processes import die_with_the_owner

APP = Path(__file__).with_name("app.py")
BACK_OFF = 2.0
"""Seconds between the end of a process and its next start."""

_UNREADY, _READY, _ENDING = 0.1, 1.0, 0.05
_ANSWER = aiohttp.ClientTimeout(total=1)
_GRACE = 30.0


@define
class ProcessKubelet(Kubelet):
    """The kubelet of the only node. It writes the addresses of its pods to a file, where Prometheus finds them."""

    folder: Path = field(kw_only=True)
    commands: Mapping[str, Sequence[str]] = field(factory=dict, kw_only=True)
    """The commands of images. Each gets this environment, and POD_IP, PORT and VERSION."""
    _bodies: dict[str, Json] = field(factory=dict, init=False)
    _processes: dict[str, subprocess.Popen[bytes]] = field(factory=dict, init=False)
    _broken: set[tuple[str, str]] = field(factory=set, init=False)

    @property
    def targets(self) -> Path:
        """The file of the addresses."""
        return self.folder / "targets.json"

    def stop(self) -> None:
        """Kill all processes, at the end of the bench."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    def crash(self, namespace: str, image: str) -> None:
        """Kill the processes of an image in a namespace; they do not start again before `heal`."""
        self._broken.add((namespace, image))
        for uid, process in list(self._processes.items()):
            if self._is_broken(self._pods[uid]):
                process.kill()

    def heal(self, namespace: str) -> None:
        """Let the processes of a namespace start again."""
        self._broken = {(place, image) for place, image in self._broken if place != namespace}

    def _is_broken(self, pod: _Pod) -> bool:
        return (pod.namespace, pod.images[0]) in self._broken

    # in its thread --------------------------------------------------------------------------------------------------

    def _see(self, body: Json) -> None:
        self._bodies[body["metadata"]["uid"]] = body
        super()._see(body)

    def _forget(self, uid: str) -> None:
        super()._forget(uid)
        self._bodies.pop(uid, None)
        if process := self._processes.pop(uid, None):
            process.kill()  # a deletion without grace
            process.wait()

    async def _care(self, uid: str) -> None:
        pod = self._pods[uid]
        if pod.leaving:
            await self._end(uid)
            await self._ask("DELETE", pod.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
            return
        if not pod.bound:
            await self._ask("POST", f"{pod.path}/binding", _binding(pod))
        await self._say(pod, "never")
        while True:
            if not self._is_broken(pod):
                await self._run(uid, pod)
            await self._say(pod, "crash")
            await asyncio.sleep(BACK_OFF)

    async def _run(self, uid: str, pod: _Pod) -> None:
        """Run the process until it ends, and report whether it answers."""
        process = self._processes.get(uid)
        if process is None or process.poll() is not None:
            process = self._start(uid)
        async with aiohttp.ClientSession(timeout=_ANSWER) as session:
            while process.poll() is None:
                is_ready = await self._answers(session, uid)
                await self._say(pod, "ready" if is_ready else "never")
                await asyncio.sleep(_READY if is_ready else _UNREADY)

    async def _say(self, pod: _Pod, mode: Mode) -> None:
        await super()._say(pod, mode)
        entries = [self._target(uid) for uid in self._processes if uid in self._bodies]
        part = self.targets.with_suffix(".part")
        part.write_text(json.dumps(entries))
        part.rename(self.targets)

    def _target(self, uid: str) -> Json:
        metadata = self._bodies[uid]["metadata"]
        labels = {"kubernetes_namespace": metadata["namespace"], "kubernetes_pod_name": metadata["name"]}
        return {"targets": [f"{self._addresses[uid]}:{self._port(uid)}"], "labels": labels}

    def _port(self, uid: str) -> int:
        port: int = self._bodies[uid]["spec"]["containers"][0]["ports"][0]["containerPort"]
        return port

    def _start(self, uid: str) -> subprocess.Popen[bytes]:
        body = self._bodies[uid]
        (container,) = body["spec"]["containers"]
        settings = {entry["name"]: entry.get("value", "") for entry in container.get("env", [])}
        place = {"POD_IP": self._addresses[uid], "PORT": str(self._port(uid)), "PATH": os.environ["PATH"]}
        version = container["image"].rpartition(":")[2]
        command = self.commands.get(container["image"])
        inherited = {} if command is None else os.environ
        with (self.folder / f"{body['metadata']['name']}.log").open("ab") as log:
            self._processes[uid] = subprocess.Popen(
                command or [sys.executable, "-S", "-E", str(APP)],
                env={**inherited, **settings, **place, "VERSION": version},
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                preexec_fn=die_with_the_owner,  # noqa: PLW1509  it only calls the kernel
            )  # fmt: skip
        return self._processes[uid]

    async def _answers(self, session: aiohttp.ClientSession, uid: str) -> bool:
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with session.get(f"http://{self._addresses[uid]}:{self._port(uid)}/readyz") as answer:
                return answer.status == 200
        return False

    async def _end(self, uid: str) -> None:
        process = self._processes.get(uid)
        if process is None:
            return
        body = self._bodies[uid]
        (container,) = body["spec"]["containers"]
        await asyncio.sleep(container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))
        process.send_signal(signal.SIGTERM)
        grace = body["metadata"].get("deletionGracePeriodSeconds", _GRACE)
        end = time.monotonic() + grace
        while process.poll() is None and time.monotonic() < end:  # noqa: ASYNC110  a process has no event
            await asyncio.sleep(_ENDING)
        process.kill()
        process.wait()
        del self._processes[uid]
