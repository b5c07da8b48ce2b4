"""Reading Scan pages: one kept connection of a worker to a replica, each page straight from the socket into one buffer.

boto3 says where a table is and whose credentials read it; the pages themselves do not pass through it, since its parser
makes an object of every value. What always holds: a page is handed out only when it arrived whole and its checksum
(x-amz-crc32) is right; what may pass (throttles, errors of the service, lost connections) is asked again, at most
``ATTEMPTS`` times, after a random wait that doubles; anything else says what was asked of whom.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

from __future__ import annotations

import http.client
import json
import random
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from isal import isal_zlib

from ops.aws import EXPIRED
from ops.divergence.budget import Budget
from ops.divergence.signing import Signer
from ops.divergence.sources import Source, connect
from ops.errors import OpsError

TARGET = "DynamoDB_20120810.Scan"
ATTEMPTS = 10
BASE_S, CAP_S = 0.05, 20.0
# Pages of one table are of about the same size; what they vary is reserved with the first.
BUFFER_BYTES, STEP_BYTES = 64 << 10, 128 << 10
# A page is 1 MB of items, whatever it is as JSON.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html
MOST_BYTES = 64 << 20
THROTTLES = frozenset({"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"})
PASSING = frozenset({"InternalServerError", "ServiceUnavailable", "TransactionInProgressException"})
LOST = (OSError, http.client.HTTPException)


class Buffer:
    """The memory that a worker reads pages into, one after the other."""

    def __init__(self, size: int = BUFFER_BYTES) -> None:
        self.memory = bytearray(size)

    def room(self, size: int, keep: int = 0) -> memoryview:
        """At least ``size`` bytes, the first ``keep`` as they are."""
        if size > len(self.memory):
            before = self.memory[:keep]
            self.memory = bytearray()  # not held beside what takes its place
            self.memory = bytearray((size // STEP_BYTES + 1) * STEP_BYTES)
            self.memory[:keep] = before
        return memoryview(self.memory)


class Pages:
    """The pages of one replica, as one worker reads them."""

    def __init__(
        self,
        source: Source,
        budget: Budget,
        buffer: Buffer,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.source, self.budget = source, budget
        self._buffer, self._sleep, self._clock, self._jitter = buffer, sleep, clock, jitter
        self._connection: http.client.HTTPConnection | None = None
        self._signer = Signer(source.credentials, source.region, source.host, TARGET)
        self._paid = 0.0

    def read(self, segment: int, segments: int, after: bytes | None = None, only: Sequence[str] = ()) -> memoryview:
        """One page, as it came: valid until the next is read with the same buffer.

        Args:
            after: the LastEvaluatedKey of the page before, as it was spelled.
            only: attributes to be given; empty: all.

        Raises:
            OpsError: the replica does not answer, or refuses.
        """
        body = self._request(segment, segments, after, only)
        self._paid, wait_s = self.budget.reserve()
        if wait_s > 0:
            self._sleep(wait_s)
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                # https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
                self._sleep(self._jitter() * min(CAP_S, BASE_S * 2**attempt))
            try:
                status, size = self._exchange(body)
            except ssl.SSLCertVerificationError as error:
                raise OpsError(
                    f"{self.source.label}: {self.source.endpoint_url} shows a certificate that is not trusted: {error}",
                    hint="Name the accepted authorities: AWS_CA_BUNDLE=/path/to/bundle.pem",
                ) from error
            except LOST as error:
                self.close()
                reason = f"no whole answer: {error or type(error).__name__}"
                continue
            page = memoryview(self._buffer.memory)[:size]
            if status == 200:
                return page
            reason = self._refusal(status, bytes(page[:4096]))
        raise OpsError(f"{self._doing(segment, segments)}: given up after {ATTEMPTS} attempts; the last: {reason}")

    def used(self, units: float) -> None:
        """Say what the page took, as it reports."""
        self.budget.used(self._paid, units)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- one exchange ------------------------------------------------------------------------------------------

    def _request(self, segment: int, segments: int, after: bytes | None, only: Sequence[str]) -> bytes:
        asked: dict[str, Any] = {
            "TableName": self.source.table,
            "Segment": segment,
            "TotalSegments": segments,
            "ReturnConsumedCapacity": "TOTAL",
        }
        if only:
            asked["ProjectionExpression"] = ",".join(f"#{index}" for index in range(len(only)))
            asked["ExpressionAttributeNames"] = {f"#{index}": name for index, name in enumerate(only)}
        body = orjson.dumps(asked)
        return body if after is None else body[:-1] + b',"ExclusiveStartKey":' + after + b"}"

    def _exchange(self, body: bytes) -> tuple[int, int]:
        """Send one request and read its answer into the buffer: its status, and its size in bytes."""
        if self._connection is None:
            self._connection = connect(self.source)
        begun = self._clock()
        self._connection.request("POST", "/", body, self._signer.headers(body))
        with self._connection.getresponse() as answer:
            latency_ms = (self._clock() - begun) * 1000
            size = self._body(answer)
            checksum = answer.getheader("x-amz-crc32")
            if checksum is not None and checksum != str(isal_zlib.crc32(memoryview(self._buffer.memory)[:size])):
                raise http.client.HTTPException("its checksum (x-amz-crc32) is not that of what arrived")
            if answer.status == 200:
                self.budget.answered(latency_ms)
            return answer.status, size

    def _body(self, answer: http.client.HTTPResponse) -> int:
        """Read the body; its size in bytes."""
        expected, size = answer.length, 0
        if expected is not None and expected > MOST_BYTES:
            raise self._too_large()
        view = self._buffer.room(expected or 0)
        while size != expected:
            if size == len(view):
                if size >= MOST_BYTES:
                    raise self._too_large()
                view = self._buffer.room(2 * size, keep=size)
            count = answer.readinto(view[size:expected])
            if count == 0:
                break
            size += count
        if expected is not None and size < expected:
            raise http.client.HTTPException(f"{size:,} of {expected:,} bytes arrived")
        return size

    def _too_large(self) -> OpsError:
        return OpsError(f"{self.source.label}: a page of more than {MOST_BYTES >> 20} MB is none of DynamoDB's")

    def _refusal(self, status: int, body: bytes) -> str:
        """Why there is no page; returns when it is worth to ask again."""
        code, message = _reason(body)
        text = f"{code or f'HTTP status {status}'}: {message}" if message else code or f"HTTP status {status}"
        if code in THROTTLES or (status == 503 and not code):
            self.budget.throttled()
            return text
        if status >= 500 or code in PASSING:
            return text
        if code in (*EXPIRED, "UnrecognizedClientException") and self._signer.renew():
            return text
        if code in EXPIRED:
            raise OpsError(
                f"{self.source.label}: the credentials expired while {self.source.table} was read ({text})",
                hint="Sign in again.",
            )
        raise OpsError(f"{self.source.label}: {self.source.table} cannot be scanned: {text}")

    def _doing(self, segment: int, segments: int) -> str:
        return f"{self.source.label}: reading segment {segment} of {segments} of {self.source.table}"


def _reason(body: bytes) -> tuple[str, str]:
    """Code and message of a refusal, empty where it gives none."""
    try:
        found = json.loads(body)
        return str(found.get("__type", "")).rpartition("#")[2], str(found.get("message") or found.get("Message") or "")
    except (ValueError, AttributeError):
        return "", body[:200].decode("utf-8", "replace")
