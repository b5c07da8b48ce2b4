"""A drill: a region's parts are taken away under load, watched, given back, and then everything is proved.

1. *baseline*: the load runs, and it is known who answers each city;
2. *outage*: FIS takes the parts away, in the region itself, and ends it by its own clock, whatever becomes of this run;
3. *recovery*: traffic goes back to where it was;
4. *proof*: every event that was answered 202 is in every replica, once, and no other;
5. *failback checks*: as after an evacuation.

What always holds: each wait has a deadline; a survivor that falls ill calls the drill off; however it ends (an error,
Ctrl-C), the experiments of this run are stopped before anything else is said, and what could not be stopped is named
with the command that does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ops import token
from ops.aws import Cloud
from ops.errors import InterruptedRunError, OpsError
from ops.failover import experiments
from ops.failover.arrivals import Arrivals
from ops.failover.experiments import Experiment
from ops.failover.measures import recovery
from ops.failover.outcome import Drilled
from ops.failover.planning import BASELINE_S
from ops.failover.proof import prove
from ops.failover.request import Request
from ops.failover.returning import examine
from ops.failover.timeline import Progress, Timeline
from ops.failover.watching import Watch, bound_s
from ops.load import Load
from ops.plan import Outcome, Plan, Report

# How much longer than the bound is waited for traffic to go back.
MARGIN_S = 30.0
# Beyond its own end, an experiment may take as long to be told of.
LINGER_S = 60.0
# What is left broken on purpose heals by itself after another hour.
LEFT_S = 3600
DRAIN_S = 60.0
PROOF_S = 180.0
# With a part left broken, what is missing does not come: it is not waited for long.
PROOF_LEFT_S = 20.0
REFRESH_S = 5.0
# A survivor that was not well in so many looks in a row, two seconds apart, calls the drill off: the alarms that stop
# an experiment are of its own region only.
SICK_LOOKS = 5
# A kernel that was told to stop has five seconds: ops.kernel.GRACE_S.
HEAL_S = 3.5

Known = Callable[[Mapping[str, Any]], None]


def drill(  # noqa: PLR0917 - what an apply is given, and what the run knows
    cloud: Cloud,
    plan: Plan,
    request: Request,
    run: str,
    api_urls: Mapping[str, str],
    progress: Progress,
    report: Report,
    known: Known = lambda figures: None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Drilled:
    """Run the drill of a plan. ``run`` names its events and experiments; ``known`` is told figures as they come.

    Raises:
        OpsError: it could not be done; what had been started is stopped, or the message says what is not.
        InterruptedRunError: Ctrl-C; the same.
    """
    work = _Drill(cloud, plan, request, run, api_urls, Timeline(progress), report, known, progress, sleep)
    try:
        return work.go()
    except KeyboardInterrupt as stop:
        raise InterruptedRunError(f"drill: stopped in phase {work.phase}; {work.heal()}", hint=work.hint) from stop
    except OpsError as error:
        raise OpsError(f"{error}; {work.heal()}", hint=work.hint or error.hint) from error
    except BaseException:
        progress(work.heal())
        raise


@dataclass
class _Drill:
    """One drill under way."""

    cloud: Cloud
    plan: Plan
    request: Request
    run: str
    api_urls: Mapping[str, str]
    timeline: Timeline
    report: Report
    known: Known
    progress: Progress
    sleep: Callable[[float], None]
    hint: str = ""
    asked: bool = False  # whether an experiment may have been started

    @property
    def phase(self) -> str:
        phases = self.timeline.phases
        return phases[-1].name if phases else "start"

    def go(self) -> Drilled:
        stage, request = self.cloud.stage, self.request
        tokens = token.for_stage(self.cloud)
        load = Load(self.cloud.edge_url, self.api_urls, tokens, rate_per_s=request.rate_per_s, run=self.run)
        self.timeline.begin("baseline", f"load of {request.rate_per_s:g} events/s begins")
        with (
            Watch(self.cloud.edge_url, self.api_urls, self.timeline) as watch,
            load,
            Arrivals(self.cloud, load.record, stage.regions) as arrivals,
        ):
            watch.wait(lambda: False, BASELINE_S, self.sleep)
            before = dict(watch.answers)
            self._require_baseline(watch, len(load.record().accepted))
            self._done(0, f"{len(load.record().accepted)} events accepted before the outage")

            first = self.timeline.begin("outage", f"taking away {', '.join(request.parts)} of {request.region}")
            started = self._start()
            outage_started = min([one.started.timestamp() for one in started if one.started] or [first])
            moved_at = self._watch_outage(watch, started)
            ended = self._give_back(started)
            outage_ended = self.timeline.begin("recovery", "the parts are given back")
            self._done(1, "; ".join(f"{one.id} {one.state}" for one in ended))
            self.known({"outage_s": round(outage_ended - outage_started, 1)})

            back = watch.wait(lambda: watch.stands_as(before), bound_s(stage) + MARGIN_S, self.sleep)
            back_after_s = self.timeline.now() - outage_ended
            self.timeline.note("every city is answered as before" if back else "not every city is answered as before")
            after = dict(watch.answers)

            self.timeline.begin("draining", "no new events; those under way are waited for")
            record = load.finish(DRAIN_S)
            measured = recovery(record, outage_started, outage_ended)
            self.known({"rto_s": measured.rto_s, "accepted": len(record.accepted)})

            self.timeline.begin("proof", f"{len(record.accepted)} accepted events are looked for in every replica")
            deadline_s = PROOF_LEFT_S if request.leave else PROOF_S
            proof = prove(self.cloud, record, stage.regions, deadline_s=deadline_s, progress=self.progress)
            self._done(len(self.plan.steps) - 1, "proved" if all(c.ok for c in proof.checks()) else "not proved")
            arrivals.finish(5.0)
            rpo = arrivals.behind(outage_started, request.region)
            self.known({"rpo_events": rpo.events, "rpo_s": round(rpo.seconds, 3)})

            self.timeline.begin("failback checks", f"is {request.region} as fit as before?")
            fit = examine(self.cloud, request.region, watch, self.progress, sleep=self.sleep)
            self.timeline.end()
        return Drilled(
            request=request,
            stage=stage,
            timeline=self.timeline,
            watch=watch,
            record=record,
            arrivals=arrivals,
            proof=proof,
            recovery=measured,
            rpo=rpo,
            fit=fit,
            experiments=tuple(ended),
            outage_started=outage_started,
            outage_ended=outage_ended,
            before=before,
            after=after,
            moved_after_s=None if moved_at is None else moved_at - outage_started,
            back=back,
            back_after_s=back_after_s,
            expected=list(self.plan.estimates["expected"]),
        )

    def _require_baseline(self, watch: Watch, accepted: int) -> None:
        wrong = [f"{city}: {answer}" for city, answer in watch.answers.items() if not answer.good]
        if wrong or not accepted:
            raise OpsError(
                f"the baseline is not sound: {'; '.join(wrong) or 'no event was accepted'}; nothing was broken",
                hint=f"Run: ops status --stage {self.cloud.stage.stage}",
            )

    def _start(self) -> list[Experiment]:
        """Take the parts away: what is left broken as an experiment of its own, which nobody ends here."""
        request, minutes_s = self.request, round(self.request.minutes * 60)
        self.asked = True
        wanted = [(request.leave, minutes_s + LEFT_S), (request.healed, minutes_s)]
        started = []
        for parts, duration_s in wanted:
            if parts:
                one = experiments.start(self.cloud, request.region, parts, duration_s, self.run, progress=self.progress)
                self.timeline.note(f"experiment {one.id} takes away {', '.join(one.parts)} for {duration_s} s")
                started.append(one)
        return started

    def _watch_outage(self, watch: Watch, started: list[Experiment]) -> float | None:
        """Wait for the outage to end by itself; returns when the last city had moved, or None."""
        request, moved_at = self.request, None
        region = request.region
        mine = {city for city, answer in watch.answers.items() if answer.region == region}
        left = {one.id for one in started if one.parts == self.request.leave}
        waited = [one for one in started if one.id not in left]
        end = self.timeline.now() + self.request.minutes * 60
        look_at = self.timeline.now() + REFRESH_S
        while True:
            now = self.timeline.now()
            if moved_at is None and mine and watch.moved_from(region):
                moved_at = max(watch.changed.get(city, now) for city in mine)
                self.timeline.note(f"no city is answered by {region} any more")
            if sick := [one for one in request.survivors(self.cloud.stage) if watch.red.get(one, 0) >= SICK_LOOKS]:
                raise OpsError(
                    f"drill: called off, {', '.join(sick)} is not well while {region} is away",
                    hint=f"Run: ops status --stage {self.cloud.stage.stage}",
                )
            if now >= look_at:
                look_at = now + REFRESH_S
                waited = [self._refreshed(one) for one in waited]
            over = not any(one.running for one in waited) if waited else now >= end
            if over or now >= end + LINGER_S:
                return moved_at
            self.sleep(0.2)

    def _refreshed(self, one: Experiment) -> Experiment:
        try:
            return experiments.refresh(self.cloud, one)
        except OpsError:
            return one  # the region is away: FIS, too, may be; the clock goes on

    def _give_back(self, started: list[Experiment]) -> list[Experiment]:
        """Stop what has not ended, but for what is left broken; each as it is now."""
        ended = []
        for one in started:
            if one.parts == self.request.leave:
                ended.append(self._refreshed(one))
            else:
                ended.append(experiments.stop(self.cloud, one))
        return ended

    def _done(self, step: int, what: str) -> None:
        phase = self.timeline.phases[-1]
        self.report(Outcome(self.plan.steps[step], what, self.timeline.now() - phase.started))

    def heal(self) -> str:
        """Stop every experiment of this run, within seconds; says what came of it, and sets ``hint``."""
        if not self.asked:
            return "nothing was broken"
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="failover-heal")
        try:
            said = pool.submit(self._stop_all).result(timeout=HEAL_S)
        except TimeoutError:
            said = "experiments were told to stop, and have not said that they did"
        except OpsError as error:
            said = f"experiments could not be stopped: {error}"
        else:
            return said
        finally:
            pool.shutdown(wait=False)
        self.hint = f"They end by themselves; to end them now: {experiments.healing_command(self.cloud.stage)}"
        return said

    def _stop_all(self) -> str:
        found = experiments.look(self.cloud, [self.request.region])
        if found.unanswered:
            raise OpsError("; ".join(found.unanswered.values()))
        mine = [one for one in found.running if one.run == self.run]
        for one in mine:
            experiments.stop(self.cloud, one, deadline_s=HEAL_S)
        return f"stopped: {', '.join(one.id for one in mine)}; the system is healed" if mine else "nothing is broken"
