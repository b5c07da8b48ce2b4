"""Which messages of the dead-letter queues a redrive is about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ops.errors import UsageError
from ops.redrive.messages import Letter

_AGE = re.compile(r"(\d{1,6})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Choice:
    """All that is named must hold; nothing named takes everything. A value that ends in ``*`` is a beginning."""

    queues: tuple[str, ...] = ()
    error_codes: tuple[str, ...] = ()
    handlers: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    older_than_s: float | None = None
    younger_than_s: float | None = None

    @property
    def everything(self) -> bool:
        """Whether every message of the DLQs that were looked at is meant: ``queues`` says which those are."""
        ages = self.older_than_s is not None or self.younger_than_s is not None
        return not (self.error_codes or self.handlers or self.types or self.keys or ages)

    def takes(self, letter: Letter, now: datetime) -> bool:
        """Whether it is about this message, at the time ``now``."""
        age_s = (now - letter.sent).total_seconds()
        return (
            _among(letter.queue, self.queues)
            and _among(letter.error_code, self.error_codes)
            and _among(letter.handler, self.handlers)
            and _among(letter.event_type, self.types)
            and _among(letter.event_key or "", self.keys)
            and (self.older_than_s is None or age_s >= self.older_than_s)
            and (self.younger_than_s is None or age_s < self.younger_than_s)
        )


def age_s(field: str, text: str) -> float | None:
    """An age as an operator writes it (``30s``, ``15m``, ``2h``, ``13d``), in seconds; None for an empty one.

    Raises:
        UsageError: it is none.
    """
    if not text.strip():
        return None
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{field}: {text!r} is no age; accepted: 30s, 15m, 2h, 13d")
    return float(int(found[1]) * _SECONDS[found[2]])


def _among(value: str, accepted: Sequence[str]) -> bool:
    return not accepted or any(value.startswith(one[:-1]) if one.endswith("*") else value == one for one in accepted)
