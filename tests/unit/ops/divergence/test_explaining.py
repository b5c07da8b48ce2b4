"""Explanations: which write was lost, from the stamps; and nothing where they do not tell."""

from __future__ import annotations

from typing import Any

import pytest

from ops.divergence.explaining import explain, stamp
from sketch.canonical import item_digest

US, AP, EU = "us-east-1", "ap-south-1", "eu-west-1"
NOW = 1_800_000_000.0


def image(region: str = US, second: int = 0, version: int = 1, **attributes: Any) -> dict[str, Any]:
    stamps = {
        "written_region": {"S": region},
        "written_at": {"S": f"2026-11-20T10:00:{second:02}.000Z"},
        "version": {"N": str(version)},
    }
    return {"pk": {"S": "a"}, **stamps, **attributes}


def told(expiry: str = "", **images: Any) -> Any:
    by_label: dict[str, Any] = {{"us": US, "ap": AP, "eu": EU}[name]: one for name, one in images.items()}
    digests = {label: item_digest(one) for label, one in by_label.items() if one is not None}
    groups = [[label for label in digests if digests[label] == digest] for digest in dict.fromkeys(digests.values())]
    regions = {label: label for label in by_label}
    return explain(by_label, groups, regions=regions, expiry=[expiry] if expiry else [], now=NOW)


def test_explain_when_one_region_wrote_both_calls_the_earlier_stale() -> None:
    found = told(us=image(second=5, version=2), ap=image(second=1))
    assert (found.kind, found.newest) == ("stale", (US,))
    assert found.text == (
        f"{AP} never got the write of version 2 in {US} at 2026-11-20T10:00:05.000Z; "
        f"{AP} still holds version 1, written in {US} at 2026-11-20T10:00:01.000Z"
    )
    assert str(found.lost) == f"version 2, written in {US} at 2026-11-20T10:00:05.000Z"


def test_explain_when_another_region_counted_on_calls_the_earlier_stale() -> None:
    found = told(us=image(second=1), ap=image(AP, second=5, version=2))
    assert (found.kind, found.newest) == ("stale", (AP,))


def test_explain_when_three_replicas_hold_two_writes_names_who_is_behind() -> None:
    newest = image(second=5, version=2)
    found = told(us=newest, ap=image(second=1), eu=newest)
    assert (found.kind, found.newest) == ("stale", (US, EU))
    assert found.text.startswith(f"{AP} never got")


@pytest.mark.parametrize(
    ("us", "ap", "said"),
    [
        (image(US, 1), image(AP, 2), f"neither saw the other's write; by time, that of version 1 in {AP}"),
        (image(US, 1, 3), image(AP, 5, 2), "version and time do not tell one order"),
        (image(US, 1, 3), image(US, 5, 2), "version and time do not tell one order"),
        (image(x={"N": "1"}), image(x={"N": "2"}), "all bear the same stamp"),
        ({"pk": {"S": "a"}, "x": {"N": "1"}}, {"pk": {"S": "a"}}, "no stamp tells which is newer"),
        (image(), {"pk": {"S": "a"}}, "no stamp tells which is newer"),
    ],
)
def test_explain_when_no_order_is_told_calls_it_conflicting(us: Any, ap: Any, said: str) -> None:
    found = told(us=us, ap=ap)
    assert (found.kind, found.newest) == ("conflicting", ())
    assert said in found.text


def test_explain_when_missing_where_it_was_not_written_leaves_both_open() -> None:
    found = told(us=image(), ap=None)
    assert (found.kind, found.newest) == ("missing", (US,))
    assert f"never reached {AP}, or a deletion there never reached {US}" in found.text


def test_explain_when_missing_where_it_was_written_tells_of_the_deletion() -> None:
    found = told(us=image(AP), ap=None, eu=None)
    assert f"{AP} wrote it, so it was deleted there, and the deletion never reached {US}" in found.text
    assert f"{EU} has not got the write or has got the deletion" in found.text
    assert (found.deleted_in, found.lost) == ((AP,), None)


def test_explain_when_missing_without_stamps_says_that_nothing_tells() -> None:
    assert "no stamp tells why" in told(us={"pk": {"S": "a"}}, ap=None).text


@pytest.mark.parametrize(
    ("ends", "kind"),
    [("1799999999", "expired"), ("1800000001", "missing"), ("-1E120", "expired"), ("9E120", "missing")],
)
def test_explain_when_the_time_to_live_passed_calls_it_expired(ends: str, kind: str) -> None:
    assert told("ends", us=image(ends={"N": ends}), ap=None).kind == kind


def test_explain_when_one_region_gave_it_a_longer_life_does_not_call_it_expired() -> None:
    longer = image(second=5, version=2, ends={"N": "1900000000"})
    assert told("ends", us=image(ends={"N": "1"}), ap=longer).kind == "stale"


@pytest.mark.parametrize(
    "changed",
    [
        {"written_at": {"S": "yesterday"}},
        {"written_at": {"S": "2026-11-20T10:00:00"}},
        {"written_at": {"N": "5"}},
        {"written_region": {"S": ""}},
        {"version": {"N": "1E999999"}},
        {"version": {"S": "1"}},
    ],
)
def test_stamp_when_it_cannot_be_read_is_none(changed: dict[str, Any]) -> None:
    assert stamp(image()) is not None
    assert stamp(image() | changed) is None
