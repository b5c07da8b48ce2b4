"""The plan of a replay: what it would deliver, to whom, in which slices, and what speaks against it. Reads only.

What is left open (length and number of slices, limits) is settled here and printed among the parameters, so that the
plan made again with them has the same token, and a run that was interrupted is taken up by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ops import bucket
from ops.aws import Cloud, explained
from ops.errors import OpsError, UsageError
from ops.plan import Plan, Step
from ops.replay import cautions
from ops.replay.archives import Archive, accepted_in, find_archive
from ops.replay.attempts import ACTIVE
from ops.replay.counting import Stored, count_archived, count_events, processing_speed
from ops.replay.estimating import Known, estimates
from ops.replay.listing import replays
from ops.replay.receivers import MAX_KINDS, Rule, find_rules, judge, representatives
from ops.replay.selection import Selection, make_selection
from ops.replay.slices import choose_minutes, choose_parallel, cut, name_prefix
from ops.replay.steps import leftover_steps, slice_step, stand_in_steps, tap_steps
from ops.window import resolve as resolve_window
from ops.window import text_of

RUNBOOK = "replay"


def plan(
    cloud: Cloud,
    region: str = "",
    window_start: str = "1h",
    window_end: str = "",
    archive: str = "",
    *,
    bus: str = "",
    rules: Sequence[str] = (),
    sources: Sequence[str] = (),
    types: Sequence[str] = (),
    subjects: Sequence[str] = (),
    tenants: Sequence[str] = (),
    slice_minutes: int = 0,
    parallel: int = 0,
    deliver: bool = True,
    prove: bool = True,
    max_queue_age_s: int = 0,
    max_dlq_growth: int = -1,
    keep: str = "",
    repeat: int = 0,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Plan:
    """What a replay would do; read-only.

    Args:
        region: whose archive; empty is the home region.
        archive: its name; empty is the region's own archive, and the journal's holds what the region before accepted.
        bus: any bus of the account, in any region; empty is the archive's.
        rules: names of the rules that receive the events; empty is all of the bus.
        sources, types, subjects: of the events; exact, or a beginning with ``*`` behind it. Empty is all.
        tenants: whose events the preview counts; empty is everybody's, read from the whole index.
        slice_minutes, parallel: of one replay, and how many at a time; 0 is as fits.
        deliver: False overhears the archive and delivers to nobody.
        prove: whether the run overhears what is delivered, and holds it against the tables.
        max_queue_age_s, max_dlq_growth: when the run pauses and stops; 0 and -1 are the stage's.
        keep: where records are kept, as ``s3://bucket/prefix``; empty is the stage's bucket.
        repeat: raise it to replay the same window once more.

    Raises:
        UsageError: the window, the region, the archive or another parameter is not one.
    """
    stage, at = cloud.stage, now()
    selection = make_selection(sources, types, subjects)
    _require("parallel", parallel, 0, cautions.MAX_CONCURRENT)
    _require("slice_minutes", slice_minutes, 0)
    _require("max_queue_age_s", max_queue_age_s, 0)
    _require("max_dlq_growth", max_dlq_growth, -1)
    window = resolve_window(window_start, window_end, at)
    region = region or stage.home_region
    if bus in ("", stage.bus, stage.journal_bus):
        stage.require_region(region)
    if keep:
        bucket.place(cloud, region, keep)
    with explained(f"planning a replay in {region}"):
        source = find_archive(cloud, region, archive or _default_archive(cloud, bus), bus)
        own = accepted_in(stage, source) is not None
        running = _running(cloud, region)
        known, warnings = _known(cloud, source, window, at, selection=selection, tenants=tenants)
        found = [rule for rule in find_rules(cloud, region, source.bus) if not rules or rule.name in rules]
        chosen = _judged(cloud, source, found, selection, known.stored)
        slice_minutes = slice_minutes or choose_minutes(window, known.estimated)
        pieces = cut(*window, slice_minutes)
        parallel = parallel or choose_parallel(len(pieces), len(running), cautions.MAX_CONCURRENT)
        chosen, stand_ins, reasons = stand_in_steps(cloud, source, chosen, selection if deliver else Selection(), own)
    parameters = {
        "region": region,
        "archive": source.name,
        "bus": bus if own else source.bus,
        "window_start": text_of(window[0]),
        "window_end": text_of(window[1]),
        "rules": sorted(rules),
        "sources": list(selection.sources),
        "types": list(selection.types),
        "subjects": list(selection.subjects),
        "slice_minutes": slice_minutes,
        "parallel": parallel,
        "deliver": deliver,
        "prove": prove,
        "max_queue_age_s": max_queue_age_s or stage.recovery.max_queue_age_s,
        "max_dlq_growth": stage.recovery.max_dlq_growth if max_dlq_growth < 0 else max_dlq_growth,
        "keep": keep,
        "repeat": repeat,
    }
    steps = tap_steps(source, selection.pattern(own)) if prove or not deliver else []
    steps += stand_ins
    to = [rule.arn for rule in chosen] if rules and deliver and not stand_ins else None
    steps += [slice_step(source, one, len(pieces), to) for one in pieces]
    made = Plan(
        journaled=True,
        runbook=RUNBOOK,
        stage=stage.stage,
        account=cloud.account,
        regions=[region],
        parameters=parameters,
        steps=steps,
    )
    with explained(f"looking for earlier replays in {region}"):
        earlier = replays(cloud, region, NamePrefix=name_prefix(stage, made.token))
        own_names = {one["ReplayName"] for one in earlier}
        others = [f"{name} ({state})" for name, state in running.items() if name not in own_names]
        deletes, left = leftover_steps(cloud, source, made.token, resuming=bool(earlier))
    reasons += cautions.refusals(source, others, rules, chosen)
    if deliver and not selection.everything and not stand_ins and not reasons:
        reasons.append("no rule would receive the selection; to read the archive only: -p deliver=false")
    warnings = [
        *cautions.applied_before(earlier, len(pieces)),
        *cautions.about_archive(source, window, at, own=own),
        *cautions.about_others(others),
        *cautions.about_receivers(cloud, chosen, deliver),
        *cautions.about_counts(known.stored.complete, known.stored.total, known.comparable),
        *warnings,
        *left,
        *cautions.STANDING,
    ]
    refused = [
        Step(action="refuse", resource=f"replay of archive {source.name}", region=region, detail=reason)
        for reason in reasons
    ]
    figures = estimates(cloud, source, known, chosen if deliver else [], slices=len(pieces), taps=prove or not deliver)
    return made.model_copy(
        update={
            "steps": [*deletes, *steps, *refused],
            "estimates": {"window_minutes": sum(one.minutes for one in pieces), **figures},
            "warnings": warnings,
        }
    )


def _require(field: str, value: int, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        accepted = f"{least} to {most}" if most is not None else f"{least} and more"
        raise UsageError(f"{field}: {value} is out of range; accepted: {accepted}")


def _default_archive(cloud: Cloud, bus: str) -> str:
    """The stage's archives bear the names of their buses; of another bus, it is looked for."""
    own = {"": cloud.stage.archive_name, cloud.stage.bus: cloud.stage.archive_name}
    return (own | {cloud.stage.journal_bus: cloud.stage.journal_bus}).get(bus, "")


def _known(
    cloud: Cloud,
    source: Archive,
    window: tuple[datetime, datetime],
    now: datetime,
    *,
    selection: Selection,
    tenants: Sequence[str],
) -> tuple[Known, list[str]]:
    """What the table and the metrics tell of the window; what could not be read is a warning."""
    accepted, stored, warnings = accepted_in(cloud.stage, source), Stored(), list[str]()
    if accepted is not None:
        stored = count_events(cloud, source.region, accepted, window, selection=selection, tenants=tenants)
    metered, speed = None, None
    try:
        metered = count_archived(cloud, source, window, now)
        speed = processing_speed(cloud, source.region, now) if accepted is not None else None
    except OpsError as error:
        warnings.append(f"no metrics: {error}")
    return Known(stored, metered, speed, selection.everything and not tenants, accepted is not None), warnings


def _judged(cloud: Cloud, source: Archive, rules: Sequence[Rule], selection: Selection, stored: Stored) -> list[Rule]:
    events = representatives(cloud, source, selection, stored.kinds)
    known = 0 < len(stored.kinds) <= MAX_KINDS
    return [replace(one, would_receive=judge(cloud, source.region, one, events, known)) for one in rules]


def _running(cloud: Cloud, region: str) -> dict[str, str]:
    """Replays under way in the region, whoever started them: their states by name."""
    found = [one for state in ACTIVE for one in replays(cloud, region, State=state)]
    return {one["ReplayName"]: one["State"] for one in found}
