"""In which attributes the images of one item differ, as text for people.

Maps, lists, sets and texts that hold JSON are taken apart down to what differs. Types show: ``"1"`` is a string and
``1`` a number, ``{1, 2}`` a set and ``[1, 2]`` a list; numbers are compared by value, sets without order; binary is
its length and a digest. What always holds: a value whose name, or the name of what it is in, calls it a secret is never
shown, in no part and in no digest, which would confirm a guess; nothing is longer than a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice, takewhile
from typing import Any

from sketch.canonical import MalformedItemError, encode

Image = Mapping[str, Any]

SECRET = re.compile(r"secret|passw|token|credential|api_?key|authorization", re.IGNORECASE)
ABSENT, MASKED = "(absent)", "•••"
# Of a shown value, in characters; and of one item, in attributes.
SHOWN = 100
MAX_ATTRIBUTES = 50
# As deep as DynamoDB's own documents go: what a text holds beyond that stays a text.
MAX_DEPTH = 32
_BEFORE = 20
_SETS = {"SS": "S", "NS": "N", "BS": "B"}


@dataclass(frozen=True)
class AttributeDiff:
    """One attribute that differs: its path and what each replica holds, as text; ``(absent)`` where it is not there."""

    path: str
    values: dict[str, str]


def attribute_diffs(images: Mapping[str, Image], ignore: Collection[str] = ()) -> tuple[AttributeDiff, ...]:
    """The attributes in which the images differ, less ``ignore``; of the first ``MAX_ATTRIBUTES`` of them.

    Args:
        images: an item's image by replica, in DynamoDB JSON.
    """
    trimmed = {
        label: {"M": {name: value for name, value in image.items() if name not in ignore}}
        for label, image in images.items()
    }
    found = tuple(islice(_diffs("", trimmed), MAX_ATTRIBUTES + 1))
    if len(found) <= MAX_ATTRIBUTES:
        return found
    return (*found[:MAX_ATTRIBUTES], AttributeDiff("…", dict.fromkeys(images, "more attributes differ")))


def shown(value: Image | None) -> str:
    """A value as short text, with what its names call secrets masked inside."""
    return _cut(ABSENT if value is None else _text(value))


def _diffs(path: str, values: Mapping[str, Image | None]) -> Iterator[AttributeDiff]:
    if len({None if value is None else encode(value) for value in values.values()}) == 1:
        return
    if SECRET.search(path):
        yield AttributeDiff(path, {label: _mask(value) for label, value in values.items()})
        return
    opened = {label: _opened(value) for label, value in values.items()}
    inner = next((found for kind in ("M", "L") if (found := _inner(path, opened, kind)) is not None), iter(()))
    first = next(inner, None)
    if first is not None:
        yield first
        yield from inner
        return
    # Texts that hold the same JSON, spelled differently, differ as texts.
    whole = values if len({_encoded(value) for value in opened.values()}) == 1 else opened
    yield AttributeDiff(path, _beside(whole))


def _inner(path: str, values: Mapping[str, Image | None], kind: str) -> Iterator[AttributeDiff] | None:
    """What differs within maps (``M``) or lists (``L``); None where not all are that."""
    contents = {label: value[kind] for label, value in values.items() if value is not None and kind in value}
    if len(contents) != len(values):
        return None
    return _in_maps(path, contents) if kind == "M" else _in_lists(path, contents)


def _in_maps(path: str, maps: Mapping[str, Mapping[str, Any]]) -> Iterator[AttributeDiff]:
    for name in sorted({name for content in maps.values() for name in content}):
        inner = f"{path}.{name}" if path else name
        yield from _diffs(inner, {label: content.get(name) for label, content in maps.items()})


def _in_lists(path: str, lists: Mapping[str, Sequence[Any]]) -> Iterator[AttributeDiff]:
    """Member by member, less what all begin and end with; where the rest is of unequal length, that rest as a whole."""
    encoded = {label: [encode(member) for member in members] for label, members in lists.items()}
    head = _common(list(encoded.values()))
    tail = _common([members[head:][::-1] for members in encoded.values()])
    rests = {label: list(members[head : len(members) - tail]) for label, members in lists.items()}
    lengths = {len(rest) for rest in rests.values()}
    if len(lengths) == 1:
        for index in range(lengths.pop()):
            yield from _diffs(f"{path}[{head + index}]", {label: rest[index] for label, rest in rests.items()})
        return
    where = f"{path}[{head}:]" if head or tail else path
    yield AttributeDiff(where, {label: _cut(_text({"L": rest})) for label, rest in rests.items()})


def _common(lists: Sequence[Sequence[bytes]]) -> int:
    """How many members all begin with."""
    return sum(1 for _ in takewhile(lambda members: len(set(members)) == 1, zip(*lists, strict=False)))


def _beside(values: Mapping[str, Image | None]) -> dict[str, str]:
    """Values side by side: of sets the members that not all have, of long texts the place where they part."""
    kinds = {next(iter(value)) if value is not None else "" for value in values.values()}
    if len(kinds) == 1 and (kind := kinds.pop()) in _SETS:
        return _sets({label: value[kind] for label, value in values.items() if value is not None}, _SETS[kind])
    texts = {label: ABSENT if value is None else _text(value) for label, value in values.items()}
    present = [text for text in texts.values() if text != ABSENT]
    apart = sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, zip(*present, strict=False)))
    start = apart - _BEFORE if len(present) > 1 and max(map(len, present)) > SHOWN and apart > SHOWN // 2 else 0
    return {
        label: text if text == ABSENT else _cut(f"…{text[start:]}" if start else text) for label, text in texts.items()
    }


def _sets(sets: Mapping[str, Sequence[Any]], kind: str) -> dict[str, str]:
    members = {label: {encode({kind: one}): {kind: one} for one in content} for label, content in sets.items()}
    shared = set.intersection(*(set(content) for content in members.values()))
    said = {}
    for label, content in members.items():
        own = ", ".join(_text(content[code]) for code in sorted(content.keys() - shared))
        said[label] = f"{_cut(f'has {own}') if own else 'nothing more'} ({len(shared)} in common)"
    return said


def _opened(value: Image | None) -> Image | None:
    """A text that holds a JSON object or array, as the map or list it means; anything else as it is."""
    if value is None or "S" not in value or not value["S"].lstrip().startswith(("{", "[")):
        return value
    try:
        parsed = json.loads(value["S"], parse_float=_Number, parse_int=_Number, parse_constant=_refuse)
        opened = _typed(parsed, MAX_DEPTH)
        encode(opened)
    except (ValueError, RecursionError):
        return value
    return opened


class _Number(str):
    """A number of a JSON text, as it is spelled there."""


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _typed(value: Any, depth: int) -> Image:
    if depth < 0:
        raise ValueError("nested too deep")
    match value:
        case dict():
            return {"M": {name: _typed(content, depth - 1) for name, content in value.items()}}
        case list():
            return {"L": [_typed(member, depth - 1) for member in value]}
        case bool():
            return {"BOOL": value}
        case _Number():
            return {"N": str(value)}
        case None:
            return {"NULL": True}
    return {"S": value}


def _encoded(value: Image | None) -> bytes | None:
    return None if value is None else encode(value)


def _mask(value: Image | None) -> str:
    return ABSENT if value is None else MASKED


def _text(value: Image) -> str:  # noqa: PLR0911 - one return a type
    """A value as text, its type to be seen."""
    opened = _opened(value) or value
    ((kind, content),) = opened.items()
    match kind:
        case "M":
            parts = (
                f"{_quoted(name)}: {MASKED if SECRET.search(name) else _text(content[name])}"
                for name in sorted(content)
            )
            return "{" + ", ".join(parts) + "}"
        case "L":
            return "[" + ", ".join(map(_text, content)) + "]"
        case "SS" | "NS" | "BS":
            return "{" + ", ".join(sorted(_text({_SETS[kind]: member}) for member in content)) + "}"
        case "B":
            return _binary(value)
        case "NULL":
            return "null"
        case "BOOL":
            return "true" if content else "false"
        case "N":
            return str(content)
    return _quoted(content)


def _binary(value: Image) -> str:
    try:
        raw = encode(value)[5:]  # tag and length go before the bytes
    except MalformedItemError:
        return "binary"
    return f"binary, {len(raw):,} byte{'' if len(raw) == 1 else 's'}, sha256 {sha256(raw).hexdigest()[:12]}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
