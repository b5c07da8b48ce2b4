"""Every reason not to leave a region, not to drill and not to come back: all of them, each with figure and threshold.

It never stops at the first, and it changes nothing. A region that gives DynamoDB's data plane no answer is not asked
anything else, so that a preflight does not take as long as the outage. What always holds: of the region that is to be
*evacuated* nothing is demanded (that it is sick is why it is left; what it did not tell is said and is no error), of
the region of a *drill* everything; and no force leads past "no healthy survivor".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pandas as pd

from ops import metrics, stack, status, token
from ops.aws import Cloud, explained
from ops.errors import OpsError
from ops.failover import capacity, experiments, flag
from ops.failover.request import Request
from ops.fanout import each
from ops.metrics import Series
from ops.plan import Step
from ops.provision.alarms import composite_name, region_alarm_name
from ops.record import Check
from ops.stage import Stage

Verdict = Literal["ok", "reason", "unknown"]
TRAFFIC_WINDOW = timedelta(hours=3)
LATELY = timedelta(minutes=2)
MAX_PAGES = 20
# An alarm goes out when three of its last five periods are good.
ALARM_PATIENCE_S, ALARM_POLL_S = 90.0, 2.0
# A drill goes on after its outage: until DNS is back, queues are empty and the proof is made.
AFTERWARDS_S = 300.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. What is ``unknown`` is no reason where nothing is demanded."""

    name: str
    region: str
    verdict: Verdict
    seen: str
    threshold: str = ""
    forceable: bool = True

    def __str__(self) -> str:
        wanted = f" (wanted: {self.threshold})" if self.threshold else ""
        return f"{self.name}{f' in {self.region}' if self.region else ''}: {self.seen}{wanted}"


@dataclass(frozen=True)
class Preflight:
    """What was found. ``flags`` and ``api_urls`` are what later steps go on with."""

    request: Request
    findings: tuple[Finding, ...]
    flags: dict[str, flag.Reading]
    healthy: tuple[str, ...]
    silent: tuple[str, ...]
    api_urls: dict[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> list[Finding]:
        """Every reason not to go on, those that force leads past included."""
        return [finding for finding in self.findings if finding.verdict == "reason"]

    @property
    def forced(self) -> list[Finding]:
        """The reasons that are gone past because the request says so."""
        return [finding for finding in self.reasons if self.request.force and finding.forceable]

    @property
    def refusals(self) -> list[Step]:
        """A step for each reason that stands in the way."""
        return [
            Step(action="refuse", resource=one.name, region=one.region or None, detail=_wanted(one))
            for one in self.reasons
            if one not in self.forced
        ]

    def frame(self) -> pd.DataFrame:
        """A row a finding, reasons first."""
        order = {"reason": 0, "unknown": 1, "ok": 2}
        words = {"reason": "✘ a reason not to", "unknown": "? not known", "ok": "✔ ok"}
        rows = [
            (words[one.verdict] + self._past(one), one.name, one.region, one.seen, one.threshold)
            for one in sorted(self.findings, key=lambda one: order[one.verdict])
        ]
        return pd.DataFrame(rows, columns=["outcome", "what", "region", "seen", "wanted"])

    def checks(self) -> list[Check]:
        """A check for each reason; one that says so when there is none."""
        if not self.reasons:
            return [Check("preflight", True, f"no reason not to, of {len(self.findings)} things looked at")]
        return [Check(f"preflight: {one.name}", one in self.forced, f"{one}{self._past(one)}") for one in self.reasons]

    def _past(self, one: Finding) -> str:
        return ", gone past" if one in self.forced else ""


def _wanted(one: Finding) -> str:
    return f"{one.seen}; wanted: {one.threshold}" if one.threshold else one.seen


def preflight(
    cloud: Cloud,
    request: Request,
    *,
    tokens: Callable[[], float] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Preflight:
    """Look at everything once; takes as long as the slowest region that answers."""
    look = _Look(cloud, request, now())
    findings = [
        *look.flags_set(),
        *look.regions_healthy(),
        *look.replicas_active(),
        *look.replication_lag(),
        *look.queues(),
        *look.alarms(),
        *look.enough_capacity(),
        *look.experiments(),
        *(look.token_outlives(tokens or (lambda: _token_life_s(cloud))) if request.mode == "drill" else ()),
    ]
    return Preflight(request, tuple(findings), look.flags, tuple(look.healthy), tuple(look.silent), look.api_urls)


class _Look:
    """One preflight: what was read so far, and which regions are demanded to be well."""

    def __init__(self, cloud: Cloud, request: Request, now: datetime) -> None:
        self.cloud, self.stage, self.request, self.now = cloud, cloud.stage, request, now
        self.flags = flag.read_all(cloud)
        answered = {replica for reading in self.flags.values() for replica in reading.flags}
        self.silent = [region for region in self.stage.regions if region not in answered]
        self.living = [region for region in self.stage.regions if region in answered]
        self.survivors = request.survivors(self.stage)
        self.demanded = self.survivors if request.mode == "evacuate" else list(self.stage.regions)
        self.seen = self._each(lambda region: status.region_status(cloud, region))
        self.api_urls = {r: s.api_url for r, s in self.seen.items() if isinstance(s, status.RegionStatus) and s.api_url}
        self.healthy: list[str] = []
        self.points: dict[str, pd.DataFrame | str] = {}

    def _each(self, look: Callable[[str], Any]) -> dict[str, Any]:
        """What each region that lives says, or in words why it did not."""

        def ask(region: str) -> Any:
            try:
                with explained(region):
                    return look(region)
            except OpsError as error:
                return str(error)

        return each(self.living, ask)

    def _found(
        self, name: str, region: str, ok: bool | None, seen: str, threshold: str = "", *, demanded: bool | None = None
    ) -> Finding:
        """A finding; what is not known, or not well where nothing is demanded, is no reason."""
        wanted = region in self.demanded if demanded is None else demanded
        verdict: Verdict = "ok" if ok else "reason" if wanted else "unknown"
        if not wanted and ok is not None:
            seen += "" if ok else " (the region that is left: no reason to stay)"
        return Finding(name, region, verdict, seen, threshold)

    # --- what is looked at ---------------------------------------------------------------------------------------

    def flags_set(self) -> list[Finding]:
        """Whether somebody left a region already."""
        found = []
        for region, reading in self.flags.items():
            set_, subject = reading.flag, region == self.request.region
            wanted = self.request.mode == "failback" and subject
            seen = f"since {set_.since} by {set_.by}: {set_.reason or 'no reason given'}" if set_ else "not evacuated"
            ok = (set_ is not None) if wanted else (set_ is None)
            threshold = "evacuated" if wanted else "not evacuated"
            # Another evacuation leaves fewer survivors, and this runbook's own was done before.
            found.append(Finding("evacuation", region, "ok" if ok else "reason", seen, threshold))
        return found

    def regions_healthy(self) -> list[Finding]:
        found = []
        for region in self.stage.regions:
            seen = self.seen.get(region, "DynamoDB gives no answer; not asked further")
            if isinstance(seen, str):
                found.append(self._found("region", region, None, seen, "healthy"))
                continue
            problems = [one for one in seen.problems if " holds " not in one]  # DLQs are a reason of their own
            subject = region == self.request.region and self.request.mode == "failback"
            if subject:
                problems = [one for one in problems if not one.startswith("evacuated")]
            well = not problems
            if region in self.survivors and well and seen.api_status == 200 and seen.table_status == "ACTIVE":
                self.healthy.append(region)
            found.append(self._found("region", region, well, "; ".join(problems) or "healthy", "healthy"))
        count = f"{len(self.healthy)} of {len(self.survivors)}: {', '.join(self.healthy) or 'none'}"
        verdict: Verdict = "ok" if self.healthy else "reason"
        return [*found, Finding("healthy survivors", "", verdict, count, "1 or more", forceable=False)]

    def replicas_active(self) -> list[Finding]:
        """The table's replicas, as each region that answers describes the others'."""

        def describe(region: str) -> list[str]:
            table = self.cloud.client("dynamodb", region).describe_table(TableName=self.stage.table_name)["Table"]
            others = table.get("Replicas", [])
            listed = {region: table["TableStatus"]} | {r["RegionName"]: r.get("ReplicaStatus", "") for r in others}
            missing = [f"{one} is missing" for one in self.stage.regions if one not in listed]
            return missing + [f"{one} is {state}" for one, state in listed.items() if state != "ACTIVE"]

        found = []
        for region, seen in self._each(describe).items():
            if isinstance(seen, str):
                found.append(self._found("replicas", region, None, seen, "ACTIVE"))
                continue
            left = f"{self.request.region} " if self.request.mode == "evacuate" else None
            counted = [one for one in seen if left is None or not one.startswith(left)]
            found.append(self._found("replicas", region, not counted, "; ".join(seen) or "ACTIVE", "ACTIVE"))
        return found

    def replication_lag(self) -> list[Finding]:
        """Between the region and each survivor, both ways. The metric is kept where it was written."""
        limit, left = self.stage.failover.max_replication_lag_ms, self.request.region
        pairs = [*((left, other) for other in self.survivors), *((other, left) for other in self.survivors)]
        found = []
        for source, target in pairs:
            name = f"replication {source} to {target}"
            frame = self._points(source)
            demanded = source in self.demanded and target in self.demanded
            if isinstance(frame, str):
                found.append(self._found(name, source, None, frame, demanded=source in self.demanded))
                continue
            lately = frame[(frame["resource"] == f"to/{target}") & (frame["time"] >= self.now - LATELY)]
            if lately.empty:
                seen = "no data: nothing was written lately, or replication stands still (then run divergence)"
                found.append(Finding(name, source, "unknown", seen, f"{limit:,} ms or less"))
                continue
            # The newest point: what was late before and is not now is no reason.
            newest = lately.sort_values("time").tail(1)
            lag, wanted = float(newest["value"].max()), f"{limit:,} ms or less"
            seen = f"{lag:,.0f} ms at {newest['time'].max():%H:%M}Z"
            found.append(self._found(name, source, lag <= limit, seen, wanted, demanded=demanded))
        return found

    def queues(self) -> list[Finding]:
        """What waits in the DLQs, and how long the oldest message of each queue has waited."""
        found, limit = [], self.stage.alarms.queue_age_s
        for region in self.living:
            seen, frame = self.seen[region], self._points(region)
            if isinstance(seen, status.RegionStatus):
                full = [f"{dlq.name} holds {dlq.depth}" for dlq in seen.dlqs if dlq.depth]
                found.append(self._found("DLQs", region, not full, "; ".join(full) or "empty", "empty"))
            if isinstance(frame, str):
                found.append(self._found("queues", region, None, frame))
                continue
            lately = frame[frame["resource"].str.startswith("queue/") & (frame["time"] >= self.now - LATELY)]
            oldest = float(lately["value"].max()) if len(lately) else 0.0
            seen_age = f"oldest message {oldest:,.0f} s" if len(lately) else "no data: nothing waited lately"
            found.append(self._found("queues", region, oldest <= limit, seen_age, f"{limit:,} s or less"))
        return found

    def alarms(self) -> list[Finding]:
        """What is in ALARM. A sick region is left at once; whoever has time lets an alarm that is going out do so.

        That Route 53 keeps traffic away from the region is no reason: it is why it is left, or what a failback ends.
        """
        found = []
        for region, seen in self._each(self._alarms_after_a_while).items():
            if isinstance(seen, str):
                found.append(self._found("alarms", region, None, seen, "none in ALARM"))
            else:
                found.append(self._found("alarms", region, not seen, ", ".join(seen) or "none", "none in ALARM"))
        return found

    def _alarms_after_a_while(self, region: str) -> list[str]:
        patience_s = 0.0 if self.request.mode == "evacuate" else min(ALARM_PATIENCE_S, 6.0 * self.stage.alarms.period_s)
        end = time.monotonic() + patience_s
        # The composite goes with it; what else turns it on is seen by itself.
        known = {region_alarm_name(self.stage, self.request.region), composite_name(self.stage)}
        while (on := [one for one in alarms_on(self.cloud, region) if one not in known]) and time.monotonic() < end:
            time.sleep(ALARM_POLL_S)
        return on

    def enough_capacity(self) -> list[Finding]:
        if self.request.mode == "failback":
            return []
        frames = {region: frame for region in self.living if isinstance(frame := self._points(region), pd.DataFrame)}
        survivors = self.healthy or self.survivors
        made = capacity.capacity(self.stage, frames, survivors, self.request.rate_per_s)
        seen = f"{made.wanted_per_s:.1f} requests/s wanted, {made.offered_per_s:.0f}/s offered: {made.arithmetic}"
        verdict: Verdict = "ok" if made.enough else "reason"
        return [Finding("capacity of the survivors", "", verdict, seen, "wanted is not more than offered")]

    def experiments(self) -> list[Finding]:
        """Whether a drill is on. FIS is asked where the region answers."""
        told = experiments.look(self.cloud, self.living)
        seen = ", ".join(f"{one.id} in {one.region}: {'+'.join(one.parts)}" for one in told.running) or "none"
        found = [Finding("experiments", "", "reason" if told.running else "ok", seen, "none running")]
        for region, why in told.unanswered.items():
            found.append(self._found("experiments", region, None, why, demanded=self.request.mode == "drill"))
        return found

    def token_outlives(self, life_s: Callable[[], float]) -> list[Finding]:
        """The issuer may be out of reach while the region is away, so the first token must last."""
        needed = self.request.minutes * 60 + AFTERWARDS_S
        try:
            with explained("asking for a token"):
                life = life_s()
        except OpsError as error:
            return [Finding("access token", "", "reason", str(error), f"lives {needed:,.0f} s")]
        verdict: Verdict = "ok" if life >= needed else "reason"
        return [Finding("access token", "", verdict, f"lives {life:,.0f} s", f"{needed:,.0f} s or more")]

    # --- metrics -------------------------------------------------------------------------------------------------

    def _points(self, region: str) -> pd.DataFrame | str:
        """The region's metrics, read once."""
        if not self.points:
            self.points = self._each(self._read_points)
        return self.points.get(region, "DynamoDB gives no answer; CloudWatch was not asked")

    def _read_points(self, region: str) -> pd.DataFrame:
        wanted = [
            *capacity.series(self.stage, stack.read(self.cloud, region).api_id),
            *_lag_series(self.stage, region),
            *_age_series(self.stage),
        ]
        return metrics.read(self.cloud, region, wanted, self.now - TRAFFIC_WINDOW, self.now)


def _lag_series(stage: Stage, region: str) -> list[Series]:
    return [
        Series(
            f"to/{peer}",
            "AWS/DynamoDB",
            "ReplicationLatency",
            (("TableName", stage.table_name), ("ReceivingRegion", peer)),
            "Average",
            "ms",
        )
        for peer in stage.regions
        if peer != region
    ]


def _age_series(stage: Stage) -> list[Series]:
    metric = "ApproximateAgeOfOldestMessage"
    return [
        Series(f"queue/{name}", "AWS/SQS", metric, (("QueueName", stage.queue(name)),), "Maximum", "s")
        for name in stage.processor_names
    ]


def alarms_on(cloud: Cloud, region: str) -> list[str]:
    """The stage's alarms of a region that are in ALARM, metric and composite."""
    client = cloud.client("cloudwatch", region)
    asked: dict[str, Any] = {
        "AlarmNamePrefix": f"{cloud.stage.prefix}-",
        "StateValue": "ALARM",
        "AlarmTypes": ["MetricAlarm", "CompositeAlarm"],
    }
    found: list[str] = []
    for _ in range(MAX_PAGES):
        answer: Any = client.describe_alarms(**asked)
        for kind in ("MetricAlarms", "CompositeAlarms"):
            found += [alarm["AlarmName"] for alarm in answer.get(kind, [])]
        if not answer.get("NextToken"):
            break
        asked["NextToken"] = answer["NextToken"]
    return sorted(found)


def _token_life_s(cloud: Cloud) -> float:
    """How long a token lives that is asked for now."""
    client = token.read_client(cloud, cloud.stage.access.client_secret)
    return token.request_token(cloud, client, [cloud.stage.access.scopes.write]).life_s
