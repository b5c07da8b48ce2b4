"""Functions, tables and alarms are found where the emulator keeps them, each in its region."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from ops.local.emulator.fis.resources import FUNCTION, GLOBAL_TABLE, Resource, Resources
from ops.local.emulator.scopes import Scope, entered
from tests.unit.local.emulator.fis.conftest import ACCOUNT, ALARM, INDIA, TABLE, US, function_arn

HERE, ABROAD = Scope(ACCOUNT, US), Scope(ACCOUNT, INDIA)


@pytest.fixture
def resources(state: Path, monkeypatch: pytest.MonkeyPatch) -> Resources:
    services = {name: importlib.import_module(f"ministack.services.{name}") for name in ("lambda_svc", "dynamodb")}
    cloudwatch = importlib.import_module("ministack.services.cloudwatch")
    for module, name in (
        (services["lambda_svc"], "_functions"),
        (services["dynamodb"], "_tables"),
        (services["dynamodb"], "_tags"),
        (cloudwatch, "_alarms"),
        (cloudwatch, "_composite_alarms"),
    ):
        monkeypatch.setattr(module, name, type(getattr(module, name))())
    with entered(HERE):
        services["lambda_svc"]._functions["query"] = {
            "config": {"FunctionArn": function_arn("query")},
            "tags": {"role": "api"},
        }
        replicas = [{"RegionName": name} for name in (INDIA, US)]
        services["dynamodb"]._tables["items"] = {"TableName": "items", "TableArn": TABLE, "Replicas": replicas}
        services["dynamodb"]._tables["alone"] = {"TableName": "alone", "TableArn": TABLE + "x"}
        services["dynamodb"]._tags[TABLE] = [{"Key": "a", "Value": "b"}]
        cloudwatch._alarms["errors"] = {"StateValue": "OK"}
        cloudwatch._composite_alarms["region"] = {"StateValue": "ALARM"}
    return Resources()


def test_functions_are_found_with_their_tags_in_their_region(resources: Resources) -> None:
    assert resources.of_type(HERE, FUNCTION) == [Resource(function_arn("query"), "query", {"role": "api"})]
    assert resources.of_type(ABROAD, FUNCTION) == []


def test_tables_with_replicas_are_global_tables_and_others_are_not(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def group(table: dict[str, object]) -> list[str]:
        return [US, INDIA] if "Replicas" in table else []

    monkeypatch.setattr("ministack.services.dynamodb._replica_group", group)
    assert resources.of_type(HERE, GLOBAL_TABLE) == [Resource(TABLE, "items", {"a": "b"}, (INDIA,))]


def test_alarms_are_found_by_arn_composite_ones_too(resources: Resources) -> None:
    assert resources.alarm_state(ALARM) == "OK"
    assert resources.alarm_state(ALARM.replace("errors", "region")) == "ALARM"
    assert resources.alarm_state(ALARM.replace(US, INDIA)) is None
    assert resources.alarm_state(ALARM.replace("errors", "moon")) is None
