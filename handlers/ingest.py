"""``POST /events``: accept one CloudEvent or a batch. 202 means that the event bus has it."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from handlers.core import aws, batch, binding, http, observability
from handlers.core.acceptance import Intake
from handlers.core.bus import Bus
from handlers.core.idempotency import Ledger
from handlers.core.problem import ProblemError
from handlers.core.settings import settings


@cache
def _ledger() -> Ledger:
    return Ledger(aws.dynamodb(), settings())


def _ingest(request: http.Request) -> http.Answer:
    started = time.perf_counter()
    remaining_ms = request.remaining_ms()
    intake = Intake(
        ledger=_ledger(),
        bus=Bus(aws.events(), settings().bus),
        region=settings().region,
        tenant=request.tenant,
        correlation_id=request.correlation_id,
        trace_id=observability.trace().id,
        trace_header=observability.trace().header(settings().trace_rate),
        remaining_ms=request.remaining_ms,
        reserve_ms=Intake.reserve(remaining_ms),
    )
    try:
        received = binding.receive(request.headers, request.body)
        batch.check_answer_fits(received)
        outcomes = intake.accept(received.items)
    except ProblemError:
        observability.count("EventsRejected")
        raise
    batch.measure(outcomes)
    observability.duration("IngestLatency", (time.perf_counter() - started) * 1000)
    if received.is_batch:
        return batch.answer(outcomes, settings().region, request.correlation_id)
    return batch.single_answer(outcomes[0], request.correlation_id)


@observability.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return http.respond(event, context, _ingest)


if aws.starting_in_lambda():
    _ledger()
    aws.events()
