"""The CloudEvents HTTP binding: which of its three modes a request is in, and the events in it.

All modes end in ``cloudevents.from_json``, so that the same event sent in any of them is the same event. A batch keeps
its order, and a bad event in it is a ``ProblemError`` in its place.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from handlers.core import cloudevents, strictjson
from handlers.core.cloudevents import CloudEvent
from handlers.core.problem import ProblemError, plain, shown

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
PREFIX = "ce-"
NOT_HEADERS = ("data", "data_base64", "datacontenttype")  # the body and its content-type
_UNQUOTE = re.compile(r"\\(.)", re.DOTALL)
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";\s]*)', re.IGNORECASE)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Received:
    """What a request carries: one event, or a batch, each event valid or the problem with it."""

    is_batch: bool
    items: list[CloudEvent | ProblemError]


def receive(headers: Mapping[str, str], body: bytes) -> Received:
    """Read the events of a request; header names are lower case.

    Raises:
        ProblemError: the request as a whole cannot be read.
    """
    content_type = headers.get("content-type", "")
    media_type, charset = _media_type(content_type)
    if media_type in (STRUCTURED, BATCHED) and charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise _unsupported(f"charset {shown(charset)} is not accepted; send JSON as UTF-8")
    if media_type == STRUCTURED:
        return Received(False, [_checked(_json(body))])
    if media_type == BATCHED:
        value = _json(body)
        if not isinstance(value, list):
            raise ProblemError("malformed-body", f"The body of {BATCHED} is a JSON array of events.")
        return Received(True, [_checked(item) for item in value])
    if media_type.startswith("application/cloudevents"):
        raise _unsupported(f"{shown(media_type)} is not accepted")
    if any(name.startswith(PREFIX) for name in headers):
        return Received(False, [_binary(headers, content_type, media_type, charset, body)])
    raise _unsupported(f"it is {shown(media_type)}, and there is no ce-specversion header")


def _unsupported(reason: str) -> ProblemError:
    return ProblemError(
        "unsupported-content-type",
        f"content-type: {reason}. Accepted: {STRUCTURED}, {BATCHED}, or any type together with ce-* headers.",
        field="content-type",
    )


def _media_type(content_type: str) -> tuple[str, str]:
    charset = _CHARSET.search(content_type)
    return content_type.partition(";")[0].strip().lower(), charset.group(1).lower() if charset else ""


def _json(body: bytes) -> Any:
    try:
        return strictjson.loads(body)
    except strictjson.MalformedError as error:
        raise ProblemError("malformed-body", f"The body {error}.") from None


def _checked(value: Any) -> CloudEvent | ProblemError:
    try:
        return cloudevents.from_json(value)
    except ProblemError as problem:
        return problem


def _binary(
    headers: Mapping[str, str], content_type: str, media_type: str, charset: str, body: bytes
) -> CloudEvent | ProblemError:
    try:
        members = _attributes(headers)
        if content_type.strip():
            members["datacontenttype"] = content_type.strip()
        if body:
            members.update(_data(media_type, charset, body))
        return cloudevents.from_json(members)
    except ProblemError as problem:
        return problem


def _attributes(headers: Mapping[str, str]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for header, value in headers.items():
        if not header.startswith(PREFIX):
            continue
        name = header.removeprefix(PREFIX)
        if name in NOT_HEADERS:
            raise ProblemError(
                "invalid-attribute",
                f"{header}: not a header of binary mode; the data is the body, its type the content-type header.",
                field=header,
            )
        members[name] = _header_value(header, value)
    return members


def _header_value(header: str, value: str) -> str:
    text = value.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = _UNQUOTE.sub(r"\1", text[1:-1])
    try:
        if _BAD_ESCAPE.search(text):
            raise ValueError("a percent sign without two hex digits")
        return unquote_to_bytes(text).decode("utf-8")
    except ValueError:  # UnicodeError is one too
        raise ProblemError(
            "invalid-attribute",
            f"{shown(header)}: not percent-encoded UTF-8; encode a literal percent sign as %25.",
            field=plain(header),
        ) from None


def _data(media_type: str, charset: str, body: bytes) -> dict[str, Any]:
    """The body as the JSON format would hold it: JSON inline, text as a string, anything else as Base64."""
    is_unicode = charset in ("", "utf-8", "utf8", "us-ascii")
    if is_unicode and (media_type in ("application/json", "text/json") or media_type.endswith("+json")):
        try:
            return {"data": strictjson.loads(body)}
        except strictjson.MalformedError as error:
            raise ProblemError(
                "invalid-data", f"The data {error}, though content-type says JSON.", field="data"
            ) from None
    if is_unicode and media_type.startswith("text/"):
        try:
            return {"data": body.decode("utf-8")}
        except UnicodeDecodeError:
            pass  # the declared text is in some other encoding: keep its bytes untouched
    return {"data_base64": base64.b64encode(body).decode("ascii")}
