"""The cursor of a listing: where the next page starts, bound to the tenant and the query it was made for.

It needs no secret: it names a position in the caller's own events, and the tenant always comes from the token. The
checksum is there to refuse, instead of answering oddly, a cursor that was cut, altered or taken from another query.
Cursors work in every region, because they name a position by time and key and not by anything of one replica.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from handlers.core import timestamps
from handlers.core.problem import ProblemError

_VERSION = 1
PATTERN = "^[A-Za-z0-9_-]+$"  # Base64 for URLs, without padding


@dataclass(frozen=True, slots=True)
class Position:
    """The window of a listing, and the sort key that its next page stays below."""

    start: datetime
    end: datetime
    below: str


def encode(position: Position, tenant: str, event_type: str | None) -> str:
    parts = [timestamps.format_ms(position.start), timestamps.format_ms(position.end), position.below]
    text = json.dumps([_VERSION, *parts, _checksum(parts, tenant, event_type)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def decode(text: str, tenant: str, event_type: str | None) -> Position:
    """Read a cursor.

    Raises:
        ProblemError: it was altered, or made for another tenant, type or version.
    """
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        version, start, end, below, checksum = json.loads(raw)
        if version == _VERSION and checksum == _checksum([start, end, below], tenant, event_type):
            timestamps.parse(below[:24])
            return Position(timestamps.parse(start), timestamps.parse(end), below)
    except (ValueError, TypeError, binascii.Error, RecursionError):
        pass  # whatever is wrong with it, the answer is the same
    raise ProblemError(
        "invalid-cursor",
        "cursor: altered, or made for another query; send it back as it came, with the same type, from and to.",
        field="cursor",
    )


def _checksum(parts: list[str], tenant: str, event_type: str | None) -> str:
    text = json.dumps([_VERSION, *parts, tenant, event_type], separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:24]
