"""What a comparison confirmed, kept for the repair: which items differ, and how, but never what is in them.

A file of findings has keys, classes and digests, so that it can be passed on where the items must not be. It is in the
run's directory, and in the stage's operations bucket where that is there and may be written, so that another machine
can repair what this one found. What always holds: a file is written whole or not at all; one that does not say what
it should is refused with the field that is wrong.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, ConfigDict, TypeAdapter, ValidationError

from ops import bucket, record
from ops.aws import Cloud
from ops.divergence.classes import CONFIRMED
from ops.divergence.replicas import Replica, Schema
from ops.errors import OpsError, RefusedError, UsageError
from ops.files import write_whole

FILE = "findings.json"
VERSION = 1
ACCEPTED = "a run's name, as in 20260301T120000Z-divergence; a file's path; s3://bucket/key"

_RUN = re.compile(r"\d{8}T\d{6}Z-[a-z]+(?:-\d+)?(?:/[A-Za-z0-9_.-]{3,255})?")
_DIGEST = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Finding:
    """One item that truly differs.

    Attributes
    ----------
    key
        As DynamoDB's JSON has it on the wire: binary in base64.
    kind
        ``missing``, ``stale`` or ``conflicting``.
    digests
        By replica's label, in hexadecimal: the canonical digest of what was compared of the item (less what was
        ignored); None: it is not there.
    """

    key: dict[str, dict[str, str]]
    kind: str
    digests: dict[str, str | None]


@dataclass(frozen=True)
class Findings:
    """What one run confirmed of one table. ``run`` names it: the run's directory, and ``/TABLE`` if it had several."""

    run: str
    stage: str
    account: str
    table: str
    replicas: tuple[Replica, ...]
    schema: Schema
    ignore: tuple[str, ...]
    only: tuple[str, ...] | None
    made: AwareDatetime
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _File:
    """The file: ``version`` is the format's."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    version: int
    findings: Findings


_FILE = TypeAdapter(_File)


def wire(key: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """A key as boto3's client has it, in the form that a finding keeps."""
    return {
        name: {kind: base64.b64encode(bytes(value)).decode() if kind == "B" else value for kind, value in typed.items()}
        for name, typed in key.items()
    }


def client_key(finding: Finding) -> dict[str, dict[str, Any]]:
    """The key of a finding as boto3's client takes it: binary as bytes."""
    return {
        name: {kind: base64.b64decode(value) if kind == "B" else value for kind, value in typed.items()}
        for name, typed in finding.key.items()
    }


def save(
    cloud: Cloud,
    findings: Findings,
    directory: Path,
    keep: str = "",
    *,
    progress: Callable[[str], None] = lambda line: None,
) -> str:
    """Keep findings in the run's directory, and in S3: ``keep``, or the first operations bucket that takes them.

    That is the home region's, unless it is down. Where no bucket is there or may be written, that is said and stops
    nothing, unless ``keep`` named it.

    Returns:
        What ``-p findings=`` takes.

    Raises:
        UsageError: ``keep`` is no place in S3.
        OpsError: it could not be written to ``keep``.
    """
    places = _places(cloud, keep)
    body = _FILE.dump_json(_File(VERSION, findings), indent=1) + b"\n"
    path = directory / _file_name(findings.run)
    write_whole(path, body)
    named = _RUN.fullmatch(findings.run) is not None
    for place in places:
        try:
            bucket.put(cloud, place, _key(findings.run), body)
        except OpsError:
            if keep:
                raise
            continue
        return findings.run if named and not keep else place.uri(_key(findings.run))
    looked = ", ".join(place.uri() for place in places)
    progress(f"findings are in the run's directory only: not there, or not to be written to: {looked}")
    return findings.run if named and _local(cloud, findings.run) == path else str(path)


def load(cloud: Cloud, reference: str, keep: str = "") -> Findings:
    """Findings by what :func:`save` returned: a run's name, a path, or a URI in S3.

    A run's name is looked for among the reports, then in ``keep`` or the operations bucket of each region.

    Raises:
        UsageError: there are none, or they are no findings; the message says which field is wrong.
        RefusedError: they are another stage's or another account's.
    """
    body, where = _read(cloud, reference.strip(), keep)
    found = parse(body, where)
    mine = (cloud.stage.stage, cloud.account)
    if (found.stage, found.account) != mine:
        raise RefusedError(
            f"findings: {where} are of stage {found.stage} in account {found.account or 'none'}, and this is stage "
            f"{mine[0]} in account {mine[1]}",
            hint="Compare again on this stage: ops run divergence --stage " + mine[0],
        )
    return found


def parse(body: bytes, where: str) -> Findings:
    """Findings from a file's content; ``where`` names it in errors.

    Raises:
        UsageError: it is no file of findings, with the first field that is wrong.
    """
    try:
        file = _FILE.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"findings: {where}: {field}: {first['msg']}", hint=f"Accepted: {ACCEPTED}") from error
    if file.version != VERSION:
        raise UsageError(f"findings: {where}: version: is {file.version}, this release reads {VERSION}")
    if problem := _problem(file.findings):
        raise UsageError(f"findings: {where}: {problem}", hint=f"Accepted: {ACCEPTED}")
    return file.findings


def _problem(found: Findings) -> str:
    """What of well-formed findings cannot be, or nothing."""
    labels = {one.label for one in found.replicas}
    names, types = found.schema.names, found.schema.types
    if len(labels) != len(found.replicas) or len(labels) < 2:
        return "replicas: two or more, each with a label of its own"
    if not 1 <= len(names) <= 2 or len(names) != len(types) or not set(types) <= {"S", "N", "B"}:
        return "schema: one or two key attributes, each with its type, S, N or B"
    problems = (_finding_problem(one, found.schema, labels) for one in found.findings)
    return next((f"findings.{number}.{problem}" for number, problem in enumerate(problems) if problem), "")


def _finding_problem(one: Finding, schema: Schema, labels: set[str]) -> str:
    if tuple(one.key) != schema.names or [[*typed] for typed in one.key.values()] != [[kind] for kind in schema.types]:
        return f"key: has not the table's key attributes, {schema}"
    if one.kind not in CONFIRMED:
        return f"kind: {one.kind!r} is not one of: {', '.join(CONFIRMED)}"
    if set(one.digests) != labels:
        return f"digests: one for each replica, {', '.join(sorted(labels))}"
    if not all(digest is None or _DIGEST.fullmatch(digest) for digest in one.digests.values()):
        return "digests: each is 32 hexadecimal digits, or null"
    try:
        client_key(one)
    except ValueError:
        return "key: a binary value is not base64"
    return ""


def _read(cloud: Cloud, reference: str, keep: str) -> tuple[bytes, str]:
    if not reference:
        raise UsageError("findings: is empty", hint=f"Accepted: {ACCEPTED}")
    if reference.startswith("s3://"):
        whole, _, key = reference.removeprefix("s3://").partition("/")
        if not key:
            raise UsageError(f"findings: {reference!r} names a bucket, not an object; accepted: {ACCEPTED}")
        body = bucket.get(cloud, bucket.place(cloud, cloud.stage.home_region, f"s3://{whole}"), key)
        if body is None:
            raise UsageError(f"findings: there is nothing at {reference}")
        return body, reference
    local = _local(cloud, reference) if _RUN.fullmatch(reference) else Path(reference).expanduser()
    local = local / FILE if local.is_dir() else local
    try:
        return local.read_bytes(), str(local)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"findings: {local}: {error.strerror}") from error
    if not _RUN.fullmatch(reference):
        raise UsageError(f"findings: there is no file {reference}; accepted: {ACCEPTED}")
    return _kept(cloud, reference, keep, local)


def _kept(cloud: Cloud, run: str, keep: str, local: Path) -> tuple[bytes, str]:
    """From S3, by the run's name; a region that does not answer is passed over."""
    places = _places(cloud, keep)
    silent = ""
    for place in places:
        try:
            body = bucket.get(cloud, place, _key(run))
        except OpsError as error:
            silent = f"; {error}"
            continue
        if body is not None:
            return body, place.uri(_key(run))
    looked = ", ".join([str(local), *(place.uri(_key(run)) for place in places)])
    raise UsageError(f"findings: there are none of {run}; looked at {looked}{silent}", hint=f"Accepted: {ACCEPTED}")


def _places(cloud: Cloud, keep: str) -> list[bucket.Place]:
    """Where findings may be in S3: ``keep``, or the operations buckets, the home region's first."""
    home = cloud.stage.home_region
    regions = [home] if keep else [home, *(region for region in cloud.stage.regions if region != home)]
    return [bucket.place(cloud, region, keep) for region in regions]


def _local(cloud: Cloud, run: str) -> Path:
    return record.REPORTS / cloud.stage.stage / run.partition("/")[0] / _file_name(run)


def _file_name(run: str) -> str:
    table = run.partition("/")[2]
    return f"findings-{table}.json" if table else FILE


def _key(run: str) -> str:
    return f"{bucket.FINDINGS}/{run}.json"
