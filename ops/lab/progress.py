"""What a cell says of its progress, by hand: the last lines, and a bar where they count (``120 of 400 events``)."""

from __future__ import annotations

import re
from collections import deque
from html import escape
from typing import Any

import ipywidgets as widgets
from IPython.display import display

LINES = 5
_COUNTED = re.compile(r"\b([\d,]+) of ([\d,]+)\b")


class Progress:
    """The progress of one cell; shown with its first line."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LINES)
        self._bar: Any = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="min(46rem, 100%)"))
        self._bar.layout.display = "none"
        self._said: Any = widgets.HTML()
        self._shown = False

    @property
    def fraction(self) -> float | None:
        """How much is done, from 0 to 1; None when no line has said so."""
        return None if self._bar.layout.display == "none" else float(self._bar.value)

    def say(self, text: str) -> None:
        """Show one more line."""
        self._lines.append(text)
        self._said.value = "<br>".join(map(escape, self._lines))
        if (share := counted(text)) is not None:
            self._bar.value, self._bar.layout.display = share, None
        if not self._shown:
            self._shown = True
            display(widgets.VBox([self._bar, self._said]))  # type: ignore[no-untyped-call]


def counted(text: str) -> float | None:
    """What share of it is done, by the first ``N of M`` in a line; None when it has none."""
    found = _COUNTED.search(text)
    if found is None:
        return None
    done, total = (int(number.replace(",", "") or 0) for number in found.groups())
    return min(1.0, done / total) if total else None
