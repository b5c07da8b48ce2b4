"""The queues of the emulated SQS: standard ones at the speed of their index, receipts and dead letters as on AWS.

What always holds: a message is in a queue until it is deleted with its last receipt, expires, or moves to the queue's
DLQ, whatever is sent meanwhile from other threads (the emulator rebuilt its list on each deletion and lost those). FIFO
queues stay as the emulator has them.
"""

from __future__ import annotations

import importlib
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ops.local.emulator.messages import Messages
from ops.local.emulator.movetasks import MoveTasks, dead_letters

RECEIPT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_HIDDEN_S = 43_200
LISTED_AT_MOST = 1000

Queue = dict[str, Any]


class Queues:
    """The queues of every account and region."""

    def __init__(self) -> None:
        self._sqs = importlib.import_module("ministack.services.sqs")
        self._dispatch = self._sqs._dispatch
        self._get = self._sqs._get_q
        self._by_arn = self._sqs._queue_by_arn
        self._collect = self._sqs._collect_msgs
        self._sweep = self._sqs._dlq_sweep
        self._expire = self._sqs._expire_retained
        self._count = self._sqs._refresh_counts
        self._delete_for_mapping = self._sqs._delete_messages_for_esm
        self._indexing = threading.Lock()
        self.tasks = MoveTasks(self.by_arn)
        self._actions: dict[str, Callable[[Mapping[str, Any], str], dict[str, Any]]] = {
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": self._delete_batch,
            "ChangeMessageVisibility": self._change,
            "ChangeMessageVisibilityBatch": self._change_batch,
            "ListDeadLetterSourceQueues": self._dead_letter_sources,
            "StartMessageMoveTask": self.tasks.start,
            "ListMessageMoveTasks": self.tasks.list_tasks,
            "CancelMessageMoveTask": self.tasks.cancel,
        }

    async def dispatch(self, action: str, data: Any, qurl: str) -> Any:
        """Stands in for ``_dispatch``."""
        own = self._actions.get(action)
        if own is None or (action.startswith(("Delete", "Change")) and not self._indexed(data.get("QueueUrl", qurl))):
            return await self._dispatch(action, data, qurl)
        return own(data, qurl)

    def get(self, url: str, action: str | None = None) -> Queue:
        """Stands in for ``_get_q``."""
        queue: Queue = self._get(url, action)
        self._index(queue)
        return queue

    def by_arn(self, arn: str) -> Queue | None:
        """Stands in for ``_queue_by_arn``."""
        queue: Queue | None = self._by_arn(arn)
        if queue is not None:
            self._index(queue)
        return queue

    def collect(self, q: Any, max_n: int, vis_timeout: int) -> Any:
        """Stands in for ``_collect_msgs``: what was received too often goes to the DLQ as its turn comes."""
        messages = q["messages"]
        if not isinstance(messages, Messages):
            return self._collect(q, max_n, vis_timeout)
        return messages.take(max_n, time.time(), vis_timeout, self._sqs.new_uuid, self._spent(q))

    def sweep(self, q: Any) -> None:
        """Stands in for ``_dlq_sweep``: of standard queues ``collect`` does it."""
        if not isinstance(q["messages"], Messages):
            self._sweep(q)

    def expire(self, q: Any) -> None:
        """Stands in for ``_expire_retained``."""
        if isinstance(q["messages"], Messages):
            q["messages"].expire(time.time() - int(q["attributes"].get("MessageRetentionPeriod", "345600")))
        else:
            self._expire(q)

    def count(self, q: Any) -> None:
        """Stands in for ``_refresh_counts``."""
        if not isinstance(q["messages"], Messages):
            self._count(q)
            return
        self.expire(q)
        visible, in_flight, delayed = q["messages"].counts(time.time())
        q["attributes"] |= {
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(in_flight),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
        }

    def delete_for_mapping(self, queue_url: str, receipt_handles: Any) -> None:
        """Stands in for ``_delete_messages_for_esm``."""
        messages = self.get(queue_url)["messages"] if receipt_handles else None
        if not isinstance(messages, Messages):
            self._delete_for_mapping(queue_url, receipt_handles)
            return
        for receipt in receipt_handles:
            messages.delete(receipt)

    def _indexed(self, url: str) -> bool:
        return isinstance(self.get(url)["messages"], Messages)

    def _index(self, queue: Queue) -> None:
        # All who add to a queue find it here first, so nobody holds on to the list that is replaced.
        if isinstance(queue["messages"], list) and not queue["is_fifo"]:
            with self._indexing:
                if isinstance(queue["messages"], list):
                    for message in queue["messages"]:
                        self._sqs._ensure_msg_fields(message)
                    queue["messages"] = Messages(queue["messages"])

    def _spent(self, queue: Queue) -> Callable[[dict[str, Any]], bool]:
        policy = dead_letters(queue)
        dlq = None if policy is None else self.by_arn(policy[0])
        if policy is None or dlq is None:
            return lambda message: False
        most, source = policy[1], queue["attributes"].get("QueueArn", "")

        def spent(message: dict[str, Any]) -> bool:
            if message["receive_count"] < most:
                return False
            dead = {**message, "receipt_handle": None, "visible_at": time.time()}
            # In a standard DLQ a message keeps the time at which it was sent first.
            # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
            dead["sys"] = {**message["sys"], "DeadLetterQueueSourceArn": source}
            dlq["messages"].append(dead)
            return True

        return spent

    def _delete(self, data: Mapping[str, Any], url: str) -> dict[str, Any]:
        queue = self.get(data.get("QueueUrl", url), "sqs:DeleteMessage")
        if not (receipt := data.get("ReceiptHandle")):
            raise self._sqs._Err("MissingParameter", "The request must contain the parameter ReceiptHandle.")
        if not self._deleted(queue, receipt):
            raise self._sqs._Err("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
        return {}

    def _delete_batch(self, data: Mapping[str, Any], url: str) -> dict[str, Any]:
        queue, entries = self.get(data.get("QueueUrl", url), "sqs:DeleteMessage"), data.get("Entries", [])
        self._sqs._validate_batch_entries(entries, "DeleteMessageBatchRequestEntry")
        refused = [one["Id"] for one in entries if not self._deleted(queue, one.get("ReceiptHandle", ""))]
        return _batch(entries, dict.fromkeys(refused, ("ReceiptHandleIsInvalid", "The receipt handle is invalid.")))

    @staticmethod
    def _deleted(queue: Queue, receipt: str) -> bool:
        """Whether SQS says so: a receipt that is not the message's last one deletes nothing, and no error tells.

        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html
        """
        return queue["messages"].delete(receipt) is not None or RECEIPT.fullmatch(receipt) is not None

    def _change(self, data: Mapping[str, Any], url: str) -> dict[str, Any]:
        queue = self.get(data.get("QueueUrl", url), "sqs:ChangeMessageVisibility")
        if problem := self._changed(queue, data):
            raise self._sqs._Err(*problem)
        return {}

    def _change_batch(self, data: Mapping[str, Any], url: str) -> dict[str, Any]:
        queue, entries = self.get(data.get("QueueUrl", url), "sqs:ChangeMessageVisibility"), data.get("Entries", [])
        self._sqs._validate_batch_entries(entries, "ChangeMessageVisibilityBatchRequestEntry")
        problems = {one["Id"]: problem for one in entries if (problem := self._changed(queue, one))}
        return _batch(entries, problems)

    def _changed(self, queue: Queue, entry: Mapping[str, Any]) -> tuple[str, str] | None:
        hidden_s = int(entry.get("VisibilityTimeout", 30))
        if not 0 <= hidden_s <= MAX_HIDDEN_S:
            return "InvalidParameterValue", f"Value {hidden_s} for parameter VisibilityTimeout is invalid."
        receipt = entry.get("ReceiptHandle") or ""
        if not RECEIPT.fullmatch(receipt):
            return "ReceiptHandleIsInvalid", "The input receipt handle is invalid."
        if not queue["messages"].change_visibility(receipt, time.time(), hidden_s):
            reason = "Message does not exist or is not available for visibility timeout change."
            return "InvalidParameterValue", f"Value for parameter ReceiptHandle is invalid. Reason: {reason}"
        if hidden_s == 0:
            self._sqs.esm_wake.set()
        return None

    def _dead_letter_sources(self, data: Mapping[str, Any], url: str) -> dict[str, Any]:
        """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ListDeadLetterSourceQueues.html"""
        queue = self.get(data.get("QueueUrl", url), "sqs:ListDeadLetterSourceQueues")
        arn = queue["attributes"]["QueueArn"]
        sources = (one for _, one in self._sqs._queues.items() if (dead_letters(one) or ("", 0))[0] == arn)
        urls = sorted(self._sqs._externalize_url(one["url"]) for one in sources)
        first, most = int(data.get("NextToken") or 0), int(data.get("MaxResults") or LISTED_AT_MOST)
        page: dict[str, Any] = {"queueUrls": urls[first : first + most]}
        return page | ({"NextToken": str(first + most)} if first + most < len(urls) else {})


def _batch(entries: Any, problems: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    return {
        "Successful": [{"Id": one["Id"]} for one in entries if one["Id"] not in problems],
        "Failed": [
            {"Id": name, "Code": code, "Message": message, "SenderFault": True}
            for name, (code, message) in problems.items()
        ],
    }
