"""One write of a repair: from the image that was seen to the one that is wanted, and never over anybody else's.

An item that is there is changed by an UpdateItem of what differs and of nothing else, under the condition that every
attribute that was seen has its value still and that none that is to be set has come meanwhile. So a change, a removal
and an addition of an attribute that is known all refuse the write, and an addition of one that is not known (for which
DynamoDB has no condition) outlives it, since an update leaves other attributes alone; the image that the write returns
tells of it. An item that is not there is put under the condition that it is still not there. A deletion takes the
whole item: what it returns tells whether an unknown attribute went with it, and then it is put back.

An expression has 4 KB and 300 operators at the most. An item that is too wide for a condition on all attributes is
updated under the condition on those that change and on its stamps, and is not deleted.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import error_code
from ops.divergence.repair.orders import Image, digest
from sketch.canonical import encode

MAX_EXPRESSION_BYTES, MAX_OPERATORS = 4096, 300
STAMPS = ("version", "written_region", "written_at")

WRITTEN, DELETED, CHANGED, REFUSED = "written", "deleted", "changed meanwhile", "refused"
# Answers that are about this item, and say nothing of the next one.
_OF_ITEM = ("ValidationException", "ItemCollectionSizeLimitExceededException")


class TooWideError(ValueError):
    """The item has more attributes than a condition can name."""


@dataclass
class Request:
    """A request's expressions as they are built; names and values stand under numbers."""

    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def name(self, attribute: str) -> str:
        return self.names.setdefault(attribute, f"#{len(self.names)}")

    def value(self, value: Any) -> str:
        self.values[f":{len(self.values)}"] = value
        return f":{len(self.values) - 1}"

    def equal(self, image: Image, attributes: Sequence[str]) -> list[str]:
        return [f"{self.name(one)}={self.value(image[one])}" for one in attributes]

    def arguments(self, **expressions: str) -> dict[str, Any]:
        named = {"ExpressionAttributeNames": {short: name for name, short in self.names.items()}}
        return expressions | named | ({"ExpressionAttributeValues": self.values} if self.values else {})


def write(client: Any, table: str, names: Sequence[str], seen: Image | None, wanted: Image | None) -> str:
    """Bring one replica from ``seen`` to ``wanted``.

    Args:
        names: the key attributes.

    Returns:
        :data:`WRITTEN`, :data:`DELETED`, :data:`CHANGED` (with what was seen of it), or :data:`REFUSED` with why.

    Raises:
        ClientError: the table could not be written to.
    """
    try:
        if wanted is None:
            return _delete(client, table, names, seen or {})
        if seen is None:
            return _put(client, table, names, wanted)
        return _update(client, table, names, seen, wanted)
    except TooWideError as error:
        return f"{REFUSED}: {error}"
    except ClientError as error:
        if error_code(error) == "ConditionalCheckFailedException":
            return CHANGED
        if error_code(error) in _OF_ITEM:
            return f"{REFUSED}: {error.response['Error'].get('Message', error_code(error))}"
        raise


def _put(client: Any, table: str, names: Sequence[str], wanted: Image) -> str:
    request = Request()
    condition = f"attribute_not_exists({request.name(names[0])})"
    client.put_item(TableName=table, Item=dict(wanted), **request.arguments(ConditionExpression=condition))
    return WRITTEN


def _update(client: Any, table: str, names: Sequence[str], seen: Image, wanted: Image) -> str:
    request, key = Request(), {name: seen[name] for name in names}
    to_set = [one for one in wanted if one not in names and not _same(one, seen, wanted)]
    to_remove = [one for one in seen if one not in wanted]
    parts = [f"{request.name(one)}={request.value(wanted[one])}" for one in to_set]
    update = f"SET {','.join(parts)}" if parts else ""
    update += f" REMOVE {','.join(request.name(one) for one in to_remove)}" if to_remove else ""
    _measure(update, len(parts) + len(to_remove))
    condition = _condition(request, names, seen, {*to_set, *to_remove})
    answer = client.update_item(
        TableName=table,
        Key=key,
        ReturnValues="ALL_NEW",
        **request.arguments(UpdateExpression=update.strip(), ConditionExpression=condition),
    )
    more = sorted(set(answer.get("Attributes", wanted)) - set(wanted))
    if more or digest(answer.get("Attributes", wanted)) != digest(wanted):
        return f"{CHANGED}: the write of another came first and is kept: {', '.join(more) or 'an attribute'}"
    return WRITTEN


def _delete(client: Any, table: str, names: Sequence[str], seen: Image) -> str:
    request = Request()
    condition = _condition(request, names, seen, set(seen))
    answer = client.delete_item(
        TableName=table,
        Key={name: seen[name] for name in names},
        ReturnValues="ALL_OLD",
        **request.arguments(ConditionExpression=condition),
    )
    gone = answer.get("Attributes", seen)
    if digest(gone) == digest(seen):
        return DELETED
    more = ", ".join(sorted(set(gone) - set(seen)))
    try:
        _put(client, table, names, gone)
    except ClientError as error:
        if error_code(error) != "ConditionalCheckFailedException":
            raise
        return f"{CHANGED}: {more} came while it was deleted, and the item was written anew since"
    return f"{CHANGED}: {more} came while it was deleted; it is put back"


def _condition(request: Request, names: Sequence[str], seen: Image, changing: set[str]) -> str:
    """That the item is still as it was seen: in all attributes, or where they are too many in those that change."""
    every = [one for one in seen if one not in names]
    least = [one for one in every if one in changing or one in STAMPS]
    for attributes in (every, least):
        # What a request names must be used in it.
        trial = Request(dict(request.names), dict(request.values))
        parts = [f"attribute_exists({trial.name(names[0])})"]
        parts += [f"attribute_not_exists({trial.name(one)})" for one in sorted(changing - set(seen))]
        parts += trial.equal(seen, attributes)
        condition = " AND ".join(parts)
        # Comparisons and functions, and an AND between each two of them.
        if len(condition) <= MAX_EXPRESSION_BYTES and 2 * len(parts) - 1 <= MAX_OPERATORS:
            request.names, request.values = trial.names, trial.values
            return condition
    raise TooWideError(f"{len(least)} of its attributes would have to be compared, more than one condition can name")


def _measure(expression: str, operators: int) -> None:
    if len(expression) > MAX_EXPRESSION_BYTES or operators > MAX_OPERATORS:
        raise TooWideError(f"{operators} attributes differ, more than one expression can name")


def _same(attribute: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return attribute in one and encode(one[attribute], attribute) == encode(other[attribute], attribute)
