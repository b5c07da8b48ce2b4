"""A stage of three regions whose replicas are tables of moto's: nothing is copied between them but by the tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from ops.aws import Cloud
from ops.stage import Stage
from tests.unit.ops.conftest import SETTINGS, Hub

US, AP, EU = "us-east-1", "ap-south-1", "eu-west-1"


@pytest.fixture
def stage() -> Stage:
    return Stage.model_validate(SETTINGS | {"regions": [US, AP, EU]})


@pytest.fixture
def replicas(account: Cloud) -> Cloud:
    for region in account.stage.regions:
        account.client("dynamodb", region).create_table(
            TableName=account.stage.table_name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        )
    return account


class Silence:
    """Regions whose DynamoDB gives no answer."""

    def __init__(self, hub: Hub) -> None:
        self.regions: set[str] = set()
        self.hub = hub

    def answer(self, context: dict[str, Any], model: Any, **_: Any) -> Any:
        if context["client_region"] in self.regions:
            raise EndpointConnectionError(endpoint_url=f"https://{model.service_model.service_name}.invalid")
        return None


@pytest.fixture
def silence(hub: Hub, replicas: Cloud) -> Any:
    made = Silence(hub)
    clients = [hub.client("dynamodb", region) for region in replicas.stage.regions]
    for client in clients:
        client.meta.events.register_first("before-call", made.answer, unique_id="silence")
    yield made
    for client in clients:
        client.meta.events.unregister("before-call", unique_id="silence")


def http(status_code: int, body: Any) -> Any:
    """An httpx answer, as far as the toolkit looks."""

    def json() -> Any:
        if body is None:
            raise ValueError("no JSON")
        return body

    return SimpleNamespace(status_code=status_code, json=json, headers={})
