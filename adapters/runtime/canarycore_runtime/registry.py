"""The registry: it finds adapters by entry points, with one group per port.

A distribution with a Slack notifier declares

    [project.entry-points."canarycore.notifiers"]
    slack = "canarycore_notifiers.slack:SlackNotifier"

and `load("notifiers", "slack")` returns that class. An unknown name is an error that lists the installed names.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any, Literal, get_args

from canarycore import DRAIN
from canarycore.errors import CanaryError, UnknownProvider
from canarycore.text import LONGEST_TEXT, escape_controls
from canarycore_runtime.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.metadata import Distribution, EntryPoint

    from canarycore_runtime.mesh import Mesh

Port = Literal["routers", "workloads", "stores", "metrics", "hooks", "notifiers", "meshes"]
PORTS: tuple[Port, ...] = get_args(Port)


class BrokenAdapter(CanaryError):
    """An installed adapter cannot be imported, or two distributions provide the same name."""


def installed(port: Port) -> tuple[str, ...]:
    """Return the names of installed adapters, sorted."""
    return tuple(sorted({entry.name for entry in find_entry_points(port)}))


def load(port: Port, name: str) -> Callable[..., Any]:
    """Return the factory of the adapter `name`.

    Raises UnknownProvider when no distribution provides it, and BrokenAdapter when two do or the import fails.
    """
    entries = [entry for entry in find_entry_points(port) if entry.name == name]
    if not entries:
        raise UnknownProvider(port, name, installed(port), _DISTRIBUTIONS.get((port, name), ""))
    if len({entry.value for entry in entries}) > 1:
        raise BrokenAdapter(
            f"{port} {name!r} is provided by {' and by '.join(map(_origin, entries))}, "
            "expected one. Uninstall the other."
        )
    try:
        factory: Callable[..., Any] = entries[0].load()
    except Exception as error:  # a module may raise anything while it is imported
        origin = f"{port} {name!r} of {_origin(entries[0])}"
        if isinstance(error, ImportError | AttributeError):
            raise BrokenAdapter(f"{origin} cannot be loaded: {error}. Install the missing package.") from error
        fault = escape_controls(f"{type(error).__name__}: {error}", LONGEST_TEXT)
        raise BrokenAdapter(f"{origin} cannot be loaded: {fault}. Report it to the author.") from error
    return factory


def is_ours(port: Port, name: str) -> bool:
    """Check whether an adapter of this name belongs to canarycore."""
    return (port, name) in _DISTRIBUTIONS


def load_mesh(provider: str) -> Mesh:
    """Return a new mesh of a provider. Raise UnknownProvider or BrokenAdapter.

    It is the installed one whose name begins the provider's: `smi:v1alpha1` of `smi:v1alpha1:istio`.
    """
    names, name = installed("meshes"), provider
    while name and name not in names:
        name = name.rpartition(":")[0]
    mesh: Mesh = load("meshes", name or provider)()
    return mesh


@lru_cache(maxsize=64)
def find_proxy_delay(provider: str) -> float:
    """Return `Mesh.proxy_delay` of a provider's mesh; the shortest drain if no such mesh is installed."""
    try:
        return load_mesh(provider).proxy_delay
    except (UnknownProvider, BrokenAdapter):
        return DRAIN  # the router reports the mesh with its remedy


class AdapterLoader:
    """Loads adapters while an event loop runs, each once and in a thread, as an import may take seconds."""

    def __init__(self, load: Callable[[str], Callable[..., Any]]) -> None:
        """Load the factory of an adapter by its name with `load`."""
        self._load = load
        self._threads = Threads()
        self._factories: dict[str, Callable[..., Any]] = {}

    async def factory(self, name: str) -> Callable[..., Any]:
        """Return the factory of the adapter `name`. Raises any error of loading it."""
        if name not in self._factories:
            self._factories[name] = await self._threads.run(self._load, name)
        return self._factories[name]


_MESHES = (
    *("alb", "apisix", "appmesh", "appmesh:v1beta1", "appmesh:v1beta2", "contour", "gatewayapi:v1"),
    *("gatewayapi:v1beta1", "gloo", "istio", "knative", "kubernetes", "kuma", "linkerd", "nginx", "osm"),
    *("replicas", "skipper", "smi:v1alpha1", "smi:v1alpha2", "smi:v1alpha3", "traefik"),
)
_DISTRIBUTIONS: dict[tuple[Port, str], str] = {
    ("routers", "local"): "canarycore-local",
    ("workloads", "local"): "canarycore-local",
    ("metrics", "local"): "canarycore-local",
    ("stores", "sqlite"): "canarycore-local",
    ("metrics", "cloudwatch"): "canarycore-metrics",
    ("metrics", "datadog"): "canarycore-metrics",
    ("metrics", "dynatrace"): "canarycore-metrics",
    ("metrics", "externalmetrics"): "canarycore-metrics",
    ("metrics", "graphite"): "canarycore-metrics",
    ("metrics", "influxdb"): "canarycore-metrics",
    ("metrics", "keptn"): "canarycore-metrics",
    ("metrics", "newrelic"): "canarycore-metrics",
    ("metrics", "prometheus"): "canarycore-metrics",
    ("metrics", "splunk"): "canarycore-metrics",
    ("metrics", "stackdriver"): "canarycore-metrics",
    ("hooks", "http"): "canarycore-hooks",
    ("notifiers", "webhook"): "canarycore-hooks",
    ("notifiers", "slack"): "canarycore-notifiers",
    ("notifiers", "discord"): "canarycore-notifiers",
    ("notifiers", "rocket"): "canarycore-notifiers",
    ("notifiers", "msteams"): "canarycore-notifiers",
    ("notifiers", "msteams-workflow"): "canarycore-notifiers",
    ("notifiers", "gchat"): "canarycore-notifiers",
    **{("meshes", name): "canarycore-mesh" for name in _MESHES},
}
"""The distribution of each of our adapters, for the hint where it is not installed."""


def find_entry_points(port: Port) -> tuple[EntryPoint, ...]:
    """Return the entry points of the adapters of a port that were installed when this process first asked.

    It asks again when `sys.path` changes.
    """
    return _read_entry_points(tuple(sys.path)).get(f"{_PREFIX}{port}", ())


_PREFIX = "canarycore."


@lru_cache(maxsize=4)
def _read_entry_points(path: tuple[str, ...]) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Return the entry points of all adapters on a path by group: this reads the files of every distribution."""
    of_names: dict[str, Distribution] = {}
    for distribution in distributions(path=list(path)):
        if _PREFIX in (distribution.read_text("entry_points.txt") or ""):
            of_names.setdefault(distribution.name, distribution)  # the first on the path hides the others
    groups: dict[str, list[EntryPoint]] = {}
    for distribution in of_names.values():
        for entry in distribution.entry_points:
            groups.setdefault(entry.group, []).append(entry)
    return {group: tuple(entries) for group, entries in groups.items()}


def _origin(entry: EntryPoint) -> str:
    distribution = entry.dist.name if entry.dist is not None else "an unnamed distribution"
    return f"{distribution} ({entry.value})"
