"""Small pieces of HTML that notebooks and pages share: verdicts, ticks, figures. Everything in them is escaped.

A verdict is always a symbol and a word, never a colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import Any

# The runner and the page find these among a cell's outputs: how an OpsError ended it, and what pages show elsewhere.
STOP_MIME = "application/vnd.atoll.stop+json"
OPENING_MIME = "application/vnd.atoll.opening+json"
FIGURES_MIME = "application/vnd.atoll.figures+json"
PLAN_MIME = "application/vnd.atoll.plan+json"
CHECKS_MIME = "application/vnd.atoll.checks+json"
VERDICT_MIME = "application/vnd.atoll.verdict+json"

NOTHING = "\N{EN DASH}"
VERDICT_WORDS = {"pass": "Pass", "fail": "Fail", "refused": "Refused", "error": "Error", "none": "No result"}
_ICONS = {
    "pass": '<path d="M4.5 8.4 7 10.9l4.6-5.4"/>',
    "fail": '<path d="m5.3 5.3 5.4 5.4m0-5.4-5.4 5.4"/>',
    "refused": '<path d="M4.6 8h6.8"/>',
    "error": '<path d="M8 4.2v4.6m0 2.4v.3"/>',
    "none": '<path d="M8 5v3.2l2 1.6"/>',
}


@dataclass(frozen=True)
class Html:
    """Something a notebook shows: HTML, the same as plain text, and data for the runner under its own MIME types."""

    html: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        return self.html

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/html": self.html, "text/plain": self.text, **self.data}

    def __repr__(self) -> str:
        return self.text


def icon(verdict: str) -> str:
    """The symbol of a verdict, drawn in the colour of the text around it."""
    return (
        '<svg class="at-icon" viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" '
        'stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">'
        f'<circle cx="8" cy="8" r="6.8"/>{_ICONS[verdict]}</svg>'
    )


def badge(verdict: str, word: str = "") -> str:
    return f'<span class="at-badge at-{verdict}">{icon(verdict)}{escape(word or VERDICT_WORDS[verdict])}</span>'


def tick(ok: bool) -> str:
    """A check's outcome: symbol and word."""
    return badge("pass", "ok") if ok else badge("fail", "not ok")


_GAP = "\N{NO-BREAK SPACE}"
# Members of a list that a tile shows.
LISTED = 5

_UNITS = {
    "ms": "ms",
    "s": "s",
    "bytes": "B",
    "usd": "USD",
    "usd_per_month": "USD/month",
    "percent": "%",
    "ratio": "",
    "per_s": "/s",
    "per_min": "/min",
    "min": "min",
    "days": "days",
}


def figure(name: str, value: Any) -> tuple[str, str]:
    """A figure's label and value with its unit, which its name ends with: ``lag_p95_ms`` → ``lag p95``, ``412 ms``.

    A share of the whole, whose name ends with ``_rate``, is shown in percent.
    """
    label, unit = split_unit(name)
    words = label.replace("_", " ")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return words, "no data"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if name.endswith("_rate"):
            value, unit = 100.0 * value, "%"
        elif unit == "B":
            shown, unit = _bytes(value)
            return words, f"{shown}{_GAP}{unit}"
        elif unit.startswith("USD"):
            return words, f"{'< 0.01' if 0 < value < 0.01 else f'{value:,.2f}'}{_GAP}{unit}"
        elif unit == "s" and abs(value) >= 600:
            return words, duration(value)
    gap = "" if unit in ("%", "", "/s", "/min") else _GAP
    return words, f"{number(value) or 'none'}{gap}{unit}"


def split_unit(name: str) -> tuple[str, str]:
    """A name without the unit it ends with, and the unit: ``lag_p95_ms`` → ``lag_p95``, ``ms``."""
    for suffix in sorted(_UNITS, key=len, reverse=True):
        if name.endswith(f"_{suffix}"):
            return name[: -len(suffix) - 1], _UNITS[suffix]
    return name, ""


def number(value: Any) -> str:  # noqa: PLR0911 - one return a kind of value
    """A value as text: thousands grouped, and no more digits than are read."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        if value == 0 or abs(value) >= 1000:
            return f"{value:,.0f}"
        return f"{value:.3g}" if abs(value) < 1 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {number(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple, set)):
        return ", ".join(map(number, value))
    return str(value)


def _bytes(value: float) -> tuple[str, str]:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return number(round(value, 1) if unit != "B" else value), unit
        value /= 1000
    return number(round(value, 1)), "TB"


def figures(values: Mapping[str, Any]) -> str:
    """Figures as tiles. Lists of rows are no figures: they are left to tables and charts."""
    tiles = "".join(
        f"<div{_long(text)}><dt>{escape(label)}</dt><dd>{escape(text)}</dd></div>"
        for label, text in (figure(name, _first(value)) for name, value in values.items() if not _is_rows(value))
    )
    return f'<dl class="at-figures">{tiles}</dl>'


def _first(value: Any) -> Any:
    """A long list by its first members, and how many more there are; anything else as it is."""
    if not isinstance(value, (list, tuple)) or len(value) <= LISTED:
        return value
    return [*value[:LISTED], f"and {len(value) - LISTED:,} more"]


def _is_rows(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(item, (list, tuple, Mapping)) for item in value)


def _long(text: str) -> str:
    """Identifiers and lists need room more than size."""
    return ' class="at-long"' if len(text) > 14 else ""


def moment(text: str) -> str:
    """An RFC 3339 time as ``2026-03-01 12:00:05 UTC``; whatever else as it is."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return str(text)
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def seconds_between(started: str, finished: str) -> float | None:
    try:
        return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
    except (TypeError, ValueError):
        return None


def duration(seconds: float | None) -> str:
    """``0.4 s``, ``12 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    if seconds is None:
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


# For notebooks in JupyterLab, whose output areas are `.jp-OutputArea`; pages bring their own style sheet.
NOTEBOOK_STYLE = """<style>
.jp-OutputArea .at-icon{width:1em;height:1em;vertical-align:-.13em;margin-right:.35em}
.jp-OutputArea .at-badge{font-weight:600;white-space:nowrap}
.jp-OutputArea .at-pass{color:#0a7a4b}.jp-OutputArea .at-fail,.jp-OutputArea .at-error{color:#c2362b}
.jp-OutputArea .at-refused,.jp-OutputArea .at-none{color:#8a6100}
[data-jp-theme-light=false] .jp-OutputArea .at-pass{color:#4cc38a}
[data-jp-theme-light=false] .jp-OutputArea :is(.at-fail,.at-error){color:#ff8a7a}
[data-jp-theme-light=false] .jp-OutputArea :is(.at-refused,.at-none){color:#e0b050}
.jp-OutputArea .at-banner{font-size:1.3em;padding:.6em 0}
.jp-OutputArea .at-figures{display:flex;flex-wrap:wrap;gap:.5em 2em;margin:.3em 0}
.jp-OutputArea .at-figures dt{opacity:.7}.jp-OutputArea .at-figures dd{margin:0;font-size:1.3em;font-weight:600}
.jp-OutputArea .at-table caption{text-align:left;font-weight:600}
.jp-OutputArea .at-table .at-num{text-align:right;font-variant-numeric:tabular-nums}
.jp-OutputArea .at-stop{border-left:3px solid;padding:.3em .8em}

</style>"""
