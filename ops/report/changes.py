"""What a run of a suite shows that the run before did not, and which figures are not as they usually are.

Everything is told from the records (``suite.json``) alone. A figure is unusual when it is further from the median of
past runs than :data:`SCORE` of their spread (median absolute deviation, as of a normal distribution) and than
:data:`LEAST` of the median: the first keeps out noise, the second what is steady and small. Of fewer than
:data:`RUNS` past runs nothing is called unusual.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SCORE, LEAST, RUNS = 3.5, 0.1, 5
# Of the normal distribution: how many times the median absolute deviation its standard deviation is.
_MAD = 1.4826
_RANK = {"pass": 0, "refused": 1, "fail": 2, "error": 3}


@dataclass(frozen=True)
class Change:
    """One line of what changed. ``worse`` is None where nobody can say."""

    runbook: str
    text: str
    worse: bool | None = None


@dataclass(frozen=True)
class Figure:
    """A figure of a runbook over the runs of a suite, oldest first; None: not known then."""

    runbook: str
    name: str
    past: tuple[float | None, ...]
    now: float

    @property
    def before(self) -> float | None:
        """What the run before found."""
        return self.past[-1] if self.past else None

    @property
    def usual(self) -> tuple[float, float] | None:
        """From where to where it usually is; None of too few runs."""
        known = [value for value in self.past if value is not None]
        if len(known) < RUNS:
            return None
        middle = statistics.median(known)
        spread = statistics.median(abs(value - middle) for value in known)
        width = max(SCORE * _MAD * spread, LEAST * abs(middle))
        return middle - width, middle + width

    @property
    def unusual(self) -> bool:
        usual = self.usual
        return usual is not None and not usual[0] <= self.now <= usual[1]


def figures(record: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Every figure of this run with those of the runs before, whose records come newest first."""
    found = []
    for run in record["runs"]:
        before = [_run(one, run["runbook"]) for one in reversed(earlier)]
        for name, now in run["figures"].items():
            past = tuple(one["figures"].get(name) if one else None for one in before)
            found.append(Figure(run["runbook"], name, past, now))
    return found


def changes(record: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> list[Change]:
    """What changed since the run before, what is worse first; nothing where there is none."""
    if not earlier:
        return []
    found = [*_verdicts(record, earlier[0]), *_checks(record, earlier[0]), *_unusual(record, earlier)]
    return sorted(found, key=lambda one: {True: 0, None: 1, False: 2}[one.worse])


def _verdicts(record: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[Change]:
    now, then = ({run["runbook"]: run for run in one["runs"]} for one in (record, before))
    for name, run in now.items():
        was = then[name]["verdict"] if name in then else None
        if was is None:
            yield Change(name, f"is new in this suite: {run['verdict']}")
        elif was != run["verdict"]:
            yield Change(name, f"was {was}, is {run['verdict']}", _RANK.get(run["verdict"], 3) > _RANK.get(was, 3))
    for name in then.keys() - now.keys():
        yield Change(name, "is not in this run", True if record["finished"] else None)


def _checks(record: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[Change]:
    """Checks that fail and did not, or did and do not: of runs that came to their end both times."""
    for run in record["runs"]:
        then = _run(before, run["runbook"])
        if then is None or "error" in (run["verdict"], then["verdict"]):
            continue
        now, was = ({one["name"]: one["detail"] for one in each["failing"]} for each in (run, then))
        for name in now.keys() - was.keys():
            yield Change(run["runbook"], f"{name} fails since this run: {now[name]}", True)
        for name in was.keys() - now.keys():
            yield Change(run["runbook"], f"{name} is well again", False)


def _unusual(record: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> Iterator[Change]:
    from ops.markup import figure

    for one in figures(record, earlier):
        if one.unusual and one.usual is not None:
            label, now = figure(one.name, one.now)
            low, high = (figure(one.name, edge)[1] for edge in one.usual)
            yield Change(one.runbook, f"{label} is {now}, usually {low} to {high}")


def _run(record: Mapping[str, Any], runbook: str) -> Mapping[str, Any] | None:
    return next((run for run in record["runs"] if run["runbook"] == runbook), None)
