"""User pools and their clients have ids that a stage file can name in advance."""

from __future__ import annotations

import json

from ops.local.emulator.scopes import Scope, entered
from ops.local.emulator.userpools import UserPools


def test_user_pools_and_clients_get_the_ids_that_their_names_say_unless_taken() -> None:
    pools = UserPools()

    def pool(name: str, region: str) -> str:
        with entered(Scope("000000000000", region)):
            return str(json.loads(pools.create_pool({"PoolName": name})[2])["UserPool"]["Id"])

    def client(name: str) -> str:
        with entered(Scope("000000000000", "eu-west-1")):
            answer = pools.create_client({"UserPoolId": "eu-west-1_named", "ClientName": name})
            return str(json.loads(answer[2])["UserPoolClient"]["ClientId"])

    assert pool("named", "eu-west-1") == "eu-west-1_named"
    assert pool("named", "eu-west-2") == "eu-west-2_named"
    again = pool("named", "eu-west-1")
    assert again.startswith("eu-west-1_")
    assert again != "eu-west-1_named"
    assert client("storefront") == "storefront"
    assert len(client("storefront")) == 26
    assert len(client("")) == 26
