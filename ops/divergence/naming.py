"""Keys as people read them: on pages, in plans and in messages. Findings and decisions have them whole."""

from __future__ import annotations

from collections.abc import Sequence

from sketch import keys

# A key may have 3,072 bytes.
KEY_CHARS = 100


def short(text: str) -> str:
    """A key's text, cut at 100 characters."""
    return text if len(text) <= KEY_CHARS else f"{text[: KEY_CHARS - 1]}…"


def shown(packed: bytes, names: Sequence[str]) -> str:
    """A packed key's text, cut at 100 characters."""
    return short(keys.text(packed, names))
