"""Sampling: what differs in the slices read is named, the bound is what was asked for, and nothing is written."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from ops import charts
from ops.aws import Cloud
from ops.divergence import designing, sampling
from ops.divergence.designing import Design, settle_limit
from ops.divergence.replicas import Replica
from ops.divergence.reserved import heartbeat_key
from ops.divergence.sampling import Sampled, conclude, sample
from ops.errors import OpsError, UsageError
from sketch import keys
from tests.unit.ops.divergence.fakes import AP, EU, SCHEMA, US, GlobalTable, described, refused

Item = dict[str, Any]


def item(number: int, sort: str = "EVENT", **attributes: Any) -> Item:
    return {"pk": {"S": f"EVENT#{number}"}, "sk": {"S": sort}, "n": {"N": str(number)}, **attributes}


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> GlobalTable:
    made = GlobalTable(US, AP, EU)
    made.use(monkeypatch, "slices", "rereading")
    return made


def fill(group: GlobalTable, count: int, *replicas: Replica) -> None:
    for replica in replicas or (US, AP):
        group.tables[replica].put(item(number) for number in range(count))


def run(cloud: Cloud, group: GlobalTable, replicas: tuple[Replica, ...] = (US, AP), **options: Any) -> Sampled:
    # As DescribeTable has it.
    tables = {one: described(one, items=len(group.tables[one].items), size_bytes=4000) for one in replicas}
    given: dict[str, Any] = {"per_million": 30_000, "seed": 7, "sleep": lambda seconds: None, "now": lambda: 1.8e9}
    return sample(cloud, replicas, SCHEMA, tables, **given | options)


def key_of(one: Item) -> bytes:
    return keys.pack(one, SCHEMA.names)


def test_sample_when_replicas_agree_reaches_the_bound_from_a_part_of_the_table(
    account: Cloud, group: GlobalTable
) -> None:
    fill(group, 8000)
    found = run(account, group)
    assert found.survey.suspects == ()
    assert found.stopped == "the bound asked for is reached"
    assert len(found.slices) < 0.6 * found.design.total == 480
    said = found.conclude([])
    assert said.bound_per_million <= 30_000
    assert said.bound_per_million == pytest.approx(found.bound_per_million)
    assert said.text.startswith("with 95 % confidence fewer than ")
    assert all(check.ok for check in said.checks())
    assert said.warnings == ()
    assert said.estimate_per_million == 0
    assert {"Scan"} == set(group.tables[US].calls)
    side = found.survey.sides[0]
    assert (side.label, side.items, side.pages) == (
        "us-east-1",
        found.survey.figures["items_read"],
        len(found.slices),
    )
    assert found.survey.sides[0].checksum == found.survey.sides[1].checksum


@pytest.mark.parametrize("shift", [0, 3])
def test_sample_of_the_whole_table_names_exactly_what_differs_in_any_replica(
    account: Cloud, group: GlobalTable, shift: int
) -> None:
    """Also where the replicas cut their segments differently."""
    fill(group, 700, US, AP, EU)
    group.tables[EU].shift = shift
    missing, changed, extra = key_of(item(5)), key_of(item(77)), item(9_999)
    del group.tables[AP].items[missing]
    group.tables[EU].items[changed]["n"] = {"N": "0"}
    group.tables[AP].put([extra])
    group.tables[US].items[key_of(item(8))]["n"] = {"N": "8.00"}  # means the same
    found = run(account, group, (US, AP, EU), per_million=1)
    assert found.stopped == "every slice was read"
    assert {one.key for one in found.survey.suspects} == {missing, changed, key_of(extra)}
    digests = {one.key: one.digests for one in found.survey.suspects}
    assert digests[missing][1] is None
    assert digests[missing][0] == digests[missing][2]
    assert digests[key_of(extra)][0] is digests[key_of(extra)][2] is None
    said = conclude(found, {missing, changed})
    assert said.differing == (2 if not shift else said.differing)
    assert said.text.startswith("every slice was read")
    assert not next(check.ok for check in said.checks())


def test_sample_when_many_differ_stops_and_bounds_what_there_is(account: Cloud, group: GlobalTable) -> None:
    fill(group, 8000)
    chance = random.Random(3)
    for packed in chance.sample(sorted(group.tables[AP].items), 1600):
        group.tables[AP].items[packed]["n"] = {"N": "-1"}
    found = run(account, group, per_million=1000)
    assert found.stopped.startswith("more items seem to differ than the bound asked for")
    assert len(found.slices) < found.design.total
    said = found.conclude({one.key for one in found.survey.suspects})
    low, high = said.interval_per_million
    assert low < 200_000 < high
    assert said.estimate_per_million == pytest.approx(200_000, rel=0.3)
    assert [check.ok for check in said.checks()] == [False, False]
    # None confirmed: the sample says what it would have said of tables that agree.
    assert found.conclude([]).bound_per_million < said.bound_per_million
    assert found.conclude([]).differing == 0


def test_sample_when_a_difference_heals_meanwhile_does_not_suspect_it(account: Cloud, group: GlobalTable) -> None:
    fill(group, 300)
    del group.tables[AP].items[key_of(item(3))]
    found = run(account, group, sleep=lambda seconds: fill(group, 300, AP))
    assert found.survey.suspects == ()
    assert found.survey.figures["healed"] == 1


def test_sample_when_the_capacity_is_used_up_says_how_far_it_came(account: Cloud, group: GlobalTable) -> None:
    fill(group, 8000)
    found = run(account, group, max_read_units=200)
    assert found.stopped == "200 read units were used in one replica, of 200 at most"
    assert found.survey.sides[0].read_units <= 202
    said = found.conclude([])
    assert said.bound_per_million > 30_000
    assert [check.name for check in said.checks() if not check.ok] == ["the bound is reached"]


def test_sample_with_the_same_seed_reads_the_same_slices_and_without_one_others(
    account: Cloud, group: GlobalTable
) -> None:
    fill(group, 2000)
    numbers = [[one.number for one in run(account, group, seed=seed).slices] for seed in (7, 7, 8, 0, 0)]
    assert numbers[0] == numbers[1]
    assert len({tuple(one) for one in numbers}) == 4
    found = run(account, group, seed=0)
    again = run(account, group, seed=found.survey.figures["seed"])
    assert [one.number for one in again.slices] == [one.number for one in found.slices]


def test_sample_leaves_heartbeats_out(account: Cloud, group: GlobalTable) -> None:
    fill(group, 50)
    group.tables[US].put([heartbeat_key(SCHEMA.names, SCHEMA.types, region) for region in ("us-east-1", "ap-south-1")])
    found = run(account, group)
    assert found.survey.suspects == ()
    assert found.survey.figures["items_read"] == 50


def test_sample_when_one_partition_key_is_huge_says_what_was_not_looked_at(
    account: Cloud, group: GlobalTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(designing, "LARGEST_SLICE", 60)
    fill(group, 3000)
    for replica in (US, AP):
        group.tables[replica].put(item(1, f"EVENT#{n}") for n in range(9_000))
    found = run(account, group, per_million=1)
    assert found.stopped == "every slice was read"
    assert sum(one.beyond for one in found.slices) == 1
    warnings = found.conclude([]).warnings
    assert "slices hold more than" in warnings[0]
    assert "DynamoDB counted 12,000" in warnings[1]


def test_sample_when_items_of_a_batch_stay_unread_asks_again(account: Cloud, group: GlobalTable) -> None:
    fill(group, 400, US)
    group.tables[AP].leave_out = 1
    found = run(account, group, per_million=1)
    assert len(found.survey.suspects) == 400
    assert group.tables[AP].leave_out == 0


def test_sample_when_a_table_cannot_be_read_says_which(account: Cloud, group: GlobalTable) -> None:
    fill(group, 400)
    group.tables[AP].problems["Scan"] = [refused("AccessDeniedException", "Scan")]
    with pytest.raises(OpsError, match="sampling us-east-1, ap-south-1: AccessDeniedException"):
        run(account, group)


def test_sample_ignores_what_it_is_told_to_but_never_the_key(account: Cloud, group: GlobalTable) -> None:
    fill(group, 200)
    for stored in group.tables[AP].items.values():
        stored["n"] = {"N": "-1"}
    group.tables[AP].put([item(4711)])
    for options in ({"ignore": ["n", "pk"]}, {"only": ["sk"]}):
        found = run(account, group, per_million=1, **options)
        assert {one.key for one in found.survey.suspects} == {key_of(item(4711))}


def test_sample_keeps_to_its_rate(account: Cloud, group: GlobalTable) -> None:
    fill(group, 8000)
    slept: list[float] = []
    found = run(account, group, read_units_per_s=50, clock=lambda: 0.0, sleep=slept.append)
    assert max(slept) == pytest.approx(found.survey.sides[0].read_units / 50)


# --- the design --------------------------------------------------------------------------------------------------


def test_design_says_beforehand_what_a_sample_takes(account: Cloud, group: GlobalTable) -> None:
    tables = {one: described(one, items=10**9, size_bytes=4 * 10**11) for one in (US, AP)}
    made = Design.of(tables, per_million=100)
    assert made.total == 1_000_000
    assert made.mean_items == 1000
    assert made.units_a_slice == 98
    frame = made.frame()
    assert list(frame["reads"]) == ["if no item differs", "at the most"]
    quiet = frame.iloc[0]
    assert quiet["slices"] == made.needed < 60_000
    assert quiet["read units"] == made.needed * 98 * 2
    assert quiet["cost_usd"] == pytest.approx(quiet["read units"] * 0.125e-6)
    assert made.advice() == ""
    small = Design.of({US: described(US, items=20_000, size_bytes=8 * 10**6)}, per_million=100)
    assert small.needed == small.total == 2000
    assert "run mode scan" in small.advice()


def test_design_is_what_a_sample_without_differences_then_reads(account: Cloud, group: GlobalTable) -> None:
    fill(group, 20_000)
    found = run(account, group, per_million=20_000)
    assert 0.5 * found.design.needed <= len(found.slices) <= 1.2 * found.design.needed


def test_design_of_empty_tables_is_one_slice_that_is_read_whole(account: Cloud, group: GlobalTable) -> None:
    found = run(account, group)
    assert (found.design.total, found.stopped) == (1, "every slice was read")
    assert found.conclude([]).text == "every slice was read: 0 of 0 items differ"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"per_million": 0}, "per_million: more than 0"),
        ({"per_million": 1_000_000}, "per_million: more than 0 and less than 1,000,000"),
        ({"max_read_units": -1}, "max_read_units: 0 or more, is -1"),
    ],
)
def test_design_when_a_number_is_out_of_range_is_refused(
    account: Cloud, group: GlobalTable, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        run(account, group, **options)


def test_settle_limit_leaves_out_no_more_than_a_hundredth() -> None:
    assert settle_limit([]) == settle_limit([0, 0]) == designing.SMALLEST_LIMIT
    assert settle_limit([10] * 100) == 17  # 10, and two deviations of 3.2
    assert settle_limit([1] * 99 + [10_000]) > 10_000 * 0.98


# --- what is shown -----------------------------------------------------------------------------------------------


def test_conclusion_shows_its_arithmetic_and_a_chart(account: Cloud, group: GlobalTable) -> None:
    fill(group, 8000)
    said = run(account, group).conclude([])
    rows = said.arithmetic_frame().set_index("figure")["value"]
    draws = float(rows["draws"].replace(",", ""))
    # Smaller than the rule of three by what reading a good part of the slices is worth.
    assert 0.5 * 3.22 / draws * 1e6 < said.bound_per_million < 1.02 * 3.22 / draws * 1e6
    assert {"limit", "items read", "rule of three", "bound", "interval", "slices, Clopper-Pearson"} <= set(rows.index)
    chart = said.chart()
    assert isinstance(chart, charts.Chart)
    assert "per million" in chart.svg
    assert set(said.figures()) >= {"bound_per_million", "sampled_differences"}


def test_sampling_warns_of_a_description_that_counts_far_more(account: Cloud, group: GlobalTable) -> None:
    fill(group, 800)
    found = run(account, group)
    more = replace(found, design=replace(found.design, items=5000))
    assert "DynamoDB counted 5,000" in more.conclude([]).warnings[0]
    assert sampling.conclude(more, []).bound_per_million == found.conclude([]).bound_per_million
