"""The tidy table of metrics: a row a point; what is asked of it; and how it is kept in a file.

Columns: ``time`` (UTC), ``region``, ``resource``, ``metric``, ``statistic``, ``unit``, ``value``. A gap stays a gap: a
missing point is never a zero. ``attrs`` have ``period_s``, ``start``, ``end``, ``asked_end``, ``regions`` and
``incomplete``, as :func:`ops.metrics.collect` sets them.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from ops.errors import UsageError
from ops.metrics.series import PERCENTILES

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["time", "region", "resource", "metric", "statistic", "unit", "value"]
SERIES = ["region", "resource", "metric", "statistic", "unit"]
# A recorded frame larger than this is none of a stage's.
MAX_FILE_BYTES = 500_000_000


def make(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """The table of these rows, which have :data:`COLUMNS`."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    frame["value"] = frame["value"].astype("float64")
    return frame.sort_values(["resource", "metric", "statistic", "time"], ignore_index=True)


def together(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all of them; those without rows would change the types of the columns of the others."""
    import pandas as pd

    some = [frame for frame in frames if len(frame)]
    return pd.concat(some, ignore_index=True) if some else make([])


def select(frame: pd.DataFrame, resource: str, metric: str, statistic: str | None = None) -> pd.DataFrame:
    """The rows of one metric; ``resource`` may be a kind (``dlq/``) and then stands for all of it."""
    named = frame["resource"].str.startswith(resource) if resource.endswith("/") else frame["resource"] == resource
    chosen = frame[named & (frame["metric"] == metric)]
    return chosen if statistic is None else chosen[chosen["statistic"] == statistic]


def percentiles(frame: pd.DataFrame, resource: str, metric: str) -> pd.DataFrame:
    """The rows of one metric's percentiles, the lowest percentile first."""
    chosen = select(frame, resource, metric)
    return chosen[chosen["statistic"].isin(PERCENTILES)].sort_values(["statistic", "time"])


def whole(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the period that was under way, as long as there are others: it would look like an outage."""
    import pandas as pd

    if "asked_end" not in frame.attrs:
        return frame
    period = pd.Timedelta(seconds=frame.attrs.get("period_s", 60))
    over = frame[frame["time"] + period <= pd.Timestamp(frame.attrs["asked_end"])]
    return over if len(over) else frame


def later(frame: pd.DataFrame, by: timedelta) -> pd.DataFrame:
    """The same rows as if they had been ``by`` later, to lie beside those of another time."""
    return frame.assign(time=frame["time"] + by)


# --- in a file ---------------------------------------------------------------------------------------------------


class _Line(BaseModel):
    """One series; each point is ``[seconds after the start, value]``."""

    model_config = ConfigDict(extra="forbid")

    region: str
    resource: str
    metric: str
    statistic: str
    unit: str
    points: list[tuple[int, FiniteFloat]]


class _Recorded(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal["atoll-metrics-1"]
    stage: str
    start: AwareDatetime
    end: AwareDatetime
    asked_end: AwareDatetime
    period_s: Annotated[int, Field(ge=1)]
    regions: list[str]
    incomplete: list[str]
    series: list[_Line]


def save(frame: pd.DataFrame, path: Path, stage: str) -> Path:
    """Keep the frame as JSON, a line a series; compressed where the name ends in ``.gz``. Written whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    start = datetime.fromisoformat(frame.attrs["start"])
    head = {
        "format": "atoll-metrics-1",
        "stage": stage,
        **{name: frame.attrs[name] for name in ("start", "end", "asked_end", "period_s", "regions", "incomplete")},
    }
    lines = []
    for key, rows in frame.groupby(SERIES, sort=True):
        seconds = (rows["time"] - start).dt.total_seconds().astype("int64")
        points = [[int(s), _plain(v)] for s, v in zip(seconds, rows["value"], strict=True)]
        lines.append(json.dumps(dict(zip(SERIES, key, strict=True)) | {"points": points}, separators=(",", ":")))
    body = ",\n".join(lines)
    text = f'{json.dumps(head)[:-1]}, "series": [\n{body}\n]}}\n'.encode()
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The same data make the same file.
        part.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"save: {path}: {error.strerror}") from error
    return path


def load(path: Path, stage: str | None = None) -> pd.DataFrame:
    """A frame that :func:`save` kept, with its ``attrs``.

    Args:
        stage: whose it has to be; None: anyone's.

    Raises:
        UsageError: there is no such file, or what is in it is no recorded frame, or another stage's.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"source: {path} has more than {MAX_FILE_BYTES:,} bytes")
        raw = path.read_bytes()
        text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError) as error:
        said = getattr(error, "strerror", None) or "a broken gzip file"
        raise UsageError(f"source: {path}: {said}", hint="A run with -p save=FILE writes one.") from error
    try:
        found = _Recorded.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(
            f"source: {path} is no recorded metrics: {where}: {first['msg']}",
            hint="A run with -p save=FILE writes one.",
        ) from error
    if stage is not None and found.stage != stage:
        raise UsageError(f"source: {path} was recorded on stage {found.stage!r}, not {stage!r}")
    rows = [
        (found.start + timedelta(seconds=s), one.region, one.resource, one.metric, one.statistic, one.unit, value)
        for one in found.series
        for s, value in one.points
    ]
    frame = make(rows)
    times = {name: getattr(found, name).astimezone(UTC).isoformat() for name in ("start", "end", "asked_end")}
    frame.attrs.update(times, period_s=found.period_s, regions=found.regions, incomplete=found.incomplete)
    return frame


def _plain(value: float) -> float | int:
    return int(value) if value == int(value) else float(value)
