"""Playing the slices of a plan: several EventBridge replays side by side, watched to their ends.

What always holds: a slice that completed is not started again; at most the plan's number of replays are ours at a time,
and at most EventBridge's are the region's; none starts while the consumers are behind; where each slice stands is read
from EventBridge at every look, so that a run which takes up another knows no less than one that goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.errors import OpsError
from ops.plan import Outcome, Plan, Report, Step
from ops.replay import attempts
from ops.replay.attempts import ACTIVE, COMPLETED, Course
from ops.replay.listing import replays
from ops.replay.pausing import Reading
from ops.replay.slices import Slice, name_prefix, replay_name
from ops.replay.waits import Waits
from ops.window import text_of

# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-replay-archived-event.html
MAX_CONCURRENT = 10
# Of one slice in one run, before it is said that it cannot be done.
MAX_FAILURES = 3
# No line of progress oftener, unless a slice began or ended.
LINE_EVERY_S = 5.0
# The record is written so often also when nothing ends, so that others see that the run lives.
ALIVE_EVERY_S = 60.0

Progress = Callable[[str], None]


class Listener(Protocol):
    """What is asked of a tap."""

    @property
    def count(self) -> int: ...
    def keys_of(self, number: int) -> bytes: ...
    def mark(self) -> tuple[int, ...]: ...
    def is_dry(self, since: tuple[int, ...] = ()) -> bool: ...


class Book(Protocol):
    """What is asked of the records."""

    def slice_heard(self, number: int, state: str, replay: str, keys: bytes) -> None: ...
    def write(self) -> None: ...


@dataclass(frozen=True)
class Sample:
    """How many events were heard by a moment of the run."""

    elapsed_s: float
    events: int


@dataclass
class Playing:
    """One run of the plan's slices."""

    cloud: Cloud
    plan: Plan
    gate: Callable[[], Reading]
    filter_arns: Sequence[str]
    tap: Listener | None
    book: Book
    progress: Progress
    report: Report
    waits: Waits
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    samples: list[Sample] = field(default_factory=list)
    paused_s: float = 0.0
    started: int = 0

    def __post_init__(self) -> None:
        self.region: str = self.plan.parameters["region"]
        self.steps: dict[int, Step] = {s.after["slice"]: s for s in self.plan.steps if s.action == "run"}
        self.course = Course([slice_of(step) for step in self.steps.values()])
        self._failures: dict[int, int] = {}
        self._seen: dict[str, str] = {}
        self._told: dict[int, int] = {}  # slice -> how many bytes of keys are written down
        self._ended_at: dict[int, tuple[int, ...]] = {}  # slice -> the tap's mark when it was seen to have ended
        self._begun, self._said, self._paused_at = self.waits.clock(), float("-inf"), 0.0
        self._share_before, self._pausing, self._alive = 0.0, "", self._begun

    # --- looking ---------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Read where every slice stands, and note what ended."""
        self.course.update(_attempts(self.cloud, self.region, name_prefix(self.cloud.stage, self.plan.token)))
        for one in self.course.latest.values():
            if self._seen.get(one.name) == one.state or one.number not in self.steps:
                continue
            before, self._seen[one.name] = self._seen.get(one.name), one.state
            if one.state not in ACTIVE:
                self._ended(one, before)

    def _ended(self, one: attempts.Attempt, before: str | None) -> None:
        self._ended_at[one.number] = self.tap.mark() if self.tap else ()
        step, seconds = self.steps[one.number], self.waits.clock() - self._begun
        if one.state == COMPLETED:
            done = "was finished before; not repeated" if before is None else "completed"
            self.report(Outcome(step, done, seconds))
            self.progress(f"slice {one.number} of {len(self.steps)} {done}")
        elif before is not None:
            self._failures[one.number] = self._failures.get(one.number, 0) + 1
            reason = f": {one.reason}" if one.reason else ""
            self.progress(f"slice {one.number} of {len(self.steps)} is {one.state}{reason}")

    def write_heard(self, everything: bool = False) -> None:
        """Write down the keys of slices that ended, once nothing more of them can come."""
        if everything:
            self._sample()
        if self.tap is None:
            return
        for number, one in list(self.course.latest.items()):
            if one.state in ACTIVE or number not in self.steps or not self._seen.get(one.name):
                continue
            settled = one.state == COMPLETED and self.tap.is_dry(self._ended_at.get(number, ()))
            if not everything and (number in self._told or not settled):
                continue
            keys = self.tap.keys_of(number)
            if self._told.get(number) != len(keys):
                self.book.slice_heard(number, one.state, one.name, keys)
                self._told[number] = len(keys)

    # --- playing ---------------------------------------------------------------------------------------------------

    def take_up(self, heard: Callable[[int], bool]) -> None:
        """See what earlier runs of the plan have left; those of their slices that were heard are in the records."""
        self.look()
        known = [number for number in self.steps if self.course.state(number) == COMPLETED and heard(number)]
        self._told = {number: len(self.tap.keys_of(number)) if self.tap else 0 for number in known}
        self._share_before = self.course.share

    def play(self) -> None:
        """Start what is to be started, as many at a time as the plan allows, until every slice has completed.

        Raises:
            OpsError: a slice failed again and again, nothing moved for too long, or the DLQs grew beyond the limit.
        """
        moved, mark = self.waits.clock(), self._mark()
        while not self.course.done:
            if self.course.to_start and len(self.course.active) < self.plan.parameters["parallel"]:
                self._start_some()
            self.waits.sleep(self.waits.poll_s)
            self.look()
            self.write_heard()
            self._say()
            self._show_life()
            at = self.waits.clock()
            if self._mark() != mark or self._pausing:
                moved, mark = at, self._mark()
            if at - moved > self.waits.replay_s:
                raise OpsError(f"replay {self.plan.token}: nothing has moved for {self.waits.replay_s:.0f} s")

    def _show_life(self) -> None:
        if self.waits.clock() - self._alive >= ALIVE_EVERY_S:
            self._alive = self.waits.clock()
            self.book.write()

    def _mark(self) -> tuple[Any, ...]:
        return self.course.share, tuple(self._seen.values()), self.tap.count if self.tap else 0

    def _start_some(self) -> None:
        if self._must_wait():
            return
        room = min(
            self.plan.parameters["parallel"] - len(self.course.active),
            MAX_CONCURRENT - _active_in(self.cloud, self.region),
        )
        for one in self.course.to_start[: max(0, room)]:
            if self._failures.get(one.number, 0) >= MAX_FAILURES:
                latest = self.course.latest[one.number]
                raise OpsError(
                    f"slice {one.number}: replay {latest.name} is {latest.state}, as {MAX_FAILURES - 1} before it: "
                    f"{latest.reason or 'no reason given'}"
                )
            if not self._start(one):
                return

    def _must_wait(self) -> bool:
        reading = self.gate()
        if reading.stop:
            raise OpsError(
                f"replay {self.plan.token} stopped: {reading.stop}",
                hint="See why (ops run redrive), mend it, and go on",
            )
        at = self.waits.clock()
        if reading.wait and not self._pausing:
            self.progress(f"pausing before the next slice: {reading.wait}")
            self._paused_at = at
        if self._pausing and not reading.wait:
            self.progress("going on: the queues have caught up")
        if self._pausing:
            self.paused_s += at - self._paused_at
            self._paused_at = at
        if reading.wait and self.paused_s > self.waits.pause_s:
            raise OpsError(f"replay {self.plan.token} paused for {self.paused_s:.0f} s: {reading.wait}")
        self._pausing = reading.wait
        return bool(reading.wait)

    def _start(self, one: Slice) -> bool:
        """Start the next attempt at a slice; False when there is no room, or its time has not come."""
        begin, end = self.course.begin(one), min(one.end, self.now())
        if begin >= end:
            return False
        after = self.steps[one.number].after
        number = self.course.next_attempt(one.number)
        name = replay_name(self.cloud.stage, self.plan.token, one.number, number)
        destination: dict[str, Any] = {"Arn": after["destination"]}
        if self.filter_arns:
            destination["FilterArns"] = list(self.filter_arns)
        try:
            self.cloud.client("events", self.region).start_replay(
                ReplayName=name,
                Description=f"Atoll {self.plan.stage}, plan {self.plan.token}, slice {one.number}",
                EventSourceArn=after["archive"],
                EventStartTime=begin,
                EventEndTime=end,
                Destination=destination,  # type: ignore[arg-type]
            )
        except ClientError as error:
            if error_code(error) == "LimitExceededException":
                return False
            if error_code(error) != "ResourceAlreadyExistsException":
                raise
        self.started += 1
        self._seen[name] = "STARTING"
        self.course.update([attempts.Attempt(name, one.number, number, "STARTING", begin, one.end)])
        again = f", from {text_of(begin)} on" if number > 1 else ""
        self.progress(f"slice {one.number} of {len(self.steps)} started as {name}{again}")
        return True

    def cancel(self) -> bool:
        """Cancel what is under way; whether all of it has ended before the deadline."""
        events, end = self.cloud.client("events", self.region), self.waits.clock() + self.waits.cancel_s
        self.look()
        for one in self.course.active:
            if one.state == "CANCELLING":
                continue
            try:
                events.cancel_replay(ReplayName=one.name)
            except ClientError as error:
                # It has ended meanwhile.
                if error_code(error) not in ("IllegalStatusException", "ResourceNotFoundException"):
                    raise
        while self.course.active:
            if self.waits.clock() >= end:
                return False
            self.waits.sleep(self.waits.poll_s)
            self.look()
        return True

    # --- saying ----------------------------------------------------------------------------------------------------

    def _say(self) -> None:
        at = self.waits.clock()
        if at - self._said < LINE_EVERY_S:
            return
        self._said = at
        events, elapsed = self._sample()
        ended = sum(self.course.state(number) == COMPLETED for number in self.steps)
        where = [f"{one.number} at events of {text_of(one.last)}" for one in self.course.active if one.last]
        parts = [f"{ended} of {len(self.steps)} slices completed"]
        parts += [f"slice {', '.join(where)}"] if where else []
        if self.tap is not None:
            parts.append(f"{events:,} events so far, {self.rate_per_s():,.0f} a second")
        if left := self._left_s(elapsed):
            parts.append(f"about {timedelta(seconds=round(left))} left")
        self.progress("; ".join(parts))

    def _sample(self) -> tuple[int, float]:
        """Note how many events were heard by now, and how long it took."""
        events, elapsed = self.tap.count if self.tap else 0, self.waits.clock() - self._begun
        self.samples.append(Sample(elapsed, events))
        return events, elapsed

    def rate_per_s(self) -> float:
        """Events heard a second, of late."""
        if len(self.samples) < 2:
            return 0.0
        first, last = self.samples[max(0, len(self.samples) - 6)], self.samples[-1]
        return max(0.0, (last.events - first.events) / max(0.001, last.elapsed_s - first.elapsed_s))

    def _left_s(self, elapsed: float) -> float:
        gained = self.course.share - self._share_before
        return elapsed * (1 - self.course.share) / gained if gained > 0 else 0.0


def slice_of(step: Step) -> Slice:
    """The slice that a ``run`` step replays."""
    after = step.after
    return Slice(after["slice"], datetime.fromisoformat(after["from"]), datetime.fromisoformat(after["to"]))


def _attempts(cloud: Cloud, region: str, prefix: str) -> list[attempts.Attempt]:
    return [attempts.read(one) for one in replays(cloud, region, NamePrefix=prefix)]


def _active_in(cloud: Cloud, region: str) -> int:
    return sum(len(replays(cloud, region, State=state)) for state in ACTIVE)
