"""The ConfigMaps and Secrets of a pod template: their places, their contents, and their copies for the primary.

The primary runs on copies of the target's configs. So a changed config is a new revision, and the rollout analyses and
promotes it as it does a new image. The annotation `flagger.app/config-tracking: disabled` opts a config out: then both
sides share it. They always share Secrets of types that no application owns (registry credentials, tokens).

Several targets may read one config, but each primary has a copy of its own: otherwise the promotion of one Canary would
change what the primary of another reads, without an analysis. The copy has Flagger's name, `env-primary`. A Canary that
finds this object in use by another Canary gives its copy a name of its own, `env-<hash of the Canary's name>-primary`,
and keeps to it from then on.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.bounds import NAME
from canarycore.foreign import get_items, get_mapping
from canarycore.text import compose_name
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import CONFIG_MAP, SECRET
from canarycore_kubernetes.api.metadata import (
    KEPT_FOR,
    PRIMARY_SUFFIX,
    get_annotation,
    label_value,
    merge_owners,
    primary_name,
    saved_name,
    select_by_prefix,
    written_at,
)
from canarycore_kubernetes.api.ownership import UNOWNED, MissingObjectError, Ownership, ownership_of
from canarycore_kubernetes.api.snapshots import OUR_MANAGERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from canarycore_runtime.mesh import Json, Kind

TRACKING = "flagger.app/config-tracking"
"""The annotation that opts a config out, when its value begins with `disable`."""

TRACKED_TYPES = ("Opaque", "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth", "kubernetes.io/tls")
"""The types of Secrets that an application reads."""

_CONTENT = ("type", "data", "binaryData")


class MissingConfigError(MissingObjectError):
    """A config is missing that pods need in order to start."""


@frozen
class ConfigUse:
    """A config that a pod template names."""

    kind: Kind
    name: str

    is_required: bool = True
    """Whether pods need it in order to start."""

    def __str__(self) -> str:
        """Return Flagger's name for it in `status.trackedConfigs`: `configmap/podinfo-env`."""
        return f"{self.kind.kind.lower()}/{self.name}"


@frozen(kw_only=True)
class ConfigVersion:
    """The content of a config at one moment."""

    use: ConfigUse
    checksum: str
    """The checksum of the whole content."""


# -------------------------------------------------------------------------------------------------------------- places


@frozen
class ConfigPlace:
    """One place in a pod spec that names a config: `section[key]`."""

    kind: Kind
    section: Json
    key: str

    @property
    def use(self) -> ConfigUse:
        return ConfigUse(self.kind, str(self.section[self.key]), not self.section.get("optional"))


def config_places(spec: Json) -> Iterator[ConfigPlace]:
    """Yield every place in a pod spec that names a ConfigMap or a Secret."""
    for volume in get_items(spec, "volumes"):
        yield from _places(volume, _VOLUME)
        for source in get_items(volume, "projected", "sources"):
            yield from _places(source, _PROJECTED)
    for container in (*get_items(spec, "containers"), *get_items(spec, "initContainers")):
        for variable in get_items(container, "env"):
            yield from _places(get_mapping(variable, "valueFrom"), _VARIABLE)
        for source in get_items(container, "envFrom"):
            yield from _places(source, _VARIABLES)


_VOLUME = {"configMap": (CONFIG_MAP, "name"), "secret": (SECRET, "secretName")}
_PROJECTED = {"configMap": (CONFIG_MAP, "name"), "secret": (SECRET, "name")}
_VARIABLE = {"configMapKeyRef": (CONFIG_MAP, "name"), "secretKeyRef": (SECRET, "name")}
_VARIABLES = {"configMapRef": (CONFIG_MAP, "name"), "secretRef": (SECRET, "name")}


def _places(source: Json, keys: Mapping[str, tuple[Kind, str]]) -> Iterator[ConfigPlace]:
    for part, (kind, key) in keys.items():
        section = source.get(part)
        if isinstance(section, dict) and isinstance(section.get(key), str) and section[key]:
            yield ConfigPlace(kind, section, key)


def used_configs(places: Iterable[ConfigPlace]) -> tuple[ConfigUse, ...]:
    """Return each config once, in the order of its first place; required where one of its places requires it."""
    uses: dict[tuple[Kind, str], ConfigUse] = {}
    for use in (place.use for place in places):
        if use.is_required or (use.kind, use.name) not in uses:
            uses[use.kind, use.name] = use
    return tuple(uses.values())


# ------------------------------------------------------------------------------------------------------------ contents


@frozen
class ConfigFacts:
    """The projection of a ConfigMap or a Secret that a cache keeps."""

    checksum: str
    """The checksum of the whole content."""

    text: str
    """The checksum without binary data, which Flagger neither compares nor copies: that in `status.trackedConfigs`."""

    is_shared: bool = False
    """Whether the primary uses the same object as the target."""

    written_at: float | None = None
    """When the owner last wrote the content, at the latest (seconds since the epoch); None if unknown."""

    ownership: Ownership = UNOWNED


def config_facts(body: Json, before: ConfigFacts | None = None) -> ConfigFacts:
    """Return the projection of a ConfigMap or a Secret. before: its last projection."""
    text, binary = _checksum(body.get("data")), body.get("binaryData")
    facts = ConfigFacts(
        checksum=_checksum({"data": body.get("data"), "binaryData": binary}) if binary else text,
        text=text,
        is_shared=_is_shared(body),
        written_at=written_at(body, *((part,) for part in _CONTENT), but=OUR_MANAGERS),
        ownership=ownership_of(body),
    )
    return before if before is not None and before == facts else facts


def unread_secret(use: ConfigUse, promoted: Iterable[str]) -> ConfigFacts:
    """Return the facts of a Secret without reading it: its content counts as unchanged since the promotion.

    promoted: the configs of the primary's revision, each as `secret/<name>` or `secret/<name>:<checksum>`.
    """
    checksums = dict(content.split(":", 1) for content in promoted if ":" in content)
    checksum = checksums.get(str(use), "")
    return ConfigFacts(checksum=checksum, text=checksum, is_shared=not checksum, ownership=_OF_A_COPY)


_OF_A_COPY = Ownership(canaries=("",))
"""The ownership of an unread Secret: if a primary names it by a copy's name, it is a copy."""


def _is_shared(body: Json) -> bool:
    opted_out = get_annotation(body, TRACKING).startswith("disable")
    return opted_out or (body["kind"] == SECRET.kind and body.get("type") not in TRACKED_TYPES)


def _checksum(data: object) -> str:
    """Return Flagger's checksum: eight bytes of SHA-256 over JSON in Go's form, which escapes markup."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


CONFIGS: dict[Kind, View[ConfigFacts]] = {
    CONFIG_MAP: View(kind=CONFIG_MAP, project=config_facts),
    # releases of Helm and tokens are large and many, and no application reads them
    SECRET: View(
        kind=SECRET,
        project=config_facts,
        fields="type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token",
    ),
}


# ---------------------------------------------------------------------------------------------------------- the copies


@frozen
class CopyNames:
    """The two names that the primary's copy of a config may have."""

    common: str
    """Flagger's name, which the copies for all Canaries would share."""

    own: str
    """The name for one Canary, where another Canary uses the common one."""

    def other(self, name: str) -> str:
        """Return the one of the two that is not `name`."""
        return self.common if name == self.own else self.own


def copy_names(name: str, canary: str) -> CopyNames:
    """Return the names that the copy of the config `name` may have for a Canary of its namespace."""
    mark = hashlib.sha256(canary.encode(errors="surrogatepass")).hexdigest()[:8]
    return CopyNames(primary_name(name), compose_name(name, f"-{mark}{PRIMARY_SUFFIX}", NAME.most))


def primary_config(body: Json, owner: Json, prefixes: Collection[str], *, name: str, copy: Json | None = None) -> Json:
    """Return the copy of a config for the primary.

    owner: the reference to the Canary. prefixes: prefixes of the labels to copy. name: the name of the copy. copy: the
    present copy, which may have further owners.
    """
    metadata = body["metadata"]
    return _config(
        body,
        name=name,
        labels=select_by_prefix(metadata.get("labels"), prefixes),
        owners=merge_owners(owner, copy),
    )


def saved_config(body: Json, owner: Json, primary: str, *, copy: str) -> Json:
    """Return a copy of a primary's config that outlives the next promotion.

    primary: the workload's name. copy: the name of the primary's copy from now on.
    """
    name = saved_config_name(copy, config_facts(body).checksum)
    return _config(body, name=name, labels={KEPT_FOR: label_value(primary)}, owners=[owner])


def saved_config_name(name: str, checksum: str) -> str:
    """Return the name of the object that saves this content of the config `name`."""
    return saved_name(name, checksum)


def overwritten_config(config: Json, copy: Json) -> Json:
    """Return the primary's config with the content and the owners of a new copy; labels of others stay."""
    metadata = config["metadata"] | {"ownerReferences": copy["metadata"]["ownerReferences"]}
    metadata["labels"] = get_mapping(config, "metadata", "labels") | copy["metadata"]["labels"]
    return restored_config(config, copy) | {"metadata": metadata}


def restored_config(config: Json, saved: Json) -> Json:
    """Return the primary's config with a saved content."""
    emptied = {key: value for key, value in config.items() if key not in _CONTENT}
    return emptied | {part: saved[part] for part in _CONTENT if saved.get(part)}


def _config(body: Json, *, name: str, labels: dict[str, str], owners: list[Json]) -> Json:
    metadata = {"name": name, "namespace": body["metadata"]["namespace"], "labels": labels, "ownerReferences": owners}
    copy = {"apiVersion": "v1", "kind": body["kind"], "metadata": metadata}
    return copy | {part: body[part] for part in _CONTENT if body.get(part)}


def use_copies(spec: Json, copies: Mapping[tuple[str, str], str]) -> None:
    """Replace the names of configs in a pod spec. copies: the new name of each (kind, name)."""
    for place in tuple(config_places(spec)):
        name = copies.get((place.kind.kind, place.use.name))
        if name is not None:
            place.section[place.key] = name
