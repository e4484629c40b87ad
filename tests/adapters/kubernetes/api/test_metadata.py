"""Times of writing come from managedFields, and ignore statuses, scales and given writers."""

from __future__ import annotations

import pytest

from canarycore_kubernetes.api.metadata import written_at

TEMPLATE = ("spec", "template")


def entry(manager, time, *, subresource="", fields=None):
    fields = {"f:spec": {"f:template": {"f:spec": {}}}} if fields is None else fields
    return {"manager": manager, "time": time, "subresource": subresource, "fieldsV1": fields}


def body(*entries):
    return {"metadata": {"managedFields": list(entries)}}


def test_the_latest_writer_of_the_field_counts():
    entries = [entry("helm", "2026-01-01T00:00:10Z"), entry("kubectl-edit", "2026-01-01T00:00:20Z")]
    replicas = entry("kubectl-scale", "2026-01-01T00:00:30Z", fields={"f:spec": {"f:replicas": {}}})
    assert written_at(body(*entries, replicas), TEMPLATE) == 1767225620.0


def test_ignored_writers_and_subresources_do_not_count():
    entries = [entry("flagger", "2026-01-01T00:00:30Z"), entry("helm", "2026-01-01T00:00:40Z", subresource="status")]
    assert written_at(body(*entries), TEMPLATE, but=("flagger",)) is None


def test_each_of_several_fields_counts():
    data = entry("helm", "2026-01-01T00:00:10Z", fields={"f:binaryData": {}})
    assert written_at(body(data), ("data",), ("binaryData",)) == 1767225610.0


@pytest.mark.parametrize(
    "entries",
    [7, None, [None], [{"time": 7}], [entry("helm", None)], [entry("helm", "x")], [entry("helm", "1", fields=7)]],
)
def test_entries_of_another_form_give_no_time(entries):
    assert written_at({"metadata": {"managedFields": entries}}, TEMPLATE) is None
