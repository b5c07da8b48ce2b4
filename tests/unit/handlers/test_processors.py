"""store and activity: each event once, whatever is delivered, and every failure reported for its own message."""

from __future__ import annotations

import dataclasses
import json
import random
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from handlers import activity as activity_function
from handlers import ingest, store
from handlers.core import activity, delivery, strictjson
from handlers.core import settings as settings_module
from handlers.core.identity import event_key
from handlers.core.settings import Settings
from tests.unit.handlers.support import BATCHED, Cloud, Context, cloudevent, envelope, post, sqs_event

FUNCTIONS = [store.handler, activity_function.handler]


def accepted(event: dict[str, Any], /, *, tenant: str = "acme", **detail: Any) -> dict[str, Any]:
    """The entry that ingest would publish for an event."""
    key = event_key(tenant, event["source"], event["id"])
    content = {
        "event_key": key,
        "tenant": tenant,
        "correlation_id": "c-1",
        "accepted_at": "2026-11-20T10:15:31.000Z",
        "accepted_region": "us-east-1",
        "event": event,
        **detail,
    }
    return {"Source": "atoll.events", "DetailType": event["type"], "Detail": json.dumps(content)}


def deliver(*bodies: str) -> list[list[str]]:
    """Deliver a batch to both processors; what each reports as failed."""
    reports = [function(sqs_event(*bodies), Context()) for function in FUNCTIONS]
    return [[failure["itemIdentifier"] for failure in report["batchItemFailures"]] for report in reports]


def effect(cloud: Cloud) -> list[Any]:
    """The table without what a write stamps: who wrote last and when, and in how many steps."""
    stamps = ("version", "written_at")
    rows = [{name: value for name, value in item.items() if name not in stamps} for item in cloud.items()]
    for row in rows:
        if "seen" in row:
            row["seen"] = {"BS": sorted(row["seen"]["BS"])}
    return sorted(rows, key=lambda row: (row["pk"]["S"], row["sk"]["S"]))


def metrics_of(output: str) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for line in output.splitlines():
        values.update({name: value for name, value in json.loads(line).items() if isinstance(value, list)})
    return values


# --- store --------------------------------------------------------------------------------------------------------


def test_store_when_an_event_is_new_writes_the_item_of_the_contract(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    event = cloudevent(subject="s-1")
    assert store.handler(sqs_event(envelope(accepted(event))), Context()) == {"batchItemFailures": []}
    (item,) = cloud.items()
    key = event_key("acme", "/shop", "order-1")
    text = strictjson.canonical(event)
    assert item.pop("written_at")["S"].endswith("Z")
    assert item == {
        "pk": {"S": f"EVENT#{key}"},
        "sk": {"S": "EVENT"},
        "gsi_pk": {"S": "acme#2026-11-20"},
        "gsi_sk": {"S": f"2026-11-20T10:15:31.000Z#{key}"},
        "tenant": {"S": "acme"},
        "event_key": {"S": key},
        "source": {"S": "/shop"},
        "id": {"S": "order-1"},
        "type": {"S": "order.created"},
        "subject": {"S": "s-1"},
        "time": {"S": "2026-11-20T10:15:30Z"},
        "accepted_at": {"S": "2026-11-20T10:15:31.000Z"},
        "accepted_region": {"S": "us-east-1"},
        "correlation_id": {"S": "c-1"},
        "event": {"S": text},
        "payload_digest": {"S": delivery.cloudevents.digest(text)},
        "expires_at": {"N": str(int(datetime(2026, 12, 20, 10, 15, 31, tzinfo=UTC).timestamp()))},
        "version": {"N": "1"},
        "written_region": {"S": "us-east-1"},
    }
    values = metrics_of(capsys.readouterr().out)
    assert values["EventsStored"] == [1.0]
    assert values["EndToEndLatency"][0] > 0


def test_store_when_the_event_is_there_already_writes_nothing(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    body = envelope(accepted(cloudevent()))
    store.handler(sqs_event(body), Context())
    before = cloud.items()
    capsys.readouterr()
    assert store.handler(sqs_event(body, body), Context()) == {"batchItemFailures": []}
    assert cloud.items() == before
    values = metrics_of(capsys.readouterr().out)
    assert sum(values["EventsAlreadyStored"]) == 2
    assert "EndToEndLatency" not in values


@pytest.mark.parametrize("again", [{"accepted_region": "ap-south-1"}, {"accepted_at": "2026-11-20T10:15:31.500Z"}])
def test_store_when_the_event_was_accepted_twice_times_either_acceptance(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], again: dict[str, str]
) -> None:
    store.handler(sqs_event(envelope(accepted(cloudevent()))), Context())
    before = cloud.items()
    capsys.readouterr()
    body = envelope(accepted(cloudevent(), **again))
    assert store.handler(sqs_event(body), Context()) == {"batchItemFailures": []}
    assert cloud.items() == before
    values = metrics_of(capsys.readouterr().out)
    assert values["EventsAlreadyStored"] == [1.0]
    assert values["EndToEndLatency"][0] > 0


def test_store_when_another_event_has_the_key_reports_a_conflict_and_keeps_the_first(
    cloud: Cloud, logs: StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    store.handler(sqs_event(envelope(accepted(cloudevent()))), Context())
    before = cloud.items()
    report = store.handler(sqs_event(envelope(accepted(cloudevent(data="secret-2")))), Context())
    assert report == {"batchItemFailures": []}
    assert [reason["ERROR_CODE"] for _, reason in cloud.dead_letters()] == ["EventConflictError"]
    assert cloud.items() == before
    refused = next(
        line for line in map(json.loads, logs.getvalue().splitlines()) if line["message"] == "message refused"
    )
    assert (refused["error"], refused["message_id"]) == ("EventConflictError", "m0")
    assert refused["event_key"] == event_key("acme", "/shop", "order-1")
    assert "secret-2" not in logs.getvalue()
    assert metrics_of(capsys.readouterr().out)["EventsConflicting"] == [1.0]


def test_store_when_the_refused_put_carries_no_item_reads_it(cloud: Cloud) -> None:
    body = envelope(accepted(cloudevent()))
    store.handler(sqs_event(body), Context())
    refusal = {"Error": {"Code": "ConditionalCheckFailedException", "Message": "no"}, "ResponseMetadata": {}}
    cloud.answer("dynamodb.PutItem", refusal)
    assert store.handler(sqs_event(body), Context()) == {"batchItemFailures": []}
    cloud.clear()
    assert store.handler(sqs_event(body), Context()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}


def test_store_when_one_write_fails_reports_only_that_message(cloud: Cloud) -> None:
    cloud.fail("dynamodb.PutItem", times=1)
    bodies = [envelope(accepted(cloudevent(id=name))) for name in "ab"]
    report = store.handler(sqs_event(*bodies), Context())
    assert report == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert len(cloud.items()) == 1


# --- both ---------------------------------------------------------------------------------------------------------

BROKEN: dict[str, str] = {
    "not JSON": "{",
    "no object": "[]",
    "no detail": json.dumps({"source": "aws.ec2"}),
    "foreign detail": envelope({"Source": "x", "DetailType": "y", "Detail": '{"a":1}'}),
    "bad key": envelope(accepted(cloudevent(), event_key="1")),
    "no tenant": envelope(accepted(cloudevent(), tenant="")),
    "bad accepted_at": envelope(accepted(cloudevent(), accepted_at="now")),
    "no event": envelope(accepted(cloudevent(), event="x")),
    "no type": envelope(accepted(cloudevent(), event=cloudevent(type=None))),
    "bad time": envelope(accepted(cloudevent(), event=cloudevent(time=17))),
    "bad number": envelope(accepted(cloudevent(), event=cloudevent(data="N"))).replace('"N"', "NaN"),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_processors_when_a_message_is_malformed_dead_letter_it_and_do_its_neighbours(
    cloud: Cloud, body: str, logs: StringIO
) -> None:
    assert deliver(envelope(accepted(cloudevent(id="a"))), body, envelope(accepted(cloudevent(id="b")))) == [[], []]
    dead = cloud.dead_letters()
    assert [text for text, _ in dead] == [body] * 2
    assert {reason["ERROR_CODE"] for _, reason in dead} == {"MalformedDeliveryError"}
    assert len([item for item in cloud.items() if item["sk"]["S"] == "EVENT"]) == 2
    refusals = [json.loads(line) for line in logs.getvalue().splitlines() if "message refused" in line]
    assert [(line["error"], line["message_id"]) for line in refusals] == [("MalformedDeliveryError", "m1")] * 2
    assert all(line["reason"] for line in refusals)


def test_processors_when_every_message_fails_and_none_can_be_moved_report_all_and_do_not_raise(cloud: Cloud) -> None:
    cloud.fail("sqs.SendMessage")
    assert deliver("{", "[]") == [["m0", "m1"], ["m0", "m1"]]


def test_processors_when_something_unforeseen_happens_log_it_without_its_message(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, logs: StringIO
) -> None:
    def explode(*_: Any) -> None:
        raise RuntimeError("quoting secret-3")

    monkeypatch.setattr("handlers.core.table.store", explode)
    monkeypatch.setattr("handlers.core.activity.count", explode)
    assert deliver(envelope(accepted(cloudevent()))) == [["m0"], ["m0"]]
    assert logs.getvalue().count("RuntimeError") == 2
    assert "secret-3" not in logs.getvalue()


def test_processors_when_an_event_is_replayed_or_its_envelope_differs_change_nothing(cloud: Cloud) -> None:
    entry = accepted(cloudevent())
    deliver(envelope(entry))
    before = effect(cloud)
    assert deliver(envelope(entry, **{"replay-name": "r-1", "time": "2027-01-01T00:00:00Z"})) == [[], []]
    assert effect(cloud) == before


def test_processors_after_ingest_store_and_count_what_was_accepted(cloud: Cloud) -> None:
    events = [cloudevent(id=str(n), time=None if n == 3 else f"2026-11-20T10:{n}0:00+05:30") for n in range(4)]
    ingest.handler(post([*events, events[0]], BATCHED), Context())
    assert deliver(*map(envelope, cloud.published)) == [[], []]
    stored = [item for item in cloud.items() if item["sk"]["S"] == "EVENT"]
    assert sorted(json.loads(item["event"]["S"])["id"] for item in stored) == ["0", "1", "2", "3"]


TIMES = ["2026-11-20T10:15:30Z", "2026-11-20T10:15:59.9Z", "2026-11-20T10:16:00Z", "2026-11-21T00:00:00+01:00", None]
POOL = [cloudevent(id=str(n), time=TIMES[n % 5], type="a#b" if n % 3 else "a") for n in range(6)]


def test_processors_of_any_duplicated_and_reordered_deliveries_leave_the_table_as_one_of_each(cloud: Cloud) -> None:
    @given(
        chosen=st.sets(st.integers(0, len(POOL) - 1), min_size=1),
        extra=st.lists(st.integers(0, len(POOL) - 1), max_size=6),
        seed=st.integers(0, 2**16),
        batch_size=st.integers(1, 5),
    )
    @hypothesis_settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def check(chosen: set[int], extra: list[int], seed: int, batch_size: int) -> None:
        entries = {index: accepted(POOL[index]) for index in chosen}
        cloud.clear()
        assert deliver(*(envelope(entry) for entry in entries.values())) == [[], []]
        once = effect(cloud)
        cloud.clear()
        sequence = [*chosen, *(index for index in extra if index in chosen)]
        random.Random(seed).shuffle(sequence)
        for start in range(0, len(sequence), batch_size):
            batch = [envelope(entries[index]) for index in sequence[start : start + batch_size]]
            assert deliver(*batch) == [[], []]
        assert effect(cloud) == once

    check()


# --- activity -----------------------------------------------------------------------------------------------------


def test_activity_when_an_event_has_a_time_counts_it_in_its_minute(cloud: Cloud) -> None:
    activity_function.handler(sqs_event(envelope(accepted(cloudevent(time="2026-11-20T23:59:59-01:00")))), Context())
    (item,) = cloud.items()
    key = event_key("acme", "/shop", "order-1")
    assert item.pop("written_at")
    assert item == {
        "pk": {"S": "ACTIVITY#acme#2026-11-21T00"},
        "sk": {"S": f"order.created#59#{key[0]}#us-east-1"},
        "tenant": {"S": "acme"},
        "type": {"S": "order.created"},
        "minute": {"S": "2026-11-21T00:59:00Z"},
        "region": {"S": "us-east-1"},
        "seen": {"BS": [activity.key_bytes(key)]},
        "expires_at": {"N": str(int(datetime(2026, 12, 20, 10, 15, 31, tzinfo=UTC).timestamp()))},
        "version": {"N": "1"},
        "written_region": {"S": "us-east-1"},
    }


def test_activity_when_an_event_has_no_time_counts_it_under_its_key(cloud: Cloud) -> None:
    activity_function.handler(sqs_event(envelope(accepted(cloudevent(time=None)))), Context())
    (item,) = cloud.items()
    key = event_key("acme", "/shop", "order-1")
    assert item["pk"]["S"] == f"ACTIVITY#acme#undated-{key[:2]}"
    assert item["sk"]["S"] == f"order.created#{key[2:4]}#{key[0]}#us-east-1"
    assert "minute" not in item


def same_bucket(count: int) -> list[dict[str, Any]]:
    """Events that fall in one bucket: same type, minute and first digit of the key."""
    names = (str(n) for n in range(1000))
    return [cloudevent(id=n) for n in names if event_key("acme", "/shop", n)[0] == "a"][:count]


def test_activity_of_a_batch_writes_each_bucket_once(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    writes: list[Any] = []
    cloud.dynamodb.meta.events.register("before-call.dynamodb.UpdateItem", lambda **_: writes.append(1))
    bodies = [envelope(accepted(event)) for event in same_bucket(5)]
    activity_function.handler(sqs_event(*bodies, bodies[0], envelope(accepted(cloudevent(type="other")))), Context())
    assert len(writes) == 2
    values = metrics_of(capsys.readouterr().out)
    assert (sum(values["EventsCounted"]), sum(values["EventsAlreadyCounted"])) == (6.0, 1.0)


def test_activity_when_another_region_has_the_key_adds_nothing(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [envelope(accepted(event)) for event in same_bucket(2)]
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    settings_module.settings.cache_clear()
    activity_function.handler(sqs_event(bodies[0]), Context())
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    settings_module.settings.cache_clear()
    activity_function.handler(sqs_event(*bodies), Context())
    by_region = {item["region"]["S"]: item["seen"]["BS"] for item in cloud.items()}
    assert {region: len(keys) for region, keys in by_region.items()} == {"ap-south-1": 1, "us-east-1": 1}


def test_activity_of_a_batch_reads_all_its_buckets_in_one_strong_call(cloud: Cloud) -> None:
    reads: list[Any] = []
    cloud.dynamodb.meta.events.register(
        "provide-client-params.dynamodb.BatchGetItem", lambda params, **_: reads.append(params["RequestItems"])
    )
    bodies = [envelope(accepted(cloudevent(id=str(n), type=f"t{n % 3}"))) for n in range(10)]
    activity_function.handler(sqs_event(*bodies), Context())
    ((table, request),) = [next(iter(read.items())) for read in reads]
    assert table == "atoll-test"
    assert request["ConsistentRead"] is True
    regions = [key["sk"]["S"].rpartition("#")[2] for key in request["Keys"]]
    assert sorted(set(regions)) == ["ap-south-1", "us-east-1"]
    assert len(regions) == 2 * len(cloud.items())


def test_activity_read_of_more_buckets_than_a_call_takes_asks_in_whole_buckets(
    cloud: Cloud, settings: Settings
) -> None:
    sizes: list[int] = []
    cloud.dynamodb.meta.events.register(
        "provide-client-params.dynamodb.BatchGetItem",
        lambda params, **_: sizes.append(len(params["RequestItems"]["atoll-test"]["Keys"])),
    )
    buckets = [activity.Bucket(f"ACTIVITY#acme#{n}", "t#00#a#", "acme", "t", None) for n in range(70)]
    three = dataclasses.replace(settings, regions=("us-east-1", "ap-south-1", "eu-west-1"))
    found = activity.read(cloud.dynamodb, buckets, three)
    assert sizes == [99, 99, 12]
    assert found == dict.fromkeys(buckets, activity.Known(set(), 0))


def leave_aside(cloud: Cloud, answers: int, prefix: str) -> None:
    """Let DynamoDB leave the keys of one bucket unprocessed in its next answers, as it does when throttled."""
    left = iter(range(answers))

    def take_out(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        if next(left, None) is not None:
            kept = [key for key in context["asked"] if key["sk"]["S"].startswith(prefix)]
            rows = parsed["Responses"]["atoll-test"]
            parsed["Responses"]["atoll-test"] = [row for row in rows if not row["sk"]["S"].startswith(prefix)]
            parsed["UnprocessedKeys"] = {"atoll-test": {"Keys": kept, "ConsistentRead": True}}

    def note(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["asked"] = params["RequestItems"]["atoll-test"]["Keys"]

    cloud.dynamodb.meta.events.register("provide-client-params.dynamodb.BatchGetItem", note)
    cloud.dynamodb.meta.events.register("after-call.dynamodb.BatchGetItem", take_out)


def test_activity_read_when_keys_are_left_unprocessed_asks_for_them_again_after_growing_pauses(
    cloud: Cloud, settings: Settings
) -> None:
    events = [cloudevent(), cloudevent(type="other")]
    activity_function.handler(sqs_event(*(envelope(accepted(event)) for event in events)), Context())
    leave_aside(cloud, 3, "other#")
    pauses: list[float] = []
    buckets = [activity.bucket_of(delivery.parse(envelope(accepted(event)))) for event in events]
    found = activity.read(cloud.dynamodb, buckets, settings, pauses.append)
    assert [len(known.seen) for known in found.values() if isinstance(known, activity.Known)] == [1, 1]
    assert len(pauses) == 3
    assert all(0.02 * 2 ** (n + 1) / 2 <= pause <= 0.02 * 2 ** (n + 1) for n, pause in enumerate(pauses))


def test_activity_when_a_bucket_stays_unprocessed_fails_its_messages_and_counts_the_others(
    cloud: Cloud, logs: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("handlers.core.activity.time.sleep", pauses.append)
    leave_aside(cloud, 1000, "other#")
    bodies = [envelope(accepted(event)) for event in (cloudevent(), cloudevent(id="2", type="other"))]
    report = activity_function.handler(sqs_event(*bodies), Context())
    assert report == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert [item["type"]["S"] for item in cloud.items()] == ["order.created"]
    assert 0 < len(pauses) < 10
    assert [line["error"] for line in map(json.loads, logs.getvalue().splitlines()) if "error" in line] == [
        "UnprocessedKeys"
    ]


def test_activity_when_the_read_fails_writes_nothing_and_reports_every_message(cloud: Cloud, logs: StringIO) -> None:
    cloud.fail("dynamodb.BatchGetItem")
    bodies = [envelope(accepted(event)) for event in (cloudevent(), cloudevent(type="other"))]
    report = activity_function.handler(sqs_event(*bodies, "{"), Context())
    assert [failure["itemIdentifier"] for failure in report["batchItemFailures"]] == ["m0", "m1"]
    assert [body for body, _ in cloud.dead_letters()] == ["{"]
    assert cloud.items() == []
    assert "ReadTimeoutError" in logs.getvalue()


def test_activity_when_one_bucket_fails_reports_exactly_its_messages(cloud: Cloud) -> None:
    first, second = (envelope(accepted(event)) for event in same_bucket(2))
    other = envelope(accepted(cloudevent(type="other")))
    cloud.fail("dynamodb.UpdateItem", times=1)
    report = activity_function.handler(sqs_event(first, other, second, first), Context())
    failed = {failure["itemIdentifier"] for failure in report["batchItemFailures"]}
    assert failed == {"m0", "m2", "m3"}
    assert [item["type"]["S"] for item in cloud.items()] == ["other"]


def test_activity_when_a_longer_type_shares_the_prefix_keeps_them_apart(cloud: Cloud, settings: Settings) -> None:
    key = event_key("acme", "/shop", "order-1")
    shadow = f"order.created#15#{key[0]}"  # a type that looks like a bucket of the other
    bodies = [envelope(accepted(cloudevent(type=kind))) for kind in (shadow, "order.created")]
    for body in bodies:
        activity_function.handler(sqs_event(body), Context())
    assert sorted(item["type"]["S"] for item in cloud.items()) == ["order.created", shadow]


def test_activity_when_a_later_event_joins_a_bucket_extends_its_life_and_never_shortens_it(cloud: Cloud) -> None:
    first, second, third = same_bucket(3)
    for event, accepted_at in (
        (first, "2026-11-20T00:00:00Z"),
        (second, "2026-11-25T00:00:00Z"),
        (third, "2026-11-21T00:00:00Z"),
    ):
        activity_function.handler(sqs_event(envelope(accepted(event, accepted_at=accepted_at))), Context())
    (item,) = cloud.items()
    assert item["expires_at"]["N"] == str(int(datetime(2026, 12, 25, tzinfo=UTC).timestamp()))
    assert item["version"]["N"] == "3"


# --- what the log says of a delivery -----------------------------------------------------------------------------


def said(logs: StringIO, message: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, logs.getvalue().splitlines()) if line["message"] == message]


WAYS = ("receive_count", "redrives", "replay_name")


def test_processors_when_a_message_comes_as_most_do_log_the_event_and_no_more(cloud: Cloud, logs: StringIO) -> None:
    deliver(envelope(accepted(cloudevent())))
    for message in ("stored", "counted"):
        (line,) = said(logs, message)
        assert (line["event_key"], line["correlation_id"]) == (event_key("acme", "/shop", "order-1"), "c-1")
        assert not set(WAYS) & set(line)


@pytest.mark.parametrize(
    ("name", "logged"), [("atoll-test-1-000", "atoll-test-1-000"), ("a b", None), ("x" * 65, None), (7, None)]
)
def test_processors_when_a_message_comes_in_another_way_log_how(
    cloud: Cloud, logs: StringIO, name: Any, logged: str | None
) -> None:
    event = sqs_event(envelope(accepted(cloudevent()), **{"replay-name": name}))
    (record,) = event["Records"]
    record["attributes"]["ApproximateReceiveCount"] = "2"
    record["messageAttributes"] = {"REDRIVES": {"stringValue": "1", "dataType": "Number"}}
    for function in FUNCTIONS:
        assert function(event, Context()) == {"batchItemFailures": []}
    lines = said(logs, "stored") + said(logs, "counted")
    assert [tuple(line.get(way) for way in WAYS) for line in lines] == [("2", "1", logged)] * 2


def test_processors_when_a_message_fails_log_which_event_it_is_and_nothing_of_it(cloud: Cloud, logs: StringIO) -> None:
    cloud.fail("dynamodb.PutItem")
    event = sqs_event(envelope(accepted(cloudevent(data="secret-2"))))
    event["Records"][0]["attributes"]["ApproximateReceiveCount"] = "3"
    store.handler(event, Context())
    key = event_key("acme", "/shop", "order-1")
    for message in ("message failed", "message moved to the DLQ"):
        (line,) = said(logs, message)
        assert (line["event_key"], line["correlation_id"], line["message_id"]) == (key, "c-1", "m0")
    assert "secret-2" not in logs.getvalue()


# --- what has expired ---------------------------------------------------------------------------------------------

LONG_AGO = "2026-10-01T00:00:00.000Z"


def test_processors_when_an_expired_event_is_delivered_again_change_nothing(
    cloud: Cloud, logs: StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deliver(envelope(accepted(cloudevent(), accepted_at=LONG_AGO), **{"replay-name": "r-1"})) == [[], []]
    assert cloud.items() == []
    assert [line["event_key"] for line in map(json.loads, logs.getvalue().splitlines())] == [
        event_key("acme", "/shop", "order-1")
    ] * 2
    lines = capsys.readouterr().out.splitlines()
    assert [values for line in lines for values in [json.loads(line).get("EventsExpired")] if values] == [[1.0]] * 2


def expire(cloud: Cloud) -> None:
    """Let all items be over, and not yet deleted by time to live."""
    for item in cloud.items():
        cloud.dynamodb.put_item(TableName="atoll-test", Item={**item, "expires_at": {"N": "1"}})


@pytest.mark.parametrize("data", ["the same", "other"])
def test_store_when_the_stored_event_has_expired_stores_the_new_one(cloud: Cloud, data: str) -> None:
    store.handler(sqs_event(envelope(accepted(cloudevent(data="the same")))), Context())
    expire(cloud)
    report = store.handler(sqs_event(envelope(accepted(cloudevent(data=data)))), Context())
    assert report == {"batchItemFailures": []}
    (item,) = cloud.items()
    assert json.loads(item["event"]["S"])["data"] == data
    assert item["expires_at"]["N"] == str(int(datetime(2026, 12, 20, 10, 15, 31, tzinfo=UTC).timestamp()))


def test_activity_when_the_bucket_has_expired_begins_it_anew(cloud: Cloud) -> None:
    first, second = (envelope(accepted(event)) for event in same_bucket(2))
    activity_function.handler(sqs_event(first, second), Context())
    expire(cloud)
    activity_function.handler(sqs_event(first), Context())
    (item,) = cloud.items()
    assert item["seen"]["BS"] == [activity.key_bytes(delivery.parse(first).event_key)]
    assert item["version"]["N"] == "2"
    assert int(item["expires_at"]["N"]) > 1


def test_activity_when_another_batch_has_begun_the_bucket_anew_comes_back_for_it(
    cloud: Cloud, settings: Settings
) -> None:
    first, second = (delivery.parse(envelope(accepted(event))) for event in same_bucket(2))
    bucket = activity.bucket_of(first)
    over = activity.Known(set(), 0, is_over=True)
    activity.count(cloud.dynamodb, bucket, [first], over, settings)
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        activity.count(cloud.dynamodb, bucket, [second], over, settings)
    (item,) = cloud.items()
    assert item["seen"]["BS"] == [activity.key_bytes(first.event_key)]


def test_activity_when_only_another_regions_item_has_expired_counts_here(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = envelope(accepted(cloudevent()))
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    settings_module.settings.cache_clear()
    activity_function.handler(sqs_event(body), Context())
    expire(cloud)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    settings_module.settings.cache_clear()
    activity_function.handler(sqs_event(body), Context())
    assert sorted(item["region"]["S"] for item in cloud.items()) == ["ap-south-1", "us-east-1"]
