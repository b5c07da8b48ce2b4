"""The regional record of accepted events: Powertools' DynamoDB persistence layer, one record an event.

The layer is driven directly instead of by its decorator, so that the events of a batch can be claimed first and then
published in packed calls. A claim is a conditional write and is answered by the item that stands in its way, so it is
strongly consistent in this region:

    no record, or an expired one      -> claimed: publish, then complete (or release when publishing failed)
    completed, same payload           -> the stored answer
    in progress                       -> 409
    another payload                   -> 422

A function that dies between claim and completion leaves a record that expires by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
    IdempotencyValidationError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import STATUS_CONSTANTS, DataRecord
from botocore.exceptions import BotoCoreError, ClientError

from handlers.core.observability import error_code, logger
from handlers.core.problem import ProblemError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

    from handlers.core.settings import Settings

_ATTEMPTS = 3  # a record may expire or vanish between the refused write and the look at it
_KEY_PREFIX = "ingest"


class Ledger:
    """Claims events, and remembers the answer that each was given. Safe to share between threads."""

    def __init__(self, client: DynamoDBClient, settings: Settings) -> None:
        self._in_progress_ms = settings.in_progress_timeout_s * 1000
        self._layer = DynamoDBPersistenceLayer(table_name=settings.idempotency_table, boto3_client=client)
        config = IdempotencyConfig(
            event_key_jmespath="event_key",
            payload_validation_jmespath="payload_digest",
            raise_on_no_idempotency_key=True,
            expires_after_seconds=settings.idempotency_window_s,
            hash_function="sha256",
        )
        self._layer.configure(config, key_prefix=_KEY_PREFIX)

    def claim(self, event_key: str, payload_digest: str, remaining_ms: int) -> dict[str, Any] | None:
        """Claim an event for publishing; return the stored answer instead when it was accepted before.

        Raises:
            ProblemError: 409, 422, or 503 when the table does not answer (nothing was claimed then).
        """
        data = {"event_key": event_key, "payload_digest": payload_digest}
        # This function is certainly dead once its time is over: no need to hold the claim any longer.
        hold_ms = min(self._in_progress_ms, max(remaining_ms, 1000))
        try:
            for _ in range(_ATTEMPTS):
                try:
                    self._layer.save_inprogress(data, hold_ms)
                except IdempotencyItemAlreadyExistsError as error:
                    record = error.old_data_record or self._read(data)
                    if record is not None and record.status == STATUS_CONSTANTS["COMPLETED"]:
                        return record.response_json_as_dict()
                    if record is not None and record.status == STATUS_CONSTANTS["INPROGRESS"]:
                        break
                else:
                    return None
        except IdempotencyValidationError:
            raise ProblemError(
                "payload-mismatch",
                "An event with this source and id was accepted with other content; give a new event a new id.",
                field="id",
            ) from None
        except (ClientError, BotoCoreError) as error:
            logger.error("claim failed", event_key=event_key, error=error_code(error))
            raise ProblemError(
                "unavailable", "The record of accepted events did not answer; nothing was accepted; retry with backoff."
            ) from error
        raise ProblemError("in-progress", "Another request with this event has not finished; retry in a second.")

    def complete(self, event_key: str, payload_digest: str, answer: dict[str, Any]) -> None:
        """Remember the answer. A failure is logged only: the event *is* accepted, and a retry is harmless."""
        try:
            self._layer.save_success({"event_key": event_key, "payload_digest": payload_digest}, answer)
        except (ClientError, BotoCoreError) as error:
            logger.warning("accepted, but the answer was not recorded", event_key=event_key, error=error_code(error))

    def release(self, event_key: str, payload_digest: str, reason: Exception) -> None:
        """Give a claim back after publishing failed. If this fails too, the claim expires by itself."""
        try:
            self._layer.delete_record({"event_key": event_key, "payload_digest": payload_digest}, reason)
        except (ClientError, BotoCoreError) as error:
            logger.warning("claim not released, it will expire", event_key=event_key, error=error_code(error))

    def _read(self, data: dict[str, Any]) -> DataRecord | None:
        try:
            return self._layer.get_record(data)
        except IdempotencyItemNotFoundError:
            return None
