"""Where the records of reports are kept: the folder of reports, and ``s3://`` too where the stage file says so.

A machine that starts with nothing (CodeBuild's) gets what earlier runs of the suite left from there, so that changes
and sparklines go back as far as anywhere. What always holds: a run's files go up before its ``suite.json``, so that a
record that is there is whole; what is deleted is older than ``keep_days`` and has the name of a run's directory.
"""

from __future__ import annotations

import mimetypes
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeGuard

from ops import bucket
from ops.aws import Cloud
from ops.bucket import REPORTS, Place
from ops.fanout import each
from ops.files import PART
from ops.record import RESULT, RUN_DIRECTORY
from ops.stage import OPERATIONS, Stage

SUITE, DIRECTORY = "suite.json", "suites"
# Runs of a suite that are looked back at, and objects that a prefix is listed for.
PAST, LISTED = 100, 100_000
_RUN = re.compile(RUN_DIRECTORY)


def is_record(found: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    """Whether it is what a run of a suite leaves, and not another program's or version's."""
    if found is None or not found.keys() >= {"suite", "title", "stage", "started", "finished", "verdict", "runs"}:
        return False
    return all(run.keys() >= {"runbook", "verdict", "failing", "figures", "counts"} for run in found["runs"])


def remote(cloud: Cloud | None, stage: Stage) -> Place | None:
    """The place in S3, or None where the stage keeps its records in the folder alone."""
    if cloud is None or stage.reports.records is None:
        return None
    if stage.reports.records == OPERATIONS:
        return replace(bucket.place(cloud, stage.home_region), prefix=REPORTS)
    return bucket.place(cloud, stage.home_region, stage.reports.records)


def fetch(cloud: Cloud, place: Place, stage: str, suite: str, root: Path) -> int:
    """Get the records of this suite's runs that are not in the folder; returns how many.

    Raises:
        OpsError: S3 did not answer.
    """
    below = f"{stage}/{DIRECTORY}/"
    ends = re.compile(rf"{re.escape(below)}({RUN_DIRECTORY})/{SUITE}")
    found = [match for key, _, _ in bucket.keys(cloud, place, below, LISTED) if (match := ends.fullmatch(key))]
    named = sorted(match[0] for match in found if match["runbook"] == suite)[-PAST:]
    missing = [key for key in named if not (root / key).exists()]
    for key, body in each(missing, lambda key: bucket.get(cloud, place, key)).items():
        if body is not None:
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).write_bytes(body)
    return len(missing)


def send(cloud: Cloud, place: Place, root: Path, directories: list[Path]) -> int:
    """Put up every file of these directories, those that name a run's end last; returns how many.

    Raises:
        OpsError: S3 did not take one.
    """
    files = [path for directory in directories for path in sorted(directory.rglob("*")) if path.is_file()]
    last = [path for path in files if path.name in (SUITE, RESULT)]

    def put(path: Path) -> None:
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        bucket.put(cloud, place, path.relative_to(root).as_posix(), path.read_bytes(), kind)

    each([path for path in files if path not in last and path.suffix != PART], put)
    each([path for path in last if path.name == RESULT], put)
    each([path for path in last if path.name == SUITE], put)
    return len(files)


def expire(root: Path, stage: Stage, now: datetime | None = None) -> int:
    """Delete directories of runs in the folder that began more than ``keep_days`` ago; returns how many."""
    limit = (now or datetime.now(UTC)) - timedelta(days=stage.reports.keep_days)
    own = root / stage.stage
    old = [path for place in (own, own / DIRECTORY) for path in _runs(place) if _began(path.name) < limit]
    for path in old:
        shutil.rmtree(path)
    return len(old)


def expire_remote(cloud: Cloud, place: Place, stage: Stage, now: datetime | None = None) -> int:
    """The same in S3; returns how many objects.

    Raises:
        OpsError: S3 did not answer.
    """
    limit = (now or datetime.now(UTC)) - timedelta(days=stage.reports.keep_days)
    old = []
    for key, _, _ in bucket.keys(cloud, place, f"{stage.stage}/", LISTED):
        names = [part for part in key.split("/")[1:-1] if _RUN.fullmatch(part)]
        if names and _began(names[0]) < limit:
            old.append(key)
    each(old, lambda key: bucket.delete(cloud, place, key))
    return len(old)


def _runs(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from (
            path for path in place.iterdir() if not path.is_symlink() and path.is_dir() and _RUN.fullmatch(path.name)
        )


def _began(name: str) -> datetime:
    return datetime.strptime(name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
