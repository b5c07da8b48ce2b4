"""A fingerprint tells exactly what a dict of items would, in a few bytes an item."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ops.tablescan import Fingerprint, difference, digests_of, find_keys, fingerprint, split
from sketch.canonical import Checksum, item_digest, key_digest
from sketch.keys import pack

Table = dict[str, tuple[str, bool]]  # key -> content, and whether it has expired
tables = st.dictionaries(st.text(max_size=3), st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12)


class Scans:
    """A table in pages of two items and four segments."""

    def __init__(self, table: Table) -> None:
        self.items = [item(key, content, expired) for key, (content, expired) in sorted(table.items())]

    def scan(self, **request: Any) -> dict[str, Any]:
        mine = self.items[request["Segment"] :: request["TotalSegments"]]
        start = request.get("ExclusiveStartKey", 0)
        more = {"LastEvaluatedKey": start + 2} if start + 2 < len(mine) else {}
        return {"Items": mine[start : start + 2], **more}


def item(key: str, content: str, expired: bool) -> dict[str, Any]:
    return {"pk": {"S": f"k{key}"}, "content": {"S": content}, "until": {"N": "1" if expired else "9"}}


def of(table: Table) -> Fingerprint:
    client: Any = Scans(table)
    return fingerprint(client, "t", ["pk"], expiry="until", expired_before=5)


def keys(table: Table, names: set[str]) -> list[bytes]:
    return sorted(key_digest(item(name, *table[name]), ["pk"]) for name in names)


@given(tables, tables)
def test_difference_is_that_of_the_tables_themselves(before: Table, after: Table) -> None:
    found = difference(of(before), of(after))
    assert split(found.added) == keys(after, after.keys() - before.keys())
    assert sorted(split(found.changed)) == keys(after, {n for n in before.keys() & after if before[n] != after[n]})
    gone = {name for name in before.keys() - after.keys() if not before[name][1]}
    assert split(found.removed) == keys(before, gone)


@given(tables)
def test_fingerprint_checksum_is_that_of_all_items(table: Table) -> None:
    found = of(table)
    assert found.checksum == Checksum.of(item_digest(item(key, *value)) for key, value in table.items())
    assert len(found.keys) == len(found.digests) == len(found.expired) == len(table)


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=30))
def test_split_gives_back_every_digest_whole_also_those_that_end_in_zeros(raw: list[bytes]) -> None:
    zeros = [*raw, bytes(16), b"a" + bytes(15)]
    assert split(digests_of(b"".join(zeros))) == sorted(set(zeros))


def test_fingerprint_knows_items_by_the_name_they_are_given_and_collects_members() -> None:
    name = b"n" * 16
    client: Any = Scans({"a": ("a", False), "b": ("b", False)})
    found = fingerprint(
        client,
        "t",
        ["pk"],
        name=lambda one: name if one["pk"]["S"] == "ka" else None,
        members=lambda one: [b"m" * 16, one["content"]["S"].encode() * 16],
    )
    assert split(found.named) == [name]
    assert split(found.members) == [b"a" * 16, b"b" * 16, b"m" * 16]
    assert find_keys(client, "t", ["pk"], found.keys, limit=1) != []
    wanted = digests_of(key_digest(item("b", "b", False), ["pk"]))
    assert find_keys(client, "t", ["pk"], wanted, limit=5) == [pack({"pk": {"S": "kb"}}, ["pk"])]
