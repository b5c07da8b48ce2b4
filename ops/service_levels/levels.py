"""What each region, and all of them together, attained of each objective, and whether someone has to know now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from ops.errors import UsageError
from ops.service_levels import windows
from ops.service_levels.asking import COARSE_S, floored
from ops.service_levels.counting import Counts, count
from ops.stage import Objective, Stage

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"
Verdict = Literal["page", "ticket", "ok"]


@dataclass(frozen=True)
class Level:
    """One objective in one region.

    ``attained`` and ``budget_left`` are shares, None where nothing was counted; both are of ``covered``, the stretch at
    the end of ``window`` that has data. ``burn`` has a rate for each window. ``page_at`` is how few bad ones would page
    in the shortest window of a page that has enough events; None where no number of them would. ``complete`` is False
    where CloudWatch gave a series in part only.
    """

    name: str
    region: str
    objective: float
    good: int
    bad: int
    total: int
    attained: float | None
    budget_left: float | None
    burn: dict[str, float | None]
    verdict: Verdict
    why: str
    window: timedelta
    covered: timedelta
    page_at: int | None
    complete: bool


def evaluate(fine: pd.DataFrame, coarse: pd.DataFrame, stage: Stage, now: datetime) -> list[Level]:
    """Each objective of the stage file, of all regions together and of each, as of ``now`` (with a time zone).

    ``fine`` and ``coarse`` are what :func:`collect` returns. A stage without service levels has none.

    Raises:
        UsageError: ``now`` has no time zone, or the frames don't say what was asked for.
    """
    settings = stage.service_levels
    if settings is None:
        return []
    if now.tzinfo is None:
        raise UsageError("now: it needs a time zone, for example datetime.now(UTC)")
    for title, one in (("fine", fine), ("coarse", coarse)):
        if missing := {"period_s", "start"} - set(one.attrs):
            raise UsageError(f"{title}: its attrs lack {', '.join(sorted(missing))}; take what collect returns")
    partial = [*fine.attrs.get("incomplete", []), *coarse.attrs.get("incomplete", [])]
    found: list[Level] = []
    for name, objective in settings.objectives:
        counts = count(fine, coarse, name, settings, now)
        for region in (ALL, *stage.regions):
            regions = tuple(stage.regions) if region == ALL else (region,)
            lacking = [one for one in partial if one.split(" ", 1)[0] in regions]
            found.append(_level(_Asked(name, region, regions, objective, counts, settings.min_events), lacking))
    return found


@dataclass(frozen=True)
class _Asked:
    """One objective in one region, or in all ``regions``, with the counts of all."""

    name: str
    region: str
    regions: tuple[str, ...]
    objective: Objective
    counts: Counts
    min_events: int

    @property
    def budget(self) -> float:
        """The share that may be bad."""
        return 1 - self.objective.objective

    def since(self, start: datetime) -> tuple[int, int]:
        """How many were bad, and of how many; of regions together what those of each add up to."""
        found = [self.counts.since(start, one) for one in self.regions]
        return sum(bad for bad, _ in found), sum(total for _, total in found)

    def burn(self, length: timedelta) -> float | None:
        bad, total = self.since(self.counts.end - length)
        return bad / total / self.budget if total else None


@dataclass(frozen=True)
class _Spoken:
    """What one pair of windows says; ``few`` is how few bad ones would make it speak, None where none would."""

    verdict: Verdict
    text: str
    burn: dict[str, float | None]
    few: int | None = None


def _pair(asked: _Asked, pair: windows.Pair) -> _Spoken:
    long, short = windows.text(pair.long), windows.text(pair.short)
    if asked.counts.fine_from > asked.counts.end - pair.long:
        begin = f"{asked.counts.fine_from:%Y-%m-%d %H:%M}"
        return _Spoken("ok", f"{long}: not judged, the data were asked for from {begin}", {long: None})
    bad, total = asked.since(asked.counts.end - pair.long)
    rate, rate_short = asked.burn(pair.long), asked.burn(pair.short)
    burn = {long: rate, short: rate_short}
    if total < asked.min_events:
        return _Spoken("ok", f"{long}: not judged, {total:,} of at least {asked.min_events}", burn)
    few = windows.fewest(total, asked.budget, pair.rate)
    if few > total:
        return _Spoken("ok", f"{long}: {total:,} are too few to tell from chance", burn)
    if bad < few or rate is None or rate_short is None or rate_short < pair.rate - 1e-9:
        over = f", and in {short} {rate_short:.1f} times" if bad >= few and rate_short is not None else ""
        return _Spoken("ok", f"{long}: {bad:,} bad of {total:,}{over}; {few:,} would {pair.verdict}", burn, few)
    limit = f"limit {pair.rate:g}; in {short} {rate_short:.1f}"
    said = f"{pair.verdict}: {long} burns {rate:.1f} times its budget ({limit}), {bad:,} bad of {total:,}"
    return _Spoken(pair.verdict, said, burn, few)


def _level(asked: _Asked, partial: Sequence[str]) -> Level:
    counts, window = asked.counts, asked.objective.window
    pairs = windows.pairs(window, counts.period_s)
    spoken = [_pair(asked, pair) for pair in pairs]
    verdicts = {one.verdict for one in spoken}
    verdict: Verdict = "page" if "page" in verdicts else "ticket" if "ticket" in verdicts else "ok"
    start = floored(counts.end - window, COARSE_S)
    bad, total = asked.since(start)
    first = counts.first(asked.regions)
    covered = counts.end - max(start, counts.begin, first) if first else timedelta(0)
    paging = [one.few for one, pair in zip(spoken, pairs, strict=True) if pair.verdict == "page" and one.few]
    return Level(
        name=asked.name,
        region=asked.region,
        objective=asked.objective.objective,
        good=total - bad,
        bad=bad,
        total=total,
        attained=1 - bad / total if total else None,
        budget_left=1 - bad / total / asked.budget if total else None,
        burn={key: rate for one in spoken for key, rate in one.burn.items()},
        verdict=verdict,
        why=_why(spoken, total, covered, window, partial),
        window=window,
        covered=min(covered, window),
        page_at=paging[0] if paging else None,
        complete=not partial,
    )


def _why(spoken: Sequence[_Spoken], total: int, covered: timedelta, window: timedelta, partial: Sequence[str]) -> str:
    """The first that speaks and which others do; what does not, unless something pages; what the figures lack."""
    speaking = [one for one in spoken if one.verdict != "ok"]
    said = [one.text for one in speaking[:1]] if total else ["nothing was counted"]
    if len(speaking) > 1:
        said.append(f"so do {' and '.join(next(iter(one.burn)) for one in speaking[1:])}")
    if total and not any(one.verdict == "page" for one in speaking):
        said += [one.text for one in spoken if one.verdict == "ok"]
    if total and covered < window:
        said.append(f"the budget is over the {windows.text(covered)} that have data, of {windows.text(window)}")
    if partial:
        said.append(f"CloudWatch gave in part only: {', '.join(partial[:3])}")
    return "; ".join(said)
