"""The files of a table export: items as lines of DynamoDB JSON or Amazon Ion, gzipped, with their manifests.

What always holds: an item is in one file, as all of its partition key are; the order of files, of items and of
attributes is another in each export, since AWS promises none.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context
from typing import Any

FILES = 4
NAME_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYWORDS = frozenset(("null", "true", "false", "nan"))

Item = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class File:
    """One data file. ``name`` is relative to the folder of the export."""

    name: str
    items: int
    body: bytes

    def entry(self, folder: str) -> dict[str, Any]:
        """Its line of manifest-files.json."""
        return {
            "itemCount": self.items,
            "md5Checksum": md5(self.body),
            "etag": f"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}-1",
            "dataFileS3Key": f"{folder}/{self.name}",
        }


def md5(body: bytes) -> str:
    """As the manifests write it."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode("ascii")


def dealt(partitions: Mapping[Any, Mapping[Any, Item]], form: str, seed: str, files: int = FILES) -> list[list[str]]:
    """The lines of each file: whole partitions are dealt to them, and everything is in an order that ``seed`` makes."""
    rng = random.Random(seed)  # noqa: S311 (an order, not a secret)
    made: list[list[str]] = [[] for _ in range(files)]
    for partition, items in partitions.items():
        number = hashlib.md5(str(partition).encode(), usedforsecurity=False).digest()[0] % files
        made[number] += (line(_shuffled(item, rng), form) for item in items.values())
    for lines in made:
        rng.shuffle(lines)
    rng.shuffle(made)
    return made


def written(lines: Iterable[list[str]], form: str, seed: str) -> Iterator[File]:
    """The data files; also one that holds nothing, as AWS writes it for a partition without items."""
    rng = random.Random(seed)  # noqa: S311
    suffix = "json.gz" if form == "DYNAMODB_JSON" else "ion.gz"
    for some in lines:
        body = gzip.compress("".join(some).encode(), compresslevel=1, mtime=0)
        yield File(f"data/{''.join(rng.choices(NAME_LETTERS, k=26))}.{suffix}", len(some), body)


def line(item: Item, form: str) -> str:
    """One item, with the end of its line."""
    if form == "ION":
        return f"$ion_1_0 {{Item:{_struct(item)}}}\n"
    return json.dumps({"Item": item}, separators=(",", ":"), ensure_ascii=False) + "\n"


def _shuffled(item: Item, rng: random.Random) -> dict[str, Any]:
    names = list(item)
    rng.shuffle(names)
    return {name: item[name] for name in names}


def _struct(members: Item) -> str:
    return "{" + ",".join(f"{_field(name)}:{ion(value)}" for name, value in members.items()) + "}"


def _field(name: str) -> str:
    bare = _BARE.fullmatch(name) and name not in _KEYWORDS
    return name if bare else _text(name)


def _text(text: str) -> str:
    # Ion has the escapes of JSON.
    return json.dumps(text, ensure_ascii=False)


def ion(value: Mapping[str, Any]) -> str:
    """A value of DynamoDB JSON in Ion text, typed as AWS types it."""
    ((kind, content),) = value.items()
    if kind in _SETS:
        return f"$dynamodb_{kind}::[" + ",".join(ion({kind[0]: one}) for one in content) + "]"
    return _WRITERS[kind](content)


def _decimal(number: str) -> str:
    # As DynamoDB keeps numbers, whichever way they were written.
    digits, letter, exponent = str(_EXACT.normalize(_EXACT.create_decimal(number))).partition("E")
    if letter:
        return f"{digits}d{exponent.removeprefix('+')}"
    return digits if "." in digits else f"{digits}."


_EXACT = Context(prec=38)
_SETS = frozenset(("SS", "NS", "BS"))
_WRITERS: dict[str, Callable[[Any], str]] = {
    "S": _text,
    "N": _decimal,
    "B": lambda content: f"{{{{{content}}}}}",
    "BOOL": lambda content: "true" if content else "false",
    "NULL": lambda content: "null",
    "L": lambda content: "[" + ",".join(map(ion, content)) + "]",
    "M": _struct,
}
