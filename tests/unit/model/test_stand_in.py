"""The in-memory DynamoDB answers what moto answers to whatever the handlers ask, on random sequences of their calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from moto import mock_aws

from handlers.core import activity, aws, delivery, listing, retention, table, timestamps
from handlers.core import settings as settings_module
from handlers.core.cursor import Position
from handlers.core.idempotency import Ledger
from handlers.core.problem import ProblemError
from sketch.canonical import item_digest
from tests.unit.handlers.support import ENVIRONMENT, Cloud, cloudevent, envelope
from tests.unit.handlers.test_processors import accepted
from tests.unit.model.cloud import LEDGER, START, TABLE
from tests.unit.model.dynamo import DynamoDB, Table
from tests.unit.model.expressions import Expression
from tests.unit.model.profiles import profile

SETTINGS = settings_module.load(ENVIRONMENT)
NOW = START + timedelta(days=10)
# Some are over, by time to live, at NOW; one is another event under the key of the first.
EVENTS = [
    (cloudevent(id="1"), START),
    (cloudevent(id="1", data="other"), START),
    (cloudevent(id="2", time=None), START - timedelta(days=25)),
    (cloudevent(id="3", type="other"), START - timedelta(days=5)),
]
DELIVERIES = [
    delivery.parse(envelope(accepted(event, accepted_at=timestamps.format_ms(moment)))) for event, moment in EVENTS
]
Call = tuple[str, int]
CALLS = st.lists(
    st.tuples(
        st.sampled_from(["store", "read", "count", "claim", "complete", "release", "list", "list of a type", "expire"]),
        st.integers(0, len(EVENTS) - 1),
    ),
    min_size=4,
    max_size=20,
)


class Asked:
    """One DynamoDB with the calls of the handlers on it; ``shift`` moves the clock that they see."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.ledger = Ledger(client, SETTINGS)

    def do(self, call: Call) -> Any:
        kind, number = call
        one = DELIVERIES[number]
        try:
            return self._do(kind, one)
        except (table.EventConflictError, ProblemError) as error:
            return type(error).__name__, str(error)

    def _do(self, kind: str, one: delivery.Delivery) -> Any:  # noqa: PLR0911 one a call
        match kind:
            case "store":
                return table.store(self.client, one, SETTINGS)
            case "read":
                return _digest(table.read(self.client, TABLE, one.event_key, consistent=True))
            case "count":
                ((bucket, members),) = activity.group([one]).items()
                known = activity.read(self.client, [bucket], SETTINGS)[bucket]
                return known, activity.count(self.client, bucket, members, known, SETTINGS)
            case "claim":
                return self.ledger.claim(one.event_key, one.payload_digest, 30_000)
            case "complete":
                return self.ledger.complete(one.event_key, one.payload_digest, {"event_key": one.event_key})
            case "release":
                return self.ledger.release(one.event_key, one.payload_digest, RuntimeError())
            case "expire":
                return self._expire(one)
        wanted = one.type if kind == "list of a type" else None
        position = Position(NOW - timedelta(days=31), NOW, timestamps.format_ms(NOW))
        page = listing.Listing(self.client, TABLE, "public", wanted).page(position, 1)
        return [_digest(item) for item in page.items], page.below

    def _expire(self, one: delivery.Delivery) -> None:
        """Move the end of an item's life, and of its buckets', into the past, as time would."""
        for item in self.items(TABLE):
            if item["sk"]["S"] != "EVENT" or item["event_key"]["S"] == one.event_key:
                self.client.put_item(TableName=TABLE, Item={**item, "expires_at": {"N": "1"}})

    def items(self, name: str) -> list[dict[str, Any]]:
        return list(self.client.scan(TableName=name)["Items"])


def _digest(item: dict[str, Any] | None) -> bytes | None:
    return None if item is None else item_digest(item)


@pytest.fixture
def moto_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    settings_module.settings.cache_clear()
    aws.reset()
    with mock_aws():
        yield Cloud().dynamodb
    settings_module.settings.cache_clear()
    aws.reset()


def test_stand_in_answers_what_moto_answers_and_holds_what_moto_holds(
    moto_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timestamps, "time", SimpleNamespace(time=NOW.timestamp))
    assert [retention.expiry_s(one.accepted_at, SETTINGS) > retention.now_s() for one in DELIVERIES] == [
        True,
        True,
        False,
        True,
    ]

    @given(CALLS)
    @profile(0.3)
    def check(calls: list[Call]) -> None:
        for name in (TABLE, LEDGER):
            for item in moto_client.scan(TableName=name)["Items"]:
                keys = ("pk", "sk") if name == TABLE else ("id",)
                moto_client.delete_item(TableName=name, Key={key: item[key] for key in keys})
        tables = {TABLE: Table(("pk", "sk"), {"by_time": ("gsi_pk", "gsi_sk")}), LEDGER: Table(("id",))}
        real, stand_in = Asked(moto_client), Asked(DynamoDB(tables))
        for call in calls:
            assert stand_in.do(call) == real.do(call), call
            tables[TABLE].before.clear()  # moto's eventually consistent reads are always up to date
        assert sorted(map(item_digest, stand_in.items(TABLE))) == sorted(map(item_digest, real.items(TABLE)))
        assert sorted(map(_less_time, stand_in.items(LEDGER))) == sorted(map(_less_time, real.items(LEDGER)))

    check()


def _less_time(record: dict[str, Any]) -> bytes:
    """A ledger's record without the times that the two calls, made one after the other, differ in."""
    return item_digest(record, ignore=("expiration", "in_progress_expiration"))


def test_eventually_consistent_read_answers_what_was_there_before() -> None:
    client = DynamoDB({"t": Table(("pk",))})
    client.put_item(TableName="t", Item={"pk": {"S": "a"}})
    assert client.get_item(TableName="t", Key={"pk": {"S": "a"}}) == {}
    assert client.get_item(TableName="t", Key={"pk": {"S": "a"}}, ConsistentRead=True) == {"Item": {"pk": {"S": "a"}}}
    client.catch_up()
    assert client.get_item(TableName="t", Key={"pk": {"S": "a"}}) == {"Item": {"pk": {"S": "a"}}}


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Expression("size(a) > :b", None, {":b": {"N": "1"}}).holds({}),
        lambda: Expression("NOT a = :b", None, {":b": {"S": "1"}}).holds({"a": {"S": "1"}}),
        lambda: Expression("REMOVE a", None, None).update({}),
        lambda: DynamoDB({"t": Table(("pk",))}).put_item(
            TableName="t", Item={"pk": {"S": "a"}}, ReturnValues="ALL_OLD"
        ),
    ],
)
def test_what_the_stand_in_does_not_know_is_refused(ask: Callable[[], Any]) -> None:
    with pytest.raises(NotImplementedError):
        ask()
