"""Export files of the tables that the stub serves (``tests.bench.scan``), in a directory that stands for a bucket.

What always holds: items, attributes and set members are in another order in each region, and regions do not have the
same number of files, as it is with exports of DynamoDB, which have a file a partition at least
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html); a larger table has more
files, not larger ones; and no item is near another one that resembles it, which would make the files smaller than those
of a table.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ops.local.emulator.exportfiles import md5
from tests.bench.scan import TABLE, Shape
from tests.bench.scan.tables import Table

BUCKET = "bench"
LEAST_FILES, ITEMS_PER_FILE = 4, 62_500
SHUFFLED_PAGES = 4
COMPRESSION = 6  # gzip's own


class Directory:
    """Stands in for the client of S3: objects are files."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 (S3's own names)
        path = self._root / Key
        if Bucket != BUCKET or not path.is_file():
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": Key}}, "GetObject")
        return {"Body": path.open("rb"), "ETag": '"bench"'}


def arn(region: str) -> str:
    return f"arn:aws:dynamodb:{region}:000000000000:table/{TABLE}"


def manifest(region: str) -> str:
    """What a comparison takes as the export of a region."""
    return f"s3://{BUCKET}/{_folder(region)}/manifest-summary.json"


def data_files(region: str, bucket: Path) -> list[str]:
    """The paths of a region's data files."""
    return sorted(str(path) for path in (bucket / _folder(region) / "data").iterdir())


def write(shape: Shape, bucket: Path) -> None:
    """The exports of all regions."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda region: _export(shape, region, bucket), shape.regions))


def _folder(region: str) -> str:
    return f"exports/AWSDynamoDB/{region}"


def _export(shape: Shape, region: str, bucket: Path) -> None:
    folder, table, entries, names = _folder(region), Table(shape, region), [], random.Random(region)
    (bucket / folder / "data").mkdir(parents=True)
    count = max(LEAST_FILES, -(-shape.items // ITEMS_PER_FILE)) + table.index
    for number in range(count):
        key = f"{folder}/data/{names.getrandbits(128):032x}.json.gz"
        lines = [b'{"Item":' + row + b"}\n" for row in _rows(table, range(number, table.pages, count))]
        packed = gzip.compress(b"".join(lines), COMPRESSION)
        (bucket / key).write_bytes(packed)
        entries.append({"itemCount": len(lines), "md5Checksum": md5(packed), "dataFileS3Key": key})
    _put(bucket, f"{folder}/manifest-files", "".join(json.dumps(entry) + "\n" for entry in entries))
    summary = {
        "version": "2020-06-30",
        "tableArn": arn(region),
        "exportTime": "2026-11-20T10:00:00.000Z",
        "exportType": "FULL_EXPORT",
        "manifestFilesS3Key": f"{folder}/manifest-files.json",
        "itemCount": sum(int(str(entry["itemCount"])) for entry in entries),
        "outputFormat": "DYNAMODB_JSON",
    }
    _put(bucket, f"{folder}/manifest-summary", json.dumps(summary))


def _rows(table: Table, pages: range) -> Iterator[bytes]:
    buffer, order = table.template.buffer(), random.Random(table.index)
    for start in range(0, len(pages), SHUFFLED_PAGES):
        rows = [
            row for page in pages[start : start + SHUFFLED_PAGES] for row in table.rows(table.template, buffer, page)
        ]
        order.shuffle(rows)
        yield from rows


def _put(bucket: Path, stem: str, text: str) -> None:
    (bucket / f"{stem}.json").write_text(text, encoding="utf-8")
    (bucket / f"{stem}.checksum").write_text(md5(text.encode()), encoding="ascii")
