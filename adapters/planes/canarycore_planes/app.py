"""The program in each pod: a small HTTP/1.1 server, whose faults its environment sets.

    POD_IP, PORT   where it listens
    VERSION        its name, in the body and in the header X-Version
    ERRORS         percent of the requests that it answers with 500
    LATENCY        seconds that each answer takes

Paths: /readyz, /metrics (the series of podinfo) and every other. It needs the standard library only, and starts in a
tenth of a second.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter

VERSION = os.environ.get("VERSION", "v1")
ERRORS = float(os.environ.get("ERRORS") or 0)
LATENCY = float(os.environ.get("LATENCY") or 0)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_answers: Counter[int] = Counter()
_within: Counter[float] = Counter()
_total = [0.0]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            began = time.monotonic()
            first, *fields = head.decode("latin-1").split("\r\n")
            headers = dict(field.lower().split(": ", 1) for field in fields if ": " in field)
            await reader.readexactly(int(headers.get("content-length", 0)))
            path = first.split(" ")[1]
            status, body = await answer(path)
            writer.write(
                f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\nX-Version: {VERSION}\r\n"
                f"X-Path: {path}\r\nX-Asked: {headers.get('x-asked', '')}\r\n\r\n".encode()
                + body
            )
            await writer.drain()
            if path not in ("/readyz", "/metrics"):
                count(status, time.monotonic() - began)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        pass
    finally:
        writer.close()


async def answer(path: str) -> tuple[int, bytes]:
    """Return the status and the body of an answer."""
    if path == "/readyz":
        return 200, b"ready"
    if path == "/metrics":
        return 200, metrics().encode()
    if LATENCY:
        await asyncio.sleep(LATENCY)
    return (500 if random.random() * 100 < ERRORS else 200), VERSION.encode()


def count(status: int, seconds: float) -> None:
    """Count an answer in the series."""
    _answers[status] += 1
    _total[0] += seconds
    for bound in BOUNDS:
        if seconds <= bound:
            _within[bound] += 1


def metrics() -> str:
    """Return the series as Prometheus reads them."""
    name, whole = "http_request_duration_seconds", sum(_answers.values())
    lines = [f'{name}_bucket{{path="root",le="{bound}"}} {_within[bound]}' for bound in BOUNDS]
    lines += [f'{name}_bucket{{path="root",le="+Inf"}} {whole}', f'{name}_sum{{path="root"}} {_total[0]}']
    lines += [f'{name}_count{{path="root",status="{status}"}} {number}' for status, number in _answers.items()]
    return "\n".join([*lines, ""])


async def main() -> None:
    """Serve until SIGTERM, and end at once: the worst case for requests on their way."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await asyncio.start_server(serve, os.environ["POD_IP"], int(os.environ["PORT"]), backlog=512)
    await over.wait()


if __name__ == "__main__":
    asyncio.run(main())
