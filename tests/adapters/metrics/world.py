"""The world as a controller's pod sees it: every host there is, behind a proxy that takes down who is asked what."""

import asyncio
import ssl
import subprocess
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from attrs import field, frozen


@frozen(kw_only=True)
class Request:
    """Return all that a host was sent, as text."""

    host: str
    is_secure: bool
    text: str = field(repr=False)


@frozen(kw_only=True)
class World:
    """Behind `proxy` each host answers, over TLS with a certificate that `authority` signs. `here` is on loopback."""

    proxy: str
    here: str
    authority: str
    requests: list[Request] = field(factory=list)
    answers: dict[str, tuple[int, str]] = field(factory=dict)
    """By path or host: a status and a body, or a redirect's address."""


def certificate(folder, hosts):
    """The files of a certificate that names `hosts`, and of its key."""
    made, key = folder / "world.pem", folder / "world.key"
    names = ",".join(f"DNS:{host}" for host in hosts)
    given = ("-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=world", "-addext", f"subjectAltName={names}")
    command = ("openssl", "req", "-x509", *given, "-keyout", str(key), "-out", str(made))
    subprocess.run(command, check=True, capture_output=True)
    return made, key


@asynccontextmanager
async def everywhere(made, key):
    """A World with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)

    async def respond(request):
        host = request.url.host
        text = f"{request.method} {request.raw_path}\n{dict(request.headers)}\n{await request.text()}"
        world.requests.append(Request(host=host, is_secure=request.secure, text=text))
        status, body = world.answers.get(request.path) or world.answers.get(host) or (404, "{}")
        headers = {"Location": body} if status in {301, 302, 303, 307, 308} else {}
        return web.Response(status=status, text=body, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    plain, secure = web.TCPSite(runner, "127.0.0.1", 0), web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await plain.start()
    await secure.start()
    ports = [address[1] for address in runner.addresses]
    tunnels = set()

    async def pass_on(reader, writer):
        tunnels.add(asyncio.current_task())
        await _pass_on(reader, writer, *ports)

    proxy = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    world = World(
        proxy=f"http://me:{PROXY_SECRET}@127.0.0.1:{port}",
        here=f"http://127.0.0.1:{ports[0]}",
        authority=str(made),
    )
    try:
        yield world
    finally:
        proxy.close()
        for tunnel in tunnels:
            tunnel.cancel()
        await asyncio.gather(*tunnels, return_exceptions=True)
        await runner.cleanup()


PROXY_SECRET = "AMBIENT-proxy"


async def _pass_on(reader, writer, plain, secure):
    """A tunnel to the secure site for CONNECT, else the request itself to the plain one, without the proxy's part."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        is_tunnel = head.startswith(b"CONNECT ")
        there, other = await asyncio.open_connection("127.0.0.1", secure if is_tunnel else plain)
        if is_tunnel:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"proxy-authorization")]
            other.write(b"\r\n".join([lines[0], b"Connection: close", *lines[1:]]))
        await asyncio.gather(_copy(reader, other), _copy(there, writer))


async def _copy(source, sink):
    with suppress(ConnectionError):
        while part := await source.read(65536):
            sink.write(part)
            await sink.drain()
    sink.close()
