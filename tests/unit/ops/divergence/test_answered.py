"""A scan on the tests' own DynamoDB sees what boto3 wrote there, and its calls are seen as boto3's."""

from __future__ import annotations

from typing import Any

import pytest

from ops.aws import Cloud
from ops.divergence.replicas import Schema, resolve
from ops.divergence.scanning import Pace, scan
from sketch import keys
from tests.unit.ops.divergence.answered import by_boto3
from tests.unit.ops.divergence.test_replicas import AP, US, table


def test_scan_by_boto3_finds_what_differs_and_changes_nothing(
    account: Cloud, calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_boto3(monkeypatch, lambda region: account.client("dynamodb", region))
    for region in (US, AP):
        table(account, region, kinds="SB")
        for number in range(4 if region == US else 3):
            item = {"pk": {"S": "k"}, "sk": {"B": bytes([number, 255])}, "n": {"NS": ["1", "2"]}}
            account.client("dynamodb", region).put_item(TableName="pair", Item=item)  # type: ignore[arg-type]
    calls.clear()
    found = scan(account, resolve(account, "pair"), Schema(("pk", "sk"), ("S", "B")), pace=Pace(segments=2, workers=1))
    assert [keys.unpack(one.key, ("pk", "sk"))["sk"]["B"] for one in found.suspects] == [b"\x03\xff"]
    assert calls.mutating == []
    assert f"dynamodb:Scan@{US}" in calls.made
