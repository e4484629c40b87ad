"""The ConfigMaps and Secrets of a pod template: where it names them, what they hold, and their primary copies.

The primary runs on copies of the target's configs, so that a change of one is a new revision that is analysed and
promoted as a new image is. An owner opts a config out by the annotation `flagger.app/config-tracking: disabled`; then
both sides share it. Secrets of other types than an application's own (registry credentials, tokens) are always shared.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.errors import WorldError
from canarycore.foreign import get_items, get_mapping
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import CONFIG_MAP, SECRET
from canarycore_kubernetes.api.metadata import KEPT_FOR, get_annotation, merge_owners, primary_name, select_by_prefix
from canarycore_kubernetes.api.ownership import UNOWNED, Ownership, ownership_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from canarycore_runtime.mesh import Json, Kind

TRACKING = "flagger.app/config-tracking"
"""The annotation that opts a config out, when its value begins with `disable`."""

TRACKED_TYPES = ("Opaque", "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth", "kubernetes.io/tls")
"""The types of Secrets that an application reads."""

_CONTENT = ("type", "data", "binaryData")


class MissingConfigError(WorldError):
    """A config is not there without which no pod starts. It may come any moment."""


@frozen
class ConfigUse:
    """A config by name, as a pod template has it. `required`: pods do not start without it."""

    kind: Kind
    name: str
    required: bool = True

    def __str__(self) -> str:
        """As Flagger writes it in `status.trackedConfigs`: `configmap/podinfo-env`."""
        return f"{self.kind.kind.lower()}/{self.name}"


@frozen(kw_only=True)
class ConfigVersion:
    """A config as it was at a moment."""

    use: ConfigUse
    checksum: str
    """The checksum of the whole content."""


# ------------------------------------------------------------------------------------------------- where they are named


@frozen
class ConfigSpot:
    """One place in a pod spec where a config is named: `holder[key]`."""

    kind: Kind
    holder: Json
    key: str

    @property
    def use(self) -> ConfigUse:
        return ConfigUse(self.kind, str(self.holder[self.key]), not self.holder.get("optional"))


def config_spots(spec: Json) -> Iterator[ConfigSpot]:
    """Every place in a pod spec where a ConfigMap or a Secret is named."""
    for volume in get_items(spec, "volumes"):
        yield from _named(volume, _VOLUME)
        for source in get_items(volume, "projected", "sources"):
            yield from _named(source, _PROJECTED)
    for container in (*get_items(spec, "containers"), *get_items(spec, "initContainers")):
        for variable in get_items(container, "env"):
            yield from _named(get_mapping(variable, "valueFrom"), _VARIABLE)
        for source in get_items(container, "envFrom"):
            yield from _named(source, _VARIABLES)


_VOLUME = {"configMap": (CONFIG_MAP, "name"), "secret": (SECRET, "secretName")}
_PROJECTED = {"configMap": (CONFIG_MAP, "name"), "secret": (SECRET, "name")}
_VARIABLE = {"configMapKeyRef": (CONFIG_MAP, "name"), "secretKeyRef": (SECRET, "name")}
_VARIABLES = {"configMapRef": (CONFIG_MAP, "name"), "secretRef": (SECRET, "name")}


def _named(source: Json, where: Mapping[str, tuple[Kind, str]]) -> Iterator[ConfigSpot]:
    for part, (kind, key) in where.items():
        holder = source.get(part)
        if isinstance(holder, dict) and isinstance(holder.get(key), str) and holder[key]:
            yield ConfigSpot(kind, holder, key)


def used_configs(spots: Iterable[ConfigSpot]) -> tuple[ConfigUse, ...]:
    """Each config once, in the order of its first place; required where one of its places requires it."""
    found: dict[tuple[Kind, str], ConfigUse] = {}
    for use in (spot.use for spot in spots):
        if use.required or (use.kind, use.name) not in found:
            found[use.kind, use.name] = use
    return tuple(found.values())


# ------------------------------------------------------------------------------------------------------- what they hold


@frozen
class ConfigFacts:
    """What is held of a ConfigMap or a Secret.

    checksum: of all that it holds. text: the same without binary data, which Flagger neither looks at nor copies; where
    there is none, both are what Flagger writes in `status.trackedConfigs`. shared: whether a primary uses the same
    object. ownership: whose it is.
    """

    checksum: str
    text: str
    shared: bool = False
    ownership: Ownership = UNOWNED


def config_facts(body: Json, before: ConfigFacts | None = None) -> ConfigFacts:
    """The projection of a ConfigMap or a Secret."""
    text, binary = _checksum(body.get("data")), body.get("binaryData")
    facts = ConfigFacts(
        checksum=_checksum({"data": body.get("data"), "binaryData": binary}) if binary else text,
        text=text,
        shared=_is_shared(body),
        ownership=ownership_of(body),
    )
    return before if before is not None and before == facts else facts


def unread_secret(use: ConfigUse, promoted: Iterable[str]) -> ConfigFacts:
    """Return the facts of a Secret that is not read: its content counts as unchanged since the promotion.

    promoted: the configs of the primary's revision, each as `secret/<name>` or `secret/<name>:<checksum>`.
    """
    checksums = dict(content.split(":", 1) for content in promoted if ":" in content)
    checksum = checksums.get(str(use), "")
    return ConfigFacts(checksum=checksum, text=checksum, shared=not checksum, ownership=_OF_A_COPY)


_OF_A_COPY = Ownership(canaries=("",))
"""The ownership of a Secret that is not read: one that a primary names under a copy's name is a copy."""


def _is_shared(body: Json) -> bool:
    opted_out = get_annotation(body, TRACKING).startswith("disable")
    return opted_out or (body["kind"] == SECRET.kind and body.get("type") not in TRACKED_TYPES)


def _checksum(data: object) -> str:
    """As Flagger has it: eight bytes of SHA-256 over JSON as Go writes it, in which markup is escaped."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


CONFIGS: dict[Kind, View[ConfigFacts]] = {
    CONFIG_MAP: View(kind=CONFIG_MAP, project=config_facts),
    # releases of Helm and tokens are large, many, and never an application's own
    SECRET: View(
        kind=SECRET,
        project=config_facts,
        fields="type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token",
    ),
}


# ----------------------------------------------------------------------------------------------------------- the copies


def primary_config(body: Json, owner: Json, prefixes: Collection[str], found: Json | None = None) -> Json:
    """The copy of a config that a primary runs on.

    owner: the reference to the Canary. prefixes: of labels that are copied. found: the copy that is there, which may
    have further owners: other Canaries whose targets read the same config.
    """
    metadata = body["metadata"]
    return _holding(
        body,
        name=primary_name(metadata["name"]),
        labels=select_by_prefix(metadata.get("labels"), prefixes),
        owners=merge_owners(owner, found),
    )


def kept_config(body: Json, owner: Json, primary: str) -> Json:
    """A copy of a primary's config that outlives the next promotion. `primary`: the workload's name."""
    name = kept_name(body["metadata"]["name"], config_facts(body).checksum)
    return _holding(body, name=name, labels={KEPT_FOR: primary}, owners=[owner])


def kept_name(name: str, checksum: str) -> str:
    """What a kept copy of the config `name` is called."""
    return f"{name}-{checksum}"


def overwritten_config(found: Json, copy: Json) -> Json:
    """The primary's config `found`, holding and owned as `copy` is; labels of others stay."""
    metadata = found["metadata"] | {"ownerReferences": copy["metadata"]["ownerReferences"]}
    metadata["labels"] = get_mapping(found, "metadata", "labels") | copy["metadata"]["labels"]
    return restored_config(found, copy) | {"metadata": metadata}


def restored_config(found: Json, kept: Json) -> Json:
    """The primary's config `found` with what was kept of it."""
    emptied = {key: value for key, value in found.items() if key not in _CONTENT}
    return emptied | {part: kept[part] for part in _CONTENT if kept.get(part)}


def _holding(body: Json, *, name: str, labels: dict[str, str], owners: list[Json]) -> Json:
    metadata = {"name": name, "namespace": body["metadata"]["namespace"], "labels": labels, "ownerReferences": owners}
    copy = {"apiVersion": "v1", "kind": body["kind"], "metadata": metadata}
    return copy | {part: body[part] for part in _CONTENT if body.get(part)}


def use_copies(spec: Json, copied: Collection[tuple[str, str]]) -> None:
    """Name the copies of these configs (kind, name) in a pod spec."""
    for spot in tuple(config_spots(spec)):
        if (spot.kind.kind, spot.use.name) in copied:
            spot.holder[spot.key] = primary_name(spot.use.name)
