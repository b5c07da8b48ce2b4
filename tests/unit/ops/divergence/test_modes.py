"""Whatever the mode, tables that cannot be compared are refused before anything is read, and what differs is said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ops.aws import Cloud
from ops.divergence.modes import MODES, replicas, subjects
from ops.errors import RefusedError

US, AP = "us-east-1", "ap-south-1"
pytestmark = pytest.mark.parametrize("mode", [name for name, mode in MODES.items() if mode.compares])


def table(cloud: Cloud, region: str, kind: str = "S", **options: Any) -> None:
    cloud.client("dynamodb", region).create_table(
        TableName="pair",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": kind}],  # type: ignore[typeddict-item]
        BillingMode="PAY_PER_REQUEST",
        **options,
    )


def compared(cloud: Cloud, mode: str) -> list[Any]:
    request: Any = SimpleNamespace(mode=mode, tables=("pair",), regions=(US, AP), replicas=())
    return subjects(SimpleNamespace(cloud=cloud), request)  # type: ignore[arg-type]


def test_missing_replica_is_refused_with_where_it_is_missing(account: Cloud, mode: str) -> None:
    table(account, US)
    with pytest.raises(RefusedError, match=f"there is no table pair in {AP}$") as refused:
        compared(account, mode)
    assert "-p replicas=" in refused.value.hint


def test_other_types_of_the_same_key_are_refused_with_both(account: Cloud, mode: str) -> None:
    table(account, US)
    table(account, AP, "N")
    with pytest.raises(RefusedError, match=rf"key schemas differ.*: {US}: pk \(S\); {AP}: pk \(N\)$"):
        compared(account, mode)


def test_other_time_to_live_and_indexes_are_told_and_stop_nothing(account: Cloud, mode: str) -> None:
    index = {"IndexName": "again", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}]}
    table(account, US, GlobalSecondaryIndexes=[index | {"Projection": {"ProjectionType": "ALL"}}])
    table(account, AP)
    account.client("dynamodb", US).update_time_to_live(
        TableName="pair", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    page = replicas(compared(account, mode))._repr_html_()
    assert f"time-to-live attributes differ: {US}: expires; {AP}: none" in page
    assert f"indexes differ: {US}: again; {AP}: none" in page
