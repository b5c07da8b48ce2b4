"""Runbooks run under a role with exactly the policy that `ops policy` prints, and are denied what it does not grant."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local.conftest import Atoll

REGION = "ap-south-1"


@pytest.fixture
def role(atoll: Atoll, tmp_path: Path) -> Iterator[Callable[..., dict[str, str]]]:
    """``role("parity", "--apply")``: the environment of a session of a role with that policy and no other."""
    iam, made = atoll.client("iam", REGION), []
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{atoll.stage.account}:root"},
                "Action": "sts:AssumeRole",
            }
        ],
    }

    def session(runbook: str, *options: str) -> dict[str, str]:
        name = "-".join(("operator", runbook, *(option.strip("-") for option in options)))
        policy = atoll.ops("policy", runbook, "--stage", atoll.stage.stage, *options).out
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        made.append(name)
        iam.put_role_policy(RoleName=name, PolicyName=runbook, PolicyDocument=policy)
        keys = atoll.client("sts", REGION).assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return {
            "AWS_ENDPOINT_URL": atoll.cloud["endpoint_url"],
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
            # Where no local cloud is known, whose key, which may do everything, would be taken.
            "ATOLL_STATE_DIR": str(tmp_path),
        }

    yield session
    for name in made:
        iam.delete_role_policy(RoleName=name, PolicyName=name.split("-")[1])
        iam.delete_role(RoleName=name)


@pytest.mark.parametrize("runbook", ["parity", "divergence", "metrics", "replay"])
def test_runbook_runs_under_its_policy(atoll: Atoll, role: Callable[..., dict[str, str]], runbook: str) -> None:
    ran = atoll.ops("run", runbook, "--json", expect=None, **role(runbook))

    # A verdict, of whatever it found: a call that is denied is an error.
    assert ran.status in (0, 1), ran.out + ran.err
    assert ran.json["checks"]
    assert "AccessDenied" not in ran.out


def test_failover_plans_under_its_policy_and_a_drill_is_ended_by_whoever_may_apply(
    atoll: Atoll, role: Callable[..., dict[str, str]]
) -> None:
    looks, ends = role("failover"), role("drill", "--apply")
    ran = atoll.ops("run", "failover", "-p", f"region={REGION}", "--json", expect=None, **looks)
    assert ran.status in (0, 2), ran.out + ran.err  # a reason not to leave it is no denial
    assert "AccessDenied" not in ran.out
    fis = atoll.client("fis", REGION)
    tags = {"atoll:stage": atoll.stage.stage, "atoll:parts": "replication"}
    table = f"arn:aws:dynamodb:{REGION}:{atoll.stage.account}:table/{atoll.stage.table_name}"
    template = fis.create_experiment_template(
        clientToken="policies",
        description="one action",
        roleArn=f"arn:aws:iam::{atoll.stage.account}:role/any",
        stopConditions=[{"source": "none"}],
        targets={
            "table": {"resourceType": "aws:dynamodb:global-table", "resourceArns": [table], "selectionMode": "ALL"}
        },
        actions={
            "pause": {
                "actionId": "aws:dynamodb:global-table-pause-replication",
                "parameters": {"duration": "PT5M"},
                "targets": {"Tables": "table"},
            }
        },
        tags=tags,
    )["experimentTemplate"]["id"]
    fis.start_experiment(clientToken="policies", experimentTemplateId=template, tags=tags)
    try:
        atoll.ops("drill", "stop", "--stage", "local", expect=3, **role("metrics"))
        stopped = atoll.ops("drill", "stop", "--stage", "local", "--json", **ends)
    finally:
        atoll.ops("drill", "stop", "--stage", "local")
    assert [one["breaks"] for one in stopped.json["ended"]] == [["replication"]]


def test_provision_plans_under_its_policy_and_applies_under_the_one_for_applying_only(
    atoll: Atoll, role: Callable[..., dict[str, str]]
) -> None:
    events, archive = atoll.client("events", REGION), atoll.stage.archive_name
    looks, applies = role("provision"), role("provision", "--apply")
    s3, bucket = atoll.client("s3", REGION), atoll.stage.operations_bucket(str(atoll.stage.account), REGION)
    events.update_archive(ArchiveName=archive, RetentionDays=3)
    s3.delete_public_access_block(Bucket=bucket)
    s3.delete_bucket_policy(Bucket=bucket)
    try:
        token = atoll.ops("run", "provision", "--json", **looks).json["plan"]["token"]
        denied = atoll.ops("run", "provision", "--apply", token, "--json", expect=3, **looks)
        kept = events.describe_archive(ArchiveName=archive)["RetentionDays"]
        applied = atoll.ops("run", "provision", "--apply", token, "--json", **applies)
    finally:
        events.update_archive(ArchiveName=archive, RetentionDays=atoll.stage.archive.retention_days)

    assert "AccessDenied" in denied.json["checks"][-1]["detail"]
    assert kept == 3
    assert applied.json["figures"]["applied"] == 2
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    assert "aws:SecureTransport" in s3.get_bucket_policy(Bucket=bucket)["Policy"]


def test_runbook_under_the_policy_of_another_is_denied(atoll: Atoll, role: Callable[..., dict[str, str]]) -> None:
    denied = atoll.ops("run", "parity", "--json", expect=3, **role("metrics"))

    assert "AccessDenied" in denied.json["checks"][-1]["detail"]
