"""The labels that select the pods of a target and of its primary.

    own = workload_selector(target)                        {"app": "web", "instance": "a"}
    primary_selector(own, "app")                           {"app": "web-primary", "instance": "a"}
    tells_apart(own, {"app": "web-primary"})               True: no pod of one side is a pod of the other

The selector of a workload is immutable, and labels and options change under a running primary. So the selector of an
existing primary is read from the primary. It is derived from the target only once, when the primary is created.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.foreign import get_items, get_list, get_mapping, get_text, get_texts
from canarycore_kubernetes.api.metadata import PRIMARY_SUFFIX, primary_label, primary_name
from canarycore_kubernetes.api.ownership import BlockedError
from canarycore_runtime.mesh import PodSelectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from canarycore_runtime.mesh import Json


def workload_selector(workload: Json) -> dict[str, str]:
    """Return the labels and values that a workload's selector requires.

    An expression with one allowed value is such a pair too. A Service cannot express any other expression.
    """
    selector = get_mapping(workload, "spec", "selector")
    required = dict(get_texts(selector, "matchLabels"))
    for expression in get_items(selector, "matchExpressions"):
        values = get_list(expression, "values")
        if expression.get("operator") == "In" and len(values) == 1:
            required.setdefault(get_text(expression, "key"), str(values[0]))
    return required


def find_selector_label(selector: Mapping[str, str], labels: Iterable[str]) -> str:
    """Return the first of `labels` that a target's selector has; empty if it has none."""
    return next((label for label in labels if label in selector), "")


def primary_selector(selector: Mapping[str, str], label: str) -> dict[str, str]:
    """Return the selector of a new primary: the target's, with another value of `label`."""
    return {**selector, label: primary_label(selector[label])}


def replaced_label(selector: Mapping[str, str], labels: Iterable[str]) -> str:
    """Return the label whose value a primary's selector has changed; empty if there is none."""
    changed = [label for label, value in selector.items() if value.endswith(PRIMARY_SUFFIX)]
    return next((label for label in labels if label in changed), changed[0] if changed else "")


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Check whether a selector selects pods with these labels. An empty selector selects none, as in a Service."""
    return bool(selector) and selector.items() <= labels.items()


def tells_apart(target: Mapping[str, str], primary: Mapping[str, str]) -> bool:
    """Check whether no pod can match both selectors."""
    return bool(differing_labels(target, primary))


def differing_labels(target: Mapping[str, str], primary: Mapping[str, str]) -> tuple[str, ...]:
    """Return the labels for which the two selectors require different values."""
    return tuple(label for label, value in primary.items() if target.get(label, value) != value)


def new_selectors(target: Mapping[str, str], label: str) -> PodSelectors:
    """Return the selectors of a target and of the primary that it would get. An empty label means no pods."""
    if not label:
        return PodSelectors()
    return PodSelectors(label=label, canary=target, primary=primary_selector(target, label))


def existing_selectors(target: Mapping[str, str], primary: Mapping[str, str], labels: Iterable[str]) -> PodSelectors:
    """Return the selectors of a target and of its existing primary. labels: the selector labels."""
    differing = differing_labels(target, primary)
    label = find_selector_label(dict.fromkeys(differing, ""), labels) or next(iter(differing), "")
    return PodSelectors(label=label or replaced_label(primary, labels), canary=target, primary=primary)


class SelectorMismatchError(BlockedError):
    """The target has other labels than when its primary was created: one selector would select both sides' pods."""

    def __init__(
        self, kind: str, name: str, namespace: str, target: Mapping[str, str], primary: Mapping[str, str]
    ) -> None:
        has, needs = describe_selector(target), describe_selector(primary)
        original = " or ".join(sorted(primary))
        super().__init__(
            f"{kind.lower()} {name}.{namespace} selects its pods by {has}, but the existing {primary_name(name)} "
            f"selects them by {needs}, which is immutable: found no label with two values, expected {original} in the "
            "target's selector. The primary keeps its traffic, and nothing is changed. Give the target its former "
            "selector, or migrate to the new one (docs/kubernetes.md, Changing the labels of a target)."
        )


class SharedPodsError(BlockedError):
    """A primary shares its pods with another workload, or would: a Service would send requests to both."""

    def __init__(self, kind: str, name: str, namespace: str, selector: Mapping[str, str], other: str) -> None:
        super().__init__(
            f"{kind.lower()} {name}.{namespace} cannot have a primary of its own: found the pods of {other} under the "
            f"labels {describe_selector(selector)} too, expected labels that only the primary's pods have. Give the "
            "selector of the target, or of the other workload, one more label that tells the two apart."
        )


def describe_selector(selector: Mapping[str, str]) -> str:
    """Return a selector in kubectl's syntax."""
    return ",".join(f"{label}={value}" for label, value in sorted(selector.items())) or "no label"
