"""Global tables, whose writes reach the other regions as ``replication`` says: late, and last writer wins."""

from __future__ import annotations

import asyncio
import copy
import importlib
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, cast

from ops.local.emulator.replication import NS_PER_MS, ReplicationLog, Write, settled
from ops.local.emulator.scopes import Scope, entered, here

PUMP_LIMIT = 500


class GlobalTables:
    """Replicates the writes of global tables through a ReplicationLog, on the loop that serves requests.

    DynamoDB handlers run on that loop too, so a delivery never interleaves with one of them.
    """

    def __init__(self, default_lag_ms: float, publish: Callable[[Scope, str, str, float], None]) -> None:
        self._dynamodb = importlib.import_module("ministack.services.dynamodb")
        self._app = importlib.import_module("ministack.app")
        self._create = self._dynamodb._create_replica
        self._publish = publish
        self._lock = threading.RLock()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_ns: int | None = None
        self._woken = False
        self.log = ReplicationLog(apply=self._apply, clock=time.monotonic_ns, default_lag_ms=default_lag_ms)

    def replicate_write(
        self, table: dict[str, Any], event_name: str, old_item: dict[str, Any] | None, new_item: dict[str, Any] | None
    ) -> None:
        """Stands in for ``_replicate_write``: takes the write down and returns."""
        regions = self._dynamodb._replica_group(table)
        item = new_item if new_item is not None else old_item
        if not regions or item is None:
            return
        home = here()
        with self._lock:
            # The emulator updates items in place: what is on its way must be what was written.
            payload = None if new_item is None else copy.deepcopy(new_item)
            self.log.record((home.account, table["TableName"]), home.region, regions, self._key(table, item), payload)
        self._wake()

    def create_replica(self, name: str, table: dict[str, Any], region: str) -> None:
        """Stands in for ``_create_replica``: the copy, and then what is still on its way to the table copied."""
        with self._lock:
            self._create(name, table, region)
            home = here()
            self.log.add_replica((home.account, name), home.region, region)
        self._wake()

    def change(self, action: Callable[[ReplicationLog], None]) -> None:
        """Change lags or cuts, then deliver what that made due."""
        with self._lock:
            action(self.log)
        self._wake()

    def state(self) -> dict[str, Any]:
        """What ``GET /_atoll/replication`` answers."""
        with self._lock:
            self._list_links()
            links = self.log.links()
        return {
            "default_lag_ms": self.log.default_lag_ms,
            "idle": settled(links),
            "pending": sum(link.pending for link in links),
            "held": sum(link.pending for link in links if link.cut),
            "dropped": sum(link.dropped for link in links),
            "links": [asdict(link) for link in links],
        }

    def _list_links(self) -> None:
        for table in self._dynamodb._tables.all_values():
            self.log.connect(self._dynamodb._replica_group(table))

    def _wake(self) -> None:
        """Have ``_deliver`` run soon, once for all that asked until then."""
        loop = self._app._MAIN_LOOP
        with self._lock:
            if loop is None or self._woken:
                return
            self._woken = True
        loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            self._woken = False
            due_ns = self.log.pump(PUMP_LIMIT)
            if due_ns == self._timer_due_ns and self._timer is not None:
                return
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_due_ns = None, due_ns
            if due_ns is not None:
                wait_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._deliver()

    def _key(self, table: dict[str, Any], item: dict[str, Any]) -> tuple[Any, Any]:
        extract = self._dynamodb._extract_key_val
        # "__no_sort__" is the emulator's own place for items of a table without a sort key.
        sort = extract(item.get(table["sk_name"])) if table["sk_name"] else "__no_sort__"
        return extract(item.get(table["pk_name"])), sort

    def _apply(self, write: Write, region: str) -> bool:
        account, name = cast("tuple[str, str]", write.table)
        partition, sort = cast("tuple[Any, Any]", write.key)
        with entered(Scope(account, region)):
            table = self._dynamodb._tables.get(name)
            if table is None or write.source not in self._dynamodb._replica_group(table):
                return False  # deleted, or taken out of the group, since the write was made
            previous = table["items"].get(partition, {}).get(sort)
            if write.item is None:
                self._dynamodb._remove_item(table, partition, sort)
            else:
                self._dynamodb._set_item(table, partition, sort, copy.deepcopy(write.item))
            if write.item is not None or previous is not None:
                event = "REMOVE" if write.item is None else "MODIFY" if previous else "INSERT"
                self._dynamodb._emit_stream_event(name, event, previous, copy.deepcopy(write.item), replicate=False)
        lag_ms = (time.monotonic_ns() - write.recorded_ns) / NS_PER_MS
        self._publish(Scope(account, write.source), name, region, float(round(lag_ms)))
        return True
