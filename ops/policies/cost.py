"""Grants of ``cost``: sizes of tables and of logs, beside what it shares with others."""

from __future__ import annotations

from collections.abc import Iterator

from ops.policies.grant import NO_RESOURCE, Grant, Names


def cost(names: Names) -> Iterator[Grant]:
    tables = names.everywhere("dynamodb", f"table/{names.stage.idempotency_table}")
    yield Grant("RecordOfAccepted", ("dynamodb:DescribeTable",), tables)
    yield Grant("LogGroups", ("logs:DescribeLogGroups",), ("*",), NO_RESOURCE)
