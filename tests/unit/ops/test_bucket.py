"""Where the runbooks keep their records."""

from __future__ import annotations

import pytest

from ops import bucket
from ops.aws import Cloud
from ops.bucket import Place, place
from ops.errors import OpsError, UsageError
from tests.unit.ops.conftest import Calls

REGION = "ap-south-1"


@pytest.fixture
def kept(account: Cloud, calls: Calls) -> Place:
    """The region's operations bucket, empty."""
    made = place(account, REGION)
    account.client("s3", "ap-south-1").create_bucket(
        Bucket=made.bucket, CreateBucketConfiguration={"LocationConstraint": "ap-south-1"}
    )
    calls.clear()
    return made


def test_place_when_none_is_named_is_the_regions_operations_bucket(account: Cloud) -> None:
    assert place(account, REGION) == Place("atoll-unit-ops-123456789012-ap-south-1", "", REGION)


@pytest.mark.parametrize(
    ("keep", "bucket_name", "prefix"),
    [
        ("s3://records", "records", ""),
        ("s3://records/", "records", ""),
        ("s3://records.of.2026/atoll/eu", "records.of.2026", "atoll/eu"),
        (" s3://records/atoll/ ", "records", "atoll"),
    ],
)
def test_place_when_one_is_named_is_taken_apart(account: Cloud, keep: str, bucket_name: str, prefix: str) -> None:
    assert place(account, REGION, keep) == Place(bucket_name, prefix, REGION)


@pytest.mark.parametrize("keep", ["records", "S3://records", "s3://", "s3://Records/x", "s3://a", "s3://rec/a//b"])
def test_place_when_it_is_none_says_what_is_accepted(account: Cloud, keep: str) -> None:
    with pytest.raises(UsageError, match=r"^keep: .*accepted: s3://bucket or s3://bucket/prefix$"):
        place(account, REGION, keep)


def test_object_when_written_is_read_and_listed_below_its_place(account: Cloud, kept: Place) -> None:
    below = Place(kept.bucket, "team/atoll", REGION)

    bucket.put(account, below, "ledger/replay/1.json", b"{}")
    bucket.put(account, kept, "ledger/replay/2.json", b"[1]")

    assert bucket.get(account, below, "ledger/replay/1.json") == b"{}"
    assert bucket.get(account, below, "ledger/replay/2.json") is None
    [(key, _, size)] = bucket.keys(account, below, "ledger/")
    assert (key, size) == ("ledger/replay/1.json", 2)
    assert {key for key, _, _ in bucket.keys(account, kept, "")} == {
        "team/atoll/ledger/replay/1.json",
        "ledger/replay/2.json",
    }


def test_keys_when_there_are_more_than_the_limit_are_cut(account: Cloud, kept: Place) -> None:
    for number in range(3):
        bucket.put(account, kept, f"quarantine/{number}", b"")

    assert [key for key, _, _ in bucket.keys(account, kept, "quarantine/", limit=2)] == ["quarantine/0", "quarantine/1"]


def test_bucket_when_it_is_missing_holds_nothing(account: Cloud) -> None:
    absent = place(account, REGION)

    assert not bucket.exists(account, absent)
    assert bucket.get(account, absent, "ledger/x") is None
    assert list(bucket.keys(account, absent, "ledger/")) == []


def test_put_when_the_bucket_is_missing_says_who_makes_it(account: Cloud) -> None:
    with pytest.raises(OpsError, match=r"there is no such bucket") as caught:
        bucket.put(account, place(account, REGION), "ledger/x", b"")
    assert "ops run provision --stage unit" in caught.value.hint

    with pytest.raises(OpsError) as caught:
        bucket.put(account, place(account, REGION, "s3://records/x"), "ledger/x", b"")
    assert "provision" not in caught.value.hint


def test_own_bucket_when_used_must_be_this_accounts(account: Cloud, kept: Place, calls: Calls) -> None:
    assert bucket.exists(account, kept)
    bucket.put(account, kept, "a", b"")
    bucket.get(account, kept, "a")
    list(bucket.keys(account, kept, ""))

    assert [one.parameters["ExpectedBucketOwner"] for one in calls.asked] == [account.account] * 4


def test_place_that_is_named_when_used_may_be_another_accounts(account: Cloud, kept: Place, calls: Calls) -> None:
    elsewhere = place(account, "us-east-1", f"s3://{kept.bucket}/x")

    bucket.put(account, elsewhere, "a", b"")

    assert "ExpectedBucketOwner" not in calls.asked[-1].parameters
