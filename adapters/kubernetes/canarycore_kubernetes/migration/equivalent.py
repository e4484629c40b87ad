"""The installation of this controller that is equivalent to an installed Flagger.

    equivalent = find_equivalent(read_deployment(body), providers=("nginx",))
    equivalent.values       the values of the chart
    equivalent.install      the arguments of `canary install`
    equivalent.refusals     the settings that have no equivalent, each with its remedy

The facts about each setting are those of `deploy.chart.VALUES` and `migration.flags.FLAGS`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from attrs import frozen

from canarycore.foreign import get_items
from canarycore_kubernetes.deploy.chart import VALUES
from canarycore_kubernetes.deploy.objects import ROUTING_RIGHTS, InstallOptions
from canarycore_kubernetes.migration.flags import FLAGS, FLAGS_BY_NAME, FLAGS_BY_VALUE, UNKNOWN_FLAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from canarycore_kubernetes.migration.flags import FlaggerFlag
    from canarycore_kubernetes.migration.settings import FlaggerSettings
    from canarycore_runtime.mesh import Json

_VALUES = {value.path: value for value in VALUES}

UNKNOWN_VALUE = "leave it out: neither chart reads it"
"""The remedy for a value that the table lacks."""

_ON_BY_DEFAULT = ("serviceAccount.create", "rbac.create", "securityContext.enabled")
"""Switches of the chart that are on unless a values file turns them off."""

_OF_THE_COMMAND = ("crd.create", "leaderElection.enabled", "leaderElection.replicaCount")
"""Values for which `canary install` has settings of its own: it installs the definitions, and elects a leader."""

_LEASE = "leader-election-namespace"


@frozen(kw_only=True)
class SettingDifference:
    """A setting that has another effect or another default here."""

    name: str
    """The flag, or the path of the value."""
    flagger: str
    """Flagger's value."""
    own: str
    """The value here."""
    note: str = ""


@frozen(kw_only=True)
class RefusedSetting:
    """A setting without an equivalent."""

    name: str
    """The flag, or the path of the value."""
    found: str
    """Its value, as JSON."""
    remedy: str
    """The replacement."""

    def __str__(self) -> str:
        return f"{self.name}: found {self.found}. Instead, {self.remedy}."


@frozen(kw_only=True)
class EquivalentInstallation:
    """The installation that is equivalent to an installed Flagger."""

    values: Json
    """The values of the chart, without secret ones."""
    install: tuple[str, ...]
    """The arguments of `canary install`."""
    chart_only: tuple[str, ...] = ()
    """The settings that only the chart has, by the path of the value."""
    secrets: Mapping[str, str]
    """The paths of the values that are secret, and so not repeated, with the name of a variable for each."""
    differences: tuple[SettingDifference, ...] = ()
    """The settings with another effect or another default."""
    refusals: tuple[RefusedSetting, ...] = ()
    """The settings without an equivalent."""


def find_equivalent(settings: FlaggerSettings, providers: Iterable[str] = ()) -> EquivalentInstallation:
    """Return the equivalent installation. providers: those that the Canaries of the cluster name."""
    refusals = tuple(_find_refusals(settings))
    names = {each.name for each in refusals}
    accepted = {path: value for path, value in settings.values.items() if path not in names}
    secrets = {
        path: FLAGS_BY_VALUE[path].variable
        for path in accepted
        if path in FLAGS_BY_VALUE and FLAGS_BY_VALUE[path].variable
    }
    flags = [flag for flag in FLAGS if flag.name in settings.flags and not flag.replacement]
    secrets |= {f"-{flag.name}": flag.variable for flag in flags if flag.variable}
    env, secret_variables = _split_variables(get_items(accepted, "env"))
    secrets |= secret_variables
    open_values = {path: value for path, value in accepted.items() if path not in (*secrets, "env")}
    open_values |= {"env": env} if env else {}
    default = str(accepted.get("meshProvider") or FLAGS_BY_NAME["mesh-provider"].default)
    further = [name for name in dict.fromkeys(providers) if name != default and name in ROUTING_RIGHTS]
    further_flags = [
        _go_flag(flag, settings.flags[flag.name]) for flag in flags if not (flag.is_ignored or flag.variable)
    ]
    values = _nested(
        {
            **open_values,
            **({"providers": further} if further else {}),
            **({"flags": further_flags} if further_flags else {}),
        }
    )
    server = FLAGS_BY_NAME["metrics-server"]
    arguments, chart_only = _arguments({server.value: server.default} | open_values)
    home = ["--namespace", settings.namespace] if settings.namespace else []
    rights = [part for name in (default, *further) for part in ("--provider", name) if name in ROUTING_RIGHTS]
    return EquivalentInstallation(
        values=values,
        install=(*home, *rights, *arguments, *(f"--flag={text}" for text in further_flags)),
        chart_only=(*chart_only, *secrets),
        secrets=secrets,
        differences=tuple(_differences(settings, accepted)),
        refusals=refusals,
    )


# ------------------------------------------------------------------------------------------------------------ refusals


def _find_refusals(settings: FlaggerSettings) -> Iterator[RefusedSetting]:
    for path, value in settings.values.items():
        remedy = _remedy(path, value)
        if remedy:
            yield RefusedSetting(name=path, found=json.dumps(value), remedy=remedy)
    repository = settings.values.get("image.repository")
    if "image.tag" in settings.values and (repository is None or _remedy("image.repository", repository)):
        value = json.dumps(settings.values["image.tag"])
        yield RefusedSetting(name="image.tag", found=value, remedy=_VALUES["image.repository"].replacement)
    for name, text in settings.flags.items():
        flag = FLAGS_BY_NAME.get(name)
        remedy = UNKNOWN_FLAG if flag is None else flag.replacement
        is_usual = flag is not None and text == flag.default
        if remedy and not is_usual and not (name == _LEASE and text == settings.namespace):
            yield RefusedSetting(name=f"-{name}", found=json.dumps(text), remedy=remedy)


def _remedy(path: str, value: Any) -> str:
    """Return the remedy for a refused value of the chart; empty if the chart takes it."""
    known = _VALUES.get(path)
    if known is None:
        return UNKNOWN_VALUE
    if path == "meshProvider" and str(value) not in ROUTING_RIGHTS:
        return f"choose one of {', '.join(ROUTING_RIGHTS)}"
    if not known.replacement or value is False:
        return ""
    return known.replacement if re.search(known.refused or ".", str(value)) else ""


# ------------------------------------------------------------------------------------------------------------ settings


def _split_variables(variables: Sequence[Json]) -> tuple[list[Json], dict[str, str]]:
    """Return the environment variables without the secret ones that have their text in the open, and these."""
    paths = {flag.variable: flag.value or f"env.{flag.variable}" for flag in FLAGS if flag.variable}
    literals = [each for each in variables if each.get("name") in paths and each.get("value")]
    return (
        [each for each in variables if each not in literals],
        {paths[each["name"]]: each["name"] for each in literals},
    )


def _nested(values: Mapping[str, Any]) -> Json:
    tree: Json = {}
    for path, value in values.items():
        *tables, name = path.split(".")
        place = tree
        for table in tables:
            place = place.setdefault(table, {})
        place[name] = value
    return tree


def _arguments(values: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the arguments of `canary install`, and the paths of the values that it has no option for."""
    arguments: list[str] = []
    chart_only: list[str] = []
    for path, value in values.items():
        flag = FLAGS_BY_VALUE.get(path)
        if path == "meshProvider" or (path in _OF_THE_COMMAND and not _needs_chart(path, value)):
            continue
        if path == "serviceMonitor.enabled" and value:
            arguments.append("--service-monitor")
        elif flag is not None and flag.option:
            arguments += [flag.option, str(value)]
        elif flag is not None and path != "controlplane.kubeconfig.key" and path not in _OF_THE_COMMAND:
            text = str(value).lower() if flag.is_switch else str(value)
            if text != flag.default or not flag.is_switch:
                arguments.append(f"--flag={_go_flag(flag, text)}")
        elif not _has_no_effect(path, value):
            chart_only.append(path)
    return arguments, chart_only


def _needs_chart(path: str, value: Any) -> bool:
    return path == "leaderElection.replicaCount" and str(value) not in (str(InstallOptions().replicas), "1")


def _has_no_effect(path: str, value: Any) -> bool:
    known = _VALUES.get(path)
    is_off = value is False and path not in _ON_BY_DEFAULT
    is_on = value is True and path in _ON_BY_DEFAULT
    return is_off or is_on or (known is not None and not known.has_effect)


def _go_flag(flag: FlaggerFlag, text: str) -> str:
    if flag.is_switch:
        return f"--{flag.name}" if text == "true" else f"--no-{flag.name}"
    return f"--{flag.name}={text}"


# --------------------------------------------------------------------------------------------------------- differences


def _differences(settings: FlaggerSettings, accepted: Mapping[str, Any]) -> Iterator[SettingDifference]:
    for flag in FLAGS:
        is_set = flag.value in accepted or flag.name in settings.flags
        theirs = (flag.chart_default if settings.is_chart else "") or flag.default
        if is_set and flag.is_ignored:
            yield SettingDifference(name=f"-{flag.name}", flagger=settings.flags[flag.name], own="", note=flag.note)
        elif not is_set and theirs != flag.own_default and not flag.replacement:
            yield SettingDifference(name=f"-{flag.name}", flagger=theirs, own=flag.own_default)
    if not accepted.get("leaderElection.enabled"):
        note = FLAGS_BY_NAME["enable-leader-election"].note
        yield SettingDifference(
            name="leaderElection.replicaCount", flagger="1", own=str(InstallOptions().replicas), note=note
        )
