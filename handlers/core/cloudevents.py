"""CloudEvents 1.0: what a valid event is. Whatever mode it came in, an event ends as one canonical JSON text.

``from_json`` takes the event in the JSON format and accepts exactly what the specification and Atoll's limits allow;
each refusal names the attribute. Attributes with a null value count as absent, as the JSON format says.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from handlers.core import strictjson, timestamps
from handlers.core.problem import ProblemError, plain, shown

SPECVERSION = "1.0"
MAX_EVENT_BYTES = 256 * 1024
# Longest value of each attribute, in characters. `type` becomes EventBridge's DetailType, which holds 128; the others
# keep keys and answers small.
MAX_CHARS = {
    "id": 256,
    "source": 1024,
    "type": 128,
    "subject": 1024,
    "time": 64,
    "dataschema": 2048,
    "datacontenttype": 256,
}
MAX_EXTENSION_CHARS = 4096
INT32 = (-(2**31), 2**31 - 1)  # the Integer type of the specification
REQUIRED = ("specversion", "id", "source", "type")

NAME = re.compile(r"[a-z0-9]{1,20}")
# The String type of the specification: no control characters, no lone surrogates, no Unicode noncharacters.
NOT_TEXT = r"\u0000-\u001f\u007f-\u009f\ufdd0-\ufdef" + "".join(
    chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF)
)
_NOT_TEXT = re.compile(rf"[{NOT_TEXT}\ud800-\udfff]")

# RFC 3986, appendix A
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_H16 = "[0-9A-Fa-f]{1,4}"
_LS32 = rf"(?:{_H16}:{_H16}|{_OCTET}(?:\.{_OCTET}){{3}})"
_IPV6 = "|".join(
    [rf"(?:{_H16}:){{6}}{_LS32}", rf"::(?:{_H16}:){{5}}{_LS32}"]
    + [rf"(?:(?:{_H16}:){{0,{4 - after}}}{_H16})?::(?:{_H16}:){{{after}}}{_LS32}" for after in range(4, -1, -1)]
    + [rf"(?:(?:{_H16}:){{0,5}}{_H16})?::{_H16}", rf"(?:(?:{_H16}:){{0,6}}{_H16})?::"]
)
_PCHAR = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_NO_COLON = _PCHAR.replace("=:@", "=@")
_HOST = rf"(?:\[(?:{_IPV6})\]|{_PCHAR.replace('=:@', '=')}*)"
_AUTHORITY = rf"//(?:{_PCHAR.replace('=:@', '=:')}*@)?{_HOST}(?::[0-9]*)?(?:/{_PCHAR}*)*"
_ABSOLUTE = rf"/(?:{_PCHAR}+(?:/{_PCHAR}*)*)?"
_TAIL = rf"(?:\?(?:{_PCHAR}|[/?])*)?(?:#(?:{_PCHAR}|[/?])*)?"
URI = re.compile(rf"[A-Za-z][A-Za-z0-9+.\-]*:(?:{_AUTHORITY}|{_ABSOLUTE}|{_PCHAR}+(?:/{_PCHAR}*)*)?{_TAIL}")
_RELATIVE = rf"(?:{_AUTHORITY}|{_ABSOLUTE}|{_NO_COLON}+(?:/{_PCHAR}*)*)?{_TAIL}"
URI_REFERENCE = re.compile(rf"(?:{URI.pattern}|{_RELATIVE})")

# RFC 9110, section 8.3.1, within the String type
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rf'"(?:[^"\\{NOT_TEXT}]|\\[^{NOT_TEXT}])*"'
MEDIA_TYPE = re.compile(rf"{_WORD}/{_WORD}(?: *; *{_WORD}=(?:{_WORD}|{_QUOTED}))* *;?")
# RFC 4648, section 4. Not what the standard library decodes: that takes superfluous padding, which others refuse.
BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


@dataclass(frozen=True)
class CloudEvent:
    """One valid event. ``text`` is its canonical JSON, data inline."""

    source: str
    id: str
    type: str
    time: datetime | None
    text: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical text, hex: two events are the same payload exactly when these agree."""
        return digest(self.text)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def from_json(value: Any) -> CloudEvent:
    """Check an event in the JSON format.

    Raises:
        ProblemError: it is not a valid CloudEvent 1.0, or larger than Atoll takes.
    """
    if not isinstance(value, dict):
        raise ProblemError("malformed-body", "An event is a JSON object with the attributes of CloudEvents 1.0.")
    members = {name: member for name, member in value.items() if member is not None or name == "data"}
    for name in REQUIRED:
        if name not in members:
            raise _invalid(name, f"{name}: missing; every event needs {', '.join(REQUIRED)}.")
    for name, member in members.items():
        if name not in ("data", "data_base64"):
            _check_attribute(name, member)
    if members["specversion"] != SPECVERSION:
        raise _invalid("specversion", f"specversion: is {shown(members['specversion'])}; accepted: {SPECVERSION!r}.")
    _check_data(members)
    try:
        text = strictjson.canonical(members)
    except strictjson.MalformedError as error:
        raise ProblemError("invalid-data", f"data: {error}.", field="data") from None
    if (size := len(text.encode("utf-8"))) > MAX_EVENT_BYTES:
        raise ProblemError(
            "event-too-large",
            f"The event has {size} bytes as JSON; accepted: up to {MAX_EVENT_BYTES}. Send a reference to its data.",
        )
    time = timestamps.parse(members["time"]) if "time" in members else None
    return CloudEvent(source=members["source"], id=members["id"], type=members["type"], time=time, text=text)


def _invalid(name: str, detail: str) -> ProblemError:
    return ProblemError("invalid-attribute", detail, field=name)


def _check_attribute(name: str, value: Any) -> None:
    if not NAME.fullmatch(name):
        raise _invalid(
            plain(name),
            f"{shown(name)}: not an attribute name; accepted: 1 to 20 lower-case letters and digits.",
        )
    known = name in MAX_CHARS or name == "specversion"
    if not known and isinstance(value, bool | int):
        if not INT32[0] <= value <= INT32[1]:
            raise _invalid(name, f"{name}: the integer does not fit 32 bits; send it as a string.")
        return
    if not isinstance(value, str):
        accepted = "a string" if known else "a string, a boolean or an integer"
        raise _invalid(name, f"{name}: accepted: {accepted}.")
    limit = MAX_CHARS.get(name, MAX_EXTENSION_CHARS)
    if len(value) > limit:
        raise _invalid(name, f"{name}: has {len(value)} characters; accepted: up to {limit}.")
    if known and not value:
        raise _invalid(name, f"{name}: is empty; accepted: a non-empty string, or leave an optional attribute out.")
    if _NOT_TEXT.search(value):
        raise _invalid(name, f"{name}: holds a control character or one that is not valid Unicode text.")
    if problem := _form_problem(name, value):
        raise _invalid(name, f"{name}: is {shown(value)}; accepted: {problem}.")


def _form_problem(name: str, value: str) -> str | None:
    if name == "source" and not URI_REFERENCE.fullmatch(value):
        return "a URI reference such as /sensors/7 or urn:shop:orders, other characters percent-encoded"
    if name == "dataschema" and not URI.fullmatch(value):
        return "an absolute URI"
    if name == "datacontenttype" and not MEDIA_TYPE.fullmatch(value):
        return "a media type such as application/json"
    if name == "time":
        try:
            timestamps.parse(value)
        except ValueError:
            return "an RFC 3339 timestamp such as 2026-01-31T23:59:59Z"
    return None


def _check_data(members: dict[str, Any]) -> None:
    if "data_base64" not in members:
        return
    if members.get("data") is not None:
        raise ProblemError(
            "invalid-data", "data_base64: given together with data; accepted: one of them.", field="data_base64"
        )
    encoded = members["data_base64"]
    if not (isinstance(encoded, str) and BASE64.fullmatch(encoded)):
        raise ProblemError("invalid-data", "data_base64: accepted: a string of padded Base64.", field="data_base64")
