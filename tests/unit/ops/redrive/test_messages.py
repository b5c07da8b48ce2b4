"""What a message of a DLQ says of itself, and where it may go back to."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.redrive.messages import Target, read, to_send
from ops.redrive.queues import Feed
from ops.redrive.transformation import member
from tests.unit.ops.redrive import letters
from tests.unit.ops.redrive.letters import (
    BODY,
    BUS,
    FUNCTION,
    JOURNAL,
    KEY,
    RECORD,
    RULE,
    STORE,
    dlq,
    given_up,
    message,
    store_dlq,
    undelivered,
)


def test_read_when_the_processor_gave_up_has_its_reason_and_its_queue() -> None:
    letter = read(given_up(REDRIVES="1"), store_dlq())
    assert (letter.kind, letter.error_code, letter.handler) == ("function", "AccessDeniedException", "atoll-unit-store")
    assert (letter.event_type, letter.event_key, letter.redrives) == ("com.shop.order.created", KEY, 1)
    assert letter.sent == datetime.fromtimestamp(letters.SENT_MS / 1000, UTC)
    assert letter.target == Target("sqs", STORE)


def test_to_send_when_the_processor_gave_up_takes_the_reason_away_and_counts() -> None:
    body, attributes = to_send(read(given_up(REDRIVES="1", tenant="acme"), store_dlq()))
    assert body == BODY
    assert attributes == {
        "tenant": {"DataType": "String", "StringValue": "acme"},
        "REDRIVES": {"DataType": "Number", "StringValue": "2"},
    }


def test_read_when_eventbridge_could_not_deliver_goes_to_the_target_that_failed() -> None:
    letter = read(undelivered(), store_dlq())
    assert (letter.kind, letter.error_code, letter.handler) == ("rule", "NO_PERMISSIONS", "atoll-unit-store")
    assert letter.target == Target("sqs", STORE)
    assert to_send(letter) == (BODY, {"REDRIVES": {"DataType": "Number", "StringValue": "1"}})


@pytest.mark.parametrize(
    ("arn", "kind"),
    [(BUS, "bus"), (f"{FUNCTION}:live", "lambda"), (STORE, "sqs"), (STORE.replace("sqs", "states"), None)],
)
def test_read_when_the_target_is_another_service_says_so(arn: str, kind: str | None) -> None:
    letter = read(undelivered(target=arn), dlq(Feed("rule", RULE, arn)))
    assert letter.target == (Target(kind, arn) if kind else None)  # type: ignore[arg-type]
    assert bool(letter.why_not) == (kind is None)


def test_read_when_no_rule_sends_there_any_more_has_no_target() -> None:
    letter = read(undelivered(target=f"{letters.SQS}:somebody-elses"), store_dlq())
    assert letter.target is None
    assert "no rule with this DLQ" in letter.why_not


def test_read_when_the_rule_is_gone_and_another_sends_to_the_same_target_goes_there() -> None:
    letter = read(undelivered(rule=f"{RULE}-replay-1"), store_dlq())
    assert letter.target == Target("sqs", STORE)


def test_read_when_targets_of_the_rule_differ_in_input_has_no_target() -> None:
    feeds = [Feed("rule", RULE, STORE), Feed("rule", RULE, STORE, {"InputPath": "$.detail"})]
    assert read(undelivered(), dlq(*feeds)).target is None


def test_to_send_when_the_target_takes_a_part_sends_that_part() -> None:
    body, _ = to_send(read(undelivered(), store_dlq(InputPath="$.detail.event.data")))
    assert json.loads(body) == {"total": 12, "card_token": "4111111111111111"}


def test_read_when_the_input_cannot_be_repeated_has_no_target() -> None:
    letter = read(undelivered(), store_dlq(InputPath="$.detail.nothing"))
    assert letter.target is None
    assert "cannot be repeated" in letter.why_not


def test_read_when_sqs_moved_it_goes_back_to_the_queue_it_was_in() -> None:
    letter = read(message(DeadLetterQueueSourceArn=STORE), store_dlq())
    assert (letter.kind, letter.target, letter.error_code) == ("sqs", Target("sqs", STORE), "MaxReceivesExceeded")


def test_read_when_the_queue_it_was_in_has_another_dlq_now_has_no_target() -> None:
    letter = read(message(DeadLetterQueueSourceArn=f"{letters.SQS}:other"), store_dlq())
    assert (letter.kind, letter.target) == ("sqs", None)


def test_read_when_the_message_has_ten_attributes_of_its_own_has_no_target() -> None:
    own = {f"name{number}": "x" for number in range(10)}
    assert read(message(attributes=own, DeadLetterQueueSourceArn=STORE), store_dlq()).target is None


def test_read_when_the_target_is_fifo_has_no_target() -> None:
    fifo = f"{STORE}.fifo"
    assert read(message(DeadLetterQueueSourceArn=fifo), dlq(Feed("queue", fifo, fifo))).target is None


def test_read_when_an_invocation_failed_goes_to_the_function_with_its_payload_as_it_was() -> None:
    body = json.dumps(RECORD).replace("2.5", "2.50")
    letter = read(message(body), dlq(Feed("function", FUNCTION, FUNCTION)))
    assert (letter.kind, letter.error_code, letter.handler) == ("invocation", "Runtime.ExitError", "atoll-unit-query")
    assert letter.request_id == RECORD["requestContext"]["requestId"]  # type: ignore[index]
    assert letter.target == Target("lambda", FUNCTION)
    assert to_send(letter) == ('{"ORDER_IDS": [1, 2.50]}', {})


def test_read_when_the_invocation_was_of_a_foreign_function_has_no_target() -> None:
    record = RECORD | {"requestContext": {"functionArn": f"{letters.LAMBDA}:function:payroll"}}
    assert read(message(json.dumps(record)), dlq(Feed("function", FUNCTION, FUNCTION))).target is None


def test_read_when_lambdas_older_setting_left_it_goes_to_the_one_function() -> None:
    facts = {"RequestID": "r-9", "ErrorCode": "200", "ErrorMessage": "boom"}
    letter = read(message('{"a": 1}', facts), dlq(Feed("function", FUNCTION, FUNCTION)))
    assert (letter.kind, letter.request_id, letter.target) == ("invocation", "r-9", Target("lambda", FUNCTION))
    assert to_send(letter)[0] == '{"a": 1}'


@pytest.mark.parametrize(("accepted_in", "bus"), [("us-east-1", BUS), ("ap-south-1", JOURNAL), ("eu-west-1", None)])
def test_read_when_two_buses_share_a_dlq_goes_to_the_one_that_carries_the_regions_events(
    accepted_in: str, bus: str | None
) -> None:
    feeds = [Feed("bus", BUS, BUS, accepted_in="us-east-1"), Feed("bus", JOURNAL, JOURNAL, accepted_in="ap-south-1")]
    event = letters.EVENT | {"detail": {"accepted_region": accepted_in}}
    letter = read(message(json.dumps(event), {"ERROR_CODE": "AccessDenied"}), dlq(*feeds))
    assert (letter.kind, letter.target) == ("bus", Target("bus", bus) if bus else None)


def test_read_when_nobody_signed_it_is_unknown() -> None:
    letter = read(message("hello"), store_dlq())
    assert (letter.kind, letter.target, letter.event_key) == ("unknown", None, None)
    assert letter.why_not


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["detail", "event", "type", "requestContext", "functionArn", "requestPayload", "event_key"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_bodies = st.text() | _json.map(json.dumps) | st.sampled_from(["[" * 100_000, '{"a":' * 50_000, "9" * 5_000, "\ud800"])
_facts = st.dictionaries(
    st.sampled_from(["RULE_ARN", "TARGET_ARN", "ERROR_CODE", "FUNCTION", "REDRIVES", "RequestID", "ErrorCode"]),
    st.text(max_size=20) | st.sampled_from([STORE, RULE, FUNCTION, "1e9", "-1", "٣"]),
)
_systems = st.dictionaries(
    st.sampled_from(["SentTimestamp", "DeadLetterQueueSourceArn"]), st.text(max_size=15) | st.just(STORE)
)


@given(body=_bodies, facts=_facts, system=_systems)
def test_read_whatever_a_message_holds_names_a_deployed_target_or_none(
    body: str, facts: dict[str, str], system: dict[str, str]
) -> None:
    queue = replace(store_dlq(), feeds=(*store_dlq().feeds, Feed("function", FUNCTION, FUNCTION)))
    letter = read(message(body, facts, **system), queue)
    assert letter.target in (None, Target("sqs", STORE), Target("lambda", FUNCTION))
    assert (letter.target is None) == bool(letter.why_not)
    for shown in (letter.error_code, letter.error_message, letter.handler, letter.event_type, letter.why_not):
        assert shown.isprintable()
    if letter.target is not None:
        sent, attributes = to_send(letter)
        assert letter.kind == "invocation" or sent == body
        assert len(attributes) <= 10


@given(value=_json, before=_json, name=st.sampled_from(["requestPayload", "other"]))
def test_member_of_any_object_is_the_very_text(value: Any, before: Any, name: str) -> None:
    text = json.dumps({"first": before, name: value, "last": before}, indent=1)
    found = member(text, name)
    assert found is not None
    assert json.dumps(json.loads(found)) == json.dumps(value)
    assert found in text


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a"', '{"a":}', "{1:2}", '"a"', "[" * 100_000])
def test_member_of_no_object_is_none(text: str) -> None:
    assert member(text, "a") is None
