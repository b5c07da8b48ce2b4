"""A message as it may be shown and kept in a report: secrets masked, long values cut, and never too long in all.

Masking is by what a field is called and by what a value looks like; it cannot know every secret. So a sample shows the
shape of a message, and the message itself stays where it is.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ops.scrub import MASK, Scrubber

MAX_VALUE = 80
MAX_MEMBERS = 40
MAX_ITEMS = 5
MAX_DEPTH = 12
MAX_SAMPLE = 2_000

_SECRET_NAME = re.compile(
    r"secret|passw|passphrase|token|credential|authorization|cookie|signature|api_?key|access_?key|private_?key"
    r"|card_?n|card_?num|^pan$|cvv|cvc|iban|ssn|social_?security|^pin$|otp",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*"  # to the end: what follows is the key
    r"|\b(?:Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{8,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",
    re.DOTALL,
)
_LABELLED = re.compile(
    r"""((?:secret|password|passwd|token|api_?key|access_?key|private_?key|authorization)["']?\s*[:=]\s*["']?)[^\s"',;&]+""",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"\b(?:\d[ -]?){12,18}\d\b")


class Masker:
    """Masks bodies; knows this process's own secrets too (:mod:`ops.scrub`)."""

    def __init__(self, scrubber: Scrubber | None = None) -> None:
        self._scrubber = scrubber or Scrubber()

    def sample(self, body: str) -> str:
        """A message's body as it may be shown, at most ``MAX_SAMPLE`` characters and a mark where it was cut."""
        try:
            shown = json.dumps(self._value(json.loads(body), 0), ensure_ascii=False)
        except (ValueError, RecursionError):
            shown = self._text(body)
        return _cut(_printable(shown), MAX_SAMPLE)

    def _value(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            return "…"
        if isinstance(value, dict):
            members = list(value.items())
            shown = {
                _cut(self._text(name), MAX_VALUE): MASK if _is_secret(name, item) else self._value(item, depth + 1)
                for name, item in members[:MAX_MEMBERS]
            }
            return shown | ({"…": f"{len(members) - MAX_MEMBERS} more"} if len(members) > MAX_MEMBERS else {})
        if isinstance(value, list):
            kept = [self._value(item, depth + 1) for item in value[:MAX_ITEMS]]
            return kept + ([f"… {len(value) - MAX_ITEMS} more"] if len(value) > MAX_ITEMS else [])
        if isinstance(value, str):
            return self._string(value, depth)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and _is_card(str(value)):
            return MASK
        return value

    def _string(self, text: str, depth: int) -> Any:
        """A text; one that is JSON itself is masked member by member."""
        if text[:1] in "{[" and text:
            try:
                return json.dumps(self._value(json.loads(text), depth + 1), ensure_ascii=False)[:MAX_SAMPLE]
            except (ValueError, RecursionError):
                pass
        return _cut(self._text(text), MAX_VALUE)

    def _text(self, text: str) -> str:
        text = _SECRET_TEXT.sub(MASK, self._scrubber.text(text))
        text = _LABELLED.sub(lambda found: found.group(1) + MASK, text)
        return _DIGITS.sub(lambda found: MASK if _is_card(found.group()) else found.group(), text)


def _is_secret(name: str, value: Any) -> bool:
    """By its name; what is empty, or says yes or no, gives nothing away."""
    return bool(_SECRET_NAME.search(name.replace("-", "_"))) and value not in (None, True, False, "", [], {})


def _is_card(text: str) -> bool:
    """Whether the digits are a payment card's number: of that length, and with its check digit (ISO/IEC 7812)."""
    digits = [int(one) for one in text if one.isascii() and one.isdigit()]
    if not 13 <= len(digits) <= 19 or set(text) - set("0123456789 -"):
        return False
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(one if one.isprintable() else " " for one in text)
