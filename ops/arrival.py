"""Has it arrived? Which accepted events are in each region's replica, and a bounded wait for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ops.aws import Cloud, explained
from ops.errors import OpsError

BATCH_GET_LIMIT = 100
MAX_UNPROCESSED_ROUNDS = 10


def present(cloud: Cloud, region: str, event_keys: Iterable[str]) -> set[str]:
    """Those of ``event_keys`` whose item is in the region's replica (strong reads, keys only).

    Raises:
        OpsError: the table cannot be read, or keeps leaving keys unprocessed.
    """
    return set(items(cloud, region, event_keys, ProjectionExpression="event_key"))


def items(cloud: Cloud, region: str, event_keys: Iterable[str], **options: Any) -> dict[str, Any]:
    """The items, by event key, of those of ``event_keys`` that the region's replica holds (strong reads).

    ``options`` go to BatchGetItem (a projection that has ``event_key``).

    Raises:
        OpsError: the table cannot be read, or keeps leaving keys unprocessed.
    """
    wanted = [{"pk": {"S": f"EVENT#{key}"}, "sk": {"S": "EVENT"}} for key in sorted(set(event_keys))]
    found = get(cloud, region, cloud.stage.table_name, wanted, **options)
    return {item["event_key"]["S"]: item for item in found}


def get(cloud: Cloud, region: str, table: str, keys: Sequence[dict[str, Any]], **options: Any) -> list[Any]:
    """The items that a region's table has under ``keys`` (strong reads), in any order.

    Raises:
        OpsError: the table cannot be read, or keeps leaving keys unprocessed.
    """
    dynamodb: Any = cloud.client("dynamodb", region)
    found: list[Any] = []
    with explained(f"{region}: reading table {table}"):
        for start in range(0, len(keys), BATCH_GET_LIMIT):
            wanted = list(keys[start : start + BATCH_GET_LIMIT])
            for _ in range(MAX_UNPROCESSED_ROUNDS):
                answer = dynamodb.batch_get_item(
                    RequestItems={table: {"Keys": wanted, "ConsistentRead": True, **options}}
                )
                found += answer["Responses"].get(table, [])
                wanted = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
                if not wanted:
                    break
            else:
                raise OpsError(
                    f"{region}: table {table} leaves keys unprocessed: it is throttled", hint="Repeat later."
                )
    return found


def wait(
    cloud: Cloud,
    event_keys: Iterable[str],
    *,
    timeout_s: float = 120.0,
    poll_s: float = 0.5,
    progress: Callable[[dict[str, int]], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Wait until every event is in every region; return the seconds it took.

    Raises:
        OpsError: the time is over; the message has how many are missing where.
    """
    missing = {region: set(event_keys) for region in cloud.stage.regions}
    started = clock()
    with ThreadPoolExecutor(max_workers=len(missing)) as pool:
        while True:
            found = pool.map(lambda region: (region, present(cloud, region, missing[region])), missing)
            for region, keys in list(found):
                missing[region] -= keys
            progress({region: len(keys) for region, keys in missing.items()})
            if not any(missing.values()):
                return clock() - started
            if clock() - started > timeout_s:
                left = ", ".join(f"{region} lacks {len(keys)}" for region, keys in missing.items() if keys)
                raise OpsError(f"after {timeout_s:.0f} s events are still missing: {left}", hint="Look at: ops status")
            sleep(poll_s)
