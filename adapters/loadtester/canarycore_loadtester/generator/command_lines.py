"""The command lines of hey, wrk and ghz, as plans. Their options keep their meaning.

An option that the generator cannot honour (a script, a proxy, a file) is an error, never ignored. Options that only
tune the original program (threads, CPUs, compression of answers that nobody reads) have no effect.

    hey  -q limits each of the -c workers, so the schedule has q · c requests per second
    wrk  has no rate; -R, as in wrk2, gives one
    ghz  calls one method without a schema: the message is empty, or a health check's `service`
"""

from __future__ import annotations

import argparse
import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from attrs import evolve, frozen

from canarycore.manifest import parse_duration
from canarycore_loadtester.generator.plan import LoadPlan, Protocol, Target

HEALTH_CHECK = "grpc.health.v1.Health/Check"


class UsageError(Exception):
    """A command line that the generator does not understand; the message says why."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}")


def parse_command_line(arguments: Sequence[str]) -> LoadPlan:
    """Return the plan of a command line, which begins with the name of its program. Raise UsageError."""
    name, *rest = arguments or [""]
    if name not in PROGRAMS:
        raise UsageError(f"found the program {name!r}, expected one of {', '.join(PROGRAMS)}")
    program = PROGRAMS[name]
    try:
        return program.plan(program.parser().parse_args(rest))
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def check_options(arguments: Sequence[str]) -> None:
    """Raise UsageError if a command line of one of the programs has an option that its parser does not know."""
    name, *rest = arguments
    PROGRAMS[name].parser().parse_args(rest)


def _parser(program: str) -> _Parser:
    return _Parser(prog=program, add_help=False, allow_abbrev=False)


def _ignore(parser: _Parser, *switches: str, values: Sequence[str] = ()) -> None:
    """Accept options without effect."""
    for name in switches:
        parser.add_argument(name, action="store_true", dest="_ignored")
    for name in values:
        parser.add_argument(name, dest="_ignored")


def _hey_parser() -> _Parser:
    parser = _parser("hey")
    parser.add_argument("-z", dest="duration", type=_seconds)
    parser.add_argument("-n", dest="requests", type=int, default=200)
    parser.add_argument("-c", dest="connections", type=int, default=50)
    parser.add_argument("-q", dest="rate", type=float, default=0.0)
    parser.add_argument("-m", dest="method", default="GET")
    parser.add_argument("-H", dest="headers", action="append", type=_header, default=[])
    parser.add_argument("-d", dest="body", default="")
    parser.add_argument("-t", dest="timeout", type=_whole_seconds, default=20.0)
    parser.add_argument("-A", dest="accept", default="")
    parser.add_argument("-T", dest="content_type", default="text/html")
    parser.add_argument("-U", dest="user_agent", default="")
    parser.add_argument("-a", dest="user", default="")
    parser.add_argument("-host", "--host", dest="host", default="")
    parser.add_argument("-h2", "--h2", dest="h2", action="store_true")
    parser.add_argument("-disable-keepalive", "--disable-keepalive", dest="closes", action="store_true")
    _ignore(parser, "-disable-compression", "-disable-redirects", values=["-cpus"])
    parser.add_argument("url")
    return parser


def _hey_plan(options: argparse.Namespace) -> LoadPlan:
    target = Target.parse(options.url)
    headers = [
        *_present(("Content-Type", options.content_type), ("Accept", options.accept)),
        *_present(("User-Agent", options.user_agent), ("Host", options.host)),
        *_present(("Authorization", _basic(options.user))),
    ]
    return LoadPlan(
        target=target,
        method=options.method.upper(),
        headers=_merge(headers, options.headers),
        body=options.body.encode(),
        # as in hey, whose HTTP/2 needs TLS
        protocol=Protocol.HTTP2 if options.h2 and target.scheme == "https" else Protocol.HTTP1,
        connections=options.connections,
        rate=options.rate * options.connections if options.rate > 0 else None,
        duration=options.duration,
        requests=None if options.duration else options.requests,
        timeout=options.timeout or parse_duration("24h"),
        keep_alive=not options.closes,
    )


def _wrk_parser() -> _Parser:
    parser = _parser("wrk")
    parser.add_argument("-c", "--connections", type=int, default=10)
    parser.add_argument("-d", "--duration", type=_seconds, default=10.0)
    parser.add_argument("-H", "--header", dest="headers", action="append", type=_header, default=[])
    parser.add_argument("--timeout", type=_seconds, default=2.0)
    parser.add_argument("-R", "--rate", type=float)
    _ignore(parser, "--latency", "-L", values=["-t", "--threads"])
    parser.add_argument("url")
    return parser


def _wrk_plan(options: argparse.Namespace) -> LoadPlan:
    return LoadPlan(
        target=Target.parse(options.url),
        headers=tuple(options.headers),
        connections=options.connections,
        rate=options.rate,
        duration=options.duration,
        timeout=options.timeout,
    )


def _ghz_parser() -> _Parser:
    parser = _parser("ghz")
    parser.add_argument("-z", "--duration", type=_seconds)
    parser.add_argument("-n", "--total", dest="requests", type=int, default=200)
    parser.add_argument("-c", "--concurrency", dest="connections", type=int, default=50)
    parser.add_argument("-r", "--rps", "-q", "--qps", dest="rate", type=float, default=0.0)
    parser.add_argument("-t", "--timeout", type=_seconds, default=20.0)
    parser.add_argument("-d", "--data", default="{}")
    parser.add_argument("-m", "--metadata", default="{}")
    parser.add_argument("--call", default=HEALTH_CHECK)
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--skipTLS", dest="trusts_all", action="store_true")
    parser.add_argument("--authority", default="")
    _ignore(parser, values=["--proto", "--connections", "--cpus", "--name"])
    parser.add_argument("host")
    return parser


def _ghz_plan(options: argparse.Namespace) -> LoadPlan:
    target = Target.parse(f"{'http' if options.insecure else 'https'}://{options.host}")
    headers = [*_mapping("--metadata", options.metadata).items(), *_present(("host", options.authority))]
    return LoadPlan(
        target=evolve(target, path=_path(options.call)),
        method="POST",
        headers=tuple((str(name), str(value)) for name, value in headers),
        body=_frame(_message(options.call, _mapping("--data", options.data))),
        protocol=Protocol.GRPC,
        connections=options.connections,
        rate=options.rate if options.rate > 0 else None,
        duration=options.duration,
        requests=None if options.duration else options.requests,
        timeout=options.timeout,
        is_verified=not options.trusts_all,
    )


@frozen
class Program:
    """A program whose command lines the generator understands."""

    parser: Callable[[], _Parser]
    """Returns a parser of its arguments."""
    plan: Callable[[argparse.Namespace], LoadPlan]
    """Returns the plan for parsed arguments, or raises ValueError."""


PROGRAMS = {
    "hey": Program(_hey_parser, _hey_plan),
    "wrk": Program(_wrk_parser, _wrk_plan),
    "ghz": Program(_ghz_parser, _ghz_plan),
}
"""The programs whose command lines the generator understands."""


# ----------------------------------------------------------------------------------------------------------- values


def _seconds(text: str) -> float:
    try:
        return float(text) if text.replace(".", "", 1).isdecimal() else parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _whole_seconds(text: str) -> float:
    return float(int(text))


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 'Name: value'")
    return name.strip(), value.strip()


def _present(*headers: tuple[str, str]) -> list[tuple[str, str]]:
    return [header for header in headers if header[1]]


def _merge(first: list[tuple[str, str]], second: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return both, without those of the first that the second replaces."""
    names = {name.lower() for name, _ in second}
    return (*(header for header in first if header[0].lower() not in names), *second)


def _basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode()).decode()}" if user else ""


def _mapping(option: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UsageError(f"ghz: {option}: expected a JSON object")
    return value


def _path(call: str) -> str:
    """Return the path of a method: `package.Service/Method` and `package.Service.Method` are the same."""
    service, separator, method = call.rpartition("/")
    if not separator:
        service, _, method = call.rpartition(".")
    if not service or not method or not f"{service}{method}".replace(".", "").replace("_", "").isalnum():
        raise UsageError(f"ghz: --call: found {call!r}, expected a method such as {HEALTH_CHECK}")
    return f"/{service}/{method}"


def _message(call: str, data: dict[str, Any]) -> bytes:
    """Return the message in the wire format of protobuf."""
    if not data:
        return b""
    if _path(call) != f"/{HEALTH_CHECK}" or data.keys() != {"service"} or not isinstance(data["service"], str):
        raise UsageError("ghz: --data: without the program ghz only the service of a health check can be sent")
    service = data["service"].encode()
    if len(service) > 127:
        raise UsageError("ghz: --data: the name of a service has at most 127 bytes")
    return b"\x0a" + bytes([len(service)]) + service if service else b""  # field 1, a text


def _frame(message: bytes) -> bytes:
    """Return a message as gRPC frames it: not compressed, with its length."""
    return b"\0" + len(message).to_bytes(4, "big") + message
