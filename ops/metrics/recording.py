"""Metrics in a file: all that a page shows, so that it can be drawn again, reviewed, tested and compared with.

JSON, a line a series, so that two recordings can be compared by line; compressed where the name ends in ``.gz``.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from ops.errors import UsageError
from ops.files import write_whole
from ops.metrics.frames import SERIES, make
from ops.metrics.marks import Mark, Marks

if TYPE_CHECKING:
    import pandas as pd

FORMAT: Literal["atoll-metrics-1"] = "atoll-metrics-1"
# A file larger than this is no recording of a stage's.
MAX_FILE_BYTES = 500_000_000
ATTRS = ("start", "end", "asked_end", "period_s", "regions", "incomplete")
HINT = "A run with -p save=FILE writes one."


@dataclass(frozen=True)
class Recording:
    """What was measured at ``now``. ``frame`` is of the window, ``fine`` and ``coarse`` of the service levels."""

    stage: str
    now: datetime
    frame: pd.DataFrame
    fine: pd.DataFrame
    coarse: pd.DataFrame
    marks: Marks = field(default_factory=Marks)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Line(_Part):
    """One series; each point is ``[seconds after the start, value]``."""

    region: str
    resource: str
    metric: str
    statistic: str
    unit: str
    points: list[tuple[int, FiniteFloat]]


class _Frame(_Part):
    start: AwareDatetime
    end: AwareDatetime
    asked_end: AwareDatetime
    period_s: Annotated[int, Field(ge=1)]
    regions: list[str]
    incomplete: list[str]
    series: list[_Line]


class _Mark(_Part):
    time: AwareDatetime
    kind: Literal["deployment", "failover", "replay"]
    region: str
    text: str
    ended: AwareDatetime | None


class _File(_Part):
    format: Literal["atoll-metrics-1"]
    stage: str
    now: AwareDatetime
    marks: list[_Mark]
    unread: dict[str, str]
    window: _Frame
    fine: _Frame
    coarse: _Frame


def save(recording: Recording, path: Path) -> Path:
    """Keep it in a file, written whole or not at all; the same recording makes the same file.

    Raises:
        UsageError: the file cannot be written.
    """
    marks = [
        {"time": one.time, "kind": one.kind, "region": one.region, "text": one.text, "ended": one.ended}
        for one in recording.marks.marks
    ]
    head = {"format": FORMAT, "stage": recording.stage, "now": recording.now, "marks": marks}
    head["unread"] = dict(recording.marks.unread)
    opening = json.dumps(head, default=datetime.isoformat)[:-1]
    frames = (("window", recording.frame), ("fine", recording.fine), ("coarse", recording.coarse))
    text = opening + "".join(f',\n"{name}": {_frame(frame)}' for name, frame in frames) + "}\n"
    try:
        return write_whole(path, gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text)
    except OSError as error:
        raise UsageError(f"save: {path}: {error.strerror}") from error


def _frame(frame: pd.DataFrame) -> str:
    attrs = json.dumps({name: frame.attrs[name] for name in ATTRS})[:-1]
    start = datetime.fromisoformat(frame.attrs["start"])
    lines = []
    for key, rows in frame.groupby(SERIES, sort=True):
        ordered = rows.sort_values("time")
        seconds = (ordered["time"] - start).dt.total_seconds().astype("int64")
        points = [[int(s), _plain(v)] for s, v in zip(seconds, ordered["value"], strict=True)]
        lines.append(json.dumps(dict(zip(SERIES, key, strict=True)) | {"points": points}, separators=(",", ":")))
    body = ",\n".join(lines)
    return f'{attrs}, "series": [\n{body}\n]}}'


def load(path: Path, stage: str | None = None, parameter: str = "source") -> Recording:
    """What :func:`save` kept.

    Args:
        stage: whose it has to be; None: anyone's.
        parameter: whose value the path is, for what is said when it is wrong.

    Raises:
        UsageError: there is no such file, or what is in it is no recording, or another stage's.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{parameter}: {path} has more than {MAX_FILE_BYTES:,} bytes")
        raw = path.read_bytes()
        text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError) as error:
        said = getattr(error, "strerror", None) or "a broken gzip file"
        raise UsageError(f"{parameter}: {path}: {said}", hint=HINT) from error
    try:
        found = _File.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"{parameter}: {path} is no recording: {where}: {first['msg']}", hint=HINT) from error
    if stage is not None and found.stage != stage:
        raise UsageError(f"{parameter}: {path} was recorded on stage {found.stage!r}, not {stage!r}")
    marks = Marks(tuple(Mark(one.time, one.kind, one.region, one.text, one.ended) for one in found.marks), found.unread)
    frames = (_read(found.window), _read(found.fine), _read(found.coarse))
    return Recording(found.stage, found.now.astimezone(UTC), *frames, marks)


def _read(found: _Frame) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = [
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
