"""The load generator of the load tester: its speed from one core, and its latencies beside wrk's.

A server in a process of its own answers from another core, with precomputed bytes. It delays its answers on demand, by
a timer that is exact to some microseconds. wrk has no rate: with n connections and answers of d seconds it sends n / d
requests a second. The generator then has a schedule with the rate that wrk reached.

wrk is found on the PATH, or in $WRK. Without it the rows have no peer.
"""

from __future__ import annotations

import asyncio
import os
import re
import selectors
import shutil
import subprocess
import sys
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

from bench._measure import Row
from canarycore_loadtester.generator.engine import run_alone
from canarycore_loadtester.generator.plan import LoadPlan, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore_loadtester.generator.engine import LoadResult

ROUNDS = 5
SECONDS = 2.0
CONNECTIONS = 32
DELAY = 0.010
"""The delay of answers when latencies are compared: some 3,000 requests a second."""

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def load_rate() -> Row:
    """Measure the requests a second of the generator without a schedule, beside wrk."""
    with _server(0.0) as address:
        results = [(_ours(address, None), _wrk(address)) for _ in range(ROUNDS)]
    ours = median(result.rate for result, _ in results)
    rates = [theirs["rate"] for _, theirs in results if theirs]
    if not rates:
        return Row(name="load", unit="requests", per_second=ours)
    peer = median(rates)
    return Row(name="load", unit="requests", per_second=ours, peer="wrk", peer_per_second=peer, ratio=ours / peer)


def load_median() -> Row:
    """Measure the median latency at a rate of some 3,000 requests a second, beside wrk at the same rate."""
    return _latency("load-50%", 0.50)


def load_tail() -> Row:
    """Measure the latency that 90 % of the requests do not exceed, at the same rate."""
    return _latency("load-90%", 0.90)


def _latency(name: str, fraction: float) -> Row:
    """Compare the best of several rounds: other programs on the machine can only add to a latency."""
    ours, theirs = [], []
    with _server(DELAY) as address:
        for _ in range(ROUNDS):
            peer = _wrk(address)
            rate = peer["rate"] if peer else CONNECTIONS / DELAY
            ours.append(_ours(address, rate).latencies.quantile(fraction))
            if peer:
                theirs.append(peer[f"{fraction:.0%}"])
    if not theirs:
        return Row(name=name, unit="requests", seconds=min(ours))
    seconds, peer_seconds = min(ours), min(theirs)
    return Row(
        name=name, unit="requests", seconds=seconds, peer="wrk", peer_seconds=peer_seconds, ratio=peer_seconds / seconds
    )


def _ours(address: str, rate: float | None) -> LoadResult:
    """Run the generator on one core. With a schedule it has spare connections, because it does not wait for answers."""
    connections = CONNECTIONS if rate is None else 2 * CONNECTIONS
    plan = LoadPlan(target=Target.parse(address), connections=connections, duration=SECONDS, rate=rate)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        result = run_alone(plan)
    finally:
        os.sched_setaffinity(0, cores)
    assert not result.failed, result.outcomes
    return result


def _wrk(address: str) -> dict[str, float]:
    """Run wrk, and return its rate and latencies; nothing if it is not installed."""
    program = shutil.which(os.environ.get("WRK", "wrk"))
    if program is None:
        return {}
    command = [program, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS:.0f}s", "--latency", address]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    latencies = re.findall(r"(\d+%)\s+([\d.]+)(us|ms|s)\b", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate is not None, text
    return {"rate": float(rate[1]), **{name: float(value) * _UNITS[unit] for name, value, unit in latencies}}


@contextmanager
def _server(delay: float) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.loadtester", str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/"
        finally:
            server.kill()


class _Answers(asyncio.Protocol):
    """A connection of the server. Requests do not arrive in parts: they are small."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        del data
        if self._delay:
            self._loop.call_later(self._delay, self._transport.write, ANSWER)
        else:
            self._transport.write(ANSWER)


async def _serve(delay: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Answers(delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_serve(float(sys.argv[1])))
