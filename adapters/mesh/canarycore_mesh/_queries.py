"""The PromQL of the two built-in metrics, written as Flagger writes it, so that recording rules still apply.

A query asks for the names that the mesh routes to: `{{ service }}` is the apex Service, `{{ target }}` names the pods.
Labels are literal text of the query. A query is a Go template: variables such as `{{ namespace }}` get values later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import CheckKind

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVOY_RESPONSES = "envoy_cluster_upstream_rq"
ENVOY_TIMES = "envoy_cluster_upstream_rq_time_bucket"
ENVOY_NO_ERROR = 'envoy_response_code!~"5.*"'

PODS = (
    'kubernetes_namespace="{{ namespace }}"',
    'kubernetes_pod_name=~"{{ target }}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"',
)
"""The labels that Prometheus's pod discovery gives a Deployment's pods."""


def built_in_queries(success_rate: str, duration: str) -> Mapping[CheckKind, str]:
    """Return both queries by their metric."""
    return {CheckKind.SUCCESS_RATE: success_rate, CheckKind.DURATION: duration}


def envoy_queries(cluster: str) -> Mapping[CheckKind, str]:
    """Return the queries of Envoy's own metrics. cluster: the label of the canary's upstream."""
    return built_in_queries(
        success_rate(ENVOY_RESPONSES, cluster, ENVOY_NO_ERROR, good=ENVOY_NO_ERROR, trailing_comma=True),
        percentile_99(ENVOY_TIMES, cluster, trailing_comma=True),
    )


def success_rate(counter: str, *labels: str, good: str, trailing_comma: bool = False) -> str:
    """Return the query of the percent of successful requests: those with the label `good`, which is one of `labels`.

    trailing_comma: write a comma after the last label, as some of Flagger's queries do. PromQL allows it.
    """
    all_requests = [label for label in labels if label != good]
    return f"{_sum(counter, labels)} / {_sum(counter, all_requests, trailing_comma=trailing_comma)} * 100"


def percentile_99(histogram: str, *labels: str, trailing_comma: bool = False) -> str:
    """Return the query of the 99th percentile of durations, in the histogram's unit."""
    return f"histogram_quantile( 0.99, {_sum(histogram, labels, trailing_comma=trailing_comma)} by (le) )"


def mean(total: str, count: str, *labels: str) -> str:
    """Return the query of the average duration in milliseconds. total: the sum of durations, in seconds."""
    return f"{_sum(total, labels)} / {_sum(count, labels)} * 1000"


def _sum(metric: str, labels: tuple[str, ...] | list[str], *, trailing_comma: bool = False) -> str:
    end = "," if trailing_comma else ""
    return f"sum( rate( {metric}{{ {', '.join(labels)}{end} }}[{{{{ interval }}}}] ) )"
