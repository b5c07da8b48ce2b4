"""What the OpenAPI document cannot say to schemathesis: the few rules between the parts of a request.

JSON Schema describes one parameter at a time and OpenAPI one request body at a time. Where the API has a rule between
two of them, a *valid* request is completed here so that it keeps the rule; requests meant to be invalid are sent as
they were made. ``CONTRACT_EVENT_KEY`` names an event that is stored already.
"""

from __future__ import annotations

import itertools
import os
from datetime import datetime, timedelta
from typing import Any

import schemathesis
from schemathesis import Case, HookContext, Response
from schemathesis.core import NOT_SET
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.parameters import ParameterLocation

EVENT_MODES = ("application/cloudevents+json", "application/cloudevents-batch+json")
_numbers = itertools.count()
# The type that each listing asked for, by the cursor that it gave.
_asked: dict[str, str | None] = {}


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    match case.operation.label:
        case "POST /events":
            _complete_binary_mode(case)
            if isinstance(case.body, dict | list):
                case.body = _carried(case.body)
        case "GET /events/{event_key}":
            if next(_numbers) % 2:
                case.path_parameters["event_key"] = os.environ["CONTRACT_EVENT_KEY"]
        case "GET /events":
            _keep_the_cursor_to_its_query(case)
            _order_the_window(case)
        case "GET /activity":
            if case.query.get("undated") == "true":
                for bound in ("from", "to"):
                    case.query.pop(bound, None)
            _order_the_window(case)


def _is_binary(case: Case) -> bool:
    return case.media_type not in EVENT_MODES or case.body is NOT_SET


def _complete_binary_mode(case: Case) -> None:
    """In binary mode the ``ce-`` headers are the event; in the others they say nothing."""
    if not _is_binary(case):
        return
    for name in [name for name in case.headers if name.lower().startswith("ce-")]:
        del case.headers[name]
    number = f"binary-{os.getpid()}-{next(_numbers)}"
    case.headers.update(
        {"ce-specversion": "1.0", "ce-id": number, "ce-source": "/contract", "ce-type": "contract.made"}
    )


def _carried(value: Any) -> Any:
    """Numbers as they can be sent: JSON Schema takes 1.0 for an integer and knows no limit between 2^64 and 1e77, while
    the CloudEvents JSON format has no point in an Integer, and integers of data fit 64 bits."""
    if isinstance(value, dict):
        return {name: _carried(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_carried(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return value % 2**63
    return value


def _keep_the_cursor_to_its_query(case: Case) -> None:
    """A cursor, which only a listing can give (it has a checksum), goes with the query it was given for."""
    cursor = str(case.query.get("cursor", ""))
    if cursor not in _asked:
        case.query.pop("cursor", None)
        return
    for name in ("from", "to", "type"):
        case.query.pop(name, None)
    if (asked := _asked[cursor]) is not None:
        case.query["type"] = asked


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: Response) -> None:
    if case.operation.label == "GET /events" and response.status_code == 200:
        _asked[response.json()["cursor"]] = case.query.get("type")


def _order_the_window(case: Case) -> None:
    """``from`` before ``to``, and at most 31 days apart: a window that is not becomes the day before ``to``."""
    given = {bound: _moment(case.query[bound]) for bound in ("from", "to") if bound in case.query}
    if "from" not in given:
        return
    if "to" not in given:
        del case.query["from"]  # now is the end, and a made-up time hardly ever lies within 31 days before
    elif not timedelta(0) < given["to"] - given["from"] <= timedelta(days=31):
        case.query["from"] = (given["to"] - timedelta(days=1)).isoformat()


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
    return max(moment, datetime(2, 1, 1, tzinfo=moment.tzinfo))


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """What was accepted rightly: headers that a request does not need are ignored, and data may be anything at all."""
    if not isinstance(failure, AcceptedNegativeData) or case.meta is None:
        return True
    negated = {place for place, info in case.meta.components.items() if info.mode.is_negative}
    if case.operation.label == "POST /events" and _is_binary(case):
        negated.discard(ParameterLocation.BODY)
    return bool(negated - {ParameterLocation.HEADER})
