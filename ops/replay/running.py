"""Carrying a replay out: what is temporary is made, the slices are played, the proof is held, all is taken away again.

1. Leftovers of killed runs go. 2. The queues drain, and the tables are read. 3. Tap and stand-ins are made. 4. The
slices are played, several at a time. 5. The tap and the queues run dry. 6. What is temporary goes. 7. The tables are
read again, and held against what was and what was overheard.

What always holds: nothing temporary stays, whatever happens, unless a cancelled replay does not end: then its rules
stay, because a replay that goes on without them would lose events, and the next plan finds them. A run that stops
early says which command goes on; that repeats no slice that was finished.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ops import queues
from ops.aws import NO_ANSWER, Cloud, explained
from ops.errors import InterruptedRunError, OpsError
from ops.plan import Outcome, Plan, Report, Step, apply_command, authorize
from ops.replay import delivery, pausing, proof, temporary
from ops.replay.playing import Playing
from ops.replay.records import Records, is_alive
from ops.replay.replayed import Replayed, SliceState, window_text
from ops.replay.tap import Tap
from ops.replay.temporary import Temporaries
from ops.replay.waits import Waits
from ops.tablescan import digests_of

Progress = Callable[[str], None]


def apply(
    cloud: Cloud,
    plan: Plan,
    token: str,
    progress: Progress = lambda line: None,
    report: Report = lambda outcome: None,
    *,
    waits: Waits | None = None,
) -> Replayed:
    """Replay what the plan says, or go on where an earlier run of it has stopped; prove what came of it.

    Raises:
        RefusedError: the token is not the plan's.
        OpsError: it could not be brought to its end; the hint is the command that goes on.
        InterruptedRunError: Ctrl-C; what was under way is cancelled.
    """
    authorize(plan, token)
    with explained(f"replay {token} in {plan.parameters['region']}"):
        return _Run(cloud, plan, progress, report, waits or Waits()).run()


class _Run:
    def __init__(self, cloud: Cloud, plan: Plan, progress: Progress, report: Report, waits: Waits) -> None:
        self.cloud, self.plan, self.progress, self.report, self.waits = cloud, plan, progress, report, waits
        self.region: str = plan.parameters["region"]
        first = next(step for step in plan.steps if step.action == "run")
        self.bus: str = first.after["destination"].partition(":event-bus/")[2]
        self.own = self.bus in (cloud.stage.bus, cloud.stage.journal_bus)
        self.proves = self.own and bool(plan.parameters.get("prove", True))
        self.delivers = bool(plan.parameters.get("deliver", True))
        rows: list[list[Any]] = plan.estimates.get("receivers", []) if self.delivers else []
        # The plan says in words which targets would receive something.
        self.receivers = [row for row in rows if not str(row[3]).startswith("no")]
        self.begun, self.began_at = waits.clock(), datetime.now(UTC)
        self.made = Temporaries(self.region, self.bus)
        self.records = Records(cloud, plan, progress)
        self.tap: Tap | None = None
        self.playing: Playing | None = None
        self.tap_rule, self.stand_ins = "", list[str]()
        self.dry = True
        self.unheard: tuple[int, ...] = ()
        self.silent: list[str] = []
        self.living = [self.region]
        self.foreign_dlqs: list[pausing.Queue] = []

    def run(self) -> Replayed:
        self._prepare()
        before = proof.look(self.cloud, self.living) if self.proves else None
        dlqs_before = self._dlqs()
        if before:
            checksum = before.prints[self.region].checksum
            self.progress(f"before: {checksum.count:,} items, checksum {checksum}")
        self.records.write()
        playing = self._play()
        heard = True if self.tap is None else not self.tap.problem and self.dry
        drained = self._drain(self.waits.drain_s)
        after, found = None, None
        if before:
            after, follow = proof.after(self.cloud, self.region, before, self.waits)
            archived = self.tap.keys() if self.tap else digests_of(b"")
            found = proof.hold(self.cloud, self.region, archived, before=before, after=after, follow=follow)
            checksum = after.prints[self.region].checksum
            self.progress(f"after: {checksum.count:,} items, checksum {checksum}")
        done = self._replayed(playing, heard, drained, dlqs_before, before=before, after=after, found=found)
        self.records.write("done", **done.figures())
        return done

    # --- before ----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        if self.own:
            others = [region for region in self.cloud.stage.regions if region != self.region]
            self.silent = [region for region in others if not _answers(self.cloud, region)]
            self.living += [region for region in others if region not in self.silent]
            if self.silent:
                self.progress(f"no answer from {', '.join(self.silent)}: going on without")
        else:
            rules = [one[0] for one in self.receivers]
            self.foreign_dlqs = delivery.dlqs_of(self.cloud, self.region, self.bus, rules)
        for step in self.plan.steps:
            if step.action == "delete":
                self._remove_leftover(step)
        self.progress("waiting for the queues to be empty")
        if not self._drain(self.waits.quiet_s):
            self.progress("the queues are not empty: traffic goes on, and the proof will show what it brought")

    def _remove_leftover(self, step: Step) -> None:
        begun, what = self.waits.clock(), step.before
        name = what.get("rule") or what["queue_url"].rpartition("/")[2]
        other = temporary.token_of(self.cloud.stage, name)
        if temporary.in_use(self.cloud, self.region, other) or is_alive(self.cloud, self.records.place, other):
            self.progress(f"{step.resource}: left, because its run is going on")
            self.report(Outcome(step, "left: its run is going on", self.waits.clock() - begun))
            return
        if "queue_url" in what:
            temporary.remove_queue(self.cloud, self.region, what["queue_url"])
        else:
            temporary.remove_rule(self.cloud, self.region, what["bus"], what["rule"])
        self.progress(f"{step.resource}: removed")
        self.report(Outcome(step, "removed", self.waits.clock() - begun))

    def _make_temporaries(self) -> None:
        token, waits = self.plan.token, self.waits
        for step in self.plan.steps:
            begun = waits.clock()
            if step.resource == "tap rule":
                pattern = step.after["pattern"]
                temporary.ensure_tap(self.cloud, self.made, token, pattern, sleep=waits.sleep, clock=waits.clock)
            elif step.action == "create" and "rule" in step.after:
                temporary.ensure_stand_in(self.cloud, self.made, token, step.after)
            elif step.action != "create":
                continue
            self.report(Outcome(step, "made, for as long as the replay runs", waits.clock() - begun))
        self.tap_rule = self.made.tap_rule.rpartition("/")[2]
        self.stand_ins = [arn.rpartition("/")[2] for arn in self.made.stand_ins.values()]
        if self.made.filter_arns:
            waits.sleep(waits.rules_s)

    # --- the replay ------------------------------------------------------------------------------------------------

    def _play(self) -> Playing:
        """Play the slices; what is temporary is gone afterwards."""
        playing: Playing | None = None
        try:
            self._make_temporaries()
            playing = self._new_playing()
            if self.tap:
                self.tap.start()
            playing.play()
            self.dry = self.tap is None or self.tap.await_dry(self.waits.tap_s)
            playing.write_heard(everything=True)
        except KeyboardInterrupt as stop:
            ended = unhurried(lambda: self._stop(playing, "stopped"), self.progress)
            raise InterruptedRunError(
                f"replay {self.plan.token}: {_how_it_ended(ended)}", hint=self._goes_on()
            ) from stop
        except OpsError as error:
            ended = unhurried(lambda: self._stop(playing, "failed"), self.progress)
            hint = f"{error.hint}: " if error.hint else ""
            raise OpsError(f"{error}; {_how_it_ended(ended)}", hint=f"{hint}{self._goes_on()}") from error
        except BaseException:
            unhurried(lambda: self._stop(playing, "failed"), self.progress)
            raise
        unhurried(self._clean, self.progress)
        return playing

    def _new_playing(self) -> Playing:
        parameters, stage = self.plan.parameters, self.cloud.stage
        if self.made.tap_queue:
            self.tap = Tap(self.cloud, self.region, self.made.tap_queue, own=self.own, wait_s=self.waits.listen_s)
        gate = pausing.Gate(
            self.cloud,
            pausing.queues_of(self.cloud, [one[2] for one in self.receivers]),
            self._dlqs,
            max_age_s=parameters.get("max_queue_age_s") or stage.recovery.max_queue_age_s,
            max_growth=_given(parameters.get("max_dlq_growth", -1), stage.recovery.max_dlq_growth),
            clock=self.waits.clock,
        )
        playing = Playing(
            self.cloud,
            self.plan,
            gate.look,
            self._filter(),
            self.tap,
            self.records,
            self.progress,
            self.report,
            self.waits,
        )
        heard = {number: self.records.heard(number) for number in playing.steps}
        for number, keys in heard.items():
            if self.tap and keys:
                self.tap.know(number, keys)
        playing.take_up(lambda number: heard[number] is not None)
        self.unheard = tuple(n for n in playing.steps if playing.course.state(n) == "COMPLETED" and heard[n] is None)
        self.playing = playing
        return playing

    def _filter(self) -> list[str]:
        """The rules that the replays are for; empty: all of the bus."""
        tap = [self.made.tap_rule] if self.made.tap_rule else []
        if not self.delivers:
            return tap
        if self.made.stand_ins:
            return [*self.made.stand_ins.values(), *tap]
        first = next(step for step in self.plan.steps if step.action == "run")
        return [*first.after["rules"], *tap] if first.after.get("rules") else []

    # --- the end ---------------------------------------------------------------------------------------------------

    def _stop(self, playing: Playing | None, state: Any) -> bool:
        """Leave the cloud safe; whether every replay has ended."""
        ended = playing is None or playing.cancel()
        if ended and playing is not None:
            if self.tap:
                self.tap.await_dry(5)
            playing.write_heard(everything=True)
        if ended:
            self._clean()
        elif self.tap:
            self.tap.stop()
        self.records.write(state)
        return ended

    def _clean(self) -> None:
        if self.tap:
            self.tap.stop()
        temporary.remove(self.cloud, self.made)

    def _goes_on(self) -> str:
        return f"To go on, with no finished slice repeated: {apply_command(self.plan.record())}"

    def _replayed(
        self,
        playing: Playing,
        heard: bool,
        drained: bool,
        dlqs_before: dict[str, int],
        **proved: Any,
    ) -> Replayed:
        delivered = None
        if not self.own and playing.started and self.tap_rule:
            meter = delivery.Meter(self.cloud, self.region, self.bus, (self.began_at, datetime.now(UTC)))
            rules = self.stand_ins or [one[0] for one in self.receivers]
            delivered = meter.told(self.tap_rule, rules, self.tap.count if self.tap else 0, self.waits)
        stage, targets = self.cloud.stage, {one[2].rpartition(":")[2] for one in self.receivers}
        return Replayed(
            token=self.plan.token,
            region=self.region,
            delivers=self.delivers,
            stored=stage.queue("store") in targets,
            counted=stage.queue("activity") in targets,
            slices=tuple(self._slice(playing, number) for number in playing.steps),
            started=playing.started,
            heard=self.tap.count if self.tap else 0,
            listened=self.tap is not None,
            overheard=heard,
            unreadable=self.tap.unreadable if self.tap else 0,
            drained=drained,
            delivered=delivered,
            dlqs_before=dlqs_before,
            dlqs_after=self._dlqs(),
            samples=playing.samples,
            by_minute=dict(self.tap.by_minute) if self.tap else {},
            paused_s=playing.paused_s,
            duration_s=self.waits.clock() - self.begun,
            record=self.records.uri,
            record_problem=self.records.problem,
            silent=tuple(self.silent),
            unheard=self.unheard,
            **proved,
        )

    def _slice(self, playing: Playing, number: int) -> SliceState:
        latest = playing.course.latest.get(number)
        one = next(found for found in playing.course.slices if found.number == number)
        return SliceState(
            number=number,
            state=playing.course.state(number),
            attempts=latest.attempt if latest else 0,
            replay=latest.name if latest else "",
            window=window_text(one.start, one.end),
            heard=len(self.tap.keys_of(number)) // 16 if self.tap else 0,
        )

    def _drain(self, deadline_s: float) -> bool:
        if not self.own:
            return True
        return queues.drain(
            self.cloud,
            self.living,
            deadline_s=deadline_s,
            poll_s=self.waits.poll_s,
            progress=self.progress,
            sleep=self.waits.sleep,
            clock=self.waits.clock,
        )

    def _dlqs(self) -> dict[str, int]:
        if self.own:
            return queues.dlq_depths(queues.depths(self.cloud, self.living))
        return delivery.depths(self.cloud, self.foreign_dlqs)


def unhurried(function: Callable[[], Any], progress: Progress) -> Any:
    """Do what leaves the cloud safe to its end, however often Ctrl-C is pressed."""
    result: list[Any] = []
    failure: list[BaseException] = []

    def do() -> None:
        try:
            result.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=do, name="atoll-cleanup")
    thread.start()
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt:
            progress("cancelling and tidying up: a moment")
    if failure:
        raise failure[0]
    return result[0]


def _how_it_ended(ended: bool) -> str:
    if ended:
        return "what was under way is cancelled, and nothing temporary is left"
    return "a cancelled replay has not ended yet, so that its temporary rules are left; the next plan finds them"


def _given(value: int, otherwise: int) -> int:
    return otherwise if value < 0 else value


def _answers(cloud: Cloud, region: str) -> bool:
    """Whether a region can be read; one that is down must not keep another from replaying its events."""
    try:
        cloud.client("dynamodb", region).describe_table(TableName=cloud.stage.table_name)
    except NO_ANSWER:
        return False
    return True
