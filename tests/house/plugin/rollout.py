"""Two real rollouts with the installed plug-ins of examples/plugin: a good version is promoted, a bad one is not.

The mesh renders the routing objects, a server on this machine answers the metric queries, another one takes the alerts.
`test_plugin_template.py` runs this program in an environment with the wheel of the template.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

from attrs import evolve

from canarycore import Check, CheckKind, Phase, Routes
from canarycore.manifest import parse, resolve
from canarycore.simulation import Deploy
from canarycore_runtime import Runner, load
from canarycore_runtime.mesh import RenderContext, query_variables
from canarycore_runtime.plugins import find_installed_providers
from canarycore_runtime.registry import load_mesh
from canarycore_runtime.testing import SimulatedClusters, key_of

INTERVAL = 0.1
CANARY = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "Canary",
    "metadata": {"name": "podinfo", "namespace": "shop"},
    "spec": {
        "provider": "acme",
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
        "service": {"port": 9898},
        "analysis": {"interval": "30s", "threshold": 1, "stepWeight": 50, "maxWeight": 50},
    },
}


class Server:
    """Answers each request with a JSON text, and keeps the bodies."""

    def __init__(self, answer):
        self.answer, self.bodies = answer, []

    @asynccontextmanager
    async def listening(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((int(line[15:]) for line in head.splitlines() if line.startswith("content-length:")), 0)
        self.bodies.append((await reader.readexactly(length)).decode())
        headers = f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(self.answer)}"
        writer.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{self.answer}".encode())
        writer.close()


class ObjectRouter:
    """The port Router on the objects of a mesh, and on the routes of a simulated cluster."""

    def __init__(self, mesh, context, inner):
        self._mesh, self._context, self._inner = mesh, context, inner
        self.objects, self.weights = {}, []

    async def observe(self, rollout):
        return self._mesh.routes(self._context, self.objects)

    async def set_routes(self, rollout, routes):
        (ref,) = self._mesh.refs(self._context)
        (self.objects[ref],) = self._mesh.render(self._context, routes, self.objects)
        self.weights.append(self.objects[ref]["spec"]["percent"])
        await self._inner.set_routes(rollout, routes)

    async def restore(self, rollout):
        self.objects.clear()
        await self._inner.restore(rollout)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - any state of the rollout
            await asyncio.sleep(INTERVAL / 2)


async def main():
    canary = parse(CANARY)
    rollout = evolve(
        resolve(canary, installed=find_installed_providers()),
        interval=INTERVAL,
        drain=0.0,
        checks=(Check(name="health", kind=CheckKind.QUERY, query="health", minimum=99.0),),
    )
    metrics, chat = Server('{"value": 99.5}'), Server("{}")
    clusters = SimulatedClusters([rollout], do=[Deploy("v1")])
    parts, key, mesh = clusters.parts(), key_of(rollout), load_mesh("acme")
    router = ObjectRouter(mesh, RenderContext(canary=canary, rollout=rollout), parts.router)
    async with metrics.listening() as metrics_address, chat.listening() as chat_address:
        opened = load("metrics", "acme")(
            metrics_address,
            headers={},
            secret={},
            region="",
            insecure_skip_verify=False,
            query_variables=query_variables,
        )
        chatting = load("notifiers", "acme")(
            chat_address, token="", proxy="", channel="", username="", fields=lambda *_: ()
        )
        async with (
            opened as source,
            chatting as notifier,
            Runner(evolve(parts, metrics=source, notifiers=(notifier,), router=router)),
        ):
            await until(lambda: clusters.phase(key) is Phase.INITIALIZED)
            clusters.do(key, Deploy("v2"))
            await until(lambda: clusters.phase(key) is Phase.SUCCEEDED)
            metrics.answer = '{"value": 42}'
            clusters.do(key, Deploy("v3"))
            await until(lambda: clusters.phase(key) is Phase.FAILED)
            await until(lambda: not clusters.state(key).status.outbox)
    status = clusters.state(key).status
    assert status.promoted == "v2"
    assert await router.observe(rollout) == Routes()
    texts = [json.loads(body)["text"] for body in chat.bodies]
    print(json.dumps({"weights": router.weights, "alerts": texts}))


asyncio.run(main())
