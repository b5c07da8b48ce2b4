"""Tables for notebooks and pages: escaped, numbers to the right, truth as symbol and word."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from ops.markup import VERDICT_WORDS, Html, badge, figure, figures, number, split_unit, tick
from ops.plan import apply_command

if TYPE_CHECKING:
    from ops.plan import Plan

MAX_ROWS = 500
# Of dollars and of minutes: less than this is nearly none.
LEAST = 0.01
SHORT = 24


def table(
    rows: Any,
    caption: str = "",
    columns: Sequence[str] | Mapping[str, str] | None = None,
    *,
    empty: str = "nothing to show",
    max_rows: int = MAX_ROWS,
    figures_in: Sequence[str] = (),
    folded: bool = False,
) -> Html:
    """Rows as a table.

    Parameters
    ----------
    rows
        A DataFrame (its index is left out), or mappings, dataclasses, pydantic models or plain sequences.
    columns
        Which columns and in what order; a mapping gives each its heading. Default: all, headings from their names.
    empty
        What is said when there are no rows.
    max_rows
        Beyond these, the table says how many more there are.
    figures_in
        Columns that stand to the right as numbers do, though they hold text.
    folded
        Show the caption and the number of rows only, until the reader asks for them.
    """
    records, names = _records(rows)
    headings = dict(columns) if isinstance(columns, Mapping) else {n: _heading(n) for n in (columns or names)}
    if not records:
        return Html(
            f'<p class="at-empty">{_caption_text(caption)}{escape(empty)}</p>', f"{caption}: {empty}".strip(": ")
        )
    shown = records[:max_rows]
    numeric = {name for name in headings if _is_numeric(record.get(name) for record in shown)} | {*figures_in}
    # A column of short words, such as names of regions, is not broken over lines.
    short = {n for n in headings if all(len(_text(record.get(n), n)) <= SHORT for record in shown)} - numeric
    classes = {n: _number_class(True) if n in numeric else ' class="at-short"' if n in short else "" for n in headings}
    head = "".join(
        f'<th scope="col"{_number_class(name in numeric)}>{escape(heading)}</th>' for name, heading in headings.items()
    )
    body = "".join(
        "<tr>" + "".join(f"<td{classes[n]}>{_cell(record.get(n), n)}</td>" for n in headings) + "</tr>"
        for record in shown
    )
    more = len(records) - len(shown)
    note = f'<p class="at-more">{more:,} more rows are not shown.</p>' if more else ""
    title = f"<caption>{escape(caption)}</caption>" if caption and not folded else ""
    html = (
        f'<div class="at-scroll" tabindex="0" role="region" aria-label="{escape(caption or "table", quote=True)}">'
        f'<table class="at-table">{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}'
    )
    if folded:
        html = f"<details><summary>{escape(caption)}, {len(records):,} rows</summary>{html}</details>"
    return Html(html, _plain(shown, headings, caption) + (f"\n… {more:,} more rows" if more else ""))


def together(*parts: Any) -> Html:
    """Tables and charts below one another, as one thing that a notebook shows."""
    return Html("".join(part._repr_html_() for part in parts), "\n".join(map(repr, parts)))


def side_by_side(rows: Any, key: str, caption: str = "", empty: str = "nothing to show") -> Html:
    """Few rows of many columns, turned: a column for each value of ``key``, a row for each of the other columns.

    Units follow from the columns' names, as in :func:`ops.markup.figure`.
    """
    records, names = _records(rows)
    turned = [
        {"": figure(name, None)[0]}
        | {str(record[key]): figure(name, _plain_value(record.get(name)))[1] for record in records}
        for name in names
        if name != key
    ]
    return table(turned if records else [], caption, empty=empty, figures_in=[str(record[key]) for record in records])


def checks_table(checks: Iterable[Any], caption: str = "Checks") -> Html:
    """Checks (``name``, ``ok``, ``detail``), failing ones first."""
    rows = [{"check": c["name"], "outcome": bool(c["ok"]), "seen": c["detail"]} for c in map(_record, checks)]
    rows.sort(key=lambda row: row["outcome"])
    return table(rows, caption, empty="no checks were made")


def plan_table(plan: Plan | Mapping[str, Any], applied: bool = False) -> Html:
    """A plan's steps, its estimates and warnings, and the command that applies it unless that was done."""
    record: Mapping[str, Any] = plan if isinstance(plan, Mapping) else plan.record()
    steps = record["steps"]
    changing = [s for s in steps if s["action"] not in ("keep", "refuse")]
    kept = sum(1 for step in steps if step["action"] == "keep" and step.get("before") is None)
    columns = [c for c in ("action", "resource", "region", "detail") if any(step.get(c) for step in steps)]
    # A `keep` with a `before` is no resource as it should be, but one that is left alone.
    shown = [step for step in steps if step["action"] != "keep" or step.get("before") is not None] or steps
    listing = table(shown, f"Plan: {_plural(len(changing), 'change')}", columns, empty="the plan has no steps")
    parts = [listing.html]
    if kept and len(shown) < len(steps):
        state = "is as it should be" if kept == 1 else "are as they should be"
        parts.append(f'<p class="at-more">{_plural(kept, "resource")} {state} already, not listed.</p>')
    if record.get("estimates"):
        parts.append(figures(record["estimates"]))
    parts += [
        f'<p class="at-warning"><strong>Warning:</strong> {escape(str(w))}</p>' for w in record.get("warnings", [])
    ]
    if changing and applied:
        said = f"This run was given the token of this plan, {record['token']}, to apply it."
        parts.append(f'<p class="at-token">{escape(said)}</p>')
        text = f"{listing.text}\n{said}"
    elif changing:
        command = apply_command(record)
        parts.append(f'<p class="at-token">To apply exactly this plan: <code>{escape(command)}</code></p>')
        text = f"{listing.text}\nTo apply exactly this plan: {command}"
    else:
        parts.append('<p class="at-token">Nothing would change, so there is nothing to apply.</p>')
        text = f"{listing.text}\nNothing would change."
    return Html(f'<div class="at-plan">{"".join(parts)}</div>', text)


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _records(rows: Any) -> tuple[list[Mapping[str, Any]], list[str]]:
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # a DataFrame, without importing pandas for it
        names = [str(name) for name in rows.columns]
        return [dict(zip(names, values, strict=True)) for values in rows.itertuples(index=False, name=None)], names
    records = [_record(row) for row in rows]
    names = list(dict.fromkeys(name for record in records for name in record))
    return records, names


def _record(row: Any) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return {str(name): value for name, value in row.items()}
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
    if hasattr(row, "model_dump"):
        return dict(row.model_dump())
    return {f"column {index}": value for index, value in enumerate(row, 1)}


def _heading(name: str) -> str:
    words, unit = split_unit(str(name))
    return words.replace("_", " ") + (f" ({unit})" if unit else "")


def _plain_value(value: Any) -> Any:
    """numpy and pandas scalars as Python ones; what is missing as None."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)) or str(value) in ("NaT", "<NA>"):
        return None
    return value


def _is_numeric(values: Iterable[Any]) -> bool:
    present = [value for value in map(_plain_value, values) if value is not None]
    return bool(present) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in present)


def _number_class(numeric: bool) -> str:
    return ' class="at-num"' if numeric else ""


def _text(value: Any, name: str = "") -> str:
    value = _plain_value(value)
    if name.endswith("_rate") and value is not None:
        return figure(name, value)[1]
    if name.endswith(("_usd", "_min")) and isinstance(value, float) and 0 < value < LEAST:
        return f"< {LEAST}"
    if isinstance(value, bool):
        return "ok" if value else "not ok"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}" + (" UTC" if value.tzinfo else "")
    if isinstance(value, date):
        return value.isoformat()
    return number(value)


def _cell(value: Any, name: str = "") -> str:
    plain = _plain_value(value)
    if isinstance(plain, bool):
        return tick(plain)
    if isinstance(plain, Html):
        return plain.html
    if isinstance(plain, str) and plain in VERDICT_WORDS and plain != "none":
        return badge(plain)
    return escape(_text(value, name))


def _caption_text(caption: str) -> str:
    return f"<strong>{escape(caption)}</strong>: " if caption else ""


def _plain(records: list[Mapping[str, Any]], headings: Mapping[str, str], caption: str) -> str:
    cells = [list(headings.values()), *([_text(record.get(name), name) for name in headings] for record in records)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([caption, *lines] if caption else lines)
