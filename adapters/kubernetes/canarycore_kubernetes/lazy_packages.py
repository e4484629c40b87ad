"""Lazy packages: kubernetes_asyncio without its 800 models and interfaces, which nothing here uses.

    with lazy_packages(KUBERNETES):
        from kubernetes_asyncio.client import ApiClient

An `import` of kubernetes_asyncio runs its `__init__` files, which import a class for each kind and group of the API.
They cost a fifth of the time of `canary get`, and 25 MB. Here these files run when somebody needs a name that only
they have. Until then a package has its submodules, and the names in the table. So the package works for other users of
the process too, as if it had been imported in the usual way.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

KUBERNETES: dict[str, Mapping[str, str]] = {
    "kubernetes_asyncio": {},
    "kubernetes_asyncio.client": {"ApiClient": "api_client", "Configuration": "configuration"},
    "kubernetes_asyncio.client.models": {},
}
"""The packages whose `__init__` waits, each with names that do not need it, and their submodules."""


_OWN_NAMES = ("__all__", "__project__", "__version__")
"""The names with underscores that an `__init__` defines."""


@contextmanager
def lazy_packages(packages: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Import these packages lazily while the context is open. Packages that are imported already stay as they are."""
    finder = _Finder(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    """A finder of lazy packages."""

    def __init__(self, packages: Mapping[str, Mapping[str, str]]) -> None:
        self._packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a package in the table; None for all other modules."""
        names = self._packages.get(fullname)
        spec = None if names is None else PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None or names is None:
            return None
        spec.loader = _LazyLoader(spec.loader, names)
        return spec


class _LazyLoader(Loader):
    """The loader of a package whose `__init__` runs for the first name that needs it."""

    def __init__(self, loader: Loader, names: Mapping[str, str]) -> None:
        self._loader = loader
        self._names = names

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave the creation to the import system."""
        del spec
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Give the package a `__getattr__` in place of its names."""
        package = module.__name__

        def find(name: str) -> Any:
            if name.startswith("__") and name not in _OWN_NAMES:  # the import system asks for these
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
            if name in self._names:
                return getattr(import_module(f"{package}.{self._names[name]}"), name)
            if find_spec(f"{package}.{name}") is not None:
                return import_module(f"{package}.{name}")
            if vars(module).pop("__getattr__", None) is not None:
                self._loader.exec_module(module)
            return getattr(module, name)

        vars(module)["__getattr__"] = find
