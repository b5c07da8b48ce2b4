"""Requests are signed as botocore signs them, with the parts that stay the same computed once."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError
from hypothesis import given
from hypothesis import strategies as st

from ops.divergence.signing import Signer
from ops.errors import OpsError

TARGET = "DynamoDB_20120810.Scan"
HOST = "dynamodb.eu-west-1.amazonaws.com"
DAY = 86_400


def signature_of_botocore(credentials: Any, headers: dict[str, str], body: bytes, at: float, url: str) -> str:
    """The Authorization header that botocore computes for the same headers and body."""
    plain = {name: value for name, value in headers.items() if name not in ("Authorization", "X-Amz-Security-Token")}
    request = AWSRequest("POST", url, data=body, headers=plain)
    auth = SigV4Auth(credentials, "dynamodb", "eu-west-1")
    request.context["timestamp"] = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    auth._modify_request_before_signing(request)
    canonical = auth.canonical_request(request)
    signed = auth.signature(auth.string_to_sign(request, canonical), request)
    auth._inject_signature_to_request(request, signed)
    return str(request.headers["Authorization"])


@given(
    body=st.binary(max_size=200),
    token=st.sampled_from([None, "TOKEN+/="]),
    times=st.lists(st.floats(0, 4 * DAY), min_size=1, max_size=5),
    url=st.sampled_from([f"https://{HOST}/", "http://127.0.0.1:4566/"]),
)
def test_headers_whenever_they_are_made_are_what_botocore_signs(
    body: bytes, token: str | None, times: list[float], url: str
) -> None:
    credentials = Credentials("AKID", "SECRET", token)
    at = [0.0]
    signer = Signer(credentials, "eu-west-1", url.split("/")[2], TARGET, lambda: at[0])
    for moment in times:
        at[0] = 1_760_000_000 + moment
        headers = signer.headers(body)
        assert headers["Authorization"] == signature_of_botocore(credentials, headers, body, at[0], url)
        assert headers.get("X-Amz-Security-Token") == token


class Rotating:
    """Credentials that are others each time they are asked, and count it."""

    def __init__(self) -> None:
        self.asked = 0

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        self.asked += 1
        return ReadOnlyCredentials(f"AKID{self.asked}", f"SECRET{self.asked}", None)


def test_headers_within_a_second_ask_for_the_credentials_once() -> None:
    credentials, at = Rotating(), [1000.0]
    signer = Signer(credentials, "eu-west-1", HOST, TARGET, lambda: at[0])
    first = [signer.headers(b"{}") for _ in range(3)]
    assert credentials.asked == 1
    assert len({one["Authorization"] for one in first}) == 1
    at[0] += 1
    later = signer.headers(b"{}")
    assert credentials.asked == 2
    assert re.search("Credential=AKID2/", later["Authorization"])


def test_renew_when_credentials_changed_says_so() -> None:
    signer = Signer(Rotating(), "eu-west-1", HOST, TARGET, lambda: 1000.0)
    signer.headers(b"")
    assert signer.renew()
    still = Signer(Credentials("a", "b"), "eu-west-1", HOST, TARGET, lambda: 1000.0)
    still.headers(b"")
    assert not still.renew()


def test_headers_when_credentials_cannot_be_refreshed_says_what_to_do() -> None:
    def refuse() -> Any:
        raise CredentialRetrievalError(provider="sso", error_msg="the session has expired")

    signer = Signer(SimpleNamespace(get_frozen_credentials=refuse), "eu-west-1", HOST, TARGET)
    with pytest.raises(OpsError, match=r"could not be refreshed.*session has expired") as stopped:
        signer.headers(b"")
    assert stopped.value.hint == "Sign in again."
