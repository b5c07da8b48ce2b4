"""The table of decisions: what a person says each replica is to hold, key by key.

CSV has a column for each key attribute and ``decision`` (and may have ``why``, which is not read); binary keys are in
base64. JSON lines have ``key``, as DynamoDB's JSON has it, and ``decision``. A row that is wrong stops the plan, with
its line, its field, and what is accepted.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ops import bucket
from ops.aws import Cloud
from ops.divergence.repair.orders import Row
from ops.divergence.repair.policies import DELETE, KEEP
from ops.divergence.replicas import Schema
from ops.errors import UsageError
from sketch import keys
from sketch.canonical import MalformedItemError


def load(cloud: Cloud, reference: str, schema: Schema, labels: Sequence[str]) -> dict[bytes, str]:
    """Decisions by packed key, from a file or an s3:// URI.

    Raises:
        UsageError: there are none, or a row is wrong.
    """
    return parse(_read(cloud, reference.strip()), reference, schema, labels)


def parse(body: bytes, where: str, schema: Schema, labels: Sequence[str]) -> dict[bytes, str]:
    """Decisions from a file's content; ``where`` names it in errors.

    Raises:
        UsageError: with the line, the field, the problem and what is accepted.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"decisions: {where}: byte {error.start}: is not UTF-8") from error
    rows = _lines(text, where) if text.lstrip().startswith("{") else _csv(text, where, schema)
    accepted = [*labels, DELETE, KEEP]
    found: dict[bytes, str] = {}
    for line, key, decision in rows:
        if not decision:
            continue  # of a template, not filled in
        if decision not in accepted:
            raise _wrong(where, line, "decision", f"{decision!r} is none", ", ".join(accepted))
        packed = _packed(key, where, line, schema)
        if found.setdefault(packed, decision) != decision:
            shown = keys.text(packed, schema.names)
            raise _wrong(where, line, "key", f"{shown} was decided {found[packed]!r} before", "one decision a key")
    return found


def template(rows: Iterable[Row], schema: Schema) -> str:
    """A CSV of these keys with ``decision`` left empty, to be filled in."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*schema.names, "decision", "why"])
    for row in rows:
        writer.writerow([*_cells(keys.unpack(row.key, schema.names)), "", row.why])
    return out.getvalue()


def _cells(key: Mapping[str, Any]) -> Iterator[str]:
    for typed in key.values():
        ((kind, value),) = typed.items()
        yield base64.b64encode(value).decode() if kind == "B" else value


def _csv(text: str, where: str, schema: Schema) -> Iterator[tuple[int, dict[str, Any], str]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    wanted = [*schema.names, "decision"]
    try:
        header = next(reader, [])
        if header not in (wanted, [*wanted, "why"]):
            accepted = ",".join(wanted)
            raise _wrong(where, 1, "header", f"is {','.join(header)!r}", f"{accepted}, and why behind it if you like")
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise _wrong(where, reader.line_num, "row", f"has {len(row)} cells", f"{len(header)}")
            typed = zip(schema.names, schema.types, row, strict=False)
            yield reader.line_num, {name: {kind: cell} for name, kind, cell in typed}, row[len(schema.names)].strip()
    except csv.Error as error:
        raise _wrong(where, reader.line_num, "row", str(error), "CSV as RFC 4180 has it") from error


def _lines(text: str, where: str) -> Iterator[tuple[int, dict[str, Any], str]]:
    shape = '{"key": {"pk": {"S": "..."}}, "decision": "..."}'
    # Not splitlines(), which also splits at characters that a JSON string may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise _wrong(where, number, "row", f"is no JSON: {error}", shape) from error
        if not isinstance(row, dict) or not isinstance(row.get("key"), dict):
            raise _wrong(where, number, "key", "is missing or is no object", shape)
        if not isinstance(row.get("decision", ""), str):
            raise _wrong(where, number, "decision", "is no text", shape)
        yield number, row["key"], row.get("decision", "").strip()


def _packed(key: Mapping[str, Any], where: str, line: int, schema: Schema) -> bytes:
    if set(key) != set(schema.names):
        raise _wrong(where, line, "key", f"has {', '.join(key) or 'nothing'}", str(schema))
    made: dict[str, Any] = {}
    for name, kind in zip(schema.names, schema.types, strict=True):
        typed = key[name]
        if not isinstance(typed, dict) or set(typed) != {kind} or not isinstance(typed[kind], str) or not typed[kind]:
            raise _wrong(where, line, name, "is empty or of another type", str(schema))
        try:
            made[name] = {kind: base64.b64decode(typed[kind], validate=True)} if kind == "B" else typed
            keys.pack_value(made[name], name)
        except (ValueError, MalformedItemError) as error:
            raise _wrong(where, line, name, str(error), {"B": "base64", "N": "a number"}.get(kind, "text")) from error
    return keys.pack(made, schema.names)


def _read(cloud: Cloud, reference: str) -> bytes:
    if not reference.startswith("s3://"):
        path = Path(reference).expanduser()
        try:
            return path.read_bytes()
        except OSError as error:
            raise UsageError(f"decisions: {path}: {error.strerror}", hint="A file, or s3://bucket/key") from error
    name, _, key = reference.removeprefix("s3://").partition("/")
    if not key:
        raise UsageError(f"decisions: {reference!r} names a bucket, not an object; accepted: s3://bucket/key")
    body = bucket.get(cloud, bucket.place(cloud, cloud.stage.home_region, f"s3://{name}"), key)
    if body is None:
        raise UsageError(f"decisions: there is nothing at {reference}")
    return body


def _wrong(where: str, line: int, field: str, problem: str, accepted: str) -> UsageError:
    return UsageError(f"decisions: {where}: line {line}: {field}: {problem}; accepted: {accepted}")
