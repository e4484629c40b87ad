"""A server on loopback that writes bytes, valid HTTP or not."""

import asyncio
from contextlib import asynccontextmanager


class RawServer:
    """A server with its address, the lines and headers of its requests (`heads`), and the bytes that it has sent."""

    def __init__(self, write):
        self.write, self.heads, self.sent, self.address = write, [], 0, ""
        self.tasks = set()

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            async for part in self.write(self.heads[-1]):
                writer.write(part)
                await writer.drain()
                self.sent += len(part)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def raw_server(write):
    """Serve answers by `write(head)`, an asynchronous generator of the bytes of one answer."""
    server = RawServer(write)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close in the next turn


def answer(body=b"", *headers, status="200 OK"):
    """Return a writer of one complete answer that ends with the connection."""

    async def write(head):
        yield "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *headers, "", ""]).encode() + body

    return write


def endless(*headers, part=b"x" * 4096, pause=0.0):
    """Return a writer of an answer whose body never ends."""

    async def write(head):
        yield "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode()
        while True:
            yield part
            await asyncio.sleep(pause)

    return write
