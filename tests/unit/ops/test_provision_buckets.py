"""The operations bucket of each region: what it is, whose it is, and when it goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops import bucket, ledger, provision
from ops.aws import Cloud
from ops.bucket import place
from ops.errors import OpsError, RefusedError
from ops.provision import storage
from ops.provision.buckets import desired_bucket, find_bucket
from ops.stage import ReportSettings, Stage
from tests.unit.ops.conftest import Calls
from tests.unit.ops.test_ledger import ENTRY
from tests.unit.ops.test_provision import applied, summary
from tests.unit.ops.test_provision_platform import destroyed, left, unprotected

US, INDIA = "us-east-1", "ap-south-1"
NAME = "atoll-unit-ops-123456789012-ap-south-1"
RESOURCE = f"bucket {NAME}"


def s3_of(cloud: Cloud, region: str = INDIA) -> Any:
    return cloud.client("s3", region)


def test_apply_makes_a_private_and_versioned_bucket_in_each_region(deployed: Cloud) -> None:
    applied(deployed)

    for region in deployed.stage.regions:
        s3, named = s3_of(deployed, region), {"Bucket": f"atoll-unit-ops-123456789012-{region}"}
        assert s3.get_bucket_location(**named).get("LocationConstraint") in {region, None}
        assert s3.get_bucket_versioning(**named)["Status"] == "Enabled"
        blocked = s3.get_public_access_block(**named)["PublicAccessBlockConfiguration"]
        assert set(blocked.values()) == {True}
        assert len(blocked) == 4
        [rule] = s3.get_bucket_ownership_controls(**named)["OwnershipControls"]["Rules"]
        assert rule == {"ObjectOwnership": "BucketOwnerEnforced"}
        [denied] = json.loads(s3.get_bucket_policy(**named)["Policy"])["Statement"]
        assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_lifecycle_ends_what_comparisons_and_reports_leave_and_never_what_is_quarantined(
    stage: Stage,
) -> None:
    days = stage.divergence.model_copy(update={"findings_days": 30, "exports_days": 3})
    stage = stage.model_copy(update={"divergence": days, "reports": ReportSettings(keep_days=7)})
    rules = desired_bucket(stage, "123456789012", US)["lifecycle"].values()

    ending = {"Expiration", "NoncurrentVersionExpiration", "Transitions", "NoncurrentVersionTransitions"}
    for rule in rules:
        if rule.keys() & ending:
            assert rule["Prefix"] != f"{bucket.LEDGER}/" or "Expiration" not in rule
    assert {rule["Prefix"]: rule["Expiration"]["Days"] for rule in rules if "Expiration" in rule} == {
        "fleet/": 2,
        "findings/": 30,
        "repair/": 30,
        "exports/": 3,
        "reports/": 7,
    }
    assert not any(f"{bucket.QUARANTINE}/".startswith(rule["Prefix"]) for rule in rules if rule.keys() & ending)
    assert not f"{bucket.QUARANTINE}/".startswith(f"{bucket.LEDGER}/")


@pytest.mark.parametrize("name", ["local", "abcdefghij0123456789"])
def test_name_of_a_bucket_is_one_that_s3_takes(stage: Stage, name: str) -> None:
    longest = stage.model_copy(update={"stage": name}).operations_bucket("123456789012", "ap-northeast-1")
    assert len(longest) <= 63


# --- drift -------------------------------------------------------------------------------------------------------


def _setting(method: str, **request: Any) -> Callable[[Cloud], None]:
    return lambda cloud: getattr(s3_of(cloud), method)(Bucket=NAME, **request)


EXPIRING = {"ID": "all", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
DRIFTS: dict[str, tuple[Callable[[Cloud], None], list[str]]] = {
    "versioning": (
        _setting("put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"}),
        ["versioning is Suspended, should be Enabled"],
    ),
    "public access": (
        _setting("put_public_access_block", PublicAccessBlockConfiguration={"BlockPublicAcls": True}),
        ["public_access: IgnorePublicAcls is False, should be True"],
    ),
    "no public access block": (_setting("delete_public_access_block"), ["BlockPublicPolicy is False, should be True"]),
    "ownership": (
        _setting(
            "put_bucket_ownership_controls",
            OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]},
        ),
        ["ownership is BucketOwnerPreferred, should be BucketOwnerEnforced"],
    ),
    "no ownership": (_setting("delete_bucket_ownership_controls"), ["ownership is ObjectWriter"]),
    "policy": (_setting("delete_bucket_policy"), ["policy is None, should be", "OnlyOverTls"]),
    "lifecycle": (
        _setting("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [EXPIRING]}),
        ["unfinished-uploads is None", "earlier-entries is None"],
    ),
    "a rule more": (
        lambda cloud: s3_of(cloud).put_bucket_lifecycle_configuration(
            Bucket=NAME,
            LifecycleConfiguration={
                "Rules": [*s3_of(cloud).get_bucket_lifecycle_configuration(Bucket=NAME)["Rules"], EXPIRING]
            },
        ),
        ["lifecycle: all is {", "Expiration", "should not be there"],
    ),
    "no lifecycle": (_setting("delete_bucket_lifecycle"), ["unfinished-uploads is None, should be"]),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_drift_of_a_bucket_is_shown_with_both_values_and_mended(deployed: Cloud, name: str) -> None:
    applied(deployed)
    drift, shown = DRIFTS[name]
    drift(deployed)

    plan = provision.plan(deployed)

    assert summary(plan) == [("drift", RESOURCE, INDIA)]
    assert all(words in plan.changes[0].detail for words in shown), plan.changes[0].detail
    [failing] = [check for check in provision.verify(deployed) if not check.ok]
    assert failing.name == f"{RESOURCE} in {INDIA}"
    applied(deployed)
    assert provision.plan(deployed).changes == []


def test_tags_of_others_stay_when_ours_are_put_back(deployed: Cloud) -> None:
    applied(deployed)
    s3 = s3_of(deployed)
    s3.put_bucket_tagging(Bucket=NAME, Tagging={"TagSet": [{"Key": "cost-center", "Value": "7"}]})

    # Without its tags it looks as if it had never been finished.
    assert summary(provision.plan(deployed)) == [("change", RESOURCE, INDIA)]
    applied(deployed)

    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=NAME)["TagSet"]}
    assert tags == {"cost-center": "7", "atoll:stage": "unit", "atoll:owner": "provision"}


def test_encryption_that_somebody_chose_is_shown_and_left(deployed: Cloud) -> None:
    applied(deployed)
    arn = deployed.client("kms", INDIA).create_key()["KeyMetadata"]["Arn"]
    chosen = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": arn}}
    s3_of(deployed).put_bucket_encryption(Bucket=NAME, ServerSideEncryptionConfiguration={"Rules": [chosen]})

    plan = provision.plan(deployed)

    assert plan.changes == []
    assert f"{RESOURCE} in {INDIA}: it is under {arn}" in " ".join(plan.warnings)


def test_apply_when_s3_puts_a_call_off_makes_it_again(deployed: Cloud, calls: Calls) -> None:
    answers = [ClientError({"Error": {"Code": "OperationAborted", "Message": ""}}, "PutBucketPolicy")] * 3

    def busy() -> None:
        if answers:
            raise answers.pop()

    calls.on("before", "PutBucketPolicy", busy)
    applied(deployed)

    assert answers == []
    assert provision.plan(deployed).changes == []


# --- whose it is -------------------------------------------------------------------------------------------------


def forbidden() -> None:
    raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket")


def test_plan_when_another_account_has_the_name_refuses_and_touches_nothing(deployed: Cloud, calls: Calls) -> None:
    calls.on("before", "HeadBucket", forbidden)

    plan = provision.plan(deployed)

    assert [step.resource for step in plan.refusals] == [f"bucket atoll-unit-ops-123456789012-{r}" for r in (US, INDIA)]
    assert "the name is taken by another account" in plan.refusals[0].detail
    assert not any("Bucket" in call and "HeadBucket" not in call for call in calls.made)
    with pytest.raises(RefusedError, match="taken by another account"):
        provision.apply(deployed, plan, plan.token)
    assert calls.mutating == []
    kept = [step for step in provision.plan(unprotected(deployed), destroy=True).steps if "bucket" in step.resource]
    assert [step.action for step in kept] == ["keep", "keep"]


def test_apply_when_another_account_took_the_name_since_the_plan_stops(deployed: Cloud, calls: Calls) -> None:
    plan = provision.plan(deployed)
    calls.on("before", "HeadBucket", forbidden)

    with pytest.raises(OpsError, match="since the plan it is another's"):
        provision.apply(deployed, plan, plan.token)
    assert not any("Bucket" in call for call in calls.mutating)


def test_plan_when_the_bucket_is_in_another_region_refuses(deployed: Cloud) -> None:
    outside: Any = {"LocationConstraint": "eu-west-1"}
    s3_of(deployed, "eu-west-1").create_bucket(Bucket=NAME, CreateBucketConfiguration=outside)

    [refusal] = provision.plan(deployed).refusals

    assert (refusal.resource, refusal.region) == (RESOURCE, INDIA)
    assert "it is in eu-west-1" in refusal.detail


def test_every_call_on_a_bucket_names_whose_it_must_be(deployed: Cloud, calls: Calls) -> None:
    applied(unprotected(deployed))
    ledger.write(deployed, place(deployed, US), ENTRY)
    destroyed(deployed, discard_data=True)

    asked = [one for one in calls.asked if one.model.service_model.service_name == "s3"]
    named = {one.model.name: one.parameters.get("ExpectedBucketOwner") for one in asked}
    assert named.pop("CreateBucket") is None  # it fails where the name is taken
    assert set(named.values()) == {deployed.account}
    assert {"DeleteObjects", "DeleteBucket", "PutBucketPolicy", "PutObject"} <= named.keys()


# --- destroy -----------------------------------------------------------------------------------------------------


def test_destroy_when_a_bucket_holds_an_entry_needs_to_be_told_to_discard_it(deployed: Cloud, calls: Calls) -> None:
    applied(unprotected(deployed))
    kept = place(deployed, INDIA)
    for _ in range(3):  # versions
        ledger.write(deployed, kept, ENTRY)
    calls.clear()

    refused = provision.plan(deployed, destroy=True)

    assert [(step.resource, step.region) for step in refused.refusals] == [(RESOURCE, INDIA)]
    assert "-p discard_data=true" in refused.refusals[0].detail
    plan = provision.plan(deployed, destroy=True, discard_data=True)
    assert any(RESOURCE in warning for warning in plan.warnings)
    assert calls.mutating == []
    destroyed(deployed, discard_data=True)
    assert left(deployed) == []
    assert find_bucket(deployed, INDIA) is None


def test_destroy_names_the_folders_of_what_is_lost_with_a_bucket(deployed: Cloud) -> None:
    applied(unprotected(deployed))
    for key in ("repair/0123/1.json", "repair/0123/2.json", "findings/run.json", "exports/AWSDynamoDB/1/data", "note"):
        bucket.put(deployed, place(deployed, INDIA), key, b"{}")

    folders = "exports/, findings/, note, repair/"
    [refusal] = provision.plan(deployed, destroy=True).refusals
    assert refusal.detail.startswith(f"it holds {folders}, and nobody else has them")
    warnings = provision.plan(deployed, destroy=True, discard_data=True).warnings
    assert any(RESOURCE in warning and f"what it holds in {folders} goes with it" in warning for warning in warnings)


def test_plan_says_how_long_what_comparisons_leave_is_kept(deployed: Cloud) -> None:
    [step] = [one for one in provision.plan(deployed).steps if one.resource == RESOURCE]
    assert step.detail.endswith("findings and images of repairs for 90 days, exports for 14")


def test_destroy_when_only_a_deleted_object_is_left_still_needs_to_be_told(deployed: Cloud) -> None:
    applied(unprotected(deployed))
    kept = place(deployed, INDIA)
    bucket.put(deployed, kept, "quarantine/x", b"{}")
    s3_of(deployed).delete_object(Bucket=NAME, Key="quarantine/x")

    assert [step.resource for step in provision.plan(deployed, destroy=True).refusals] == [RESOURCE]


def test_destroy_when_an_object_came_since_the_plan_stops_before_the_bucket(deployed: Cloud) -> None:
    applied(unprotected(deployed))
    plan = provision.plan(deployed, destroy=True)
    bucket.put(deployed, place(deployed, INDIA), "quarantine/x", b"{}")

    with pytest.raises(OpsError, match="since the plan it holds objects"):
        provision.apply(deployed, plan, plan.token)
    assert bucket.get(deployed, place(deployed, INDIA), "quarantine/x") == b"{}"


def test_destroy_empties_a_bucket_of_more_versions_than_a_page_holds(
    deployed: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_PAGE", 2)
    applied(unprotected(deployed))
    for number in range(5):
        bucket.put(deployed, place(deployed, INDIA), f"quarantine/{number}", b"")

    destroyed(deployed, discard_data=True)

    assert find_bucket(deployed, INDIA) is None


def test_destroy_when_an_object_cannot_be_deleted_says_which(deployed: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    applied(unprotected(deployed))
    bucket.put(deployed, place(deployed, INDIA), "quarantine/x", b"{}")
    mine, error = s3_of(deployed), {"Key": "quarantine/x", "Code": "AccessDenied", "Message": "no"}
    monkeypatch.setattr(mine, "delete_objects", lambda **_: {"Errors": [error]})

    with pytest.raises(OpsError, match="quarantine/x: AccessDenied"):
        destroyed(deployed, discard_data=True)
