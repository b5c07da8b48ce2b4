"""The AWS clients of a function: one botocore session, each client made once, every call bounded in time.

botocore is used directly and not through boto3: the clients are the same, and the start of a function is shorter.
The event bus client makes a single attempt, because ``core.bus`` retries entry by entry; so does the queue client,
because a message that could not be moved comes back by itself; probes make a single short
attempt, because a health check that waits is a health check that fails.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import botocore
import botocore.session
from botocore.config import Config

from handlers.core.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_events.client import EventBridgeClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sqs.client import SQSClient

POOL_SIZE = 16  # connections a client keeps: at least as many as the threads that share it

# A fixed text: botocore composes its own anew for each call, which was a twelfth of what a call costs a function.
_USER_AGENT = f"Botocore/{botocore.__version__} atoll"

_PROFILES: dict[str, Config] = {
    "data": Config(
        connect_timeout=0.5,
        read_timeout=2.5,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=POOL_SIZE,
        user_agent=_USER_AGENT,
    ),
    # Pages of 1 MB, and sketches of a few.
    "bulk": Config(
        connect_timeout=2,
        read_timeout=20,
        retries={"mode": "standard", "total_max_attempts": 4},
        user_agent=_USER_AGENT,
    ),
    "single": Config(
        connect_timeout=1,
        read_timeout=4,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=POOL_SIZE,
        user_agent=_USER_AGENT,
    ),
    "probe": Config(
        connect_timeout=0.5,
        read_timeout=1,
        retries={"mode": "standard", "total_max_attempts": 1},
        user_agent=_USER_AGENT,
    ),
}


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


@cache
def _client(service: str, profile: str) -> Any:
    return _session().create_client(service, region_name=settings().region, config=_PROFILES[profile])


def dynamodb(*, probe: bool = False, scan: bool = False) -> DynamoDBClient:
    """The DynamoDB client of this function's region; ``scan``: for pages of 1 MB."""
    return cast("DynamoDBClient", _client("dynamodb", "bulk" if scan else "probe" if probe else "data"))


def events(*, probe: bool = False) -> EventBridgeClient:
    """The EventBridge client of this function's region."""
    return cast("EventBridgeClient", _client("events", "probe" if probe else "single"))


def sqs() -> SQSClient:
    """The SQS client of this function's region; a call takes 5 s at most."""
    return cast("SQSClient", _client("sqs", "single"))


def s3() -> S3Client:
    """The S3 client of this function's region."""
    return cast("S3Client", _client("s3", "bulk"))


def warm_probes() -> None:
    """Make the probes' clients; not thread-safe, and slow the first time, so done before the checks start."""
    dynamodb(probe=True)
    events(probe=True)


def starting_in_lambda() -> bool:
    """Whether this import is a function's start, when making clients ahead spares the first request the time."""
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ


def reset() -> None:
    """Forget the clients, so that the next ones are made anew (tests replace the cloud under them)."""
    _client.cache_clear()
