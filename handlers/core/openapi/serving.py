"""``GET /openapi.json``: the document of this stage, built once and answered with an ETag."""

from __future__ import annotations

import hashlib
import os
from functools import cache

from handlers.core.http import Answer, Request
from handlers.core.openapi import deployment

MAX_AGE_S = 300


def answer(request: Request) -> Answer:
    """The document; 304 when the caller has it already (RFC 9110, section 13.1.2)."""
    text, etag = _document()
    headers = {"etag": etag, "cache-control": f"public, max-age={MAX_AGE_S}"}
    given = request.headers.get("if-none-match", "")
    known = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    if known & {etag, "*"}:
        return Answer(304, "", headers)
    return Answer(200, text, headers)


@cache
def _document() -> tuple[str, str]:
    from handlers.core.openapi import document  # only this route needs it, and it imports much

    text = document.text(deployment.load(os.environ))
    return text, f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
