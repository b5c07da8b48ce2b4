"""Heartbeats: what arrives is timed, what does not is named, nothing else is touched and nothing is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops import charts
from ops.aws import Cloud
from ops.divergence import beating, heartbeats
from ops.divergence.beats import Beat, Beats, Left
from ops.divergence.heartbeats import ATTRIBUTE, beat, find_left
from ops.divergence.replicas import Replica, Schema
from ops.divergence.reserved import NAMESPACE, heartbeat_key, is_heartbeat
from ops.errors import RefusedError, UsageError
from sketch import keys
from tests.unit.ops.divergence.fakes import AP, EU, SCHEMA, US, GlobalTable, described, refused

NOW = 1_800_000_000.0


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> GlobalTable:
    made = GlobalTable(US, AP, EU)
    made.use(monkeypatch, "heartbeats")
    return made


def run(cloud: Cloud, replicas: Any = (US, AP, EU), **options: Any) -> Beats:
    # Without pauses, a deadline is so many reads away.
    given: dict[str, Any] = {"deadline_s": 1.0, "rounds": 2, "sleep": lambda seconds: None, "now": lambda: NOW}
    return beat(cloud, replicas, SCHEMA, **given | options)


def test_beat_when_replication_works_times_every_ordered_pair(account: Cloud, group: GlobalTable) -> None:
    said: list[str] = []
    found = run(account, progress=said.append)
    frame = found.frame()
    assert list(zip(frame["source"], frame["target"], frame["round"], strict=True)) == [
        (a.label, b.label, n) for a in (US, AP, EU) for b in (US, AP, EU) if a != b for n in (1, 2)
    ]
    assert set(frame["reads"]) == {3}
    assert (frame["latency_ms"] >= frame["at_least_ms"]).all()
    assert (frame["latency_ms"] > 0).all()
    assert all(check.ok for check in found.checks())
    assert len(found.checks()) == 6
    assert len(found.latency_ms()) == 6
    assert said[-1] == "heartbeats, round 2 of 2: 12 of 12 arrived"
    assert found.left == ()
    assert all(not table.items for table in group.tables.values())


def test_beat_when_a_pair_is_cut_says_that_it_never_arrived_and_waits_for_it_once(
    account: Cloud, group: GlobalTable
) -> None:
    group.cut.add((US.label, AP.label))
    found = run(account, rounds=3)
    matrix = found.matrix().set_index(["source", "target"])
    cut = matrix.loc[(US.label, AP.label)]
    assert (cut["rounds"], cut["arrived"], cut["problem"]) == (1, 0, "never arrived within 1 s")
    assert (matrix.drop((US.label, AP.label))["arrived"] == 3).all()
    failing = [check for check in found.checks() if not check.ok]
    assert [check.name for check in failing] == ["heartbeats from us-east-1 to ap-south-1"]
    assert (
        "0 of 1 arrived; never arrived within 1 s. Replication from us-east-1 to ap-south-1 stands" in failing[0].detail
    )
    assert found.figures()["heartbeat_p95_ms"]["us-east-1 to ap-south-1"] is None
    assert (US.label, AP.label) not in found.latency_ms()
    assert len(group.tables[AP].calls) < 200


def test_beat_when_one_region_cannot_be_written_or_read_tells_it_from_never(account: Cloud, group: GlobalTable) -> None:
    group.tables[US].problems["PutItem"] = [refused("AccessDeniedException")]
    group.tables[EU].problems["GetItem"] = [refused("InternalServerError")] * 2
    problems = dict.fromkeys(run(account).frame()["problem"])
    assert set(problems) == {
        "",
        "not written in us-east-1: AccessDeniedException",
        "not read in eu-west-1: InternalServerError",
    }


def test_beat_when_another_item_has_the_key_leaves_it_alone(account: Cloud, group: GlobalTable) -> None:
    """Also one of another run: whoever wrote it needs it."""
    other = heartbeat_key(SCHEMA.names, SCHEMA.types, US.region) | {ATTRIBUTE: {"M": {"run": {"S": "another"}}}}
    group.tables[US].put([other])
    found = run(account)
    assert "not written in us-east-1: another run's heartbeat is there" in set(found.frame()["problem"])
    assert list(group.tables[US].items.values()) == [other]
    assert found.left == ()


def test_beat_when_it_is_interrupted_still_deletes_what_it_wrote(account: Cloud, group: GlobalTable) -> None:
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(account, progress=stop)
    assert all(not table.items for table in group.tables.values())


def test_beat_when_a_deletion_does_not_replicate_says_what_is_left(account: Cloud, group: GlobalTable) -> None:
    found = run(account, rounds=1, progress=lambda line: group.cut.add((US.label, AP.label)))
    assert [(one.replica, one.source) for one in found.left] == [(AP, US.region)]
    assert [check.name for check in found.checks() if not check.ok] == ["heartbeats are gone again"]


def test_beat_when_the_table_has_a_time_to_live_sets_it(account: Cloud, group: GlobalTable) -> None:
    seen: list[dict[str, Any]] = []

    def look(line: str) -> None:
        seen.extend(item for table in group.tables.values() for item in table.items.values())

    tables = {one: described(one, ttl="expires_at") for one in (US, AP)}
    run(account, (US, AP), rounds=1, described=tables, progress=look)
    assert {int(item["expires_at"]["N"]) for item in seen} == {int(NOW + 3 * 1.0 + heartbeats.AFTERWARDS_S)}
    assert {item["pk"]["S"] for item in seen} == {f"{NAMESPACE}us-east-1", f"{NAMESPACE}ap-south-1"}


def test_beat_when_tables_are_no_global_table_sends_nothing_and_says_why(account: Cloud, group: GlobalTable) -> None:
    other = Replica("eu-west-1/u", "eu-west-1", "u")
    found = run(account, described={US: described(US), other: described(other)})
    assert found.frame().empty
    assert set(found.apart.values()) == {"they are two tables, t and u", "they are two tables, u and t"}
    assert isinstance(found.chart(), charts.NoData)


@pytest.mark.parametrize(
    ("field", "value"), [("rounds", 0), ("rounds", 101), ("deadline_s", 0.5), ("deadline_s", 601.0)]
)
def test_beat_when_a_number_is_out_of_range_is_refused(account: Cloud, field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{field}: 1 to"):
        run(account, **{field: value})


def test_await_counts_from_the_write_to_the_answer_that_showed_it(account: Cloud, group: GlobalTable) -> None:
    """A read takes 10 ms here; the third shows the heartbeat."""
    moment = [100.0]

    def clock() -> float:
        moment[0] += 0.005
        return moment[0]

    def sleep(seconds: float) -> None:
        moment[0] += seconds

    one = heartbeats._Run(account, SCHEMA, "run", deadline_s=30, ttl={}, clock=clock, sleep=sleep, now=lambda: NOW)
    one._write(US, 1)
    seen = one._await(US, AP, 1, written := clock())
    # Asked at +5 ms, answered at +10; a pause of 20; asked at +35, answered at +40; a pause of 30; +75 and +80.
    assert (seen.reads, round(seen.at_least_ms), round(seen.latency_ms or 0)) == (3, 35, 80)
    assert written == pytest.approx(100.005)


# --- plan and apply ----------------------------------------------------------------------------------------------


def plan(account: Cloud, **options: Any) -> Any:
    tables = {one: described(one) for one in (US, AP)}
    given: dict[str, Any] = {"rounds": 2, "deadline_s": 1.0, "now": lambda: NOW}
    return beating.plan(account, SCHEMA, tables, **given | options), tables


def test_plan_writes_nothing_and_says_what_would_be(account: Cloud, group: GlobalTable) -> None:
    made, _ = plan(account)
    assert all(set(table.calls) <= {"GetItem"} for table in group.tables.values())
    assert [step.resource for step in made.changes] == ["heartbeat of us-east-1", "heartbeat of ap-south-1"]
    assert f"pk={NAMESPACE}us-east-1" in made.changes[0].detail
    assert made.estimates["heartbeats"] == 4
    assert made.estimates["write_units"] == 12
    assert made.token == plan(account)[0].token
    assert made.token != plan(account, rounds=3)[0].token


def test_apply_needs_the_token_of_this_plan(account: Cloud, group: GlobalTable) -> None:
    made, tables = plan(account)
    with pytest.raises(RefusedError, match="is not this plan's"):
        beating.apply(account, made, "0" * 16, SCHEMA, tables)
    done: list[str] = []
    found = beating.apply(
        account,
        made,
        made.token,
        SCHEMA,
        tables,
        rounds=2,
        deadline_s=1.0,
        report=lambda outcome: done.append(outcome.done),
        sleep=lambda seconds: None,
    )
    assert done == ["2 of 2 arrived"] * 2
    assert all(check.ok for check in found.checks())


def leave(group: GlobalTable, until_s: float, run: str = "killed") -> None:
    """What a run that was killed in its first round has left in both replicas."""
    mark = {"run": {"S": run}, "round": {"N": "1"}, "until": {"N": str(int(until_s))}}
    item = heartbeat_key(SCHEMA.names, SCHEMA.types, US.region) | {ATTRIBUTE: {"M": mark}}
    for replica in (US, AP):
        group.tables[replica].put([item])


def test_apply_when_a_killed_run_left_heartbeats_removes_them_first(account: Cloud, group: GlobalTable) -> None:
    leave(group, NOW - 1)
    made, tables = plan(account)
    removed = [step for step in made.changes if step.action == "delete"]
    assert [step.resource for step in removed] == [f"heartbeat of us-east-1 in {one.label}" for one in (US, AP)]
    done: list[str] = []
    found = beating.apply(
        account,
        made,
        made.token,
        SCHEMA,
        tables,
        rounds=1,
        deadline_s=1.0,
        report=lambda outcome: done.append(outcome.done),
        sleep=lambda seconds: None,
    )
    assert done[:2] == ["deleted", "deleted"]
    assert all(check.ok for check in found.checks())
    assert find_left(account, [US, AP], SCHEMA) == []


def test_plan_when_another_run_may_be_under_way_is_refused_until_its_time_is_over(
    account: Cloud, group: GlobalTable
) -> None:
    leave(group, NOW + 60)
    made, tables = plan(account)
    assert {step.action for step in made.steps} == {"refuse", "run"}
    with pytest.raises(RefusedError, match="run killed may be under way until"):
        beating.apply(account, made, made.token, SCHEMA, tables)
    assert len(group.tables[US].items) == 1


def test_remove_when_the_heartbeat_was_written_anew_leaves_it(account: Cloud, group: GlobalTable) -> None:
    leave(group, NOW, run="newer")
    assert not heartbeats.remove(account, SCHEMA, Left(US, US.region, "killed", 0.0))
    assert len(group.tables[US].items) == 1


# --- with DynamoDB's own conditions ------------------------------------------------------------------------------


@pytest.mark.parametrize("types", ["SS", "BN", "N", "S"])
def test_beat_on_a_table_of_any_key_schema_writes_and_deletes(account: Cloud, types: str) -> None:
    names = ("id", "at")[: len(types)]
    schema = Schema(names, tuple(types))
    replicas = tuple(Replica(region, region, "any") for region in account.stage.regions)
    for replica in replicas:
        client: Any = account.client("dynamodb", replica.region)
        client.create_table(
            TableName="any",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in zip(names, types, strict=True)],
            KeySchema=[{"AttributeName": n, "KeyType": k} for n, k in zip(names, ("HASH", "RANGE"), strict=False)],
            BillingMode="PAY_PER_REQUEST",
        )
    held: list[Any] = []

    def look(line: str) -> None:
        held.extend(account.client("dynamodb", replicas[0].region).scan(TableName="any")["Items"])

    found = beat(account, replicas, schema, rounds=1, deadline_s=1.0, progress=look, sleep=lambda seconds: None)
    # moto replicates nothing.
    assert set(found.frame()["problem"]) == {"never arrived within 1 s"}
    assert len(held) == 1
    assert is_heartbeat(held[0], names)
    assert found.left == ()
    for replica in replicas:
        assert account.client("dynamodb", replica.region).scan(TableName="any")["Count"] == 0


# --- the keys ----------------------------------------------------------------------------------------------------

REGIONS = st.from_regex(r"[a-z]{2}-[a-z]{4,9}-[1-9]", fullmatch=True)
TYPES = st.lists(st.sampled_from("SNB"), min_size=1, max_size=2)


@given(REGIONS, TYPES)
def test_a_heartbeats_key_is_known_also_after_it_was_packed(region: str, types: list[str]) -> None:
    names = ("a", "b")[: len(types)]
    key = heartbeat_key(names, types, region)
    assert is_heartbeat(key, names)
    assert is_heartbeat(keys.unpack(keys.pack(key, names), names), names)
    # DynamoDB's numbers have 38 digits at the most.
    assert all(len(value["N"]) <= 39 for value in key.values() if "N" in value)


values = st.one_of(
    st.text(max_size=30).map(lambda v: {"S": v}),
    st.binary(max_size=30).map(lambda v: {"B": v}),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda v: {"N": str(v)}),
    st.just({"N": "1E+125"}),
    st.just({"N": "NaN"}),
)


@given(values, values)
def test_another_items_key_is_not_taken_for_one(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert not is_heartbeat({"a": one, "b": other}, ("a", "b"))
    assert not is_heartbeat({"a": heartbeat_key(("a",), ("S",), "us-east-1")["a"], "b": other}, ("a", "b"))
    assert not is_heartbeat({}, ("a",))


def test_regions_have_keys_of_their_own() -> None:
    regions = ["us-east-1", "us-east-2", "ap-south-1", "eu-west-1", "eu-central-1", "af-south-1"]
    for kind in "SNB":
        assert len({str(heartbeat_key(("a",), (kind,), region)) for region in regions}) == len(regions)


# --- results -----------------------------------------------------------------------------------------------------


def test_matrix_gives_measured_percentiles_and_the_chart_says_never() -> None:
    seen = [Beat("a", "b", n, float(n), 0.0, 1) for n in range(1, 41)]
    missed = Beat("b", "a", 1, None, 0.0, 9, "never arrived within 30 s")
    found = Beats("run", (*seen, missed), 30.0, {})
    row = found.matrix().iloc[0]
    assert (row["p50_ms"], row["p95_ms"], row["max_ms"]) == (20.0, 38.0, 40.0)
    chart = found.chart()
    assert isinstance(chart, charts.Chart)
    assert {"38 ms", "never"} <= set(chart.summary.replace("; ", ": ").split(": "))
    only = replace(found, beats=(missed,)).chart()
    assert isinstance(only, charts.Chart)
    assert "never" in only.svg
