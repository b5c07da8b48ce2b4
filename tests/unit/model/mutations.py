"""Mistakes that the model checker has to notice, each by what would go wrong in production.

Every one replaces a function of the handlers or of the replication by a version that lacks what the name says.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from handlers.core import acceptance, activity, delivery, idempotency, processing, retention, strictjson, table
from handlers.core.bus import Bus
from ops.local.emulator.replication import ReplicationLog
from tests.unit.model.dynamo import DynamoDB

Mutation = Callable[[pytest.MonkeyPatch], None]


def store_puts_without_its_condition(patch: pytest.MonkeyPatch) -> None:
    put = DynamoDB.put_item

    def put_item(self: DynamoDB, **request: Any) -> Any:
        if request["Item"].get("sk") == {"S": "EVENT"}:
            for name in ("ConditionExpression", "ExpressionAttributeValues", "ReturnValuesOnConditionCheckFailure"):
                request.pop(name, None)
        return put(self, **request)

    patch.setattr(DynamoDB, "put_item", put_item)


def store_takes_a_conflict_for_a_duplicate(patch: pytest.MonkeyPatch) -> None:
    store = table.store

    def forgiving(*arguments: Any) -> Any:
        try:
            return store(*arguments)
        except table.EventConflictError:
            return "already stored"

    patch.setattr(table, "store", forgiving)


def regions_share_one_activity_item(patch: pytest.MonkeyPatch) -> None:
    count, read = activity.count, activity.read

    def anywhere(settings: Any) -> Any:
        return dataclasses.replace(settings, region="all", regions=("all",))

    patch.setattr(activity, "count", lambda c, b, d, k, settings: count(c, b, d, k, anywhere(settings)))
    patch.setattr(activity, "read", lambda client, buckets, settings: read(client, buckets, anywhere(settings)))


def activity_adds_up_regions_instead_of_uniting_them(patch: pytest.MonkeyPatch) -> None:
    def tally(items: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str | None], int]:
        counts: dict[tuple[str, str | None], int] = {}
        for item in items:
            bucket = (item["type"]["S"], item["minute"]["S"] if "minute" in item else None)
            counts[bucket] = counts.get(bucket, 0) + len(item["seen"]["BS"])
        return counts

    patch.setattr(activity, "tally", tally)


def activity_replaces_the_set_instead_of_adding(patch: pytest.MonkeyPatch) -> None:
    add = activity._add
    patch.setattr(
        activity,
        "_add",
        lambda client, bucket, keys, expires_at, *, is_over, settings: add(
            _Unconditional(client), bucket, keys, expires_at, is_over=True, settings=settings
        ),
    )


class _Unconditional:
    """A client whose updates have no condition."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def update_item(self, **request: Any) -> Any:
        request.pop("ConditionExpression", None)
        return self._client.update_item(**request)


def keys_ignore_the_tenant(patch: pytest.MonkeyPatch) -> None:
    key = acceptance.event_key
    patch.setattr(acceptance, "event_key", lambda tenant, source, event_id: key("public", source, event_id))


def identity_comes_from_the_envelope(patch: pytest.MonkeyPatch) -> None:
    parse = delivery.parse

    def from_envelope(body: str) -> delivery.Delivery:
        envelope_id = strictjson.loads(body)["id"]
        return dataclasses.replace(parse(body), event_key=str(uuid.UUID(envelope_id)))

    patch.setattr(delivery, "parse", from_envelope)


def ingest_answers_202_though_the_bus_refused(patch: pytest.MonkeyPatch) -> None:
    publish = Bus.publish
    patch.setattr(Bus, "publish", lambda self, call, may: dict.fromkeys(publish(self, call, may)))


def ledger_forgets_what_it_answered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(idempotency.Ledger, "complete", idempotency.Ledger.release)


def processors_report_no_failures(patch: pytest.MonkeyPatch) -> None:
    each = processing.each

    def quiet(*arguments: Any) -> dict[str, Any]:
        each(*arguments)
        return {"batchItemFailures": []}

    patch.setattr(processing, "each", quiet)


def expired_events_are_stored_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(retention, "unexpired", lambda deliveries, settings: list(deliveries))


def expired_items_are_in_the_way(patch: pytest.MonkeyPatch) -> None:
    put = DynamoDB.put_item

    def put_item(self: DynamoDB, **request: Any) -> Any:
        if request.get("ConditionExpression", "").endswith("expires_at <= :now"):
            request["ConditionExpression"] = "attribute_not_exists(pk)"
        return put(self, **request)

    patch.setattr(DynamoDB, "put_item", put_item)


def expired_items_are_shown(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(retention, "lives", lambda item, at_s: True)


def strong_reads_are_eventual(patch: pytest.MonkeyPatch) -> None:
    read = table.read
    patch.setattr(table, "read", lambda client, name, key, *, consistent: read(client, name, key, consistent=False))


def the_first_writer_wins(patch: pytest.MonkeyPatch) -> None:
    deliver = ReplicationLog._deliver

    def reversed_order(self: ReplicationLog, link: Any, write: Any) -> None:
        known = self._in_flight[write.table, write.key]
        held = known.stamps.get(link.destination)
        if held is not None and held < write.stamp:
            link.superseded += 1
            self._settle(write)
            return
        known.stamps.pop(link.destination, None)
        deliver(self, link, write)

    patch.setattr(ReplicationLog, "_deliver", reversed_order)


def any_late_write_wins(patch: pytest.MonkeyPatch) -> None:
    deliver = ReplicationLog._deliver

    def always(self: ReplicationLog, link: Any, write: Any) -> None:
        self._in_flight[write.table, write.key].stamps.pop(link.destination, None)
        deliver(self, link, write)

    patch.setattr(ReplicationLog, "_deliver", always)


def deletions_leave_no_tombstone(patch: pytest.MonkeyPatch) -> None:
    record, deliver = ReplicationLog.record, ReplicationLog._deliver

    def forget(self: ReplicationLog, write_table: Any, key: Any, region: str) -> None:
        known = self._in_flight.get((write_table, key))
        if known is not None:
            known.stamps.pop(region, None)

    def recording(self: ReplicationLog, *written: Any) -> Any:
        stamp = record(self, *written)
        name, source, _, key, item = written
        if item is None:
            forget(self, name, key, source)
        return stamp

    def delivering(self: ReplicationLog, link: Any, write: Any) -> None:
        deliver(self, link, write)
        if write.item is None:
            forget(self, write.table, write.key, link.destination)

    patch.setattr(ReplicationLog, "record", recording)
    patch.setattr(ReplicationLog, "_deliver", delivering)


def healing_drops_what_was_held(patch: pytest.MonkeyPatch) -> None:
    heal = ReplicationLog.heal

    def forgetful(self: ReplicationLog, source: str, destination: str) -> None:
        if self._link(source, destination).cut:
            self.cut(source, destination, lose=True)
        heal(self, source, destination)

    patch.setattr(ReplicationLog, "heal", forgetful)


PLATFORM: list[Mutation] = [
    store_puts_without_its_condition,
    store_takes_a_conflict_for_a_duplicate,
    regions_share_one_activity_item,
    activity_adds_up_regions_instead_of_uniting_them,
    keys_ignore_the_tenant,
    identity_comes_from_the_envelope,
    ledger_forgets_what_it_answered,
    processors_report_no_failures,
    expired_events_are_stored_again,
    expired_items_are_shown,
    strong_reads_are_eventual,
    the_first_writer_wins,
    healing_drops_what_was_held,
]
REGISTER: list[Mutation] = [
    the_first_writer_wins,
    any_late_write_wins,
    deletions_leave_no_tombstone,
    healing_drops_what_was_held,
]
