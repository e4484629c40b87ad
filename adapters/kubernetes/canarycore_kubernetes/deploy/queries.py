"""PromQL on the exporter's series.

A function takes the series from the table of the exporter, so a query names no series that does not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from canarycore_kubernetes.telemetry.series import ExportedSeries


def select(series: ExportedSeries, match: str = "", suffix: str = "") -> str:
    """Return a selector; `match` are its conditions on labels, and `suffix` is the end of a histogram's series."""
    return f"{series}{suffix}{{{match}}}" if match else f"{series}{suffix}"


def total(series: ExportedSeries, *by: str, match: str = "") -> str:
    """Return the sum of a series over all labels except `by`."""
    return f"sum by ({', '.join(by)}) ({select(series, match)})"


def per_second(series: ExportedSeries, window: str, *by: str, match: str = "", suffix: str = "") -> str:
    """Return the increase of a counter per second over a window, by labels."""
    return f"sum by ({', '.join(by)}) (rate({select(series, match, suffix)}[{window}]))"


def increase(series: ExportedSeries, window: str, *by: str, match: str = "", suffix: str = "") -> str:
    """Return the increase of a counter over a window, by labels."""
    return f"sum by ({', '.join(by)}) (increase({select(series, match, suffix)}[{window}]))"


def quantile(share: float, series: ExportedSeries, window: str, *by: str, match: str = "") -> str:
    """Return a quantile of a histogram over a window, by labels."""
    labels = ", ".join((*by, "le"))
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({select(series, match, '_bucket')}[{window}])))"


def has_increased(series: ExportedSeries, window: str, match: str = "") -> str:
    """Return the increase of each series of a counter over a window where there is one.

    A series that appears within the window counts from zero: Prometheus' `increase` counts from its first value.
    """
    counter = select(series, match)
    return f"increase({counter}[{window}]) > 0 or ({counter} unless {counter} offset {window}) > 0"
