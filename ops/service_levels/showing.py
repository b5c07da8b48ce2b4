"""The levels as a table, as checks, and as figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ops.record import Check
from ops.service_levels.levels import ALL, Level

if TYPE_CHECKING:
    import pandas as pd

_ORDER = {"page": 0, "ticket": 1, "ok": 2}


def _worst_first(levels: Sequence[Level]) -> list[Level]:
    """What speaks first, and of that the regions before all of them together."""
    return sorted(levels, key=lambda one: (_ORDER[one.verdict], one.complete, one.region == ALL))


def frame(levels: Sequence[Level]) -> pd.DataFrame:
    """A row a level, what speaks first; burn rates in columns ``burn_<window>``. Why is in the checks."""
    import pandas as pd

    rows = []
    for one in _worst_first(levels):
        rows.append(
            {
                "level": one.name,
                "region": one.region,
                "verdict": one.verdict,
                "objective_percent": _percent(one.objective),
                "attained_percent": _percent(one.attained),
                "budget_left_percent": _percent(one.budget_left),
                "bad": one.bad,
                "total": one.total,
                **{f"burn_{window.replace(' ', '')}": rate for window, rate in one.burn.items()},
                "page_at": one.page_at,
                "covered_days": round(one.covered.total_seconds() / 86_400, 3),
                "window_days": one.window.total_seconds() / 86_400,
            }
        )
    return pd.DataFrame(rows)


def checks(levels: Sequence[Level]) -> list[Check]:
    """A check a level, what speaks first: a ticket, a page or data in part fail it; its detail has the counts."""
    return [
        Check(
            f"{one.name} {'of all regions' if one.region == ALL else f'in {one.region}'}",
            one.verdict == "ok" and one.complete,
            one.why,
        )
        for one in _worst_first(levels)
    ]


def figures(levels: Sequence[Level]) -> dict[str, Any]:
    """How many levels page or ask for a ticket, the budget left of all regions together, and the fastest burn of any
    region in the shortest long window. Unknown is left out."""
    found: dict[str, Any] = {
        "service_levels_paging": sum(one.verdict == "page" for one in levels),
        "service_levels_ticketing": sum(one.verdict == "ticket" for one in levels),
    }
    for one in levels:
        if one.region == ALL and one.budget_left is not None:
            found[f"{one.name}_budget_left_percent"] = _percent(one.budget_left)
    for name in dict.fromkeys(one.name for one in levels):
        rates = [next(iter(one.burn.values())) for one in levels if one.name == name and one.burn]
        known = [rate for rate in rates if rate is not None]
        if known:
            found[f"{name}_fastest_burn"] = round(max(known), 2)
    return found


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 4)
