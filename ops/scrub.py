"""Keeping secrets out of what a run saves, as the last line of defence.

Secrets are passed by reference and refused by value before a run starts. Should one still reach an output (a printed
environment, a client's debug log), its value is replaced here before the notebook, the page or the result is written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

MASK = "[secret removed]"
# Shorter values (the local cloud's "test") are words that stand everywhere, and no secret.
SHORTEST = 12

_SECRET_VARIABLE = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIAL", re.IGNORECASE)
# These hold where a secret is, which is what a reference is.
_LOCATION_VARIABLE = re.compile(r"_(FILE|URI|URL|ARN|PATH)$", re.IGNORECASE)
_LABELLED = re.compile(
    r"""((?:secret_?access_?key|session_?token|security_?token|client_?secret)["']?\s*[:=]\s*["']?)([A-Za-z0-9/+=_-]{16,})""",
    re.IGNORECASE,
)
# A JSON Web Token shows what it is: its header and its claims are JSON objects, in Base64.
_WEB_TOKEN = re.compile(r"\beyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class Scrubber:
    """Replaces known secret values, values labelled as a secret or session token, and JSON Web Tokens with a mask."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        values = {
            value.strip()
            for name, value in (os.environ if environment is None else environment).items()
            if _SECRET_VARIABLE.search(name) and not _LOCATION_VARIABLE.search(name) and len(value.strip()) >= SHORTEST
        }
        spellings = {spelling for value in values for spelling in (value, quote(value, safe=""))}
        # Longest first: one secret may be the beginning of another.
        ordered = sorted(spellings, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        if self._values is not None:
            text = self._values.sub(MASK, text)
        text = _LABELLED.sub(lambda found: found.group(1) + MASK, text)
        return _WEB_TOKEN.sub(MASK, text)

    def value(self, value: Any) -> Any:
        """A copy of a JSON value with every text in it scrubbed, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value
