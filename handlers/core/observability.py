"""Logs, metrics and traces of a function, and the rule for all three: nothing of an event's data ever enters them.

Every log line carries the trace id and the correlation id; every metric the dimensions ``stage`` and ``service``. An
unexpected error is logged by its type and the places it came through, without its message, because a message may quote
what was parsed. Segments are Lambda's own, recorded where the stage turns tracing on: docs/tracing.md.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from botocore.exceptions import BotoCoreError, ClientError

from handlers.core import tracing
from handlers.core.settings import settings

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

# Powertools' own field for it would be there only where Lambda has set the variable.
logger = Logger(xray_trace_id=None)


@cache
def _metrics() -> Metrics:
    metrics = Metrics()
    metrics.set_default_dimensions(stage=settings().stage)
    return metrics


def count(name: str, value: int = 1) -> None:
    """Add to a counter of this invocation; a zero is not worth a data point."""
    if value:
        _metrics().add_metric(name=name, unit=MetricUnit.Count, value=value)


def gauge(name: str, value: float) -> None:
    """Add one observation, a zero too: that it is there says that somebody looked."""
    _metrics().add_metric(name=name, unit=MetricUnit.Count, value=value)


def duration(name: str, value_ms: float) -> None:
    """Add one sample of a duration."""
    _metrics().add_metric(name=name, unit=MetricUnit.Milliseconds, value=round(value_ms, 3))


def observed(handler: Handler) -> Handler:
    """Make a function handler log under its trace, and write its metrics when it ends."""

    def run(event: dict[str, Any], context: Any) -> dict[str, Any]:
        logger.clear_state()
        logger.append_keys(function_request_id=context.aws_request_id)
        _begin_trace(event)
        try:
            return handler(event, context)
        finally:
            if _metrics().provider.metric_set:
                _metrics().flush_metrics()

    return run


_trace: tracing.Trace | None = None


def _begin_trace(event: dict[str, Any]) -> None:
    global _trace  # noqa: PLW0603 of the one invocation that a function instance works on
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    _trace = tracing.of_invocation(os.environ.get(tracing.LAMBDA_VARIABLE), headers)
    logger.append_keys(trace_id=_trace.id)
    caller = tracing.of_caller(headers)
    if caller is not None and caller.id != _trace.id:
        # X-Ray cannot join a trace that began outside; whoever follows the caller's finds ours here.
        logger.append_keys(caller_trace_id=caller.id)


def trace() -> tracing.Trace:
    """The trace of this invocation."""
    if _trace is None:
        raise RuntimeError("there is no invocation: only what a handler calls may ask for its trace")
    return _trace


def follow_trace(trace_id: str | None) -> None:
    """Log under the trace of the message at hand from here on; under the invocation's own when it has none."""
    logger.append_keys(trace_id=trace_id or trace().id)


def set_correlation_id(value: str) -> None:
    """Stamp every further log line of this invocation."""
    logger.append_keys(correlation_id=value)


def error_code(error: BaseException) -> str:
    """The name of an AWS failure, without its message: ``ThrottlingException``, ``ReadTimeoutError``, ..."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "ClientError"))
    return type(error).__name__


def aws_failure(error: BaseException) -> BaseException | None:
    """The AWS failure in an error or in what caused it; None when there is none."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, ClientError | BotoCoreError):
        seen = seen.__cause__ or seen.__context__
    return seen


def log_unexpected(error: BaseException, doing: str, **facts: Any) -> None:
    """Log an error nobody planned for: its type and where it passed, never its message."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    logger.error("unexpected error", **facts, doing=doing, error=type(error).__name__, places=places)
