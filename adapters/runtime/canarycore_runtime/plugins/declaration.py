"""The declaration of a plug-in, and the list of installed ones."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, instance_of, min_len

from canarycore.manifest.routing import ANYTHING, SPLIT_ONLY, InstalledProviders, ProviderCapabilities
from canarycore_runtime.plugins.factories import check_factory
from canarycore_runtime.registry import PORTS, BrokenAdapter, find_entry_points, installed, is_ours, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore_runtime.mesh import Json
    from canarycore_runtime.registry import Port

PluginKind = Literal["mesh", "metric", "notifier", "hook", "workload", "router", "store"]

PORT_OF_KIND: dict[PluginKind, Port] = {
    "mesh": "meshes",
    "metric": "metrics",
    "notifier": "notifiers",
    "hook": "hooks",
    "workload": "workloads",
    "router": "routers",
    "store": "stores",
}
"""The group of entry points of each kind, without `canarycore.`."""

_KIND_OF_PORT: dict[Port, PluginKind] = {port: kind for kind, port in PORT_OF_KIND.items()}

VERBS = ("list", "watch", "create", "patch", "delete")
"""The verbs that the controller needs for routing objects."""

_TEXTS = deep_iterable(instance_of(str), and_(instance_of(tuple), min_len(1)))


@frozen
class AccessRight:
    """A right that the controller needs for a plug-in, as a rule of its role."""

    group: str = field(validator=instance_of(str))
    """The API group; empty for the core group."""
    resource: str = field(validator=and_(instance_of(str), min_len(1)))
    """The plural name of the objects, such as `virtualservices`."""
    verbs: tuple[str, ...] = field(default=VERBS, validator=_TEXTS)

    def __attrs_post_init__(self) -> None:
        """Refuse rights over everything: an installation grants each right by its name."""
        if "*" in (self.group, self.resource, *self.verbs):
            raise ValueError("AccessRight: found *, expected the names of a group, a resource and verbs. Name each.")


@frozen(kw_only=True)
class PluginDeclaration:
    """The facts about a plug-in: the attribute `declaration` of its factory."""

    capabilities: ProviderCapabilities = field(default=SPLIT_ONLY, validator=instance_of(ProviderCapabilities))
    """The kinds of routing that a mesh supports, for the linter and the admission policy."""
    rights: tuple[AccessRight, ...] = field(
        default=(), validator=deep_iterable(instance_of(AccessRight), instance_of(tuple))
    )
    """The rights of the controller, for `canary install`."""
    definitions: tuple[Json, ...] = field(default=(), validator=deep_iterable(instance_of(dict), instance_of(tuple)))
    """CustomResourceDefinitions that `canary install` applies before the controller's objects."""

    def __attrs_post_init__(self) -> None:
        """Refuse definitions of another kind: an installation would apply any object."""
        for definition in self.definitions:
            if definition.get("kind") != "CustomResourceDefinition":
                found = definition.get("kind")
                raise ValueError(f"definitions: found the kind {found!r}, expected CustomResourceDefinition")


@frozen(kw_only=True)
class Plugin:
    """An installed plug-in."""

    kind: PluginKind
    name: str
    """The name in manifests."""
    distribution: str
    version: str
    source: str
    """The module and name of its factory, as `module:name`."""
    problem: str = ""
    """Why it cannot be used; empty where it can, and for canarycore's own adapters, which are not loaded."""

    @property
    def port(self) -> Port:
        """The port of its adapters, the group of its entry point."""
        return PORT_OF_KIND[self.kind]

    def to_json(self) -> Json:
        """Return the fields as JSON."""
        return {name: getattr(self, name) for name in _FIELDS}


_FIELDS = ("kind", "name", "distribution", "version", "source", "problem")


def list_plugins() -> tuple[Plugin, ...]:
    """Return all installed plug-ins by kind and name, canarycore's own adapters included."""
    return tuple(plugin for port in PORTS for plugin in sorted(_plugins_of(port), key=lambda each: each.name))


def _plugins_of(port: Port) -> Iterator[Plugin]:
    unique = {(entry.name, entry.value): entry for entry in find_entry_points(port)}
    names = Counter(name for name, _ in unique)
    for entry in unique.values():
        is_known = is_ours(port, entry.name) and names[entry.name] == 1
        distribution = entry.dist
        yield Plugin(
            kind=_KIND_OF_PORT[port],
            name=entry.name,
            distribution="" if distribution is None else distribution.name,
            version="" if distribution is None else distribution.version,
            source=entry.value,
            problem="" if is_known else _find_problem(port, entry.name),
        )


def _find_problem(port: Port, name: str) -> str:
    try:
        load_declaration(port, name)
        check_factory(port, name, load(port, name))
    except BrokenAdapter as error:
        return str(error)
    return ""


def parse_plugin_name(text: str) -> tuple[Port, str]:
    """Return the port and the name of `KIND/NAME`. Raise ValueError for another form or an unknown kind."""
    kind, slash, name = text.partition("/")
    port = next((port for known, port in PORT_OF_KIND.items() if known == kind), None)
    if not (slash and name and port):
        raise ValueError(f"found {text!r}, expected KIND/NAME with a kind of {', '.join(PORT_OF_KIND)}")
    return port, name


def load_declaration(port: Port, name: str) -> PluginDeclaration:
    """Return the declaration of a plug-in; the default of one that declares nothing.

    Raise UnknownProvider when it is not installed, and BrokenAdapter when it cannot be loaded or declares another type.
    """
    declaration: Any = getattr(load(port, name), "declaration", None)
    if declaration is None:
        return PluginDeclaration()
    if not isinstance(declaration, PluginDeclaration):
        raise BrokenAdapter(
            f"{port} {name!r}: found a declaration of type {type(declaration).__name__}, expected PluginDeclaration"
        )
    return declaration


def find_installed_providers() -> InstalledProviders:
    """Return the providers that plug-ins add to Flagger's. A mesh that cannot be loaded may do anything here."""
    names = {port: [name for name in installed(port) if not is_ours(port, name)] for port in PORTS}
    return InstalledProviders(
        meshes={name: _find_capabilities(name) for name in names["meshes"]},
        metrics=frozenset(names["metrics"]),
        notifiers=frozenset(names["notifiers"]),
        hooks=frozenset(names["hooks"]),
    )


def _find_capabilities(name: str) -> ProviderCapabilities:
    try:
        return load_declaration("meshes", name).capabilities
    except BrokenAdapter:
        return ANYTHING  # `canary plugins` and the router report it
