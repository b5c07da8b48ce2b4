"""Embedded metrics are read as CloudWatch reads them; counts fold by value; queues are sampled as SQS counts them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.local.emulator.scopes import Scope
from ops.local.emulator.telemetry import Counts, EmfError, Series, parse_emf, sample_queue


def line(**changes: Any) -> str:
    directive = {
        "Namespace": "Atoll",
        "Dimensions": [["stage", "service"]],
        "Metrics": [{"Name": "Stored", "Unit": "Count"}],
    }
    document: dict[str, Any] = {
        "_aws": {"Timestamp": 1_700_000_000_000, "CloudWatchMetrics": [directive | changes.pop("directive", {})]},
        "stage": "local",
        "service": "store",
        "Stored": 3,
    }
    return json.dumps(document | changes)


def test_parse_emf_of_one_metric_gives_its_value_unit_time_and_dimensions() -> None:
    (datum,) = parse_emf(line())
    assert (datum.namespace, datum.name, datum.unit, datum.timestamp_s) == ("Atoll", "Stored", "Count", 1_700_000_000)
    assert datum.dimensions == (("stage", "local"), ("service", "store"))
    assert (datum.values, datum.counts) == ((3.0,), (1.0,))


def test_parse_emf_of_a_list_folds_equal_values() -> None:
    (datum,) = parse_emf(line(Stored=[5, 7.5, 5]))
    assert dict(zip(datum.values, datum.counts, strict=True)) == {5.0: 2.0, 7.5: 1.0}


def test_parse_emf_of_several_sets_and_metrics_gives_each_combination() -> None:
    metrics = [{"Name": "Stored", "Unit": "Count"}, {"Name": "Latency", "Unit": "Milliseconds"}]
    data = parse_emf(line(directive={"Dimensions": [["stage"], []], "Metrics": metrics}, Latency=12))
    assert {(datum.name, datum.dimensions) for datum in data} == {
        (name, dimensions) for name in ("Stored", "Latency") for dimensions in ((("stage", "local"),), ())
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "START RequestId: 1",
        '{"message": "no metrics"}',
        'talks of "CloudWatchMetrics" only',
        '["CloudWatchMetrics"]',
    ],
)
def test_parse_emf_of_another_line_is_empty(text: str) -> None:
    assert parse_emf(text) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"Stored": "three"}, "needs a number"),
        ({"Stored": True}, "needs a number"),
        ({"Stored": []}, "needs a number"),
        ({"Stored": [1] * 101}, "needs a number"),
        ({"Stored": float("nan")}, "needs a number"),
        ({"stage": 7}, "dimension 'stage' needs a string"),
        ({"directive": {"Dimensions": [["missing"]]}}, "dimension 'missing'"),
        ({"directive": {"Namespace": None}}, "needs a Namespace"),
        ({"directive": {"Metrics": [{"Name": "Other"}]}}, "metric 'Other' has no value"),
        ({"directive": {"Metrics": [{"Name": "Stored"}] * 101}}, "at most 100 metrics"),
        ({"directive": {"Dimensions": [["stage"] * 31]}}, "at most 30"),
        ({"_aws": {"CloudWatchMetrics": []}}, "Timestamp"),
    ],
)
def test_parse_emf_of_a_line_that_breaks_the_specification_says_how(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(EmfError, match=problem):
        parse_emf(line(**changes))


def test_counts_fold_by_series_and_value_and_drain_once() -> None:
    counts, scope = Counts(), Scope("0" * 12, "us-east-1")
    latency = Series(scope, "AWS/ApiGateway", "Latency", (("ApiId", "a"),), "Milliseconds")
    for value in (12.0, 12.0, 15.0):
        counts.add(latency, value)
    ((drained_scope, datum),) = counts.drain(99.0)
    assert drained_scope == scope
    assert (datum.values, datum.counts, datum.timestamp_s) == ((12.0, 15.0), (2.0, 1.0), 99.0)
    assert counts.drain(100.0) == []


def test_sample_queue_tells_visible_in_flight_and_delayed_apart() -> None:
    messages = [
        {"sent_at": 90.0, "visible_at": 95.0, "receive_count": 0},
        {"sent_at": 80.0, "visible_at": 130.0, "receive_count": 1},
        {"sent_at": 99.0, "visible_at": 109.0, "receive_count": 0},
    ]
    sample = sample_queue(messages, 100.0)
    assert (sample.visible, sample.in_flight, sample.delayed, sample.oldest_age_s) == (1, 1, 1, 20.0)


def test_sample_queue_of_an_empty_queue_has_no_age() -> None:
    assert {name: value for name, value, _ in sample_queue([], 100.0).metrics()}["ApproximateAgeOfOldestMessage"] == 0
