"""The answers of ingest: what is said about one event, and about a batch as a whole."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from handlers.core import observability
from handlers.core.acceptance import Outcome
from handlers.core.binding import Received
from handlers.core.cloudevents import CloudEvent
from handlers.core.http import Answer, problem_answer
from handlers.core.problem import ProblemError

# Lambda carries at most 6 MB of answer; an answer that is lost would leave the caller not knowing what was accepted.
MAX_ANSWER_BYTES = 5_000_000
_RESULT_BYTES = 480  # a result or a problem beside the caller's own text, quotes escaped twice


def check_answer_fits(received: Received) -> None:
    """Refuse, before anything is accepted, a batch whose answer could not be delivered.

    Raises:
        ProblemError: the batch has too many events; the detail says how many would do.
    """
    size = sum(_answer_bytes(item) for item in received.items)
    if size > MAX_ANSWER_BYTES:
        count = len(received.items)
        fitting = count * MAX_ANSWER_BYTES // size
        raise ProblemError(
            "batch-too-large",
            f"The batch has {count} events, and nothing was accepted; send it in parts of at most {fitting}.",
        )


def _answer_bytes(item: CloudEvent | ProblemError) -> int:
    if isinstance(item, ProblemError):
        return _RESULT_BYTES + 2 * len(item.detail)
    return _RESULT_BYTES + 2 * len(json.dumps([item.source, item.id]))


def measure(outcomes: list[Outcome]) -> None:
    """Count what became of the events, and log the refusals by kind (never by content)."""
    failed = sum(outcome.status >= 500 for outcome in outcomes)
    rejected = sum(400 <= outcome.status < 500 for outcome in outcomes)
    duplicates = sum(outcome.duplicate for outcome in outcomes)
    accepted = len(outcomes) - failed - rejected - duplicates
    observability.count("EventsAccepted", accepted)
    observability.count("EventsDuplicate", duplicates)
    observability.count("EventsRejected", rejected)
    observability.count("EventsFailed", failed)
    keys = [outcome.answer["event_key"] for outcome in outcomes[:10] if outcome.answer]
    problems = Counter(outcome.problem.kind for outcome in outcomes if outcome.problem)
    observability.logger.info(
        "ingested",
        accepted=accepted,
        duplicates=duplicates,
        rejected=rejected,
        failed=failed,
        problems=dict(problems),
        first_event_keys=keys,
    )


def single_answer(outcome: Outcome, correlation_id: str) -> Answer:
    """The answer to a request with one event."""
    if outcome.problem is not None:
        return problem_answer(outcome.problem, correlation_id)
    headers = {"idempotent-replayed": "true"} if outcome.duplicate else {}
    return Answer(202, outcome.answer or {}, headers)


def answer(outcomes: list[Outcome], region: str, correlation_id: str) -> Answer:
    """The answer to a batch: 202 when all were accepted, 200 when some, else the status they share, or 400."""
    results = [_result(index, outcome, correlation_id) for index, outcome in enumerate(outcomes)]
    statuses = {outcome.status for outcome in outcomes}
    accepted = sum(outcome.problem is None for outcome in outcomes)
    if accepted == len(outcomes):
        status = 202
    elif accepted:
        status = 200
    else:
        status = statuses.pop() if len(statuses) == 1 else 400
    body = {"region": region, "accepted": accepted, "rejected": len(outcomes) - accepted, "results": results}
    waits = [outcome.problem.retry_after_s for outcome in outcomes if outcome.problem]
    longest = max((wait for wait in waits if wait is not None), default=None)
    return Answer(status, body, {} if longest is None else {"retry-after": str(longest)})


def _result(index: int, outcome: Outcome, correlation_id: str) -> dict[str, Any]:
    if outcome.problem is not None:
        return {"index": index, "status": outcome.status, "problem": outcome.problem.as_dict(correlation_id)}
    return {"index": index, "status": outcome.status, **(outcome.answer or {}), "duplicate": outcome.duplicate}
