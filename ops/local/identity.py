"""The local cloud's identity provider: the Cognito user pool that the stage file names as issuer, in the emulator.

On AWS the issuer is whoever the stage file names, and Atoll makes nothing of it. Here `ops up` makes what the stage
file says is there: the pool (its id is the end of the issuer's URL), a resource server with the scopes, one client for
each audience, and for each client a secret with its id and secret, in every region. The first client is the toolkit's
own, under ``access.client_secret``; the others, each a tenant of its own, stand beside it under their ids. What is
there already is kept, so tokens and secrets outlive a second `ops up`; a cloud that was restarted gets new ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, explained
from ops.errors import OpsError, UsageError
from ops.stage import Stage

_POOL = re.compile(r"^https://cognito-idp\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<id>(?P=region)_(?P<name>\w+))$")
_PAGE = 60  # Cognito gives no more at once


def secret_of(stage: Stage, client: str) -> str:
    """The name of the secret that holds ``client``, one of the stage's audiences."""
    if client == stage.access.audience[0]:
        return stage.access.client_secret
    return f"{stage.access.client_secret.rpartition('/')[0]}/{client}".lstrip("/")


def ensure(cloud: Cloud, progress: Callable[[str], None] = lambda _: None) -> None:
    """Make pool, resource server, clients and secrets, as far as they are missing.

    Raises:
        UsageError: the stage's issuer is no user pool, or its scopes are not those of one resource server.
        OpsError: the emulator failed.
    """
    stage = cloud.stage
    pool = _POOL.match(stage.access.issuer)
    if pool is None:
        raise UsageError(
            f"access.issuer: {stage.access.issuer!r} is not a user pool, and the local cloud's issuer is one; "
            "accepted: https://cognito-idp.<region>.amazonaws.com/<region>_<name>",
            hint=f"Correct it in {stage.shown_file}.",
        )
    server, scopes = _resource_server(stage)
    with explained("making the local identity provider"):
        cognito = cloud.client("cognito-idp", pool["region"])
        made = _ensure_pool(cognito, pool["id"], pool["name"])
        _ensure_scopes(cognito, pool["id"], server, scopes)
        for client in stage.access.audience:
            secret = _ensure_client(cognito, pool["id"], client, stage)
            _ensure_secret(cloud, secret_of(stage, client), {"client_id": client, "client_secret": secret})
    if made:
        progress(f"identity provider: {pool['id']} with clients {', '.join(stage.access.audience)}")


def _resource_server(stage: Stage) -> tuple[str, list[str]]:
    """The resource server that the scopes name, and its own names for them."""
    pairs = [scope.rpartition("/") for scope in (stage.access.scopes.write, stage.access.scopes.read)]
    servers = {server for server, _, _ in pairs}
    if len(servers) > 1 or "" in servers:
        raise UsageError(
            f"access.scopes: {stage.access.scopes.write!r} and {stage.access.scopes.read!r} are not scopes of one "
            "resource server; accepted: <server>/<scope>",
            hint=f"Correct them in {stage.shown_file}.",
        )
    return servers.pop(), [name for _, _, name in pairs]


def _ensure_pool(cognito: Any, identifier: str, name: str) -> bool:
    pages = cognito.get_paginator("list_user_pools").paginate(MaxResults=_PAGE)
    if any(pool["Id"] == identifier for page in pages for pool in page["UserPools"]):
        return False
    made = cognito.create_user_pool(PoolName=name)["UserPool"]["Id"]
    if made != identifier:
        raise OpsError(f"the emulator gave user pool {name!r} the id {made!r}, not {identifier!r}")
    return True


def _ensure_scopes(cognito: Any, pool: str, server: str, scopes: list[str]) -> None:
    wanted = [{"ScopeName": scope, "ScopeDescription": f"{server}/{scope}"} for scope in scopes]
    described = {"UserPoolId": pool, "Identifier": server, "Name": server, "Scopes": wanted}
    try:
        found = cognito.describe_resource_server(UserPoolId=pool, Identifier=server)["ResourceServer"]
    except ClientError as error:
        _raise_unless_missing(error)
        cognito.create_resource_server(**described)
    else:
        if found.get("Scopes") != wanted:
            cognito.update_resource_server(**described)


def _ensure_client(cognito: Any, pool: str, client: str, stage: Stage) -> str:
    """Make the client unless it is there; returns its secret."""
    try:
        found = cognito.describe_user_pool_client(UserPoolId=pool, ClientId=client)["UserPoolClient"]
    except ClientError as error:
        _raise_unless_missing(error)
        found = cognito.create_user_pool_client(
            UserPoolId=pool,
            ClientName=client,
            GenerateSecret=True,
            AllowedOAuthFlows=["client_credentials"],
            AllowedOAuthFlowsUserPoolClient=True,
            AllowedOAuthScopes=[stage.access.scopes.write, stage.access.scopes.read],
        )["UserPoolClient"]
        if found["ClientId"] != client:
            raise OpsError(f"the emulator gave client {client!r} the id {found['ClientId']!r}") from None
    return str(found["ClientSecret"])


def _ensure_secret(cloud: Cloud, name: str, client: dict[str, str]) -> None:
    """The same secret in every region, as a replicated one is on AWS."""
    home, others = cloud.stage.home_region, [r for r in cloud.stage.regions if r != cloud.stage.home_region]
    secrets = cloud.client("secretsmanager", home)
    try:
        held = json.loads(secrets.get_secret_value(SecretId=name)["SecretString"])
    except ClientError as error:
        _raise_unless_missing(error)
        secrets.create_secret(
            Name=name,
            SecretString=json.dumps(client),
            AddReplicaRegions=[{"Region": region} for region in others],
        )
        return
    if held != client:
        secrets.put_secret_value(SecretId=name, SecretString=json.dumps(client))
    found = {replica["Region"] for replica in secrets.describe_secret(SecretId=name).get("ReplicationStatus", [])}
    if missing := [{"Region": region} for region in others if region not in found]:
        secrets.replicate_secret_to_regions(SecretId=name, AddReplicaRegions=missing)


def _raise_unless_missing(error: ClientError) -> None:
    if error.response.get("Error", {}).get("Code") != "ResourceNotFoundException":
        raise error
