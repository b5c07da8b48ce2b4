"""The local identity provider, on moto's Cognito, whose ids are random unless they are named as ours are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ops.aws import Cloud
from ops.errors import UsageError
from ops.local import identity
from ops.stage import AccessSettings, Stage, load_stage


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with mock_aws():
        yield Cloud(load_stage("local"), "000000000000", boto3.Session("test", "test", region_name="us-east-1"))


def changed(stage: Stage, **settings: Any) -> Stage:
    access = AccessSettings.model_validate(stage.access.model_dump() | settings)
    return stage.model_copy(update={"access": access})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"issuer": "https://login.example.com/"}, "access.issuer: 'https://login.example.com/' is not a user pool"),
        ({"issuer": "https://cognito-idp.us-east-1.amazonaws.com/eu-west-1_x"}, "access.issuer"),
        ({"scopes": {"write": "events:write", "read": "atoll/events:read"}}, "access.scopes"),
        ({"scopes": {"write": "a/write", "read": "b/read"}}, "access.scopes"),
    ],
)
def test_ensure_when_the_stage_names_no_user_pool_names_the_field(
    cloud: Cloud, settings: dict[str, Any], message: str
) -> None:
    cloud.stage = changed(cloud.stage, **settings)
    with pytest.raises(UsageError, match=message) as caught:
        identity.ensure(cloud)
    assert "deploy/stages/local.yml" in caught.value.hint


def test_secret_of_the_first_client_is_the_toolkits_and_the_others_stand_beside_it() -> None:
    stage = load_stage("local")
    assert [identity.secret_of(stage, client) for client in stage.access.audience] == [
        "atoll/local/client",
        "atoll/local/atoll-local-second",
    ]
    alone = changed(stage, client_secret="client")
    assert identity.secret_of(alone, stage.access.audience[1]) == "atoll-local-second"


def test_secret_is_kept_in_every_region_and_written_anew_when_the_client_is_another(cloud: Cloud) -> None:
    for held in ({"client_id": "a", "client_secret": "1"}, {"client_id": "a", "client_secret": "2"}):
        identity._ensure_secret(cloud, "atoll/local/client", held)
        identity._ensure_secret(cloud, "atoll/local/client", held)
        kept = cloud.client("secretsmanager", "us-east-1").get_secret_value(SecretId="atoll/local/client")
        assert json.loads(kept["SecretString"]) == held
    described = cloud.client("secretsmanager", "us-east-1").describe_secret(SecretId="atoll/local/client")
    assert [replica["Region"] for replica in described["ReplicationStatus"]] == ["ap-south-1"]
