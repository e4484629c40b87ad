"""The check of adapters before a runner uses them: each has the methods of its port, as the port declares them.

The runner would meet a missing method only at the first call, which may be the promotion. A protocol check of types
finds the same mistakes, for those who run one.
"""

from __future__ import annotations

import inspect
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from canarycore.errors import CanaryError, Problem
from canarycore.text import shorten
from canarycore_runtime._calls import Limits
from canarycore_runtime.ports import (
    Adapters,
    Broadcaster,
    Changes,
    HookPort,
    MetricSource,
    Notifier,
    Router,
    StatusStore,
    WorkloadPort,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SINGLE_PORTS: dict[str, type] = {
    "store": StatusStore,
    "workload": WorkloadPort,
    "router": Router,
    "metrics": MetricSource,
    "hooks": HookPort,
}
"""The ports with one adapter, by their field of Adapters."""


class InvalidAdapters(CanaryError, TypeError):
    """A runner cannot use its adapters. `problems` lists everything wrong with them."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("the runner cannot use its adapters:\n" + "\n".join(f"  {problem}" for problem in problems))


def check_adapters(parts: Adapters) -> None:
    """Raise InvalidAdapters unless each adapter has the methods of its port."""
    problems = tuple(_problems(parts))
    if problems:
        raise InvalidAdapters(problems)


def check_port(port: str, adapter: object) -> None:
    """Raise InvalidAdapters unless an adapter has the methods of its port: a field of Adapters, or `notifiers`."""
    if port == "notifiers":
        problems = tuple(_check_all(port, (adapter,), Notifier))
    else:
        problems = tuple(_check_adapter(port, adapter, SINGLE_PORTS[port]))
    if problems:
        raise InvalidAdapters(problems)


def check_settings(limits: object, refuse: object, on_cycle: object, jitter: object) -> None:
    """Raise InvalidAdapters if a setting of a runner has another type than its parameter."""
    problems = []
    if not isinstance(limits, Limits | None):
        problems.append(_problem("limits", _describe(limits), "Limits", "Write Limits(cycles=8)."))
    if refuse not in ("error", "warning", None):
        problems.append(_problem("refuse", shorten(refuse), "'error', 'warning' or None", "Choose a severity."))
    for name, function in (("on_cycle", on_cycle), ("jitter", jitter)):
        if function is not None:
            problems += _check_function(name, function)
    if problems:
        raise InvalidAdapters(tuple(problems))


def _problems(parts: object) -> Iterator[Problem]:
    if not isinstance(parts, Adapters):
        yield _problem("parts", _describe(parts), "Adapters", "Write Adapters(store=…, workload=…, …).")
        return
    for name, port in SINGLE_PORTS.items():
        yield from _check_adapter(name, getattr(parts, name), port)
    yield from _check_function("clock", parts.clock)
    yield from _check_all("notifiers", parts.notifiers, Notifier)
    yield from _check_all("changes", parts.changes, Changes)


def _check_all(name: str, adapters: object, port: type) -> Iterator[Problem]:
    if not isinstance(adapters, tuple):
        remedy = f"Write {name}=(adapter,), with a comma."
        yield _problem(name, _describe(adapters), f"a tuple of {port.__name__}", remedy)
        return
    for place, adapter in enumerate(adapters):
        is_broadcaster = port is Notifier and not isinstance(adapter, type) and hasattr(adapter, "broadcast")
        yield from _check_adapter(f"{name}[{place}]", adapter, Broadcaster if is_broadcaster else port)


def _check_adapter(path: str, adapter: object, port: type) -> Iterator[Problem]:
    if isinstance(adapter, type):
        remedy = f"Write {adapter.__name__}(…)."
        yield _problem(path, f"the class {adapter.__name__}", f"an instance, as {port.__name__}", remedy)
        return
    for name, declared in inspect.getmembers(port, inspect.isfunction):
        if not name.startswith("_"):
            yield from _check_method(f"{path}.{name}", adapter, name, declared, port)


def _check_method(path: str, adapter: object, name: str, declared: Callable[..., Any], port: type) -> Iterator[Problem]:
    method = getattr(adapter, name, None)
    parameters = list(inspect.signature(declared).parameters)[1:]
    is_async = inspect.iscoroutinefunction(declared)
    expected = f"{'async def' if is_async else 'async generator'} {name}({', '.join(parameters)})"
    remedy = f"canarycore_runtime.ports.{port.__name__} documents it."
    if not callable(method):
        found = "no such method" if method is None else _describe(method)
        yield _problem(path, f"{found} in {_describe(adapter)}", expected, remedy)
    elif is_async and _is_synchronous(method):
        yield _problem(path, "a function without async", expected, remedy)
    elif not is_async and inspect.iscoroutinefunction(method):
        yield _problem(path, "a coroutine function, which yields nothing", expected, remedy)
    elif not _takes(method, len(parameters)):
        yield _problem(path, f"{name}{inspect.signature(method)}", expected, remedy)


def _check_function(path: str, function: object) -> Iterator[Problem]:
    """Check a function that the runner calls without await."""
    if isinstance(function, type):
        yield _problem(path, f"the class {function.__name__}", "a function", f"Write {function.__name__}(…).")
    elif not callable(function):
        yield _problem(path, _describe(function), "a function", "Pass a function, without calling it.")
    elif inspect.iscoroutinefunction(function):
        yield _problem(path, "a coroutine function", "a function without async", "The runner does not await it.")


def _is_synchronous(method: object) -> bool:
    """Check whether a method is surely no coroutine function: a plain `def` that declares no awaitable result."""
    while isinstance(method, partial):
        method = method.func
    function = method.__func__ if isinstance(method, MethodType) else method
    if not isinstance(function, FunctionType) or inspect.iscoroutinefunction(inspect.unwrap(function)):
        return False
    returned = str(function.__annotations__.get("return", ""))
    return function.__name__ != "<lambda>" and not any(kind in returned for kind in _AWAITABLE)


_AWAITABLE = ("Awaitable", "Coroutine", "Future", "Task")
"""Parts of the annotation of a function that returns an awaitable."""


def _takes(method: Callable[..., Any], count: int) -> bool:
    """Check whether a method takes so many arguments; True where it does not say."""
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _describe(value: object) -> str:
    return "None" if value is None else f"an instance of {type(value).__name__}"


def _problem(path: str, found: str, expected: str, remedy: str) -> Problem:
    return Problem(path=path, found=found, expected=expected, remedy=remedy, rule="adapter")
