"""The tables of ``ops edge explain``: which region answers, and what became of every other."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

NOTHING = "-"


def show_city(out: Console, found: dict[str, Any]) -> None:
    """One city: what answers, and a row for each record."""
    out.print(f"[bold]{found['city']} -> {found['answers']}[/bold]  ({found['record']})", highlight=False)
    out.print(Text(_resolver(found)))
    out.print(Text(f"Route 53 answers {found['region']}, kept for {found['ttl_s']} s: {found['reason']}"))
    table = Table(Column("region", no_wrap=True), "record", "round trip", "healthy", "why", "last probe", "left out")
    for one in found["candidates"]:
        table.add_row(*map(Text, _row(one)))
    out.print(table)
    if found["error"]:
        out.print(Text(f"! Route 53 could not be read, this is as it was read last: {found['error']}"))


def show_cities(out: Console, found: list[dict[str, Any]]) -> None:
    """Every city: a row each."""
    table = Table(Column("from", no_wrap=True), Column("answers", no_wrap=True), "round trip", "cached", "why")
    for one in found:
        chosen = next((each for each in one["candidates"] if each["region"] == one["answers"]), None)
        cached = one["cached"]
        table.add_row(
            one["city"],
            one["answers"],
            _round_trip(chosen) if chosen else NOTHING,
            f"{cached['ttl_left_s']:.0f} s left" if cached else NOTHING,
            Text(one["reason"] if one["answers"] == one["region"] else f"cached; now {one['region']}: {one['reason']}"),
        )
    out.print(table)


def show_answer(out: Console, found: dict[str, Any]) -> None:
    """What Route 53 itself answered."""
    asked = f"a resolver at {found['resolver']}" if found["resolver"] else "a resolver in us-east-1"
    answers = found["answers"] or "an address that names no region"
    out.print(f"[bold]{asked} -> {answers}[/bold]  ({found['record']})", highlight=False)
    out.print(Text(found["reason"]))
    table = Table(Column("region", no_wrap=True), "record", "target", "healthy", "why")
    for one in found["candidates"]:
        table.add_row(*map(Text, (one["region"], _record(one), one["target"], _healthy(one["healthy"]), one["health"])))
    out.print(table)


def _resolver(found: dict[str, Any]) -> str:
    cached = found["cached"]
    if cached is None:
        return "its resolver has no answer that it keeps, and asks Route 53 next"
    return f"its resolver keeps {cached['region']} for another {cached['ttl_left_s']:.1f} s"


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    check = one["check"]
    return (
        one["region"] or NOTHING,
        _record(one),
        _round_trip(one),
        _healthy(one["healthy"]),
        _why(one, check),
        _last_probe(check),
        one["left_out"] or NOTHING,
    )


def _record(one: dict[str, Any]) -> str:
    weight = f"weight {one['weight']}" if one["weight"] is not None else ""
    return ", ".join(part for part in (one["set_id"], weight, (one["failover"] or "").lower()) if part) or NOTHING


def _round_trip(one: dict[str, Any]) -> str:
    return NOTHING if one["rtt_ms"] is None else f"{one['rtt_ms']:.0f} ms ({one['rtt_source']})"


def _healthy(healthy: bool | None) -> str:
    return "? not told" if healthy is None else "✔ yes" if healthy else "✘ no"


def _why(one: dict[str, Any], check: dict[str, Any] | None) -> str:
    since = f", for {check['for_s']:.0f} s" if check and check["for_s"] is not None else ""
    return f"{one['health']}{since}"


def _last_probe(check: dict[str, Any] | None) -> str:
    if check is not None and check["children"]:
        ages = [child["last_probe_age_s"] for child in check["children"] if child["last_probe_age_s"] is not None]
        return f"{min(ages):.0f} s ago" if ages else NOTHING
    if check is None or check["last_probe_age_s"] is None:
        return NOTHING
    count = f"{check['consecutive']} alike, {check['failure_threshold']} turn it"
    return f"{check['last_probe_age_s']:.0f} s ago, every {check['interval_s']} s; {count}"
