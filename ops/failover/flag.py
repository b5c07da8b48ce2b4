"""The evacuation flag: the item of the global table that says that a region was left on purpose.

It is written and taken away with the data plane of DynamoDB alone, through the replica of a surviving region first and
through the region's own when no other answers. Once it is in one replica, the health check of the region turns red in
two ways that need nothing of each other: by the region's own ``/status`` (which needs replication to get there), and by
``GET /evacuated/<region>`` at the next region of the ring (which needs nothing of the region at all).

What always holds: a write is conditional on what was read just before, so that nobody's flag is overwritten and none is
taken away that another set; setting what is set and clearing what is not there change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ops.aws import Cloud, error_code
from ops.errors import OpsError
from ops.fanout import each
from ops.record import now_text
from ops.stage import Stage

PK = "CONTROL#evacuation"


@dataclass(frozen=True)
class Flag:
    """Who left ``region``, when and why. Times are RFC 3339 in UTC; ``version`` counts from 1."""

    region: str
    reason: str
    since: str
    by: str
    run: str
    written_region: str = ""
    written_at: str = ""
    version: int = 1

    def item(self) -> dict[str, Any]:
        """As DynamoDB keeps it."""
        text = {one.name: {"S": str(getattr(self, one.name))} for one in fields(self) if one.name != "version"}
        return {"pk": {"S": PK}, "sk": {"S": self.region}, **text, "version": {"N": str(self.version)}}

    @classmethod
    def of(cls, item: dict[str, Any]) -> Flag:
        """The flag of an item; what an item lacks is empty."""
        text = {one.name: item.get(one.name, {}).get("S", "") for one in fields(cls) if one.name != "version"}
        text["region"] = item["sk"]["S"]
        return cls(**text, version=int(item.get("version", {}).get("N", "1")))


@dataclass(frozen=True)
class Reading:
    """What each replica says of one region; ``silent`` has the replicas that could not be asked, with the reason."""

    region: str
    flags: dict[str, Flag | None]
    silent: dict[str, str]

    @property
    def flag(self) -> Flag | None:
        """The flag, if any replica has it."""
        return next((flag for flag in self.flags.values() if flag is not None), None)


@dataclass(frozen=True)
class Written:
    """A flag set or cleared: by which replica, and which were asked before it without an answer."""

    done: str  # "set", "cleared", or "already so"
    via: str
    flag: Flag | None
    tried: dict[str, str]

    def __str__(self) -> str:
        failed = "".join(f"; {region} gave no answer ({why})" for region, why in self.tried.items())
        return f"{self.done} through {self.via}{failed}"


def ways(stage: Stage, region: str) -> list[str]:
    """The replicas in the order in which they are tried: along the ring from the next region, ``region`` itself last.

    The next region is the one that the inverted health check asks: what it writes, it knows at once.
    """
    at = stage.regions.index(stage.require_region(region))
    return [*stage.regions[at + 1 :], *stage.regions[:at], region]


def read(cloud: Cloud, region: str, replicas: Sequence[str] = ()) -> Reading:
    """Ask every replica (or ``replicas``), strongly, whether ``region`` is evacuated. A silent one is named as such."""

    def ask(replica: str) -> Flag | str | None:
        try:
            return _get(cloud, region, replica)
        except (ClientError, BotoCoreError) as error:
            return _why(error)

    found = each(replicas or ways(cloud.stage, region), ask)
    return Reading(
        region,
        {replica: answer for replica, answer in found.items() if not isinstance(answer, str)},
        {replica: answer for replica, answer in found.items() if isinstance(answer, str)},
    )


def read_all(cloud: Cloud) -> dict[str, Reading]:
    """:func:`read` of every region of the stage."""
    return each(cloud.stage.regions, lambda region: read(cloud, region))


def set_flag(cloud: Cloud, region: str, *, reason: str, by: str, run: str) -> Written:
    """Set the flag of ``region``, by the first replica that answers.

    Raises:
        OpsError: no replica answered, or none let it be written.
    """

    def put(replica: str) -> Written:
        flag = _get(cloud, region, replica)
        if flag is not None:
            return Written("already so", replica, flag, {})
        now = now_text()
        made = Flag(region, reason, now, by, run, written_region=replica, written_at=now)
        try:
            cloud.client("dynamodb", replica).put_item(
                TableName=cloud.stage.table_name, Item=made.item(), ConditionExpression="attribute_not_exists(pk)"
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            # Another set it between our two calls; or our own first attempt did, whose answer was lost.
            return Written("already so", replica, _get(cloud, region, replica), {})
        return Written("set", replica, made, {})

    return _first(cloud, region, put, "setting")


def clear_flag(cloud: Cloud, expected: Flag) -> Written:
    """Take away the flag that was read, by the first replica that answers; none there is already so.

    Raises:
        OpsError: no replica answered, or another flag stands in its place: somebody left the region once more.
    """
    region = expected.region

    def delete(replica: str) -> Written:
        try:
            cloud.client("dynamodb", replica).delete_item(
                TableName=cloud.stage.table_name,
                Key={"pk": {"S": PK}, "sk": {"S": region}},
                ConditionExpression="attribute_not_exists(pk) OR (#since = :since AND #run = :run)",
                ExpressionAttributeNames={"#since": "since", "#run": "run"},
                ExpressionAttributeValues={":since": {"S": expected.since}, ":run": {"S": expected.run}},
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            raise OpsError(
                f"{region}: another flag stands in {replica} than the one that was read (since {expected.since})",
                hint="Somebody left the region once more: make a new plan, and read why.",
            ) from error
        return Written("cleared", replica, None, {})

    return _first(cloud, region, delete, "clearing")


def _first(cloud: Cloud, region: str, write: Callable[[str], Written], doing: str) -> Written:
    tried: dict[str, str] = {}
    for replica in ways(cloud.stage, region):
        try:
            return replace(write(replica), tried=tried)
        except (ClientError, BotoCoreError) as error:
            tried[replica] = _why(error)
    said = "; ".join(f"{replica}: {why}" for replica, why in tried.items())
    raise OpsError(
        f"{doing} the evacuation flag of {region}: no replica took it: {said}",
        hint="The second way is Route 53's control plane (us-east-1): docs/failover.md has the command.",
    )


def _get(cloud: Cloud, region: str, replica: str) -> Flag | None:
    key: Any = {"pk": {"S": PK}, "sk": {"S": region}}
    found = cloud.client("dynamodb", replica).get_item(TableName=cloud.stage.table_name, Key=key, ConsistentRead=True)
    return Flag.of(found["Item"]) if "Item" in found else None


def _why(error: Exception) -> str:
    return error_code(error) if isinstance(error, ClientError) else type(error).__name__
