"""The ledger: what each applied plan did, one object a plan, rewritten as its run goes on.

It outlives what AWS remembers (EventBridge keeps a replay for 90 days) and the machine of whoever ran it: a run that
was killed is taken up from here, by whoever makes the same plan again. What always holds: an entry is found by its
plan's token; it is written whole, never in part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Literal

import pandas as pd
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from ops import bucket
from ops.aws import Cloud
from ops.bucket import LEDGER, Place
from ops.errors import OpsError
from ops.fanout import each

State = Literal["running", "done", "stopped", "failed"]
# S3 lists by key, and keys are tokens: to find the newest, all are listed, and so many at the most.
_LISTED = 10_000


@dataclass(frozen=True)
class Entry:
    """One applied plan. ``by`` is the caller's ARN; times are UTC.

    Attributes
    ----------
    state
        ``running`` until the run says otherwise: one that was killed stays so.
    parameters
        The plan's, resolved: they make the same plan, and so the same token, again.
    steps
        What was done about each step so far, as the runbook describes it.
    request_ids
        Of calls that can bear no mark of their own (asynchronous invocations), by which their failures are known again.
    """

    runbook: str
    token: str
    stage: str
    account: str
    region: str
    by: str
    started: AwareDatetime
    updated: AwareDatetime
    state: State
    parameters: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    request_ids: list[str] = field(default_factory=list)


_ENTRY = TypeAdapter(Entry)


def write(cloud: Cloud, place: Place, entry: Entry) -> None:
    """Write the entry, in the place of an earlier one of the same plan."""
    bucket.put(cloud, place, _key(entry.runbook, entry.token), _ENTRY.dump_json(entry))


def read(cloud: Cloud, place: Place, runbook: str, token: str) -> Entry | None:
    """The entry of a plan, or None when it was never applied (or kept its record elsewhere).

    Raises:
        OpsError: what is there is no entry.
    """
    return _read(cloud, place, _key(runbook, token))


def entries(
    cloud: Cloud,
    places: Sequence[Place],
    runbook: str,
    limit: int = 100,
    unread: Callable[[Place, OpsError], None] | None = None,
) -> list[Entry]:
    """The entries written last, in all these places, newest first.

    Args:
        limit: how many at the most.
        unread: told of a place that cannot be read (its region is down, say), whose entries are then missing; without
            it, that is raised.
    """

    def listed(place: Place) -> list[tuple[datetime, Place, str]] | OpsError:
        try:
            found = bucket.keys(cloud, place, f"{LEDGER}/{runbook}/", _LISTED)
            return [(changed, place, key) for key, changed, _ in found]
        except OpsError as error:
            if unread is None:
                raise
            return error

    found = []
    for place, answer in each(places, listed).items():
        if isinstance(answer, OpsError):
            unread(place, answer) if unread else None
        else:
            found += answer
    newest = sorted(found, key=lambda one: one[0], reverse=True)
    wanted = [(place, key) for _, place, key in islice(newest, limit)]
    read = each(wanted, lambda one: _read(cloud, *one))
    return sorted((one for one in read.values() if one is not None), key=lambda one: one.updated, reverse=True)


def frame(entries: Sequence[Entry]) -> pd.DataFrame:
    """A row an entry, in the order given."""
    rows = [
        (
            one.token,
            one.state,
            one.region,
            one.started,
            one.updated,
            one.by.rpartition("/")[2],
            len(one.steps),
            ", ".join(
                f"{name}={_shown(value)}" for name, value in one.parameters.items() if value not in ("", [], None)
            ),
        )
        for one in entries
    ]
    columns = ["token", "state", "region", "started", "updated", "by", "steps", "parameters"]
    return pd.DataFrame(rows, columns=columns)


def history(cloud: Cloud, runbook: str, regions: Sequence[str] = (), keep: str = "") -> pd.DataFrame:
    """What was applied before and by whom, newest first, as :func:`frame` has it.

    Args:
        regions: whose records are read; empty: all of the stage.
        keep: where else the records are, ``s3://bucket/prefix``.

    A region whose records cannot be read is a row that says why.
    """
    asked = [cloud.stage.home_region] if keep else list(regions) or cloud.stage.regions
    unread: list[tuple[str, str]] = []
    found = entries(
        cloud,
        [bucket.place(cloud, region, keep) for region in asked],
        runbook,
        unread=lambda one, error: unread.append((one.region, str(error))),
    )
    rows = [{"state": "NOT READ", "region": region, "parameters": why} for region, why in unread]
    return pd.concat([frame(found), pd.DataFrame(rows)], ignore_index=True) if rows else frame(found)


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _key(runbook: str, token: str) -> str:
    return f"{LEDGER}/{runbook}/{token}.json"


def _read(cloud: Cloud, place: Place, key: str) -> Entry | None:
    body = bucket.get(cloud, place, key)
    if body is None:
        return None
    try:
        return _ENTRY.validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise OpsError(
            f"{place.uri(key)} is no entry of a ledger: {field}: {first['msg']}",
            hint="The bucket keeps earlier versions of it: restore one, or move it away.",
        ) from error
