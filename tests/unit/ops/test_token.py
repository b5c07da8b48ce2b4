"""Tokens: fetched as any client would, renewed in time, and never shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import httpx
import pytest
from botocore.exceptions import EndpointConnectionError

from ops import token
from ops.aws import Cloud
from ops.errors import OpsError, UsageError
from ops.token import Client, Token, Tokens

SECRET = "s3cr3t/with+signs=%"
NAME = "atoll/unit/client"


def keep(cloud: Cloud, text: str, region: str = "us-east-1", name: str = NAME) -> None:
    cloud.client("secretsmanager", region).create_secret(Name=name, SecretString=text)


@pytest.fixture
def client() -> Client:
    return Client("toolkit", SECRET, f"{NAME} in us-east-1")


class Issuer:
    """The token endpoint: gives its answers in order, and the last one from then on."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response | Exception] = []
        self.asked: list[dict[str, Any]] = []

    def post(self, url: str, *, data: dict[str, str], auth: httpx.BasicAuth, timeout: float) -> httpx.Response:
        request = next(auth.auth_flow(httpx.Request("POST", url, data=data)))
        user, _, password = base64.b64decode(request.headers["authorization"].split()[1]).decode().partition(":")
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        self.asked.append({"url": url, "user": unquote_plus(user), "password": unquote_plus(password), **form})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Issuer:
    fake = Issuer()
    fake.answers = [httpx.Response(200, json={"access_token": "t-1", "token_type": "Bearer", "expires_in": 3600})]
    monkeypatch.setattr(token.httpx, "post", fake.post)
    return fake


def ask(cloud: Cloud, client: Client) -> Token:
    return token.request_token(cloud, client, ["events:write"], sleep=lambda _: None)


# --- asking the issuer -------------------------------------------------------------------------------------------


def test_for_stage_asks_with_the_stages_client_and_scopes(account: Cloud, issuer: Issuer) -> None:
    keep(account, json.dumps({"client_id": "toolkit", "client_secret": SECRET}))

    assert token.for_stage(account, ("write", "read")).get() == "t-1"
    assert issuer.asked == [
        {
            "url": "https://login.atoll.example/oauth2/token",
            "user": "toolkit",
            "password": SECRET,
            "grant_type": "client_credentials",
            "scope": "events:write events:read",
        }
    ]


def test_for_stage_with_a_client_reads_its_secret(account: Cloud, issuer: Issuer) -> None:
    keep(account, json.dumps({"client_id": "other", "client_secret": SECRET}), name="atoll/unit/other")

    token.for_stage(account, client="atoll/unit/other").get()
    assert issuer.asked[0]["user"] == "other"


def test_for_stage_when_the_secret_was_rotated_asks_with_the_new_one(account: Cloud, issuer: Issuer) -> None:
    keep(account, json.dumps({"client_id": "toolkit", "client_secret": SECRET}))
    issuer.answers = [httpx.Response(200, json={"access_token": "t", "expires_in": 0.001})]
    tokens = token.for_stage(account)
    tokens.get()
    rotated = json.dumps({"client_id": "toolkit", "client_secret": "rotated"})
    account.client("secretsmanager", "us-east-1").put_secret_value(SecretId=NAME, SecretString=rotated)
    tokens.get()

    assert [asked["password"] for asked in issuer.asked] == [SECRET, "rotated"]


def test_request_when_the_issuer_is_busy_or_silent_asks_again(account: Cloud, issuer: Issuer, client: Client) -> None:
    good = issuer.answers[0]
    issuer.answers = [httpx.ConnectError("refused"), httpx.Response(503), good]

    assert ask(account, client) == Token("t-1", 3600)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.ConnectTimeout("late"), (OpsError, r"gave no answer \(ConnectTimeout\)", "access.token_url")),
        (
            httpx.Response(503, text="busy"),
            (OpsError, "answers 503 to the client of secret atoll/unit/client", "token_url"),
        ),
        (
            httpx.Response(401, json={"error": "invalid_client"}),
            (UsageError, "answers 401 invalid_client", "the secret"),
        ),
        (
            httpx.Response(400, json={"error": "invalid_client"}),
            (UsageError, "answers 400 invalid_client", "the secret"),
        ),
        (httpx.Response(400, json={"error": "invalid_scope"}), (UsageError, "asked for events:write", "access.scopes")),
        (httpx.Response(400, text=f"<p>{SECRET}</p>"), (UsageError, "answers 400 to", "the secret")),
        (httpx.Response(400, json={"error": SECRET}), (UsageError, "answers 400 to", "the secret")),
        (httpx.Response(200, text="<html>"), (OpsError, "answers 200 with no access token", "a token endpoint")),
        (httpx.Response(200, json=[]), (OpsError, "answers 200 with no access token", "a token endpoint")),
        (httpx.Response(200, json={"access_token": ""}), (OpsError, "gives no bearer token", "a token endpoint")),
        (
            httpx.Response(200, json={"access_token": "t", "token_type": "mac"}),
            (OpsError, "gives no bearer token", "a token endpoint"),
        ),
    ],
)
def test_request_when_no_token_is_given_says_why_and_what_to_do(
    account: Cloud,
    issuer: Issuer,
    client: Client,
    answer: httpx.Response | Exception,
    expected: tuple[type[OpsError], str, str],
) -> None:
    kind, message, hint = expected
    issuer.answers = [answer]
    with pytest.raises(OpsError, match=message) as caught:
        ask(account, client)

    assert type(caught.value) is kind
    assert hint in caught.value.hint
    assert SECRET not in str(caught.value) + caught.value.hint + repr(client)


def test_request_when_the_answer_has_no_lifetime_supposes_a_short_one(
    account: Cloud, issuer: Issuer, client: Client
) -> None:
    issuer.answers = [httpx.Response(200, json={"access_token": "t"})]
    assert ask(account, client).life_s == token.SUPPOSED_LIFE_S


# --- the client's secret -----------------------------------------------------------------------------------------


def test_client_when_the_home_region_does_not_have_it_is_read_from_its_replica(account: Cloud) -> None:
    keep(account, '{"client_id": "a", "client_secret": "b"}', region="ap-south-1")

    assert token.read_client(account, NAME) == Client("a", "b", f"{NAME} in ap-south-1")


def test_client_when_the_home_region_is_silent_is_read_from_its_replica(
    account: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(account, '{"client_id": "a", "client_secret": "b"}', region="ap-south-1")
    answering: Callable[..., Any] = account.client

    class Silent:
        def get_secret_value(self, **_: Any) -> Any:
            raise EndpointConnectionError(endpoint_url="https://secretsmanager.us-east-1.amazonaws.com")

    monkeypatch.setattr(
        account, "client", lambda s, region: Silent() if region == "us-east-1" else answering(s, region)
    )
    assert token.read_client(account, NAME).where == f"{NAME} in ap-south-1"
    with pytest.raises(OpsError, match="reading secret other: no answer from AWS"):
        token.read_client(account, "other")


def test_client_when_no_region_has_it_says_how_to_make_it(account: Cloud) -> None:
    with pytest.raises(UsageError, match=f"secret {NAME}: Secrets Manager has none of this name") as caught:
        token.read_client(account, NAME)
    assert f"create-secret --region us-east-1 --name {NAME}" in caught.value.hint


@pytest.mark.parametrize("text", [SECRET, "[]", '{"client_id": "a"}', '{"client_id": 1, "client_secret": "b"}', "{}"])
def test_client_when_the_secret_is_none_says_what_is_accepted_and_not_what_it_holds(account: Cloud, text: str) -> None:
    keep(account, text)
    with pytest.raises(UsageError, match="it is not a client") as caught:
        token.read_client(account, NAME)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


# --- keeping one -------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def numbered(lives: list[float]) -> tuple[Tokens, Clock, list[str]]:
    """Tokens of these lifetimes, the clock, and the ones fetched; when there is none left, fetching fails."""
    clock, fetched = Clock(), list[str]()

    def fetch() -> Token:
        if not lives:
            raise OpsError("the issuer is down")
        fetched.append(f"t-{len(fetched) + 1}")
        return Token(fetched[-1], lives.pop(0))

    return Tokens(fetch, clock), clock, fetched


@pytest.mark.parametrize(("life_s", "renewed_at_s"), [(3600, 3540), (100, 80)])
def test_tokens_are_kept_until_shortly_before_they_expire(life_s: float, renewed_at_s: float) -> None:
    tokens, clock, fetched = numbered([life_s, life_s])
    assert tokens.fresh is None
    assert tokens.get() == tokens.fresh == "t-1"
    clock.now += renewed_at_s - 0.1
    assert tokens.get() == "t-1"
    clock.now += 0.2
    assert tokens.fresh is None
    assert tokens.get() == "t-2"
    assert fetched == ["t-1", "t-2"]


def test_tokens_when_renewing_fails_keep_the_old_one_while_it_lives() -> None:
    tokens, clock, _ = numbered([100])
    tokens.get()
    clock.now += 90
    assert tokens.get() == "t-1"
    clock.now += 11
    with pytest.raises(OpsError, match="the issuer is down"):
        tokens.get()


def test_token_is_not_in_what_is_printed_of_it() -> None:
    assert "t-1" not in repr(Token("t-1", 60))
