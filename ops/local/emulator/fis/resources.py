"""What experiments are about: the functions, global tables and alarms of the emulator."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field

from ops.local.emulator.scopes import Scope, entered

FUNCTION = "aws:lambda:function"
GLOBAL_TABLE = "aws:dynamodb:global-table"


@dataclass(frozen=True)
class Resource:
    """Something that a target can name: by its ARN, or by its tags. ``peers`` are the other regions of a table."""

    arn: str
    name: str
    tags: dict[str, str] = field(default_factory=dict)
    peers: tuple[str, ...] = ()


class Resources:
    """Looks them up where the emulator keeps them."""

    def __init__(self) -> None:
        self._lambda = importlib.import_module("ministack.services.lambda_svc")
        self._dynamodb = importlib.import_module("ministack.services.dynamodb")
        self._cloudwatch = importlib.import_module("ministack.services.cloudwatch")

    def of_type(self, scope: Scope, kind: str) -> list[Resource]:
        """Every resource of a type in an account and region."""
        with entered(scope):
            return self._functions() if kind == FUNCTION else self._tables(scope.region)

    def alarm_state(self, arn: str) -> str | None:
        """OK, ALARM or INSUFFICIENT_DATA; None if there is no such alarm."""
        _, _, _, region, account, _, name = arn.split(":", 6)
        for alarms in (self._cloudwatch._alarms, self._cloudwatch._composite_alarms):
            alarm = alarms.get_scoped(account, region, name)
            if alarm is not None:
                return str(alarm["StateValue"])
        return None

    def _functions(self) -> list[Resource]:
        return [
            Resource(function["config"]["FunctionArn"], name, dict(function.get("tags") or {}))
            for name, function in list(self._lambda._functions.items())
        ]

    def _tables(self, region: str) -> list[Resource]:
        found = []
        for name, table in list(self._dynamodb._tables.items()):
            peers = tuple(sorted(set(self._dynamodb._replica_group(table)) - {region}))
            tags = {tag["Key"]: tag["Value"] for tag in self._dynamodb._tags.get(table["TableArn"], [])}
            if peers:
                found.append(Resource(table["TableArn"], name, tags, peers))
        return found
