"""What is in the dead-letter queues: counted, grouped by reason, with a masked sample of each group. Changes nothing.

SQS shows a message only by hiding it from everybody else for a while. All are given back at the end of the look, and
appear by themselves after ``hidden_s`` at the latest; each look counts as one receive. What always holds: memory is
bounded by the number of groups and receipts, not by what the messages hold.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import pandas as pd

from ops.aws import Cloud, explained
from ops.fanout import each
from ops.redrive import receiving
from ops.redrive.choice import Choice
from ops.redrive.masking import Masker
from ops.redrive.messages import Letter
from ops.redrive.queues import DeadLetterQueue, Feed

MAX_GROUPS = 500  # of one queue; what comes after them is counted together
LIMIT = 10_000  # messages of one queue that are looked at
HIDDEN_S = 60
OTHERS = "(others)"
_AGES = (
    (300, "under 5 min"),
    (3_600, "5 to 60 min"),
    (6 * 3_600, "1 to 6 h"),
    (86_400, "6 to 24 h"),
    (3 * 86_400, "1 to 3 d"),
    (7 * 86_400, "3 to 7 d"),
    (13 * 86_400, "7 to 13 d"),
)
OLDEST = "over 13 d"


class Reason(NamedTuple):
    """What the messages of a group have in common."""

    kind: str
    error_code: str
    handler: str
    event_type: str
    target: str
    why_not: str


@dataclass
class Group:
    """The messages of one queue with one reason. ``second`` of them were redriven before. ``sample`` is masked."""

    messages: int = 0
    second: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    error_message: str = ""
    sample: str = ""

    def add(self, letter: Letter, second: bool) -> None:
        self.messages += 1
        self.second += second
        self.oldest = min(self.oldest or letter.sent, letter.sent)
        self.newest = max(self.newest or letter.sent, letter.sent)


@dataclass
class Seen:
    """What was seen of one queue. ``chosen`` of the ``messages`` are what the choice is about.

    Of those, by target: ``first`` were never redriven, ``again`` were and are back. ``second`` are all that are back.
    ``stuck`` were never redriven and have no target. ``groups``, ``kinds``, ``ages`` and ``event_keys`` are of the
    chosen.
    """

    queue: DeadLetterQueue
    messages: int = 0
    chosen: int = 0
    second: int = 0
    stuck: int = 0
    oldest: datetime | None = None
    partial: bool = False
    first: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    ages: Counter[str] = field(default_factory=Counter)
    groups: dict[Reason, Group] = field(default_factory=dict)
    event_keys: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Survey:
    """What was seen of every queue."""

    queues: tuple[Seen, ...]

    def frame(self) -> pd.DataFrame:
        """A row a group, the largest first."""
        rows = [
            (
                seen.queue.region,
                seen.queue.name,
                group.messages,
                reason.error_code,
                reason.handler,
                reason.event_type,
                group.oldest,
                group.newest,
                group.second,
                reason.target or f"stays: {reason.why_not}",
            )
            for seen, reason, group in self._groups()
        ]
        columns = ["region", "queue", "messages", "error_code", "handler", "event_type"]
        return pd.DataFrame(rows, columns=[*columns, "oldest", "newest", "failed_after_redrive", "goes_to"])

    def samples_frame(self) -> pd.DataFrame:
        """A masked message of each group."""
        rows = [
            (seen.queue.name, reason.error_code, reason.event_type, group.error_message, group.sample)
            for seen, reason, group in self._groups()
        ]
        return pd.DataFrame(rows, columns=["queue", "error_code", "event_type", "error_message", "sample"])

    def ages_frame(self) -> pd.DataFrame:
        """Messages by age and queue, in the order of ages."""
        bands = [*(name for _, name in _AGES), OLDEST]
        rows = [
            (band, f"{seen.queue.region} {seen.queue.name}", seen.ages[band])
            for band in bands
            for seen in self.queues
            if seen.ages[band]
        ]
        return pd.DataFrame(rows, columns=["age", "queue", "messages"])

    def queues_frame(self) -> pd.DataFrame:
        """A row a queue."""
        rows = [
            (
                seen.queue.region,
                seen.queue.name,
                seen.queue.depth,
                seen.messages,
                seen.chosen,
                ", ".join(sorted({_sender(feed) for feed in seen.queue.feeds})),
            )
            for seen in self.queues
        ]
        return pd.DataFrame(rows, columns=["region", "queue", "depth", "looked_at", "chosen", "fed_by"])

    def _groups(self) -> list[tuple[Seen, Reason, Group]]:
        found = [(seen, reason, group) for seen in self.queues for reason, group in seen.groups.items()]
        return sorted(found, key=lambda one: (-one[2].messages, one[0].queue.region, one[0].queue.name, one[1]))


def survey(
    cloud: Cloud,
    queues: Sequence[DeadLetterQueue],
    choice: Choice,
    *,
    limit: int = LIMIT,
    hidden_s: int = HIDDEN_S,
    ours: frozenset[str] = frozenset(),
    progress: Callable[[str], None] = lambda line: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Survey:
    """Look into every queue, at ``limit`` messages of each at most, and give everything back.

    Args:
        ours: request ids of earlier redrives' invocations, whose failures are second ones.

    Raises:
        OpsError: a queue could not be read.
    """
    masker, at = Masker(), now()

    def look(queue: DeadLetterQueue) -> Seen:
        seen, receipts = Seen(queue), list[str]()
        try:
            # A queue that is said to be empty is asked too: SQS's counts settle within a minute.
            found = receiving.stream(
                cloud,
                queue,
                hidden_s=hidden_s,
                limit=limit,
                receivers=8 if queue.depth > 100 else 2,
                stop=threading.Event(),
            )
            for letters in found:
                receipts += [letter.receipt for letter in letters]
                for letter in letters:
                    seen.messages += 1
                    seen.oldest = min(seen.oldest or letter.sent, letter.sent)
                    if choice.takes(letter, at):
                        _count(seen, letter, letter.redrives > 0 or letter.request_id in ours, at, masker)
        finally:
            receiving.release(cloud, queue, receipts)
        seen.partial = queue.depth > seen.messages or seen.messages >= limit
        if seen.messages:
            progress(f"{queue.region} {queue.name}: {seen.messages:,} messages looked at, {seen.chosen:,} chosen")
        return seen

    with explained("looking into the dead-letter queues"):
        return Survey(tuple(each(queues, look, workers=8).values()))


def _count(seen: Seen, letter: Letter, second: bool, at: datetime, masker: Masker) -> None:
    seen.chosen += 1
    seen.second += second
    if letter.event_key is not None:
        seen.event_keys.append(letter.event_key)
    seen.kinds[letter.kind] += 1
    seen.ages[age_band((at - letter.sent).total_seconds())] += 1
    if letter.target is not None:
        (seen.again if second else seen.first)[letter.target.arn] += 1
    elif not second:
        seen.stuck += 1
    target = letter.target.arn if letter.target else ""
    reason = Reason(letter.kind, letter.error_code, letter.handler, letter.event_type, target, letter.why_not)
    if reason not in seen.groups and len(seen.groups) >= MAX_GROUPS:
        reason = Reason(OTHERS, OTHERS, "", "", target, letter.why_not if not target else "")
    group = seen.groups.get(reason)
    if group is None:
        group = seen.groups[reason] = Group()
        group.error_message, group.sample = masker.sample(letter.error_message), masker.sample(letter.body)
    group.add(letter, second)


def _sender(feed: Feed) -> str:
    """The one that sends its failures: by its name, a rule with its bus."""
    name = feed.arn.rpartition(":")[2]
    if feed.kind != "rule":
        return f"{feed.kind} {name.rpartition('/')[2]}"
    bus, _, rule = name.removeprefix("rule/").rpartition("/")
    return f"rule {rule} of {bus or 'default'}"


def age_band(age_s: float) -> str:
    """The band of ages that a message is shown in."""
    return next((name for limit, name in _AGES if age_s < limit), OLDEST)
