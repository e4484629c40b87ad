"""The two built-in metrics as PromQL, in the words of Flagger's queries, so that recording rules and dashboards fit.

Labels are given as they stand in the query. They are Go templates: `{{ namespace }}` and the like are filled in later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import CheckKind

if TYPE_CHECKING:
    from collections.abc import Mapping

RESPONSES_OF_ENVOY = "envoy_cluster_upstream_rq"
TIMES_OF_ENVOY = "envoy_cluster_upstream_rq_time_bucket"
NO_ERROR_OF_ENVOY = 'envoy_response_code!~"5.*"'

PODS = (
    'kubernetes_namespace="{{ namespace }}"',
    'kubernetes_pod_name=~"{{ target }}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"',
)
"""A Deployment's pods, as Prometheus's pod discovery labels them."""


def built_in(success_rate: str, duration: str) -> Mapping[CheckKind, str]:
    """Both queries by the metric they answer."""
    return {CheckKind.SUCCESS_RATE: success_rate, CheckKind.DURATION: duration}


def of_envoy(cluster: str) -> Mapping[CheckKind, str]:
    """The queries where Envoy's own counts are scraped. `cluster`: the label that tells the canary's upstream."""
    return built_in(
        success_rate(RESPONSES_OF_ENVOY, cluster, NO_ERROR_OF_ENVOY, good=NO_ERROR_OF_ENVOY, open_ended=True),
        percentile_99(TIMES_OF_ENVOY, cluster, open_ended=True),
    )


def success_rate(counter: str, *labels: str, good: str, open_ended: bool = False) -> str:
    """Percent of requests that went well: those with the label `good`, which is one of `labels`, among all.

    open_ended: the last comma of labels is written, which PromQL allows and some of Flagger's queries have.
    """
    others = [label for label in labels if label != good]
    return f"{_sum(counter, labels)} / {_sum(counter, others, open_ended=open_ended)} * 100"


def percentile_99(histogram: str, *labels: str, open_ended: bool = False) -> str:
    """What 99 of 100 requests did not take longer than, in the histogram's unit."""
    return f"histogram_quantile( 0.99, {_sum(histogram, labels, open_ended=open_ended)} by (le) )"


def mean(total: str, count: str, *labels: str) -> str:
    """The average of what was summed up in seconds, in milliseconds."""
    return f"{_sum(total, labels)} / {_sum(count, labels)} * 1000"


def _sum(metric: str, labels: tuple[str, ...] | list[str], *, open_ended: bool = False) -> str:
    end = "," if open_ended else ""
    return f"sum( rate( {metric}{{ {', '.join(labels)}{end} }}[{{{{ interval }}}}] ) )"
