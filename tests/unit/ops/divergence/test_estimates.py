"""Estimates: what is read and what that costs, from descriptions alone."""

from __future__ import annotations

from typing import Any

import pytest

from ops.divergence import Described, Replica, Schema, Subject, estimates
from ops.divergence.request import Request

US, AP = "us-east-1", "ap-south-1"
SCHEMA = Schema(("pk",), ("S",))
GB = 10**9


def subject(items: int = 2_500_000, size_bytes: int = GB, **raw: Any) -> Subject:
    raw = raw or {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}}
    replicas = tuple(Replica(region, region, "t") for region in (US, AP))
    described = {one: Described(one, SCHEMA, items, size_bytes, "", frozenset(), raw) for one in replicas}
    return Subject("t", replicas, described, SCHEMA, ())


def test_scan_takes_half_a_unit_for_4_kb_and_what_on_demand_costs() -> None:
    for one in estimates.of(Request(), [subject()]):
        assert one.read_units == 122_071
        # 122,071 units at 0.125 USD a million, and 1.4 GB between regions at 0.02 USD.
        assert one.cost_usd == pytest.approx(0.01526 + 0.028, abs=1e-5)
        # A quarter of 12,000 units a second.
        assert one.duration_min == pytest.approx(122_071 / 3000 / 60)


def test_scan_of_provisioned_tables_costs_no_requests_and_takes_a_share() -> None:
    provisioned = subject(ProvisionedThroughput={"ReadCapacityUnits": 400})
    one = estimates.of(Request(), [provisioned])[0]
    assert one.cost_usd == pytest.approx(0.028)
    assert one.paid_for == "the way to another region"
    assert one.duration_min == pytest.approx(122_071 / 100 / 60)


def test_scan_at_a_rate_that_was_asked_for_takes_its_time() -> None:
    assert estimates.of(Request(read_units_per_s=100), [subject()])[0].duration_min == pytest.approx(122_071 / 6000)


def test_scan_of_many_small_items_takes_as_long_as_the_machine_does() -> None:
    fast = estimates.of(Request(read_units_per_s=1e9), [subject()])[0]
    assert fast.duration_min == pytest.approx(5_000_000 / estimates.ITEMS_PER_S / 60)


def test_export_takes_no_capacity_and_probe_nothing() -> None:
    assert [(one.read_units, one.cost_usd) for one in estimates.of(Request(mode="export"), [subject()])] == [
        (0, 0.1)
    ] * 2
    assert [one.cost_usd for one in estimates.of(Request(mode="probe"), [subject()])] == [0, 0]


def test_sample_reads_less_of_a_large_table_than_a_scan() -> None:
    (sample,) = estimates.of(Request(mode="sample"), [subject()])
    assert 0 < sample.items < 2 * 2_500_000
    assert sample.read_units < 2 * 122_071


def test_figures_add_up_replicas_that_are_read_side_by_side() -> None:
    rows = estimates.of(Request(), [subject()])
    found = estimates.figures(rows)
    assert found["estimated_read_units"] == 2 * 122_071
    assert found["estimated_duration_s"] == round(60 * rows[0].duration_min)


def test_empty_tables_are_read_for_nothing() -> None:
    for mode in ("scan", "sample", "export", "probe"):
        for one in estimates.of(Request(mode=mode), [subject(0, 0)]):
            assert one.cost_usd < 0.001


def test_ways_to_compare_are_shown_beside_one_another() -> None:
    assert list(estimates.comparison_frame([subject()], 1000)["mode"]) == ["sample", "scan", "export"]
