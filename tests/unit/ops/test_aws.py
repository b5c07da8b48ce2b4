from __future__ import annotations

from datetime import UTC, datetime

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from ops.aws import _utc, connect, explained, new_session
from ops.errors import OpsError, RefusedError, UsageError
from ops.stage import load_stage


@mock_aws
def test_connect_when_the_stage_names_no_account_takes_the_callers() -> None:
    assert connect(load_stage("dev")).account == "123456789012"


@mock_aws
def test_connect_when_the_account_is_another_refuses() -> None:
    with pytest.raises(RefusedError, match="belong to 123456789012, and stage 'local' lives in 000000000000"):
        connect(load_stage("local"))


def test_connect_without_credentials_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")

    with pytest.raises(UsageError, match="credentials: no usable AWS credentials for stage 'dev'") as caught:
        connect(load_stage("dev"), boto3.Session())

    assert "ops up" in caught.value.hint


def test_connect_with_a_profile_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_PROFILE", "absent")

    with pytest.raises(UsageError, match="absent"):
        connect(load_stage("dev"))


@mock_aws
def test_connect_when_the_home_region_gives_no_answer_asks_the_next() -> None:
    session = boto3.Session()
    asked: list[str] = []

    def down(context: dict[str, str], **_: object) -> None:
        asked.append(context["client_region"])
        if context["client_region"] == "us-east-1":
            raise EndpointConnectionError(endpoint_url="https://sts.us-east-1.invalid")

    session.events.register_first("before-call.sts.GetCallerIdentity", down)

    assert connect(load_stage("dev"), session).account == "123456789012"
    assert asked == ["us-east-1", "ap-south-1"]


@mock_aws
def test_client_asked_twice_is_made_once() -> None:
    cloud = connect(load_stage("dev"))

    assert cloud.client("sqs", "us-east-1") is cloud.client("sqs", "us-east-1")
    assert cloud.client("sqs", "us-east-1") is not cloud.client("sqs", "ap-south-1")


@mock_aws
def test_urls_on_aws_are_the_public_ones_and_elsewhere_the_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = connect(load_stage("dev"))
    assert cloud.endpoint_url is None
    assert cloud.edge_url == "https://api.dev.atoll.example"
    assert cloud.api_url("abc", "ap-south-1") == "https://abc.execute-api.ap-south-1.amazonaws.com"

    cloud.stage = load_stage("local")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ATOLL_EDGE_URL", "http://127.0.0.1:2")
    assert cloud.api_url("abc", "ap-south-1") == "http://127.0.0.1:1/_aws/execute-api/abc/$default"
    assert cloud.edge_url == "http://127.0.0.1:2"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ClientError({"Error": {"Code": "Denied", "Message": "no"}}, "Scan"), "reading: Denied: no"),
        (EndpointConnectionError(endpoint_url="http://x"), "reading: no answer from AWS"),
    ],
)
def test_explained_when_a_call_fails_says_what_was_being_done(error: Exception, message: str) -> None:
    with pytest.raises(OpsError, match=message), explained("reading"):
        raise error


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (1_790_000_000, datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)),
        (1_790_000_000.25, datetime(2026, 9, 21, 14, 13, 20, 250_000, tzinfo=UTC)),
        ("2026-09-21T16:13:20+02:00", datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)),
        ("Mon, 21 Sep 2026 14:13:20 GMT", datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)),
    ],
)
def test_times_of_answers_are_in_utc_however_they_are_sent(sent: object, meant: datetime) -> None:
    found = _utc(sent)
    assert (found, found.tzinfo) == (meant, UTC)


def test_session_reads_the_times_of_services_in_utc() -> None:
    with mock_aws():
        queue = new_session().client("cloudformation", region_name="us-east-1")
        queue.create_stack(StackName="one", TemplateBody='{"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}')
        [made] = queue.describe_stacks(StackName="one")["Stacks"]
    assert made["CreationTime"].tzinfo is UTC
