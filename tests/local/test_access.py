"""Who gets in, on the deployed platform: tokens of the right issuer, audience and scope, and each to its own events."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ops.local.identity import secret_of
from tests.local.conftest import Atoll
from tests.local.platform import wait_until

READS = ("/events?limit=1", "/events/00000000-0000-0000-0000-000000000000", "/activity")
BATCH = {"content-type": "application/cloudevents-batch+json"}


def encoded(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


@dataclass(frozen=True)
class Forge:
    """Makes tokens like a true one: with the issuer's own key (as it is in the emulator), or with another."""

    header: dict[str, Any]
    claims: dict[str, Any]
    key: rsa.RSAPrivateKey

    def token(self, key: rsa.RSAPrivateKey | None = None, **changes: Any) -> str:
        signed = f"{encoded(self.header)}.{encoded(self.claims | changes)}"
        signature = (key or self.key).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encoded(signature)}"


@pytest.fixture(scope="module")
def forge(atoll: Atoll) -> Forge:
    header, claims, _ = atoll.bearer()["authorization"].removeprefix("Bearer ").split(".")
    keys = (atoll.directory / "state" / "tmp" / "emulator" / "cognito-pool-keys").glob("*_atollLocal-access.pem")
    (pem,) = [path.read_bytes() for path in keys]
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return Forge(decoded(header), decoded(claims), key)


@pytest.fixture(scope="module")
def url(atoll: Atoll) -> str:
    return str(atoll.cloud["edge_url"])


def post(url: str, headers: dict[str, str]) -> httpx.Response:
    """Send the batch that changes nothing."""
    return httpx.post(f"{url}/events", headers=BATCH | headers, content=b"[]", timeout=30)


def requests(url: str, headers: dict[str, str]) -> list[int]:
    """The statuses of every route that needs a token."""
    read = [httpx.get(f"{url}{path}", headers=headers, timeout=30).status_code for path in READS]
    return [post(url, headers).status_code, *read]


# --- who gets in -------------------------------------------------------------------------------------------------


def test_right_token_gets_in_on_every_route_of_every_region(atoll: Atoll, url: str) -> None:
    for base in (url, *map(atoll.api, atoll.stage.regions)):
        assert requests(base, atoll.bearer()) == [202, 200, 404, 200]


def test_token_like_a_true_one_gets_in(forge: Forge, url: str) -> None:
    # What those refused below differ from in one thing.
    assert requests(url, {"authorization": f"Bearer {forge.token()}"}) == [202, 200, 404, 200]


ANOTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def altered(forge: Forge) -> str:
    header, _, signature = forge.token().split(".")
    return f"{header}.{encoded(forge.claims | {'client_id': 'atoll-local-second'})}.{signature}"


def unsigned(forge: Forge) -> str:
    return f"{encoded(forge.header | {'alg': 'none'})}.{encoded(forge.claims)}."


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda _: None, id="no token"),
        pytest.param(lambda _: "a.b.c", id="no token at all"),
        pytest.param(lambda forge: forge.token(ANOTHER_KEY), id="forged"),
        pytest.param(altered, id="altered"),
        pytest.param(unsigned, id="unsigned"),
        pytest.param(lambda forge: forge.token(exp=int(time.time()) - 1), id="expired"),
        pytest.param(lambda forge: forge.token(nbf=int(time.time()) + 600), id="not yet valid"),
        pytest.param(lambda forge: forge.token(client_id="stranger"), id="other audience"),
        pytest.param(lambda forge: forge.token(aud="https://elsewhere.example"), id="other aud"),
        pytest.param(lambda forge: forge.token(iss="https://login.example.com/"), id="other issuer"),
        pytest.param(lambda forge: forge.token(iss=forge.claims["iss"] + "2"), id="other pool"),
    ],
)
def test_token_that_is_not_right_is_refused_on_every_route(
    forge: Forge, url: str, make: Callable[[Forge], str | None]
) -> None:
    token = make(forge)
    headers = {} if token is None else {"authorization": f"Bearer {token}"}

    assert requests(url, headers) == [401, 401, 401, 401]
    assert post(url, headers).json() == {"message": "Unauthorized"}


def test_client_of_the_pool_that_the_stage_does_not_name_is_refused(atoll: Atoll, url: str) -> None:
    pool = atoll.stage.access.issuer.rpartition("/")[2]
    scopes = [atoll.stage.access.scopes.write, atoll.stage.access.scopes.read]
    client = atoll.client("cognito-idp", "us-east-1").create_user_pool_client(
        UserPoolId=pool,
        ClientName="stranger",
        GenerateSecret=True,
        AllowedOAuthFlows=["client_credentials"],
        AllowedOAuthFlowsUserPoolClient=True,
        AllowedOAuthScopes=scopes,
    )["UserPoolClient"]
    answer = httpx.post(
        f"{atoll.cloud['endpoint_url']}/oauth2/token",
        data={
            "grant_type": "client_credentials",
            "client_id": client["ClientId"],
            "client_secret": client["ClientSecret"],
        },
    )
    token = answer.json()["access_token"]

    assert requests(url, {"authorization": f"Bearer {token}"}) == [401, 401, 401, 401]


def test_token_without_the_routes_scope_is_refused(atoll: Atoll, url: str) -> None:
    assert requests(url, atoll.bearer("read")) == [403, 200, 404, 200]
    assert requests(url, atoll.bearer("write")) == [202, 403, 403, 403]


def test_status_is_open_and_says_nothing_but_how_the_region_is(atoll: Atoll) -> None:
    for region in atoll.stage.regions:
        answer = httpx.get(f"{atoll.api(region)}/status", timeout=30)

        assert answer.status_code == 200
        assert set(answer.json()) == {"status", "region", "stage", "checks"}
        for check in answer.json()["checks"].values():
            assert set(check) == {"ok", "latency_ms"}


# --- each to its own ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tenant:
    """A client, and the region it talks to."""

    url: str
    headers: dict[str, str]

    def send(self, event: dict[str, Any]) -> httpx.Response:
        headers = self.headers | {"content-type": "application/cloudevents+json"}
        return httpx.post(f"{self.url}/events", headers=headers, content=json.dumps(event), timeout=30)

    def get(self, path: str, **query: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=self.headers, params=query, timeout=30)

    def event(self, key: str) -> httpx.Response:
        return self.get(f"/events/{key}", consistency="strong")

    def listed(self, kind: str) -> list[str]:
        return [event["event_key"] for event in self.get("/events", type=kind).json()["events"]]

    def counted(self, kind: str) -> int:
        return int(self.get("/activity", type=kind, undated="true", consistency="strong").json()["count"])


@pytest.fixture(scope="module")
def tenants(atoll: Atoll) -> tuple[Tenant, Tenant]:
    base = atoll.api("ap-south-1")
    other = secret_of(atoll.stage, atoll.stage.access.audience[1])
    return Tenant(base, atoll.bearer()), Tenant(base, atoll.bearer(client=other))


def test_tenant_can_neither_read_nor_overwrite_anothers_event_nor_learn_of_it(tenants: tuple[Tenant, Tenant]) -> None:
    one, other = tenants
    kind = f"com.example.isolated.{uuid.uuid4().hex}"
    event = {"specversion": "1.0", "id": "1", "source": f"/{kind}", "type": kind, "data": {"owner": "one"}}
    key = one.send(event).json()["event_key"]
    wait_until(lambda: one.event(key).status_code == 200 and one.counted(kind) == 1, "event stored and counted")

    # Not there for the other, in the words for what never was.
    never = str(uuid.uuid4())
    unseen, missing = other.event(key), other.event(never)
    assert (unseen.status_code, missing.status_code) == (404, 404)
    assert {**unseen.json(), "correlation_id": ""} == {**missing.json(), "correlation_id": ""}
    assert (other.listed(kind), other.counted(kind)) == ([], 0)

    # The same source and id are new to the other: no replay, no conflict.
    answer = other.send({**event, "data": {"owner": "other"}})
    assert answer.status_code == 202
    assert "idempotent-replayed" not in answer.headers
    own_key = answer.json()["event_key"]
    assert own_key != key
    wait_until(lambda: other.event(own_key).status_code == 200 and other.counted(kind) == 1, "the other's own stored")

    assert one.event(key).json()["event"]["data"] == {"owner": "one"}
    assert other.event(own_key).json()["event"]["data"] == {"owner": "other"}
    assert (one.event(own_key).status_code, other.event(key).status_code) == (404, 404)
    wait_until(lambda: (one.listed(kind), other.listed(kind)) == ([key], [own_key]), "each listed for its tenant")
    assert (one.counted(kind), other.counted(kind)) == (1, 1)


def test_send_as_another_client_is_another_tenants_traffic(atoll: Atoll, tenants: tuple[Tenant, Tenant]) -> None:
    one, other = tenants
    out = atoll.directory / "other.jsonl"
    secret = secret_of(atoll.stage, atoll.stage.access.audience[1])
    atoll.ops("send", "--count", "3", "--client", secret, "--out", str(out))
    keys = [json.loads(line)["event_key"] for line in out.read_text().splitlines()]
    atoll.wait_until_quiet()

    assert [other.event(key).status_code for key in keys] == [200, 200, 200]
    assert [one.event(key).status_code for key in keys] == [404, 404, 404]


# --- the toolkit's own -------------------------------------------------------------------------------------------


def test_up_again_keeps_the_clients_and_their_tokens(atoll: Atoll, url: str) -> None:
    secrets = atoll.client("secretsmanager", "us-east-1")
    before = secrets.get_secret_value(SecretId=atoll.stage.access.client_secret)["SecretString"]
    atoll.ops("up")

    assert secrets.get_secret_value(SecretId=atoll.stage.access.client_secret)["SecretString"] == before
    assert post(url, atoll.bearer()).status_code == 202


def test_send_gets_its_token_while_the_home_region_is_away(atoll: Atoll) -> None:
    reset = ("fault", "reset", "secretsmanager", "--region", "us-east-1")
    atoll.ops(*reset)
    try:
        figures = atoll.ops("send", "--count", "2", "--json").json
    finally:
        atoll.ops("fault", "heal")

    assert figures["accepted"] == 2


def test_send_with_a_client_that_the_issuer_does_not_know_says_so(atoll: Atoll) -> None:
    secrets = atoll.client("secretsmanager", "us-east-1")
    client = {"client_id": "nobody", "client_secret": "not-a-secret-of-anyone"}
    secrets.create_secret(Name="atoll/local/nobody", SecretString=json.dumps(client))

    refused = atoll.ops("send", "--count", "1", "--client", "atoll/local/nobody", expect=2)

    assert "400 invalid_client to the client of secret atoll/local/nobody in us-east-1" in " ".join(refused.err.split())
    assert client["client_secret"] not in refused.err + refused.out


def test_nothing_that_is_kept_holds_a_token_or_a_secret(atoll: Atoll) -> None:
    atoll.ops("send", "--count", "2")
    atoll.ops("run", "parity")
    secrets = [
        json.loads(
            atoll.client("secretsmanager", "us-east-1").get_secret_value(SecretId=secret_of(atoll.stage, client))[
                "SecretString"
            ]
        )["client_secret"]
        for client in atoll.stage.access.audience
    ]
    # The emulator's own scratch, which holds the issuer's keys, is no record of ours.
    scratch = atoll.directory / "state" / "tmp"
    kept = [path for path in atoll.directory.rglob("*") if path.is_file() and scratch not in path.parents]
    assert len(kept) > 5
    for path in kept:
        held = path.read_bytes()
        assert not any(secret.encode() in held for secret in secrets), path
        assert b"eyJhbGciOi" not in held, path


def test_pool_is_the_issuer_of_the_stage_file(atoll: Atoll, forge: Forge) -> None:
    assert forge.claims["iss"] == atoll.stage.access.issuer
    assert forge.claims["client_id"] == atoll.stage.access.audience[0]
