"""The Internet of a controller's pod: every host, behind a proxy that records all requests."""

import asyncio
import ssl
import subprocess
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from attrs import field, frozen


@frozen(kw_only=True)
class Request:
    """A request at a host, as text."""

    host: str
    is_secure: bool
    text: str = field(repr=False)


@frozen(kw_only=True)
class World:
    """The hosts behind a proxy."""

    proxy: str
    """The address of the proxy, with a user and a password."""

    here: str
    """An address on loopback."""

    authority: str
    """The file of the certificate of all hosts."""

    requests: list[Request] = field(factory=list)
    answers: dict[str, tuple[int, str]] = field(factory=dict)
    """By path or host: a status, and a body or the address of a redirect."""


def certificate(folder, hosts):
    """Make a certificate that names `hosts`, and return its file and the file of its key."""
    certificate_file, key = folder / "world.pem", folder / "world.key"
    names = ",".join(f"DNS:{host}" for host in hosts)
    arguments = (
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=world",
        "-addext",
        f"subjectAltName={names}",
    )
    command = ("openssl", "req", "-x509", *arguments, "-keyout", str(key), "-out", str(certificate_file))
    subprocess.run(command, check=True, capture_output=True)
    return certificate_file, key


@asynccontextmanager
async def everywhere(certificate_file, key):
    """Yield a World with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key)

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
        authority=str(certificate_file),
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
    """Open a tunnel to the secure site for CONNECT, else send the request to the plain one without proxy headers."""
    writers = [writer]
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        is_tunnel = head.startswith(b"CONNECT ")
        there, other = await asyncio.open_connection("127.0.0.1", secure if is_tunnel else plain)
        writers.append(other)
        if is_tunnel:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"proxy-authorization")]
            other.write(b"\r\n".join([lines[0], b"Connection: close", *lines[1:]]))
        await asyncio.gather(_copy(reader, other), _copy(there, writer))
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        for each in writers:
            each.close()
        await asyncio.gather(*(each.wait_closed() for each in writers), return_exceptions=True)


async def _copy(source, sink):
    with suppress(ConnectionError):
        while part := await source.read(65536):
            sink.write(part)
            await sink.drain()
    sink.close()
