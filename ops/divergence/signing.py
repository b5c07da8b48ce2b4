"""Signature Version 4 for many requests to one endpoint: what only changes with the day or the second is kept.

A signing key serves a day, the date header a second; per request that leaves two digests and one HMAC.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError

from ops.errors import OpsError

SERVICE = "dynamodb"
CONTENT_TYPE = "application/x-amz-json-1.0"


class Signer:
    """Signs the requests of one worker to one endpoint. Not for several threads at once.

    Args:
        credentials: botocore's, which refresh themselves where they can; asked once a second.
        region: of the endpoint.
        host: as in the Host header: with the port where it is not the scheme's own.
        target: the operation, as in X-Amz-Target.
        now: the wall clock, in epoch seconds.
    """

    def __init__(
        self, credentials: Any, region: str, host: str, target: str, now: Callable[[], float] = time.time
    ) -> None:
        self._credentials, self._region, self._host, self._target, self._now = credentials, region, host, target, now
        self._second = self._day = ""
        self._headers: dict[str, str] = {}
        self._before_payload = self._before_request = b""
        self._key = b""
        self._scope = self._signed = self._access_key = self._secret_key = ""

    def headers(self, body: bytes) -> dict[str, str]:
        """The headers to send with this body.

        Raises:
            OpsError: the credentials could not be refreshed.
        """
        second = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._now()))
        if second != self._second:
            self._renew(second)
        canonical = self._before_payload + hashlib.sha256(body).hexdigest().encode("ascii")
        text = self._before_request + hashlib.sha256(canonical).hexdigest().encode("ascii")
        signature = hmac.new(self._key, text, hashlib.sha256).hexdigest()
        return self._headers | {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self._access_key}/{self._scope}, "
            f"SignedHeaders={self._signed}, Signature={signature}"
        }

    def renew(self) -> bool:
        """Look whether the credentials are others now; true when they are, and it is worth to sign again."""
        before = (self._access_key, self._headers.get("X-Amz-Security-Token"))
        self._second = ""
        self.headers(b"")
        return before != (self._access_key, self._headers.get("X-Amz-Security-Token"))

    def _renew(self, second: str) -> None:
        try:
            frozen = self._credentials.get_frozen_credentials()
        except BotoCoreError as error:
            raise OpsError(f"credentials: they could not be refreshed: {error}", hint="Sign in again.") from error
        day = second[:8]
        if (day, frozen.secret_key) != (self._day, self._secret_key):
            key = f"AWS4{frozen.secret_key}".encode()
            for part in (day, self._region, SERVICE, "aws4_request"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            self._key, self._secret_key = key, frozen.secret_key
        self._second, self._day, self._access_key = second, day, frozen.access_key
        self._scope = f"{day}/{self._region}/{SERVICE}/aws4_request"
        self._headers = {
            "Content-Type": CONTENT_TYPE,
            "Host": self._host,
            "X-Amz-Date": second,
            "X-Amz-Target": self._target,
        } | ({"X-Amz-Security-Token": frozen.token} if frozen.token else {})
        lower = sorted((name.lower(), value) for name, value in self._headers.items())
        self._signed = ";".join(name for name, _ in lower)
        lines = "".join(f"{name}:{value}\n" for name, value in lower)
        self._before_payload = f"POST\n/\n\n{lines}\n{self._signed}\n".encode()
        self._before_request = f"AWS4-HMAC-SHA256\n{second}\n{self._scope}\n".encode()
