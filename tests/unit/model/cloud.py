"""Several regions in memory, with the product's own handlers and the local cloud's own replication in them.

What is real: ``handlers`` and Powertools under them, and ``ops.local.emulator.replication``. What stands in for AWS:
the tables (``dynamo``), a bus with an archive, a queue and a DLQ for each processor, and the clock, which moves only
when told, by a millisecond a write. Every write to the global table is taken down in the order in which it was made:
with a clock that never stands still, the last one is what last writer wins has to keep, whatever the replication does.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import urlencode

import pytest
from aws_lambda_powertools.utilities.idempotency.persistence import base, datarecord
from aws_lambda_powertools.utilities.idempotency.persistence import dynamodb as persistence
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from handlers import activity, ingest, query, store
from handlers.core import acceptance, activity_report, aws, observability, processing, strictjson, timestamps
from handlers.core import settings as settings_module
from handlers.core.bus import Bus
from handlers.core.idempotency import Ledger
from ops.local.emulator.replication import NS_PER_MS, ReplicationLog, Stamp, Write
from tests.unit.handlers.support import BATCHED, ENVIRONMENT, Context, envelope, post, request, sqs_record
from tests.unit.model.dynamo import DynamoDB, Key, Table
from tests.unit.model.invocation import Fault, Invocation, interleave

TABLE, LEDGER = ENVIRONMENT["ATOLL_TABLE"], ENVIRONMENT["ATOLL_IDEMPOTENCY_TABLE"]
START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
RETENTION = timedelta(days=int(ENVIRONMENT["ATOLL_EVENT_RETENTION_DAYS"]))
MAX_RECEIVES = 3
Processor = Literal["store", "activity"]
PROCESSORS: dict[Processor, Any] = {"store": store, "activity": activity}


@dataclass
class Message:
    """One message of a queue, with how often it was received."""

    id: str
    body: str
    receives: int = 0


@dataclass
class Queue:
    waiting: list[Message] = field(default_factory=list)
    dead: list[Message] = field(default_factory=list)


@dataclass(frozen=True)
class Published:
    """An entry that a bus accepted: what PutEvents promised to deliver."""

    key: str
    tenant: str
    region: str
    digest: str
    kind: str
    minute: str | None
    expires: datetime
    entry: dict[str, Any]


@dataclass
class Region:
    name: str
    dynamodb: DynamoDB
    ledger: Ledger | None = None
    archive: list[Published] = field(default_factory=list)
    queues: dict[Processor, Queue] = field(default_factory=lambda: {"store": Queue(), "activity": Queue()})
    up: bool = True
    bus_up: bool = True


class Serial:
    """Stands in for a thread pool: what runs at a time is the schedule's affair, not the machine's."""

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    map = staticmethod(map)


class World:
    """All regions, one clock. Call ``close`` at the end: the handlers are the process's own."""

    def __init__(self, regions: Sequence[str], lag_ms: float) -> None:
        self.now = START
        self.journal: list[tuple[str, Key, dict[str, Any] | None]] = []
        self.reached: dict[tuple[str, Key], int] = {}
        self.lost: set[tuple[int, str]] = set()
        self._taken: set[tuple[int, str]] = set()
        self._losing: set[tuple[str, str]] = set()
        self.violations: list[str] = []
        self.by_hand = False
        self._messages = 0
        self._numbers: dict[tuple[Key, Stamp], int] = {}
        self._current: Invocation | None = None
        self.log = ReplicationLog(apply=self._apply, clock=self._ns, default_lag_ms=lag_ms)
        self.log.connect(regions)
        self.regions = {name: self._region(name) for name in regions}
        self._patch = pytest.MonkeyPatch()
        self._take_over()
        for region in self.regions.values():
            region.ledger = Ledger(region.dynamodb, settings_module.load(self._environment(region.name, "store")))  # type: ignore[arg-type]

    def close(self) -> None:
        self._patch.undo()

    # --- what the handlers see ----------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Put the handlers of this process on this world: its clients, its settings by region, its clock."""
        world, patch = self, self._patch

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return datetime.fromtimestamp(world.now.timestamp(), tz)

        patch.setattr(aws, "_client", lambda service, profile: self._client(service))
        patch.setattr(ingest, "_ledger", lambda: self.regions[self._invocation.region].ledger)
        patch.setattr(ingest, "Bus", partial(Bus, sleep=lambda _: None))
        patch.setattr(processing, "_PROCESSOR", processing._PROCESSOR)  # `enter` replaces it; put back at the end
        patch.setattr(acceptance, "ThreadPoolExecutor", Serial)
        patch.setattr(activity_report, "ThreadPoolExecutor", Serial)
        patch.setattr(timestamps, "time", SimpleNamespace(time=self._seconds))
        for module in (base, datarecord, persistence):
            patch.setattr(module, "dt", SimpleNamespace(datetime=Clock, timedelta=timedelta))
        for module in _handler_modules():
            if hasattr(module, "settings") and callable(module.settings):
                patch.setattr(module, "settings", lambda: self._invocation.settings)
            if hasattr(module, "queue_settings"):
                patch.setattr(
                    module, "queue_settings", lambda: settings_module.load_queue(self._invocation.environment)
                )
        # What functions say is not what is checked here, and writing it takes longer than all the rest.
        patch.setattr(observability.logger._logger, "disabled", True)
        silent = SimpleNamespace(add_metric=lambda **_: None, provider=SimpleNamespace(metric_set={}))
        patch.setattr(observability, "_metrics", lambda: silent)

    @property
    def _invocation(self) -> Invocation:
        assert self._current is not None, "a handler ran outside of an invocation"
        return self._current

    def _environment(self, region: str, processor: str) -> dict[str, str]:
        return ENVIRONMENT | {
            "AWS_REGION": region,
            "ATOLL_REGIONS": ",".join(self.regions),
            "ATOLL_DLQ_URL": f"https://queues.invalid/{region}/{processor}",
            "ATOLL_MAX_RECEIVE_COUNT": str(MAX_RECEIVES),
        }

    def _client(self, service: str) -> Any:
        region = self.regions[self._invocation.region]
        match service:
            case "dynamodb":
                return region.dynamodb
            case "events":
                return SimpleNamespace(put_events=lambda Entries: self._put_events(region, Entries))  # noqa: N803
            case "sqs":
                return SimpleNamespace(send_message=self._dead_letter)
        raise NotImplementedError(service)

    def _gate(self, operation: str, effect: Callable[[], Any]) -> Any:
        return effect() if self._current is None else self._current.gate(operation, effect)

    # --- table and replication ----------------------------------------------------------------------------------

    def _region(self, name: str) -> Region:
        tables = {
            TABLE: Table(("pk", "sk"), {"by_time": ("gsi_pk", "gsi_sk")}),
            LEDGER: Table(("id",)),
        }
        return Region(name, DynamoDB(tables, self._gate, partial(self._written, name), region=name))

    def items(self, region: str) -> dict[Key, dict[str, Any]]:
        return self.regions[region].dynamodb.tables[TABLE].items

    def _written(
        self, region: str, table: str, key: Key, old: dict[str, Any] | None, new: dict[str, Any] | None
    ) -> None:
        self.pass_time(milliseconds=1)
        if table != TABLE:
            return
        if not self.by_hand:
            if new is None:
                self.violations.append(f"a handler in {region} deleted {key}")
            elif old and key[1] == "EVENT" and not self.expired(old):
                self.violations.append(f"a handler in {region} overwrote {key}")
        self._noted(region, key, old, new)
        self.journal.append((region, key, copy.deepcopy(new)))
        self.reached[region, key] = len(self.journal) - 1
        stamp = self.log.record(TABLE, region, self.regions, key, copy.deepcopy(new))
        self._numbers[key, stamp] = len(self.journal) - 1
        self.lost.update((len(self.journal) - 1, other) for source, other in self._losing if source == region)

    def _apply(self, write: Write, region: str) -> bool:
        key: Any = write.key
        table = self.regions[region].dynamodb.tables[TABLE]
        self._noted(region, key, table.items.get(key), write.item)
        table.replace(key, write.item)
        self.reached[region, key] = self._numbers[key, write.stamp]
        self._taken.add((self.reached[region, key], region))
        return True

    def cut(self, source: str, destination: str, *, lose: bool = False) -> None:
        """Cut a link; one that loses writes loses also those that have not arrived."""
        self.log.cut(source, destination, lose=lose)
        if not lose:
            self._losing.discard((source, destination))
            return
        self._losing.add((source, destination))
        made = {(number, destination) for number, (region, _, _) in enumerate(self.journal) if region == source}
        self.lost |= made - self._taken

    def heal(self, source: str, destination: str) -> None:
        self.log.heal(source, destination)
        self._losing.discard((source, destination))

    def expected(self, region: str) -> dict[Key, dict[str, Any]]:
        """What last writer wins leaves in a region: of each item the last write that was not lost on its way there."""
        last = {key: item for number, (_, key, item) in enumerate(self.journal) if (number, region) not in self.lost}
        return {key: item for key, item in last.items() if item is not None}

    def as_cloud(self) -> Any:
        """The regions as ``ops`` sees them."""
        return SimpleNamespace(
            client=lambda service, region: self.regions[region].dynamodb, credentials=Credentials("model", "model")
        )

    def _noted(self, region: str, key: Key, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        """Per-item order: the version of an activity item, which one region writes, never goes back."""
        if old and new and key[0].startswith("ACTIVITY#") and int(new["version"]["N"]) < int(old["version"]["N"]):
            self.violations.append(f"{key} went back in {region}")

    def expired(self, item: Mapping[str, Any]) -> bool:
        return int(item["expires_at"]["N"]) <= self.now.timestamp()

    def _seconds(self) -> float:
        return self.now.timestamp()

    # --- time ---------------------------------------------------------------------------------------------------

    def _ns(self) -> int:
        return round((self.now - START) / timedelta(milliseconds=1)) * NS_PER_MS

    def pass_time(self, **amount: float) -> None:
        self.now += timedelta(**amount)

    def replicate(self) -> None:
        """Deliver what is due, and let eventually consistent reads see what is there."""
        self.log.pump()
        for region in self.regions.values():
            region.dynamodb.catch_up()
        self._raise()

    def expire(self, region: str) -> None:
        """Time to live deletes what has expired in a region, as its replica has it.

        Not while a newer write of the item is on its way there: AWS deletes by what the replica holds, and a life that
        another region extended in that very second would be lost. The product assumes that it does not happen.
        """
        for key, item in list(self.items(region).items()):
            newest = {self.reached.get((name, key)) for name in self.regions}
            if self.expired(item) and len(newest) == 1:
                self.delete(region, key)
        ledger = self.regions[region].dynamodb.tables[LEDGER]
        for key, record in list(ledger.items.items()):
            if int(record["expiration"]["N"]) < self.now.timestamp():
                ledger.replace(key, None)

    def delete(self, region: str, key: Key) -> None:
        """Delete an item as someone other than the handlers does."""
        self.by_hand = True
        self.regions[region].dynamodb.delete_item(TableName=TABLE, Key={"pk": {"S": key[0]}, "sk": {"S": key[1]}})
        self.by_hand = False

    # --- bus and queues -----------------------------------------------------------------------------------------

    def _put_events(self, region: Region, entries: list[dict[str, Any]]) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if not region.bus_up:
                raise ClientError({"Error": {"Code": "InternalException", "Message": "bus is down"}}, "PutEvents")
            for entry in entries:
                published = _published(region.name, entry)
                region.archive.append(published)
                self.deliver(region.name, published)
            return {"Entries": [{"EventId": f"e{number}"} for number in range(len(entries))]}

        answer: dict[str, Any] = self._gate("PutEvents", effect)
        return answer

    def deliver(self, region: str, published: Published, replay: str = "") -> None:
        """The bus hands an entry to every rule: one message a queue, in an envelope of its own."""
        for queue in self.regions[region].queues.values():
            self._messages += 1
            name = f"m{self._messages}"
            extra = {"replay-name": replay} if replay else {}
            # The envelope's identity is a new one each time, and must not matter.
            body = envelope(published.entry, **extra, id=str(uuid.UUID(int=self._messages)))
            queue.waiting.append(Message(name, body))

    def _dead_letter(self, *, QueueUrl: str, MessageBody: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        def effect() -> dict[str, Any]:
            *_, region, name = QueueUrl.split("/")
            processor: Any = name
            self._messages += 1
            self.regions[region].queues[processor].dead.append(Message(f"m{self._messages}", MessageBody))
            return {"MessageId": f"m{self._messages}"}

        answer: dict[str, Any] = self._gate("SendMessage", effect)
        return answer

    # --- invocations --------------------------------------------------------------------------------------------

    def call(self, region: str, handler: Any, event: dict[str, Any], fault: Fault | None = None) -> Invocation:
        """An invocation, yet to be run. ``handler`` is the function's module."""
        processor = next((name for name, module in PROCESSORS.items() if module is handler), "store")
        environment = self._environment(region, processor)
        context = Context(function_name=processor) if _NAMED else Context()
        settings = settings_module.load(environment)
        return Invocation(region, settings, environment, lambda: handler.handler(event, context), fault)

    def enter(self, invocation: Invocation) -> None:
        """Make the process that of one invocation."""
        self._current = invocation
        processing._PROCESSOR = invocation.processor

    def run(self, invocation: Invocation) -> Invocation:
        self.enter(invocation)
        invocation.finish()
        self._leave()
        return invocation

    def _leave(self) -> None:
        self._current = None
        self._raise()

    def _raise(self) -> None:
        """What went wrong while handlers or replication ran; they would have caught it."""
        assert not self.violations, "; ".join(self.violations)

    def run_together(self, invocations: Sequence[Invocation], schedule: Sequence[int]) -> None:
        interleave(invocations, schedule, self.enter)
        self._leave()

    def posting(
        self, region: str, tenant: str, events: Sequence[dict[str, Any]], fault: Fault | None = None
    ) -> Invocation:
        """A client's request to ingest: one event in structured mode, more as a batch."""
        claims = {"claims": {"client_id": tenant}}
        event = post(events[0], **claims) if len(events) == 1 else post(list(events), BATCHED, **claims)
        return self.call(region, ingest, event, fault)

    def processing(
        self, region: str, processor: Processor, picks: Sequence[int], fault: Fault | None = None
    ) -> tuple[Invocation, list[Message]]:
        """A function's batch: the picked messages of its queue, in that order."""
        waiting = self.regions[region].queues[processor].waiting
        taken = list({pick % len(waiting): waiting[pick % len(waiting)] for pick in picks}.values())
        records = []
        for message in taken:
            message.receives += 1
            record = sqs_record(message.id, message.body)
            record["attributes"]["ApproximateReceiveCount"] = str(message.receives)
            records.append(record)
        return self.call(region, PROCESSORS[processor], {"Records": records}, fault), taken

    def acknowledge(
        self, invocation: Invocation, processor: Processor, taken: Sequence[Message], *, again: bool = False
    ) -> list[Message]:
        """What the queue does after a batch: done messages go (unless SQS delivers them ``again``), those that failed
        too often go to the DLQ, all others stay. Answers those that were done."""
        queue = self.regions[invocation.region].queues[processor]
        failed = {message.id for message in taken}
        if not invocation.killed:
            failed = {failure["itemIdentifier"] for failure in invocation.answer["batchItemFailures"]}
        for message in taken:
            if message not in queue.waiting:
                continue  # another batch had it as well, and is done with it
            if message.id in failed and message.receives >= MAX_RECEIVES:
                queue.waiting.remove(message)
                queue.dead.append(message)
            elif message.id not in failed and not again:
                queue.waiting.remove(message)
        return [message for message in taken if message.id not in failed]

    def redrive(self, region: str, processor: Processor) -> None:
        queue = self.regions[region].queues[processor]
        for message in queue.dead:
            message.receives = 0
        queue.waiting += queue.dead
        queue.dead = []

    def replay(self, source: str, into: str, first: int, last: int, name: str) -> None:
        """Replay a part of a region's archive (or, elsewhere, of its journal) onto a region's bus."""
        for published in self.regions[source].archive[first:last]:
            self.deliver(into, published, name)

    def get(self, region: str, tenant: str, route: str, *, key: str = "", **parameters: str) -> Any:
        """A read through the query function: the status, and the body of the answer."""
        event = request(
            route, query=urlencode(parameters), path={"event_key": key} if key else None, claims={"client_id": tenant}
        )
        answer = self.run(self.call(region, query, event)).answer
        return answer["statusCode"], json.loads(answer["body"])

    # --- quiescence ---------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Process every message that waits, without faults, until none does."""
        for name, region in self.regions.items():
            for processor, queue in region.queues.items():
                for _ in range(MAX_RECEIVES * (len(queue.waiting) + 1)):
                    if not queue.waiting:
                        break
                    # Oldest first: a message that failed waits behind the others.
                    queue.waiting.sort(key=lambda message: message.receives)
                    invocation, taken = self.processing(name, processor, range(min(10, len(queue.waiting))))
                    self.acknowledge(self.run(invocation), processor, taken)
                assert not queue.waiting, f"{processor} in {name} never ends"

    def settle(self) -> None:
        """Mend everything, process everything, deliver everything."""
        for region in self.regions.values():
            region.up = region.bus_up = True
        for link in self.log.links():
            self.heal(link.source, link.destination)
        self.drain()
        self.pass_time(seconds=60)
        self.replicate()


_NAMED = "function_name" in Context.__dataclass_fields__


def _handler_modules() -> Iterator[Any]:
    return (module for name, module in list(sys.modules.items()) if name.startswith("handlers."))


def _published(region: str, entry: dict[str, Any]) -> Published:
    detail = json.loads(entry["Detail"])
    event = detail["event"]
    text = strictjson.canonical(event)
    moment = event.get("time")
    return Published(
        key=detail["event_key"],
        tenant=detail["tenant"],
        region=region,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        kind=event["type"],
        minute=None if moment is None else moment[:16] + ":00Z",
        expires=timestamps.parse(detail["accepted_at"]) + RETENTION,
        entry=entry,
    )
