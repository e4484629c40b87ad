"""A rollout of a model (or any service) behind HAProxy, without Kubernetes: 0.5 %, 20 %, everybody, and a rollback.

HAProxy sends a share of the requests to the candidate, by a number in a map that its runtime API changes. The number is
in tenths of a percent. A promotion gives the stable server the address of the candidate: no second copy starts. Run it
with HAProxy on the PATH (Debian: `apt-get install haproxy`): `python examples/behind_haproxy.py`.
"""

import asyncio
import csv
import io
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from in_memory import MemoryStore, NoHooks, Printer

from canarycore import Check, CheckKind, Ladder, NoData, Phase, Rollout, Routes, TargetRef
from canarycore.errors import Refused, WorldError
from canarycore.notices import NoticeKind
from canarycore.questions import MetricAnswer, MetricQuestion
from canarycore_runtime import Adapters, InstantWorkload, Runner

POLICY = Rollout(
    name="translator",
    target=TargetRef(kind="Model", name="translator"),
    provider="haproxy",
    ladder=Ladder(steps=(5, 200), tenths=True, in_place=True),  # 0.5 %, 20 %, and then 100 %
    checks=(Check(name="answers", kind=CheckKind.SUCCESS_RATE, minimum=99.0),),
    no_data=NoData.HOLD,
    threshold=2,
    interval=1.0,
    drain=0.0,
    texts={
        NoticeKind.INITIALIZED: "{name} serves its first version",
        NoticeKind.NEW_REVISION: "{name} has a candidate",
        NoticeKind.ADVANCED_WEIGHT: "{0} % of the requests go to the candidate",
        NoticeKind.COPYING: "The candidate becomes the stable version",
        NoticeKind.SUCCEEDED: "{name} serves the new version",
        NoticeKind.FAILED: "{name} keeps its stable version",
    },
)

CONFIG = """
global
    stats socket {folder}/runtime.sock mode 600 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
frontend models
    bind 127.0.0.1:{port}
    http-request set-var(txn.place) rand(1000)
    http-request set-var(txn.share) str(candidate),map_str_int({folder}/shares.map,0)
    use_backend candidate if {{ var(txn.place),sub(txn.share) lt 0 }}
    default_backend stable
backend candidate
    server model 127.0.0.1:{nothing} disabled
backend stable
    server model 127.0.0.1:{nothing} disabled
"""


class Proxy:
    """HAProxy's runtime API at a socket."""

    def __init__(self, folder: Path) -> None:
        self.socket, self.map = folder / "runtime.sock", folder / "shares.map"

    async def ask(self, command: str) -> str:
        """Return the answer to a command. Raises WorldError without one."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.socket))
            writer.write(f"{command}\n".encode())
            answer = (await reader.read()).decode().strip()
            writer.close()
        except OSError as error:
            raise WorldError(f"HAProxy does not answer `{command}`: {error}") from error
        return answer

    async def set(self, command: str) -> None:
        """Carry out a command that answers nothing but what it changed. Raises WorldError if HAProxy refuses it."""
        answer = await self.ask(command)
        if answer and not answer.startswith(("IP changed", "no need to change", "port changed", "nothing changed")):
            raise WorldError(f"HAProxy refuses `{command}`: {answer}")

    async def port(self, backend: str) -> int:
        """Return the port of a backend's server; 0 while it is disabled."""
        rows = (await self.ask(f"show servers state {backend}")).splitlines()[1:]
        (server,) = csv.DictReader(io.StringIO("\n".join(rows).lstrip("# ")), delimiter=" ")
        is_disabled = int(server["srv_admin_state"]) & 1  # in maintenance by the configuration or by a command
        return 0 if is_disabled else int(server["srv_port"])

    async def point(self, backend: str, port: int) -> None:
        """Send the requests of a backend to a port of this machine."""
        await self.set(f"set server {backend}/model addr 127.0.0.1 port {port}")
        await self.set(f"set server {backend}/model state ready")


class Models(InstantWorkload):
    """The versions in a file: the port of each, and the candidate. HAProxy itself says which one is stable."""

    def __init__(self, proxy: Proxy, file: Path) -> None:
        super().__init__()
        self.proxy, self.file, self.observed = proxy, file, ""

    def deploy(self, version: str, port: int) -> None:
        """Make a running version the candidate, as its owner."""
        ports = self.ports() | {version: port}
        self.file.write_text(json.dumps({"ports": ports, "candidate": version}))

    def ports(self) -> dict[str, int]:
        """Return the port of each version."""
        return dict(json.loads(self.file.read_text())["ports"]) if self.file.exists() else {}

    async def candidate(self, rollout: Rollout) -> str:
        del rollout
        self.observed = json.loads(self.file.read_text())["candidate"] if self.file.exists() else ""
        return self.observed

    async def stable(self, rollout: Rollout) -> str:
        del rollout
        port = await self.proxy.port("stable")
        return next((version for version, at in self.ports().items() if at == port), "")

    async def set_stable(self, rollout: Rollout, revision: str) -> None:
        del rollout
        await self.proxy.point("stable", self.ports()[revision])


class ShareRouter:
    """The port Router: a number in HAProxy's map."""

    takes_tenths = True

    def __init__(self, models: Models) -> None:
        self.models, self.proxy = models, models.proxy

    async def observe(self, rollout: Rollout) -> Routes:
        del rollout
        entries = [line.split() for line in (await self.proxy.ask(f"show map {self.proxy.map}")).splitlines()]
        return Routes(weight=next(int(value) for _, name, value in entries if name == "candidate"), tenths=True)

    async def set_routes(self, rollout: Rollout, routes: Routes) -> None:
        """Set the share. The candidate is the observed one: a newer one gets no request of its analysis."""
        del rollout
        if routes.mirrored or routes.matched:
            raise Refused(f"found {routes}, expected weights only: this map knows no mirror and no match")
        if routes.weight:
            await self.proxy.point("candidate", self.models.ports()[self.models.observed])
        await self.proxy.set(f"set map {self.proxy.map} candidate {routes.permille}")

    async def restore(self, rollout: Rollout) -> None:
        await self.set_routes(rollout, Routes())


class Answers:
    """The port MetricSource: the answers of the candidate since the last analysis, as HAProxy counts them.

    The first analysis of a candidate only reads the counters: they still have the answers of the one before.
    """

    def __init__(self, proxy: Proxy) -> None:
        self.proxy, self.revision, self.before = proxy, "", (0, 0)

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        del rollout
        rows = csv.DictReader(io.StringIO((await self.proxy.ask("show stat")).lstrip("# ")))
        row = next(row for row in rows if (row["pxname"], row["svname"]) == ("candidate", "BACKEND"))
        now = int(row["req_tot"]), int(row["hrsp_5xx"])
        requests, bad = now[0] - self.before[0], now[1] - self.before[1]
        is_first, self.revision, self.before = question.revision != self.revision, question.revision, now
        if is_first or not requests:
            return MetricAnswer()
        return MetricAnswer(value=100.0 * (requests - bad) / requests, samples=requests)

    async def online(self, rollout: Rollout) -> str:
        del rollout
        return ""


# ------------------------------------------------------------------------------------------------- the environment


@asynccontextmanager
async def haproxy(config: Path) -> AsyncIterator[None]:
    """Run HAProxy with a configuration until the end of the block."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        sys.exit("haproxy: found none on the PATH; install HAProxy (Debian: apt-get install haproxy)")
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(program, "-db", "-q", "-f", str(config), stdin=quiet, stdout=quiet)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def wait_for(place: int | Path) -> None:
    """Wait until a port of this machine, or a socket in a folder, takes connections, for at most ten seconds."""
    for _ in range(200):
        try:
            if isinstance(place, int):
                _, writer = await asyncio.open_connection("127.0.0.1", place)
            else:
                _, writer = await asyncio.open_unix_connection(str(place))
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise TimeoutError(f"nothing listens at {place}")


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody uses now."""
    import socket

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@asynccontextmanager
async def environment(folder: Path, versions: Iterable[str]) -> AsyncIterator[tuple[Proxy, int, dict[str, int]]]:
    """Run HAProxy, and stand-ins for the versions: each answers its name, and a bad one with status 500.

    Yields the proxy, its port, and the port of each version.
    """
    port, nothing, *others = free_ports(2 + len(tuple(versions)))
    ports = dict(zip(versions, others, strict=True))
    (folder / "shares.map").write_text("candidate 0\n")
    (folder / "proxy.cfg").write_text(CONFIG.format(folder=folder, port=port, nothing=nothing))
    (folder / "models.cfg").write_text(
        "defaults\n  mode http\n  timeout client 30s\n"
        + "".join(
            f"frontend {name}\n  bind 127.0.0.1:{at}\n  http-request return status {500 if 'bad' in name else 200} "
            f"content-type text/plain string version={name};\n"
            for name, at in ports.items()
        )
    )
    async with haproxy(folder / "models.cfg"), haproxy(folder / "proxy.cfg"):
        proxy = Proxy(folder)
        await wait_for(proxy.socket)
        for each in (port, *others):
            await wait_for(each)
        yield proxy, port, ports


async def send_requests(port: int, count: int) -> Counter[str]:
    """Send requests over one connection, a hundred at a time; return how many each version answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers: Counter[str] = Counter()
    for begin in range(0, count, 100):
        size = min(100, count - begin)
        writer.write(b"GET / HTTP/1.1\r\nHost: models\r\n\r\n" * size)
        for _ in range(size):
            answers[(await reader.readuntil(b";")).rpartition(b"version=")[2][:-1].decode()] += 1
    writer.close()
    return answers


# ------------------------------------------------------------------------------------------------------ the rollouts


def adapters(proxy: Proxy, file: Path, store: MemoryStore) -> tuple[Adapters, Models]:
    """Return the adapters of the runner, and the models for their owner."""
    models = Models(proxy, file)
    ports = Adapters(
        store=store,
        workload=models,
        router=ShareRouter(models),
        metrics=Answers(proxy),
        hooks=NoHooks(),
        notifiers=(Printer(),),
        clock=time.time,
    )
    return ports, models


async def main() -> None:
    """Roll a good version out, then a bad one, while users send requests."""
    with TemporaryDirectory() as name:
        folder, store = Path(name), MemoryStore(POLICY)
        async with environment(folder, ("v1", "v2", "v3-bad")) as (proxy, port, ports):
            parts, models = adapters(proxy, folder / "models.json", store)
            models.deploy("v1", ports["v1"])
            async with Runner(parts) as runner:
                for version in ("v1", "v2", "v3-bad"):
                    print(version)
                    models.deploy(version, ports[version])
                    phase = await settle(store, runner, version, port)
                    print(f"outcome: {phase.value}, {await models.stable(POLICY)} is stable", flush=True)


async def settle(store: MemoryStore, runner: Runner, version: str, port: int) -> Phase:
    """Send requests until the rollout of a version has ended; return its phase."""
    (key,) = store.records
    runner.wake(key)
    while True:
        status = store.records[key].status
        if status.applied == version and status.is_settled and status.phase in ENDS:
            return status.phase
        if status.promoted:
            await send_requests(port, 500)
        await asyncio.sleep(0.02)


ENDS = (Phase.INITIALIZED, Phase.SUCCEEDED, Phase.FAILED)

if __name__ == "__main__":
    asyncio.run(main())
