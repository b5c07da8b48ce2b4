"""The one place where AWS clients are made: the stage's account, per region, with bounded retries and timeouts.

Clients honour ``AWS_ENDPOINT_URL`` and the usual credential chain, which is all that tells the local cloud from AWS.
:func:`connect` proves who we are before anything else happens: no credentials, expired ones, or another account than
the stage file names are refused with nothing touched.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, overload

import boto3
import botocore
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.utils import parse_timestamp

from ops.errors import OpsError, RefusedError, UsageError
from ops.stage import Stage, state_dir

if TYPE_CHECKING:
    from mypy_boto3_apigatewayv2.client import ApiGatewayV2Client
    from mypy_boto3_cloudformation.client import CloudFormationClient
    from mypy_boto3_cloudwatch.client import CloudWatchClient
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_events.client import EventBridgeClient
    from mypy_boto3_lambda.client import LambdaClient
    from mypy_boto3_logs.client import CloudWatchLogsClient
    from mypy_boto3_route53.client import Route53Client
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sqs.client import SQSClient
    from mypy_boto3_sts.client import STSClient

CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "max_attempts": 4},
    max_pool_connections=32,
    # A fixed text: botocore composes its own anew for each call, which is a twelfth of what a call costs the client.
    user_agent=f"Botocore/{botocore.__version__} atoll-ops",
)

# Under the state directory: what a stage needs in the environment, left by whoever runs the stage's cloud.
ENVIRONMENT_FILE = "environment-{stage}.json"
# A region that is down, or a network: nobody answered, as against an answer that says no.
NO_ANSWER = (EndpointConnectionError, ConnectionError, HTTPClientError)
# What services answer to credentials that were good and are no longer.
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})


class Cloud:
    """AWS as one stage sees it. Thread-safe; a client is made once per service and region."""

    def __init__(self, stage: Stage, account: str, session: boto3.Session) -> None:
        self.stage = stage
        self.account = account
        self._session = session
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    @property
    def endpoint_url(self) -> str | None:
        """The endpoint that stands in for AWS, or None on AWS itself."""
        return os.environ.get("AWS_ENDPOINT_URL") or None

    @property
    def credentials(self) -> Any:
        """botocore's credentials, or None; where they can, they refresh themselves."""
        return self._session.get_credentials()

    @property
    def edge_url(self) -> str:
        """Where clients reach the platform: the latency record's name, or what ``ATOLL_EDGE_URL`` puts in its place."""
        return os.environ.get("ATOLL_EDGE_URL") or f"https://{self.stage.dns.record}"

    def api_url(self, api_id: str, region: str) -> str:
        """The base URL of one region's HTTP API: its own name, or what the stage file puts in its place."""
        host = self.stage.regional_host(region)
        if host is not None:
            return f"https://{host}"
        pattern = self.stage.api_url or "https://{api_id}.execute-api.{region}.amazonaws.com"
        return pattern.format(endpoint_url=self.endpoint_url or "", api_id=api_id, region=region)

    @property
    def token_url(self) -> str:
        """Where clients get their tokens, as the stage file spells it."""
        return self.stage.access.token_url.replace("{endpoint_url}", self.endpoint_url or "")

    @overload
    def client(self, service: Literal["dynamodb"], region: str) -> DynamoDBClient: ...
    @overload
    def client(self, service: Literal["events"], region: str) -> EventBridgeClient: ...
    @overload
    def client(self, service: Literal["sqs"], region: str) -> SQSClient: ...
    @overload
    def client(self, service: Literal["lambda"], region: str) -> LambdaClient: ...
    @overload
    def client(self, service: Literal["route53"], region: str) -> Route53Client: ...
    @overload
    def client(self, service: Literal["cloudwatch"], region: str) -> CloudWatchClient: ...
    @overload
    def client(self, service: Literal["logs"], region: str) -> CloudWatchLogsClient: ...
    @overload
    def client(self, service: Literal["cloudformation"], region: str) -> CloudFormationClient: ...
    @overload
    def client(self, service: Literal["apigatewayv2"], region: str) -> ApiGatewayV2Client: ...
    @overload
    def client(self, service: Literal["s3"], region: str) -> S3Client: ...
    @overload
    def client(self, service: Literal["sts"], region: str) -> STSClient: ...
    @overload
    def client(
        self,
        service: Literal[
            "application-autoscaling",
            "cognito-idp",
            "ec2",
            "fis",
            "kms",
            "secretsmanager",
            "sns",
            "stepfunctions",
            "xray",
        ],
        region: str,
    ) -> Any: ...
    def client(self, service: Any, region: str) -> Any:
        """The boto3 client of ``service`` in ``region``; Route 53 is global and is asked through the home region."""
        key = (service, region)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._session.client(service, region_name=region, config=CONFIG)
            return self._clients[key]


def adopt_environment(stage: Stage) -> None:
    """Take the stage's variables into this process, unless it has an endpoint already or the stage left none."""
    if "AWS_ENDPOINT_URL" in os.environ:
        return
    try:
        text = (state_dir() / ENVIRONMENT_FILE.format(stage=stage.stage)).read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    os.environ.update(json.loads(text))


def new_session() -> boto3.Session:
    """A session of the credentials around, whose answers have their times in UTC.

    botocore looks up the machine's time zone for each time that it reads, which is most of the work of reading a day of
    metrics. https://github.com/boto/botocore (ResponseParserFactory: ``timestamp_parser``)
    """
    core = botocore.session.get_session()
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_utc)
    return boto3.Session(botocore_session=core)


def _utc(value: Any) -> datetime:
    """A time as services send it: seconds since 1970, or a text."""
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC)
    return parse_timestamp(value).astimezone(UTC)


def connect(stage: Stage, session: boto3.Session | None = None) -> Cloud:
    """Find out which account the credentials belong to, and hold it against the stage file.

    Raises:
        UsageError: there are no usable credentials.
        RefusedError: the credentials belong to another account than the stage's.
        OpsError: the account could not be asked.
    """
    try:
        session = session or new_session()
        cloud = Cloud(stage, "", session)
        identity = _identity(cloud)
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise UsageError(
            f"credentials: no usable AWS credentials for stage {stage.stage!r}: {error}",
            hint="Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a laptop, run: ops up",
        ) from error
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in EXPIRED:
            raise UsageError("credentials: they have expired", hint="Sign in again and repeat the command.") from error
        raise UsageError(f"credentials: AWS does not accept them: {error}", hint="Check AWS_PROFILE.") from error
    except BotoCoreError as error:
        raise OpsError(f"{endpoint_name()} cannot be reached: {error}", hint=_reach_hint(stage)) from error
    account = identity["Account"]
    if stage.account is not None and account != stage.account:
        raise RefusedError(
            f"account: the credentials belong to {account}, and stage {stage.stage!r} lives in {stage.account}",
            hint="Use that account's credentials, or correct `account` in the stage file.",
        )
    cloud.account = account
    return cloud


def _identity(cloud: Cloud) -> Any:
    """Who we are, as the first region that answers says: with the home region down, the others must be operable."""
    regions = sorted(cloud.stage.regions, key=lambda region: region != cloud.stage.home_region)
    for region in regions[:-1]:
        try:
            return cloud.client("sts", region).get_caller_identity()
        except NO_ANSWER:
            continue
    return cloud.client("sts", regions[-1]).get_caller_identity()


def caller(cloud: Cloud) -> str:
    """The ARN of who we are, for records of who did it; "unknown" where nobody tells."""
    try:
        return str(_identity(cloud).get("Arn") or "unknown")
    except (ClientError, BotoCoreError):
        return "unknown"


def endpoint_name() -> str:
    return os.environ.get("AWS_ENDPOINT_URL") or "AWS"


def _reach_hint(stage: Stage) -> str:
    return f"Start the local cloud: ops up --stage {stage.stage}" if stage.local_cloud else "Check the network."


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn a botocore failure inside the block into an OpsError that says what was being done."""
    try:
        yield
    except ClientError as error:
        detail = error.response.get("Error", {})
        if error_code(error) in EXPIRED:
            raise OpsError(
                f"{doing}: the credentials have expired ({error_code(error)})",
                hint="Sign in again and repeat the command.",
            ) from error
        raise OpsError(f"{doing}: {detail.get('Code', 'error')}: {detail.get('Message', str(error))}") from error
    except NO_ANSWER as error:
        raise OpsError(f"{doing}: no answer from {endpoint_name()}: {error}", hint="Run: ops status") from error
    except BotoCoreError as error:
        raise OpsError(f"{doing}: {error}") from error
