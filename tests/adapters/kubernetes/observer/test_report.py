"""The metrics of an observer: the series of the table, and none of a Canary that is gone."""

from __future__ import annotations

import pytest

from canarycore_kubernetes.observer.report import ComparisonReport
from canarycore_kubernetes.telemetry.series import OBSERVER_SERIES

KEY = "test/podinfo"


@pytest.fixture
def report():
    return ComparisonReport(version="1", provider="istio")


def exported(report):
    return {
        sample.name: set(sample.labels)
        for metric in report.registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


def record_everything(report):
    report.report_adoption(KEY, adoptable=True, explanation="")
    report.report_agreement(KEY, "", assumed=True)
    report.report_hidden_move(KEY)
    report._count(report._differences, KEY, "D1")


def test_an_observer_exports_the_series_of_its_table(report):
    record_everything(report)
    assert exported(report) == {series.name: set(series.labels) for series in OBSERVER_SERIES}


def test_a_canary_that_is_gone_leaves_no_series_of_an_observer(report):
    record_everything(report)
    report.forget(KEY)
    assert exported(report) == {"flagger_info": {"version", "mesh_provider"}}
