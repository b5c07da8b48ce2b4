"""Access tokens for the API, fetched as any client would: OAuth's client credentials, with the stage's own client.

The client's id and secret are a secret of Secrets Manager, named in the stage file: in the home region, and read from
another region of the stage (its replica there) when the home region does not have it or gives no answer. What always
holds: tokens and secrets live in memory only, and no message names one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from ops.aws import Cloud, explained
from ops.errors import OpsError, UsageError
from ops.stage import Stage

TIMEOUT_S = 10.0
ATTEMPTS = 3
PAUSE_S = 0.3
# RFC 6749 only recommends that an answer says how long its token lives; then it is not kept for long.
SUPPOSED_LIFE_S = 300.0
# A token is renewed this long before it expires, or a fifth of its life before, whichever is less.
MARGIN_S = 60.0


@dataclass(frozen=True)
class Client:
    """Who asks for tokens; ``where`` is the secret that says so."""

    id: str
    secret: str = field(repr=False)
    where: str


@dataclass(frozen=True)
class Token:
    """A token and the seconds it lives from now on."""

    value: str = field(repr=False)
    life_s: float


class Tokens:
    """One client's tokens: fetched when first needed, kept in memory, renewed before they expire. Thread-safe."""

    def __init__(self, fetch: Callable[[], Token], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._value = ""
        self._renew_at = self._expires_at = float("-inf")

    @property
    def fresh(self) -> str | None:
        """The token, if it need not be renewed yet; asks nobody."""
        with self._lock:
            return self._value if self._clock() < self._renew_at else None

    def get(self) -> str:
        """The token, renewed when it is about to expire; the old one while it still lives and no new one is given.

        Raises:
            UsageError: the client's secret is missing or not one, or the issuer does not take it.
            OpsError: Secrets Manager or the token endpoint failed.
        """
        with self._lock:
            now = self._clock()
            if now < self._renew_at:
                return self._value
            try:
                token = self._fetch()
            except OpsError:
                if now < self._expires_at:
                    return self._value
                raise
            self._value, self._expires_at = token.value, now + token.life_s
            self._renew_at = self._expires_at - min(MARGIN_S, token.life_s / 5)
            return self._value


def for_stage(cloud: Cloud, access: Sequence[str] = ("write",), client: str = "") -> Tokens:
    """Tokens of the stage's client, or of the one whose secret is named ``client``, with the scopes for ``access``:
    ``write``, ``read`` or both."""
    name = client or cloud.stage.access.client_secret
    scopes = [getattr(cloud.stage.access.scopes, one) for one in access]
    # The secret is read anew each time: it may have been rotated since the last token.
    return Tokens(lambda: request_token(cloud, read_client(cloud, name), scopes))


def read_client(cloud: Cloud, name: str) -> Client:
    """The client in secret ``name``, from the first region that has it; the home region is asked first.

    Raises:
        UsageError: no region has it, or it does not hold a client.
        OpsError: not found, and a region could not be asked.
    """
    stage = cloud.stage
    silent: Exception | None = None
    for region in [stage.home_region, *(region for region in stage.regions if region != stage.home_region)]:
        try:
            text = cloud.client("secretsmanager", region).get_secret_value(SecretId=name).get("SecretString", "")
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "ResourceNotFoundException":
                silent = silent or error
        except BotoCoreError as error:
            silent = silent or error
        else:
            return _client_in(text, name, region)
    if silent is not None:
        with explained(f"reading secret {name}"):
            raise silent
    raise UsageError(f"secret {name}: Secrets Manager has none of this name in {stage.home_region}", hint=_how(stage))


def _client_in(text: str, name: str, region: str) -> Client:
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None
    parts = [found.get(part) if isinstance(found, dict) else None for part in ("client_id", "client_secret")]
    if not all(isinstance(part, str) and part for part in parts):
        raise UsageError(
            f"secret {name} in {region}: it is not a client; "
            'accepted: {"client_id": "...", "client_secret": "..."}, both texts',
            hint="Write it anew: aws secretsmanager put-secret-value",
        )
    return Client(str(parts[0]), str(parts[1]), f"{name} in {region}")


def _how(stage: Stage) -> str:
    if stage.local_cloud is not None:
        return f"Make the local cloud's clients: ops up --stage {stage.stage}"
    return (
        "Create a client at the issuer, then: aws secretsmanager create-secret --region "
        f"{stage.home_region} --name {stage.access.client_secret} --secret-string file://client.json"
    )


def request_token(
    cloud: Cloud, client: Client, scopes: Sequence[str], sleep: Callable[[float], None] = time.sleep
) -> Token:
    """Ask the issuer for one token (RFC 6749, section 4.4); an issuer that is busy or silent is asked again, briefly.

    Raises:
        UsageError: the issuer refuses the client or the scopes.
        OpsError: no answer, or one that is not a token.
    """
    url = cloud.token_url
    form = {"grant_type": "client_credentials", "scope": " ".join(scopes)}
    # Section 2.3.1: both are form-encoded before they are joined.
    auth = httpx.BasicAuth(quote_plus(client.id), quote_plus(client.secret))
    answer: httpx.Response | None = None
    failure = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(PAUSE_S * 2**attempt)
        try:
            answer = httpx.post(url, data=form, auth=auth, timeout=TIMEOUT_S)
        except httpx.HTTPError as error:
            answer, failure = None, type(error).__name__
            continue
        if answer.status_code != 429 and answer.status_code < 500:
            break
    if answer is None:
        raise OpsError(
            f"token: {url} gave no answer ({failure})",
            hint=f"Is it right? access.token_url in {cloud.stage.shown_file}",
        )
    if answer.status_code != 200:
        raise _refusal(cloud, client, scopes, answer)
    return _token_in(answer, url)


def _token_in(answer: httpx.Response, url: str) -> Token:
    try:
        body: Any = answer.json()
        value, kind = body["access_token"], body.get("token_type", "Bearer")
        life_s = float(body.get("expires_in") or SUPPOSED_LIFE_S)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise OpsError(
            f"token: {url} answers 200 with no access token", hint="Is access.token_url a token endpoint?"
        ) from None
    if not isinstance(value, str) or not value or str(kind).lower() != "bearer":
        raise OpsError(f"token: {url} gives no bearer token", hint="Is access.token_url a token endpoint?")
    return Token(value, life_s)


def _refusal(cloud: Cloud, client: Client, scopes: Sequence[str], answer: httpx.Response) -> OpsError:
    """What an error answer means (RFC 6749, section 5.2), without anything that could be a secret."""
    try:
        code = answer.json().get("error")
    except (ValueError, AttributeError):
        code = None
    code = code if isinstance(code, str) and code.replace("_", "").isalpha() and len(code) <= 40 else ""
    said = f"{answer.status_code}{f' {code}' if code else ''}"
    message = f"token: {cloud.token_url} answers {said} to the client of secret {client.where}"
    file = cloud.stage.shown_file
    if code in ("invalid_scope", "invalid_grant"):
        return UsageError(
            f"{message}, asked for {' '.join(scopes)}",
            hint=f"Grant the client these scopes at the issuer, or correct access.scopes in {file}.",
        )
    if answer.status_code in (400, 401, 403):
        return UsageError(
            message, hint="Does the secret hold a client that this issuer knows? It may have been renewed."
        )
    return OpsError(message, hint=f"Is it right? access.token_url in {file}")
