"""Processor: counts each accepted event by type and minute, exactly once whatever is delivered."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from handlers.core import activity, aws, delivery, observability, processing, retention
from handlers.core.settings import settings


@observability.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Read all messages, their buckets in one call, write each bucket once, then report message by message."""
    outcomes = _Batch(event["Records"])
    return processing.each(event, context, outcomes.report)


class _Batch:
    """The messages of one invocation: what each says, or why it failed."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self._failures: dict[str, Exception] = {}
        self._deliveries: dict[str, delivery.Delivery] = {}
        self._counted: set[str] = set()  # event keys
        for record in records:
            try:
                self._deliveries[record["messageId"]] = delivery.parse(record["body"])
            except delivery.MalformedDeliveryError as error:
                self._failures[record["messageId"]] = error
        buckets = activity.group(retention.unexpired(self._deliveries.values(), settings()))
        known = activity.read(aws.dynamodb(), list(buckets), settings())
        for bucket, members in buckets.items():
            self._count(bucket, members, known[bucket])

    def _count(self, bucket: activity.Bucket, members: list[delivery.Delivery], known: activity.Found) -> None:
        try:
            counted = activity.count(aws.dynamodb(), bucket, members, known, settings())
        except Exception as error:  # noqa: BLE001 kept, and raised again for each message of the bucket
            keys = {member.event_key for member in members}
            self._failures |= {name: error for name, one in self._deliveries.items() if one.event_key in keys}
            return
        observability.count("EventsCounted", counted.new)
        observability.count("EventsAlreadyCounted", counted.known)
        self._counted.update(member.event_key for member in members)

    def report(self, record: SQSRecord) -> None:
        """Raise what went wrong with this message, if anything did."""
        if parsed := self._deliveries.get(record.message_id):
            observability.follow_trace(parsed.trace_id)
        if failure := self._failures.get(record.message_id):
            raise failure
        if parsed and parsed.event_key in self._counted:
            observability.logger.info("counted", **processing.facts(record, parsed))


if aws.starting_in_lambda():
    aws.dynamodb()
