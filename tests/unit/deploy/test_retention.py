"""What rests is encrypted, kept as long as the stage says, and not lost with the stack where that counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ops.stage import load_stage, stage_names
from tests.template import Stack

# Takes what the bus could not encrypt or decrypt with the key.
NOT_UNDER_THE_KEY = {"BusDlq"}
HOLDS_DATA = ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Logs::LogGroup")
Stacks = Callable[[str], Stack]


@pytest.fixture(scope="module")
def stack(template: Callable[[str], dict[str, Any]]) -> Stacks:
    return lambda stage: Stack(template(stage), load_stage(stage).home_region)


@pytest.mark.parametrize("name", stage_names())
def test_everything_is_under_the_customer_key_exactly_where_the_stage_asks(stack: Stacks, name: str) -> None:
    stage, resolved = load_stage(name), stack(name)
    keys = [resolved.arn(key) for key in resolved.of_type("AWS::KMS::Key")]
    assert len(keys) == (1 if stage.encryption.customer_managed_key else 0)

    used = {
        logical_id: own.get("KmsMasterKeyId")
        or own.get("KmsKeyId")
        or own.get("KmsKeyArn")
        or own.get("KmsKeyIdentifier")
        for kind in ("AWS::SQS::Queue", "AWS::Logs::LogGroup", "AWS::Lambda::Function", "AWS::Events::EventBus")
        for logical_id, own in resolved.of_type(kind).items()
    } | {
        logical_id: own["SSESpecification"].get("KMSMasterKeyId")
        for logical_id, own in resolved.of_type("AWS::DynamoDB::Table").items()
    }
    used |= {logical_id: own.get("KmsMasterKeyId") for logical_id, own in resolved.of_type("AWS::SNS::Topic").items()}
    named = {resolved.arn(key) for key in resolved.of_type("AWS::KMS::Key")} | set(resolved.of_type("AWS::KMS::Key"))
    wrong = {logical_id for logical_id, key in used.items() if (key in named) != bool(keys)}
    assert wrong == (NOT_UNDER_THE_KEY if keys else set())


def test_bus_under_the_key_has_a_dlq_that_does_not_depend_on_it(stack: Stacks) -> None:
    resolved = stack("prod")

    bus = resolved.of_type("AWS::Events::EventBus")["Bus"]
    assert bus["DeadLetterConfig"] == {"Arn": resolved.arn("BusDlq")}
    assert resolved.of_type("AWS::SQS::Queue")["BusDlq"]["SqsManagedSseEnabled"] is True


@pytest.mark.parametrize("name", stage_names())
def test_without_a_customer_key_queues_and_tables_are_encrypted_by_aws(stack: Stacks, name: str) -> None:
    resolved = stack(name)

    for queue in resolved.of_type("AWS::SQS::Queue").values():
        assert bool(queue.get("SqsManagedSseEnabled")) != bool(queue.get("KmsMasterKeyId"))
    for table in resolved.of_type("AWS::DynamoDB::Table").values():
        assert table["SSESpecification"]["SSEEnabled"] is True


def test_key_rotates_is_not_lost_with_the_stack_and_has_its_name(stack: Stacks) -> None:
    resolved = stack("prod")
    (key,) = resolved.of_type("AWS::KMS::Key").values()
    ((_, alias),) = resolved.of_type("AWS::KMS::Alias").items()

    assert key["EnableKeyRotation"] is True
    assert key["PendingWindowInDays"] == 30
    assert alias == {"AliasName": "alias/atoll-prod", "TargetKeyId": "Key"}
    assert resolved.resources["Key"]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert resolved.resources["Key"]["UpdateReplacePolicy"] == "Retain"


def test_key_is_open_to_the_services_that_use_it_and_only_for_this_stage(stack: Stacks) -> None:
    (key,) = stack("prod").of_type("AWS::KMS::Key").values()
    account, *services = key["KeyPolicy"]["Statement"]

    assert account["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    assert {statement["Principal"]["Service"] for statement in services} == {
        "logs.us-east-1.amazonaws.com",
        "events.amazonaws.com",
        "cloudwatch.amazonaws.com",
    }
    named = {statement["Sid"]: statement for statement in services}
    # What the key is, and nothing that is under it, is all that may be asked without saying for which resource.
    assert named.pop("EventBridgeChecksTheKey")["Action"] == ["kms:DescribeKey"]
    for statement in named.values():
        assert not [action for action in statement["Action"] if "*" in action]
        tests = statement["Condition"]
        by_arn = tests["ArnLike"] if "ArnLike" in tests else tests["StringEquals"]
        patterns = [one for arns in by_arn.values() for one in _listed(arns)]
        assert patterns
        assert all("us-east-1:123456789012:" in one and "atoll-prod" in one for one in patterns)
    # EventBridge needs both to deliver into an encrypted queue.
    assert {"kms:Decrypt", "kms:GenerateDataKey"} <= set(named["EventBridgeKeepsAndDeliversEvents"]["Action"])


def test_key_is_open_to_the_archives_of_this_stages_buses_and_to_no_others(stack: Stacks) -> None:
    (key,) = stack("prod").of_type("AWS::KMS::Key").values()
    (statement,) = [one for one in key["KeyPolicy"]["Statement"] if one["Sid"] == "EventBridgeKeepsArchives"]

    assert set(statement["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"}
    buses = [stack("prod").arn("Bus"), stack("prod").arn("JournalBus")]
    assert statement["Condition"] == {"StringEquals": {"kms:EncryptionContext:aws:events:event-bus:arn": buses}}


@pytest.mark.parametrize("name", stage_names())
def test_every_log_group_ends_what_it_keeps(stack: Stacks, name: str) -> None:
    stage, groups = load_stage(name), stack(name).of_type("AWS::Logs::LogGroup")

    functions = {group["LogGroupName"]: group["RetentionInDays"] for group in groups.values()}
    for function in stack(name).of_type("AWS::Lambda::Function").values():
        assert functions[f"/aws/lambda/{function['FunctionName']}"] == stage.lambda_.log_retention_days
    assert all(group.get("RetentionInDays") for group in groups.values())


@pytest.mark.parametrize("name", stage_names())
def test_tables_expire_recover_and_resist_deletion_as_the_stage_asks(stack: Stacks, name: str) -> None:
    stage, tables = load_stage(name), stack(name).of_type("AWS::DynamoDB::Table")

    for table in tables.values():
        assert table["TimeToLiveSpecification"]["Enabled"] is True
        recovery = table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
        assert recovery is stage.table.point_in_time_recovery
        assert table["DeletionProtectionEnabled"] is stage.table.deletion_protection
    assert tables


@pytest.mark.parametrize("name", stage_names())
def test_what_holds_data_leaves_with_the_stack_only_where_deletion_is_not_protected(stack: Stacks, name: str) -> None:
    kept = load_stage(name).table.deletion_protection
    policies = {
        logical_id: (one.get("DeletionPolicy"), one.get("UpdateReplacePolicy"))
        for logical_id, one in stack(name).resources.items()
        if one["Type"] in HOLDS_DATA
    }

    expected = ("RetainExceptOnCreate", "Retain") if kept else ("Delete", "Delete")
    assert policies == dict.fromkeys(policies, expected)
    assert len(policies) >= 10


# What FIS and the functions tell each other during a drill: nothing to keep, nothing to hide.
WITHOUT_DATA = {"DrillBucket"}


@pytest.mark.parametrize("name", stage_names())
def test_buckets_are_private_encrypted_versioned_and_closed_to_plain_http(stack: Stacks, name: str) -> None:
    resolved = stack(name)
    own_key = load_stage(name).encryption.customer_managed_key
    policies = {own["Bucket"]: own["PolicyDocument"] for own in resolved.of_type("AWS::S3::BucketPolicy").values()}

    buckets = resolved.of_type("AWS::S3::Bucket")
    for logical_id, bucket in buckets.items():
        ours = logical_id not in WITHOUT_DATA
        blocked = bucket["PublicAccessBlockConfiguration"]
        assert set(blocked.values()) == {True}
        assert len(blocked) == 4
        assert (bucket.get("VersioningConfiguration") == {"Status": "Enabled"}) is ours
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        algorithm = rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"]
        assert algorithm == ("aws:kms" if own_key and ours else "AES256")
        assert ("KMSMasterKeyID" in rule["ServerSideEncryptionByDefault"]) is (own_key and ours)
        (statement,) = policies[logical_id]["Statement"]
        assert (statement["Effect"], statement["Action"], statement["Principal"]) == ("Deny", "s3:*", "*")
        assert str(statement["Condition"]["Bool"]["aws:SecureTransport"]).lower() == "false"
    assert buckets


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
