"""The model checker: random histories of a multi-region platform, and what has to be true when it has come to rest.

A history is made of what clients, queues, networks, operators and time do. Each rule says so in its name, so that a
failing history reads like an incident report. What is checked, and what is assumed, is in ``docs/model-checker.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, islice
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from handlers.core import strictjson, timestamps
from handlers.core.cloudevents import digest
from handlers.core.identity import event_key
from ops import divergence
from ops.divergence import Pace
from sketch.canonical import Checksum, item_digest
from tests.unit.handlers.support import ENVIRONMENT, body_of, cloudevent
from tests.unit.model.cloud import PROCESSORS, RETENTION, START, TABLE, Message, Processor, Published, World
from tests.unit.model.invocation import Fault, Invocation
from tests.unit.ops.divergence.answered import by_boto3

NAMES = ("us-east-1", "ap-south-1", "eu-west-1", "sa-east-1")
TENANTS = ("north", "south")
DAY = timedelta(days=1)
WINDOW = timedelta(seconds=int(ENVIRONMENT["ATOLL_IDEMPOTENCY_WINDOW_S"]))


def _in_one_bucket(tenant: str) -> Iterable[str]:
    """Ids of events whose keys begin alike, so that they are counted in one item."""
    return (str(n) for n in count() if event_key(tenant, "/shop", str(n))[0] == "a")


_IDS = list(islice(_in_one_bucket(TENANTS[0]), 2))
# What clients send, by a name that tells it: "b, other data" has the source and id of "b" and is another event.
EVENTS: dict[str, dict[str, Any]] = {
    "a": cloudevent(id=_IDS[0], time="2026-11-20T09:58:30Z", data={"n": 1}),
    "a, other data": cloudevent(id=_IDS[0], time="2026-11-20T09:58:30Z", data={"n": 2}),
    "b": cloudevent(id=_IDS[1], time="2026-11-20T09:58:31Z", data={"n": 1}),
    "b, other minute": cloudevent(id=_IDS[1], time="2026-11-20T09:59:31Z", data={"n": 1}),
    "undated": cloudevent(id="undated", time=None, data={"n": 1}),
}


@dataclass(frozen=True)
class Post:
    """A client sends events to a region."""

    region: str
    tenant: str
    events: tuple[str, ...]
    fault: Fault | None = None


@dataclass(frozen=True)
class Deliver:
    """A queue delivers some of its messages, in this order; ``again``: and will deliver them once more."""

    region: str
    processor: Processor
    picks: tuple[int, ...]
    fault: Fault | None = None
    again: bool = False


def _of_machine(choose: Callable[[Any], st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    return st.runner().flatmap(choose)


REGION = _of_machine(lambda machine: st.sampled_from(machine.names))
PAIR = _of_machine(lambda machine: st.permutations(machine.names).map(lambda names: (names[0], names[1])))
FAULT = st.none() | st.builds(
    Fault,
    kind=st.sampled_from(["dies before", "dies after", "is refused", "gets no answer", "is sent twice"]),
    call=st.integers(1, 4),
)
TENANT = st.sampled_from([TENANTS[0], *TENANTS])  # two tenants, but most events in the same buckets
EVENT = st.sampled_from(list(EVENTS))
PROCESSOR = st.sampled_from(list(PROCESSORS))
PICKS = st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple)
POST = st.builds(Post, REGION, TENANT, st.tuples(EVENT), FAULT)
DELIVER = st.builds(Deliver, REGION, PROCESSOR, PICKS, FAULT, st.booleans())


class Platform(RuleBasedStateMachine):
    """Clients, queues, networks, operators and time on two to four regions."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(NAMES[:1], 0)
        self.world.close()
        self.names: tuple[str, ...] = ()
        self.answers: dict[tuple[str, str], tuple[Any, datetime]] = {}
        self.sent: dict[tuple[str, str], set[str]] = {}
        self.troubled: set[tuple[str, str]] = set()
        self.deleted: set[str] = set()
        self.aged = False
        self.serial = 0

    @initialize(regions=st.integers(2, 4), lag_ms=st.sampled_from([0, 5, 50]))
    def start(self, regions: int, lag_ms: int) -> None:
        self.names = NAMES[:regions]
        self.world = World(self.names, lag_ms)

    # --- clients ------------------------------------------------------------------------------------------------

    @rule(post=POST)
    def client_posts(self, post: Post) -> None:
        if self.world.regions[post.region].up:
            self._answered(post, self.world.run(self._posting(post)))

    @rule(region=REGION, tenant=TENANT, events=st.lists(EVENT, min_size=2, max_size=4).map(tuple), fault=FAULT)
    def client_posts_a_batch(self, region: str, tenant: str, events: tuple[str, ...], fault: Fault | None) -> None:
        self.client_posts(Post(region, tenant, events, fault))

    def _posting(self, post: Post) -> Invocation:
        for name in post.events:
            self.sent.setdefault((post.region, _key(post.tenant, name)), set()).add(_digest(name))
        return self.world.posting(post.region, post.tenant, [EVENTS[name] for name in post.events], post.fault)

    def _answered(self, post: Post, invocation: Invocation, *, alone: bool = True) -> None:
        region = self.world.regions[post.region]
        places = [(post.region, _key(post.tenant, name)) for name in post.events]
        smooth = alone and post.fault is None and region.bus_up
        if not smooth:
            self.troubled.update(places)
        if invocation.killed:
            for place in places:
                self.answers.pop(place, None)
            return
        published = {(entry.key, entry.digest) for entry in region.archive}
        for name, place, result in zip(post.events, places, _results(invocation.answer), strict=True):
            status = result["status"]
            assert status in (202, 409, 422, 503), f"{name}: answered {status}"
            assert status != 503 or not smooth, f"{name}: refused for no reason"
            assert status != 409 or place in self.troubled, f"{name}: in progress for no reason"
            assert status != 422 or len(self.sent[place]) > 1, f"{name}: a mismatch with nothing"
            if status == 503:
                self.answers.pop(place, None)
            if status == 202:
                assert (place[1], _digest(name)) in published, f"{name}: answered 202, and the bus does not have it"
                before, since = self.answers.get(place, (None, START))
                if not result["duplicate"]:
                    forgotten = before is None or self.world.now - since > WINDOW
                    assert forgotten or place in self.troubled, f"{name}: accepted twice within the ledger's window"
                    self.answers[place] = (result["answer"], self.world.now)
                elif before is not None:
                    assert before == result["answer"], f"{name}: the same event got two answers"

    # --- queues -------------------------------------------------------------------------------------------------

    @rule(deliver=DELIVER)
    def queue_delivers(self, deliver: Deliver) -> None:
        if self._can(deliver):
            invocation, taken = self._delivering(deliver)
            done = self.world.acknowledge(self.world.run(invocation), deliver.processor, taken, again=deliver.again)
            self._reads_its_own_writes(deliver, done)

    def _can(self, work: Post | Deliver) -> bool:
        region = self.world.regions[work.region]
        return region.up and (isinstance(work, Post) or bool(region.queues[work.processor].waiting))

    def _delivering(self, deliver: Deliver) -> tuple[Invocation, list[Message]]:
        return self.world.processing(deliver.region, deliver.processor, deliver.picks, deliver.fault)

    def _reads_its_own_writes(self, deliver: Deliver, done: Sequence[Message]) -> None:
        """What a region has done, a strong read in that region sees at once."""
        dead = {message.body for message in self.world.regions[deliver.region].queues[deliver.processor].dead}
        seen: dict[tuple[str, str, str | None], set[str]] = {}
        for message in done:
            detail = json.loads(message.body)["detail"]
            expires = timestamps.parse(detail["accepted_at"]) + RETENTION
            if message.body in dead or expires <= self.world.now:
                continue
            key, tenant, event = detail["event_key"], detail["tenant"], detail["event"]
            if deliver.processor == "store":
                status, body = self._get(deliver.region, tenant, key, "strong")
                assert status == 200, f"{deliver.region} stored {key} and does not find it"
                assert body["event"] == event
            else:
                minute = event["time"][:16] + ":00Z" if "time" in event else None
                seen.setdefault((tenant, event["type"], minute), set()).add(key)
        for (tenant, kind, minute), keys in seen.items():
            counted = self._activity(deliver.region, tenant, "strong").get((kind, minute), 0)
            assert counted >= len(keys), f"{deliver.region} counted {len(keys)} and shows {counted}"

    @rule(works=st.lists(POST | DELIVER, min_size=2, max_size=3), schedule=st.lists(st.integers(0, 2), max_size=12))
    def functions_run_at_a_time(self, works: list[Post | Deliver], schedule: list[int]) -> None:
        runs: list[tuple[Post | Deliver, Invocation, list[Message]]] = []
        for work in works:
            if not self._can(work):
                continue
            invocation, taken = (self._posting(work), []) if isinstance(work, Post) else self._delivering(work)
            runs.append((work, invocation, taken))
        self.world.run_together([invocation for _, invocation, _ in runs], schedule)
        for work, invocation, taken in runs:
            if isinstance(work, Post):
                self._answered(work, invocation, alone=False)
            else:
                self.world.acknowledge(invocation, work.processor, taken, again=work.again)

    # --- network, regions, time ---------------------------------------------------------------------------------

    @rule(pair=PAIR, change=st.sampled_from(["is cut", "is healed", "takes 0 ms", "takes 20 ms", "takes 500 ms"]))
    def replication(self, pair: tuple[str, str], change: str) -> None:
        if change == "is cut":
            self.world.cut(*pair)
        elif change == "is healed":
            self.world.heal(*pair)
        else:
            self.world.log.set_lag(*pair, float(change.split()[1]))

    @rule(region=REGION, what=st.sampled_from(["region", "bus"]), up=st.booleans())
    def goes_down_or_returns(self, region: str, what: str, up: bool) -> None:
        if what == "region":
            self.world.regions[region].up = up
        else:
            self.world.regions[region].bus_up = up

    @rule(amount=st.sampled_from(["1 ms", "100 ms", "a claim's life", "the ledger's window"]))
    def time_passes(self, amount: str) -> None:
        seconds = {"1 ms": 0.001, "100 ms": 0.1, "a claim's life": 40, "the ledger's window": 7200}
        self.world.pass_time(seconds=seconds[amount])
        self.world.replicate()

    @rule()
    def retention_passes(self) -> None:
        self.aged = True
        self.world.pass_time(days=RETENTION.days, hours=1)
        self.world.replicate()

    @precondition(lambda self: self.aged)
    @rule(region=REGION)
    def time_to_live_deletes(self, region: str) -> None:
        self.world.expire(region)

    # --- operators ----------------------------------------------------------------------------------------------

    @rule(source=REGION, into=REGION, first=st.integers(0, 3), length=st.integers(1, 4))
    def operator_replays(self, source: str, into: str, first: int, length: int) -> None:
        self.serial += 1
        self.world.replay(source, into, first, first + length, f"replay-{self.serial}")

    @rule(region=REGION, processor=PROCESSOR)
    def operator_redrives(self, region: str, processor: Processor) -> None:
        self.world.redrive(region, processor)

    @rule(region=REGION, pick=st.integers(0, 5))
    def operator_deletes_an_event(self, region: str, pick: int) -> None:
        stored = [key for key in self.world.items(region) if key[1] == "EVENT"]
        if stored:
            key = stored[pick % len(stored)]
            self.deleted.add(key[0].removeprefix("EVENT#"))
            self.world.delete(region, key)

    # --- what must be true --------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if self.names:
                self.at_rest()
        finally:
            self.world.close()

    def at_rest(self) -> None:
        """Everything mended, processed and delivered: first as it is, then after replaying every archive."""
        self._come_to_rest()
        self._replicas_are_what_was_written_last()
        self._everything_is_there_once(restored=False)
        before = self._checksum(self.names[0])
        for name in self.names:
            # One region after the other: two at a time could race as two clients can, and the later would win again.
            self.world.replay(name, name, 0, len(self.world.regions[name].archive), "all")
            self._come_to_rest()
        self._replicas_are_what_was_written_last()
        self._everything_is_there_once(restored=True)
        if not self.deleted:
            assert self._checksum(self.names[0]) == before, "replaying everything changed the table"
        self._conflicts_are_reported()

    def _come_to_rest(self) -> None:
        self.world.settle()
        for name in self.names:
            for processor in PROCESSORS:
                self.world.redrive(name, processor)
        self.world.settle()

    def _replicas_are_what_was_written_last(self) -> None:
        """Convergence: every replica holds, of each item, the last write that any region made and that was not lost."""
        for name in self.names:
            expected = self.world.expected(name)
            assert self.world.items(name).keys() == expected.keys(), f"{name} differs"
            assert self._checksum(name) == Checksum.of(map(item_digest, expected.values())), f"{name} differs"

    def _everything_is_there_once(self, *, restored: bool) -> None:
        """Every accepted event is in every region, once; nothing else is; activity counts each once."""
        entries = self._published()
        alive = [entry for entry in entries if entry.expires > self.world.now]
        for name in self.names:
            for tenant in TENANTS:
                own = [entry for entry in alive if entry.tenant == tenant]
                needed = {entry.key for entry in own if restored or entry.key not in self.deleted}
                listed = self._listed(name, tenant)
                assert len(listed) == len(set(listed)), f"{name} lists an event twice"
                assert needed <= set(listed) <= {entry.key for entry in own}, f"{name}, {tenant}: {listed}"
                for key in {entry.key for entry in entries}:
                    for consistency in ("strong", "eventual"):
                        status, body = self._get(name, tenant, key, consistency)
                        assert (status == 200) == (key in listed), f"{name}, {tenant}, {key}: {status}"
                        if status == 200:
                            accepted = {entry.digest for entry in own if entry.key == key}
                            assert digest(strictjson.canonical(body["event"])) in accepted, f"{key}: never accepted"
                self._counts_are_exact(name, tenant, alive)

    def _counts_are_exact(self, region: str, tenant: str, entries: Sequence[Published]) -> None:
        """As many as distinct accepted events."""
        keys: dict[tuple[str, str | None], set[str]] = {}
        for entry in entries:
            if entry.tenant == tenant:
                keys.setdefault((entry.kind, entry.minute), set()).add(entry.key)
        expected = {bucket: len(members) for bucket, members in keys.items()}
        for consistency in ("strong", "eventual"):
            assert self._activity(region, tenant, consistency) == expected, f"{region}, {tenant}"

    def _conflicts_are_reported(self) -> None:
        """An accepted event that is not the one stored under its key waits in a DLQ, and nothing else does."""
        stored = {
            item["event_key"]["S"]: item["payload_digest"]["S"]
            for key, item in self.world.items(self.names[0]).items()
            if key[1] == "EVENT"
        }
        conflicts = {
            (entry.key, entry.digest)
            for entry in self._published()
            if entry.expires > self.world.now and stored.get(entry.key) != entry.digest
        }
        dead: set[tuple[str, str]] = set()
        for name in self.names:
            queues = self.world.regions[name].queues
            assert not queues["activity"].dead, f"{name}: activity gave up on {len(queues['activity'].dead)}"
            for message in queues["store"].dead:
                detail = json.loads(message.body)["detail"]
                dead.add((detail["event_key"], digest(strictjson.canonical(detail["event"]))))
        assert conflicts == dead, f"conflicts {conflicts}, in DLQs {dead}"

    # --- looking ------------------------------------------------------------------------------------------------

    def _published(self) -> list[Published]:
        return [entry for name in self.names for entry in self.world.regions[name].archive]

    def _checksum(self, region: str) -> Checksum:
        return Checksum.of(map(item_digest, self.world.items(region).values()))

    def _get(self, region: str, tenant: str, key: str, consistency: str) -> Any:
        return self.world.get(region, tenant, "GET /events/{event_key}", key=key, consistency=consistency)

    def _listed(self, region: str, tenant: str) -> list[str]:
        """The keys of all pages, two events a page."""
        end = self.world.now + timedelta(seconds=1)
        window = {"from": timestamps.format_ms(end - (31 if self.aged else 1) * DAY), "to": timestamps.format_ms(end)}
        keys: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            more = {"cursor": cursor} if cursor else {}
            status, body = self.world.get(region, tenant, "GET /events", limit="2", **window, **more)
            assert status == 200, body
            keys += [event["event_key"] for event in body["events"]]
            cursor = body["cursor"]
        return keys

    def _activity(self, region: str, tenant: str, consistency: str) -> dict[tuple[str, str | None], int]:
        found: dict[tuple[str, str | None], int] = {}
        window = {
            "from": timestamps.format_ms(START - timedelta(hours=1)),
            "to": timestamps.format_ms(START + timedelta(hours=1)),
        }
        # Reading what has no time takes 256 queries: only where something may be found.
        undated = any(entry.minute is None for entry in self._published())
        for parameters in (window, {"undated": "true"}) if undated else (window,):
            status, body = self.world.get(region, tenant, "GET /activity", consistency=consistency, **parameters)
            assert status == 200, body
            for kind in body["types"]:
                minutes = kind.get("minutes") or {None: kind["count"]}
                assert sum(minutes.values()) == kind["count"]
                found.update({(kind["type"], minute): number for minute, number in minutes.items()})
        return found


class LossyPlatform(Platform):
    """The same with links that lose writes: replicas then differ by exactly what was lost, and the check names it."""

    @rule(pair=PAIR)
    def replication_loses_writes(self, pair: tuple[str, str]) -> None:
        self.world.cut(*pair, lose=True)

    def at_rest(self) -> None:
        self._come_to_rest()
        self._replicas_are_what_was_written_last()
        expected = [self.world.expected(name) for name in self.names]
        keys = {key for items in expected for key in items}
        differing = {key for key in keys if len({_shown(items.get(key)) for items in expected}) > 1}
        cloud = self.world.as_cloud()
        with pytest.MonkeyPatch.context() as patch:
            by_boto3(patch, lambda region: cloud.client("dynamodb", region))
            found = divergence.compare(
                cloud,
                TABLE,
                self.names,
                attempts=3,
                pace=Pace(segments=1, workers=1, read_units_per_s=1e9),
                sleep=lambda _: None,
            )
        assert {difference.text for difference in found.differences} == {f"pk={pk}, sk={sk}" for pk, sk in differing}


def _shown(item: dict[str, Any] | None) -> bytes:
    return b"" if item is None else item_digest(item)


def _key(tenant: str, name: str) -> str:
    return event_key(tenant, EVENTS[name]["source"], EVENTS[name]["id"])


def _digest(name: str) -> str:
    return digest(strictjson.canonical(EVENTS[name]))


def _results(answer: Any) -> list[dict[str, Any]]:
    """One result an event, whether it came alone or in a batch."""
    body = body_of(answer)
    facts = ("event_key", "source", "id", "region", "accepted_at")
    if "results" in body:
        return [
            {
                "status": result["status"],
                "duplicate": result.get("duplicate"),
                "answer": {name: result.get(name) for name in facts},
            }
            for result in body["results"]
        ]
    duplicate = answer["headers"].get("idempotent-replayed") == "true"
    return [
        {"status": answer["statusCode"], "duplicate": duplicate, "answer": {name: body.get(name) for name in facts}}
    ]
