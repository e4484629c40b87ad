"""Plug-ins: adapters of other distributions, which all commands and the controller find by one declaration.

A plug-in is an entry point, and its factory declares what the commands need to know:

    [project.entry-points."canarycore.meshes"]
    acme = "canarycore_acme.mesh:AcmeMesh"

    class AcmeMesh(Mesh):
        declaration = PluginDeclaration(
            capabilities=ProviderCapabilities(mirror=True),
            rights=(AccessRight("acme.io", "splits"),),
            definitions=(SPLIT_DEFINITION,),
        )

`list_plugins` lists the installed ones, and `find_installed_providers` returns what manifests may name. `factories` has
the Protocol of each kind of factory, and `SchemeHooks` calls the hooks of plug-ins.
"""

from canarycore_runtime.plugins.declaration import (
    AccessRight,
    Plugin,
    PluginDeclaration,
    PluginKind,
    find_installed_providers,
    list_plugins,
    load_declaration,
    parse_plugin_name,
)
from canarycore_runtime.plugins.factories import (
    FACTORIES,
    HookFactory,
    MeshFactory,
    MetricSourceFactory,
    NotifierFactory,
    check_factory,
)
from canarycore_runtime.plugins.scheme_hooks import SchemeHooks

__all__ = [
    "FACTORIES",
    "AccessRight",
    "HookFactory",
    "MeshFactory",
    "MetricSourceFactory",
    "NotifierFactory",
    "Plugin",
    "PluginDeclaration",
    "PluginKind",
    "SchemeHooks",
    "check_factory",
    "find_installed_providers",
    "list_plugins",
    "load_declaration",
    "parse_plugin_name",
]
