"""What is kept in quarantine has all that is known of the message, under a key of its own."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

from ops.bucket import Place
from ops.redrive import quarantine
from ops.stage import load_stage
from tests.unit.ops.redrive.fakes import Clock, FakeCloud, FakeSqs
from tests.unit.ops.redrive.test_delivering import letter

PLACE = Place("kept", "team", "us-east-1")


def test_message_is_kept_whole_with_its_reason_and_history_under_one_key() -> None:
    store = FakeSqs(Clock())
    attributes = {
        "ERROR_CODE": {"DataType": "String", "StringValue": "Boom"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    failed = letter(1, body="ünïcode", attributes=attributes, error_code="Boom", redrives=1, system={"Sender": "x"})
    uris = {quarantine.keep(FakeCloud(load_stage("local"), store), PLACE, failed) for _ in range(2)}  # type: ignore[arg-type]

    assert uris == {"s3://kept/team/quarantine/dlq/2026-11-23/m-1.json"}
    (kept,) = (json.loads(body) for body in store.kept.values())
    assert kept["body"] == "ünïcode"
    assert kept["reason"] == {"code": "Boom", "message": "", "handler": ""}
    assert base64.b64decode(kept["attributes"]["raw"]["BinaryValue"]) == b"\x00\xff"
    assert kept["history"]["redrives"] == 1
    assert kept["target"]["arn"].endswith(":target")
    assert kept["system"] == {"Sender": "x"}


def test_key_is_of_the_day_on_which_the_message_came() -> None:
    sent = datetime(2026, 1, 2, 23, 59, tzinfo=UTC)
    assert quarantine.key(letter(1, sent=sent)) == "quarantine/dlq/2026-01-02/m-1.json"
