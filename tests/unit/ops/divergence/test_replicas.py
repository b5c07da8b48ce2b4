"""What is compared: any tables of the same keys, by region, name, ARN or profile; what cannot be is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.aws import Cloud
from ops.divergence.replicas import (
    ACCEPTED,
    INDEXES_DIFFER,
    TTL_DIFFERS,
    Replica,
    Schema,
    _of_profile,
    _session,
    agree,
    client,
    credentials,
    describe,
    resolve,
)
from ops.errors import OpsError, RefusedError, UsageError

US, AP = "us-east-1", "ap-south-1"


def table(cloud: Cloud, region: str, name: str = "pair", kinds: str = "SS", **settings: Any) -> None:
    names = ("pk", "sk")[: len(kinds)]
    cloud.client("dynamodb", region).create_table(
        TableName=name,
        AttributeDefinitions=[
            {"AttributeName": n, "AttributeType": kind} for n, kind in zip(names, kinds, strict=True)
        ],  # type: ignore[typeddict-item]
        KeySchema=[{"AttributeName": n, "KeyType": k} for n, k in zip(names, ("HASH", "RANGE"), strict=False)],  # type: ignore[typeddict-item]
        BillingMode="PAY_PER_REQUEST",
        **settings,
    )


# --- resolve ------------------------------------------------------------------------------------------------------


def test_resolve_of_nothing_is_the_stage_table_in_each_region(account: Cloud) -> None:
    name = account.stage.table_name
    assert resolve(account) == (Replica(US, US, name), Replica(AP, AP, name))


def test_resolve_of_one_table_in_several_regions_is_labelled_by_region(account: Cloud) -> None:
    assert [one.label for one in resolve(account, "pair", regions=[US, "eu-west-1"])] == [US, "eu-west-1"]


def test_resolve_of_addresses_reads_each_form(account: Cloud) -> None:
    arn = f"arn:aws:dynamodb:{AP}:210987654321:table/other"
    found = resolve(account, "pair", replicas=[US, f"{US}/copy@audit", arn, f" {arn}@theirs "])
    assert found == (
        Replica(f"{US}/pair", US, "pair"),
        Replica(f"{US}/copy@audit", US, "copy", "audit"),
        Replica(f"{AP}/other@210987654321", AP, arn),
        Replica(f"{AP}/other@theirs", AP, arn, "theirs"),
    )


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"replicas": [US]}, "two or more, got"),
        ({"replicas": [US, US]}, f"{US}/pair is named more than once"),
        ({"replicas": [US, AP], "regions": [US]}, "either regions or replicas"),
        ({"replicas": [US, "mars"]}, "'mars' is no replica; accepted: REGION, REGION/TABLE or a table's ARN"),
        ({"replicas": [US, f"{AP}/no"]}, "is no replica"),
        ({"replicas": [US, f"arn:aws:s3:::{AP}"]}, "is no replica"),
    ],
)
def test_resolve_of_what_cannot_be_compared_says_why(account: Cloud, asked: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=f"^replicas: .*{problem}"):
        resolve(account, "pair", **asked)


# The account is not changed.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.sampled_from([US, AP, f"{US}/one", f"{AP}/two", f"{US}/one@a", f"{AP}@b"]), min_size=2))
def test_resolve_gives_labels_that_are_unique_or_refuses(account: Cloud, texts: list[str]) -> None:
    try:
        found = resolve(account, "pair", replicas=texts)
    except UsageError:
        refused = True
    else:
        refused = False
        assert len({one.label for one in found}) == len(texts)
    assert refused == (len(set(texts)) < len(texts))


def test_accepted_names_every_form() -> None:
    assert all(form in ACCEPTED for form in ("REGION", "REGION/TABLE", "ARN", "@PROFILE"))


# --- clients and credentials --------------------------------------------------------------------------------------


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[audit]\naws_access_key_id = AUDIT\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    _of_profile.cache_clear()
    _session.cache_clear()


def test_client_of_a_profile_reads_with_its_credentials(account: Cloud, profiles: None) -> None:
    replica = Replica("theirs", AP, "pair", "audit")
    made = client(account, replica)
    assert made.meta.region_name == AP
    assert made is client(account, replica)
    assert credentials(account, replica).get_frozen_credentials().access_key == "AUDIT"


def test_credentials_without_a_profile_are_those_of_the_run(account: Cloud) -> None:
    found = credentials(account, Replica("ours", US, "pair"))
    assert found.get_frozen_credentials().access_key == "test"
    assert client(account, Replica("ours", US, "pair")) is account.client("dynamodb", US)


@pytest.mark.parametrize("look", [client, credentials])
def test_profile_that_is_not_there_is_refused(account: Cloud, profiles: None, look: Any) -> None:
    with pytest.raises(UsageError, match="there is no AWS profile 'nobody'") as refused:
        look(account, Replica("theirs", AP, "pair", "nobody"))
    assert "list-profiles" in refused.value.hint


def test_credentials_when_there_are_none_says_so(account: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cloud, "credentials", None)
    with pytest.raises(UsageError, match="there are no credentials for ours"):
        credentials(account, Replica("ours", US, "pair"))


# --- describe and agree -------------------------------------------------------------------------------------------


def test_describe_tells_keys_settings_and_what_is_missing(account: Cloud) -> None:
    table(account, US, kinds="NB")
    account.client("dynamodb", US).update_time_to_live(
        TableName="pair", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    here, there = resolve(account, "pair")
    found = describe(account, [here, there])
    assert found[there] is None
    seen = found[here]
    assert seen is not None
    assert seen.schema == Schema(("pk", "sk"), ("N", "B"))
    assert str(seen.schema) == "pk (N), sk (B)"
    assert seen.ttl_attribute == "expires"
    assert seen.raw["TableName"] == "pair"


def test_describe_when_it_may_not_look_says_what_it_did(account: Cloud, calls: Any) -> None:
    def deny() -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeTable")

    calls.on("before", "DescribeTable", deny)
    with pytest.raises(OpsError, match=f"reading the descriptions of {US}, {AP}: AccessDeniedException"):
        describe(account, resolve(account, "pair"))


def test_agree_on_tables_of_the_same_keys_gives_the_schema(account: Cloud) -> None:
    for region in (US, AP):
        table(account, region)
    assert agree(describe(account, resolve(account, "pair"))) == (Schema(("pk", "sk"), ("S", "S")), [])


def test_agree_when_a_table_is_missing_names_it(account: Cloud) -> None:
    table(account, US)
    with pytest.raises(RefusedError, match=f"there is no table pair in {AP}"):
        agree(describe(account, resolve(account, "pair")))


@pytest.mark.parametrize("other", ["S", "SN"])
def test_agree_when_keys_differ_is_refused_with_both(account: Cloud, other: str) -> None:
    table(account, US)
    table(account, AP, kinds=other)
    with pytest.raises(RefusedError, match=rf"key schemas differ.*{US}: pk \(S\), sk \(S\); {AP}: pk \(S\)") as refused:
        agree(describe(account, resolve(account, "pair")))
    assert "-p replicas=REGION/TABLE" in refused.value.hint


def test_agree_when_settings_differ_warns_of_each(account: Cloud) -> None:
    index = {
        "IndexName": "by-time",
        "KeySchema": [{"AttributeName": "sk", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    table(account, US, GlobalSecondaryIndexes=[index])
    table(account, AP)
    account.client("dynamodb", AP).update_time_to_live(
        TableName="pair", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    _, warnings = agree(describe(account, resolve(account, "pair")))
    assert warnings == [
        f"time-to-live attributes differ: {US}: none; {AP}: expires. {TTL_DIFFERS}",
        f"indexes differ: {US}: by-time; {AP}: none. {INDEXES_DIFFER}",
    ]
