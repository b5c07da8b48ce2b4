"""One region's DynamoDB, in memory: exactly the calls that the handlers and ``ops.divergence`` make.

Requests and answers have the shape of botocore's client. Two things differ from moto on purpose, because the service is
so: an eventually consistent read answers what was there before the latest writes until ``catch_up`` is called, and
every call passes a gate, where a test may let it fail, take effect without an answer, or make it wait.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from tests.unit.model.expressions import Expression

Key = tuple[str, ...]
Gate = Callable[[str, Callable[[], Any]], Any]
Written = Callable[[str, Key, dict[str, Any] | None, dict[str, Any] | None], None]


@dataclass
class Table:
    """Items by key; ``before`` is what an eventually consistent read may still see of a key."""

    keys: Key
    indexes: Mapping[str, Key] = field(default_factory=dict)
    items: dict[Key, dict[str, Any]] = field(default_factory=dict)
    before: dict[Key, dict[str, Any] | None] = field(default_factory=dict)

    def key_of(self, item: Mapping[str, Any]) -> Key:
        return tuple(item[name]["S"] for name in self.keys)

    def replace(self, key: Key, item: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Put or (None) delete; answers what was there."""
        old = self.items.get(key)
        self.before.setdefault(key, old)
        if item is None:
            self.items.pop(key, None)
        else:
            self.items[key] = copy.deepcopy(dict(item))
        return old

    def view(self, consistent: bool) -> dict[Key, dict[str, Any]]:
        if consistent or not self.before:
            return self.items
        seen: dict[Key, Any] = {**self.items, **self.before}
        return {key: item for key, item in seen.items() if item is not None}


def _at_once(_: str, effect: Callable[[], Any]) -> Any:
    return effect()


def _ignored(*_: Any) -> None:
    """For tables that nobody watches."""


class DynamoDB:
    """The client. ``written`` hears of every put, update and delete that takes effect: table, key, old, new."""

    def __init__(
        self, tables: Mapping[str, Table], gate: Gate = _at_once, written: Written = _ignored, region: str = ""
    ) -> None:
        self.tables = tables
        self.meta = SimpleNamespace(region_name=region, endpoint_url=f"http://dynamodb.{region}.example")
        self._gate = gate
        self._written = written

    def catch_up(self) -> None:
        """Let eventually consistent reads see everything."""
        for table in self.tables.values():
            table.before.clear()

    # --- writes -------------------------------------------------------------------------------------------------

    def put_item(
        self,
        *,
        TableName: str,  # noqa: N803
        Item: dict[str, Any],  # noqa: N803
        ExpressionAttributeNames: dict[str, str] | None = None,  # noqa: N803
        ExpressionAttributeValues: dict[str, Any] | None = None,  # noqa: N803
        **request: Any,
    ) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            key = self.tables[TableName].key_of(Item)
            names_and_values = (ExpressionAttributeNames, ExpressionAttributeValues)
            self._check(TableName, key, "PutItem", names_and_values, **request)
            return self._write(TableName, key, Item)

        return self._call("PutItem", effect)

    def update_item(
        self,
        *,
        TableName: str,  # noqa: N803
        Key: dict[str, Any],  # noqa: N803
        UpdateExpression: str,  # noqa: N803
        ExpressionAttributeValues: dict[str, Any],  # noqa: N803
        ExpressionAttributeNames: dict[str, str] | None = None,  # noqa: N803
        **request: Any,
    ) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            table = self.tables[TableName]
            key = table.key_of(Key)
            names_and_values = (ExpressionAttributeNames, ExpressionAttributeValues)
            self._check(TableName, key, "UpdateItem", names_and_values, **request)
            expression = Expression(UpdateExpression, *names_and_values)
            return self._write(TableName, key, expression.update(table.items.get(key, Key)))

        return self._call("UpdateItem", effect)

    def delete_item(self, *, TableName: str, Key: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        return self._call("DeleteItem", lambda: self._write(TableName, self.tables[TableName].key_of(Key), None))

    def _check(
        self,
        table: str,
        key: Key,
        operation: str,
        names_and_values: tuple[dict[str, str] | None, dict[str, Any] | None],
        *,
        ConditionExpression: str = "",  # noqa: N803
        ReturnValuesOnConditionCheckFailure: str = "NONE",  # noqa: N803
        **request: Any,
    ) -> None:
        _only(request, ())
        if not ConditionExpression:
            return
        found = self.tables[table].items.get(key)
        condition = Expression(ConditionExpression, *names_and_values)
        if not condition.holds(found or {}):
            response: Any = {
                "Error": {"Code": "ConditionalCheckFailedException", "Message": "The conditional request failed"}
            }
            if found and ReturnValuesOnConditionCheckFailure == "ALL_OLD":
                response["Item"] = copy.deepcopy(found)
            raise ClientError(response, operation)

    def _write(self, table: str, key: Key, item: dict[str, Any] | None) -> dict[str, Any]:
        old = self.tables[table].replace(key, item)
        self._written(table, key, old, self.tables[table].items.get(key))
        return {}

    # --- reads --------------------------------------------------------------------------------------------------

    def get_item(self, *, TableName: str, Key: dict[str, Any], ConsistentRead: bool = False) -> dict[str, Any]:  # noqa: N803
        def effect() -> dict[str, Any]:
            table = self.tables[TableName]
            item = table.view(ConsistentRead).get(table.key_of(Key))
            return {} if item is None else {"Item": copy.deepcopy(item)}

        return self._call("GetItem", effect)

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        def effect() -> dict[str, Any]:
            responses: dict[str, list[Any]] = {}
            for name, wanted in RequestItems.items():
                table, keys = self.tables[name], [self.tables[name].key_of(key) for key in wanted["Keys"]]
                if len(keys) > 100 or len(set(keys)) != len(keys):
                    raise ClientError({"Error": {"Code": "ValidationException"}}, "BatchGetItem")
                view = table.view(wanted.get("ConsistentRead", False))
                responses[name] = [copy.deepcopy(view[key]) for key in keys if key in view]
            return {"Responses": responses, "UnprocessedKeys": {}}

        return self._call("BatchGetItem", effect)

    def query(self, *, TableName: str, KeyConditionExpression: str, **request: Any) -> dict[str, Any]:  # noqa: N803
        def effect() -> dict[str, Any]:
            return self._query(self.tables[TableName], KeyConditionExpression, **request)

        return self._call("Query", effect)

    def _query(
        self,
        table: Table,
        condition: str,
        *,
        IndexName: str = "",  # noqa: N803
        FilterExpression: str = "",  # noqa: N803
        ExpressionAttributeNames: dict[str, str] | None = None,  # noqa: N803
        ExpressionAttributeValues: dict[str, Any] | None = None,  # noqa: N803
        ConsistentRead: bool = False,  # noqa: N803
        ScanIndexForward: bool = True,  # noqa: N803
        Limit: int = 1_000_000,  # noqa: N803
        ExclusiveStartKey: dict[str, Any] | None = None,  # noqa: N803
        **request: Any,
    ) -> dict[str, Any]:
        _only(request, ())
        if ExclusiveStartKey is not None:
            raise NotImplementedError("ExclusiveStartKey: no page of this stand-in is ever full")
        names, values = ExpressionAttributeNames, ExpressionAttributeValues
        keys = table.indexes[IndexName] if IndexName else table.keys
        where = Expression(condition, names, values)
        view = table.view(ConsistentRead)
        # One partition a query; evaluating the whole condition for the other items is most of the time of a test.
        found = [item for item in view.values() if where.begins_for(item, keys[0])]
        found = [item for item in found if all(name in item for name in keys) and where.holds(item)]
        found.sort(key=lambda item: [item[name]["S"].encode() for name in keys], reverse=not ScanIndexForward)
        page, rest = found[:Limit], found[Limit:]
        kept = [
            item for item in page if not FilterExpression or Expression(FilterExpression, names, values).holds(item)
        ]
        answer: dict[str, Any] = {"Items": copy.deepcopy(kept), "Count": len(kept), "ScannedCount": len(page)}
        if rest:
            answer["LastEvaluatedKey"] = {name: page[-1][name] for name in {*keys, *table.keys}}
        return answer

    # --- what comparing replicas asks besides -------------------------------------------------------------------

    def scan(self, *, TableName: str, Segment: int = 0, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Everything in one page of the first segment."""
        found = copy.deepcopy(list(self.tables[TableName].items.values())) if Segment == 0 else []
        return {"Items": found, "Count": len(found), "ScannedCount": len(found)}

    def describe_table(self, *, TableName: str) -> dict[str, Any]:  # noqa: N803
        names = self.tables[TableName].keys
        keys = [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]
        types = [{"AttributeName": name, "AttributeType": "S"} for name in names]
        return {"Table": {"KeySchema": keys, "AttributeDefinitions": types}}

    def describe_time_to_live(self, *, TableName: str) -> dict[str, Any]:  # noqa: N803
        del TableName
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}}

    def _call(self, operation: str, effect: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        answer: dict[str, Any] = self._gate(operation, effect)
        return answer


def _only(request: Mapping[str, Any], known: Iterable[str]) -> None:
    if unknown := sorted(set(request) - set(known)):
        raise NotImplementedError(f"{', '.join(unknown)}: the stand-in does not know it")
