"""A resource policy admits a replay's temporary rules, or the statement that would is named."""

from __future__ import annotations

from typing import Any

import pytest

from ops.replay.admission import admits

RULE = "arn:aws:events:us-east-1:123456789012:rule/orders/atoll-unit-replay-0000000000000000-0"


def policy(effect: str = "Allow", condition: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    statement = {"Effect": effect, "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    return {"Statement": [statement | ({"Condition": condition} if condition else {}) | changes]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (policy(), True),
        (policy(Action=["sqs:*"]), True),
        (policy(Principal="*"), True),
        (policy(condition={"ArnLike": {"aws:SourceArn": RULE.rpartition("-")[0] + "-*"}}), True),
        (policy(condition={"ArnEquals": {"aws:sourcearn": [RULE.replace("orders", "x"), RULE]}}), True),
        (policy(condition={"StringEquals": {"aws:SourceAccount": "123456789012"}}), True),
        (policy(condition={"ArnEquals": {"aws:SourceArn": RULE.replace("orders", "x")}}), False),
        (policy(condition={"StringEquals": {"aws:SourceArn": RULE.rpartition("-")[0] + "-*"}}), False),
        (policy(Action="sqs:ReceiveMessage"), False),
        (policy(Principal={"Service": "sns.amazonaws.com"}), False),
        (policy("Deny"), False),
        ({}, False),
    ],
)
def test_admits(given: dict[str, Any], expected: bool) -> None:
    assert admits(given, "sqs:SendMessage", RULE) is expected


def test_admits_when_a_deny_is_about_transport_only() -> None:
    tls = policy("Deny", {"Bool": {"aws:SecureTransport": "false"}}, Principal="*", Action="sqs:*")
    assert admits({"Statement": [*policy()["Statement"], *tls["Statement"]]}, "sqs:SendMessage", RULE)
    assert not admits({"Statement": [*policy()["Statement"], *policy("Deny")["Statement"]]}, "sqs:SendMessage", RULE)
