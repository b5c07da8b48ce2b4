"""The plan of an evacuation, a drill or a failback: steps, what each depends on, and what shall be true afterwards.

The verdict that is expected is written before anything runs, so that the run is held against it and not against what
happened. What always holds: no step of an evacuation needs a control plane of the region that is left; the way through
the data plane comes first; Route 53's control plane, which is in us-east-1 for every stage, is named as the second way,
with its command and when it is of no use.
https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/global-services.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from botocore.exceptions import BotoCoreError, ClientError

from ops.aws import Cloud
from ops.failover import experiments, flag
from ops.failover.preflight import AFTERWARDS_S, Preflight
from ops.failover.request import Request
from ops.failover.watching import Answer, ask_cities, bound_s
from ops.plan import Plan, Step
from ops.prices import CUSTOM_EVENT_USD, FIS_ACTION_USD_PER_MINUTE
from ops.provision.world import find_records, find_zones
from ops.stage import Stage

RUNBOOK = "failover"
# Route 53 is changed in this region only; answering and checking go on without it.
ROUTE53_CONTROL = "us-east-1"
# What one run may take without a longer --timeout: ops.runbooks.RUN_TIMEOUT_S.
USUAL_TIMEOUT_S = 1800
BASELINE_S = 15.0


@dataclass(frozen=True)
class Need:
    """One thing a step depends on: which plane of which service, and where."""

    step: str
    service: str
    plane: str
    region: str
    note: str = ""


def plan(cloud: Cloud, request: Request, found: Preflight, cities: Mapping[str, Answer] | None = None) -> Plan:
    """What would be done; read-only. ``cities`` are who answers them now (asked when not given)."""
    stage = cloud.stage
    answers = dict(cities) if cities is not None else ask_cities(cloud.edge_url)
    steps = {"evacuate": _evacuate, "drill": _drill, "failback": _failback}[request.mode](stage, request, found)
    duration_s = _duration_s(stage, request)
    return Plan(
        runbook=RUNBOOK,
        stage=stage.stage,
        account=cloud.account,
        regions=list(stage.regions),
        parameters=_parameters(request),
        steps=[*steps, *found.refusals],
        estimates={
            "duration_s": duration_s,
            "cost_usd": round(_cost_usd(request, duration_s), 4),
            "rto_bound_s": bound_s(stage),
            "answers_before": {city: answer.region for city, answer in answers.items()},
            "expected": _expected(stage, request, answers),
            "needs": [vars(need) for need in needs(stage, request)],
            "second_way": second_way(cloud, request) if request.mode != "drill" else [],
        },
        warnings=_warnings(stage, request, found, duration_s),
    )


def _parameters(request: Request) -> dict[str, Any]:
    """What the same run is asked for with: only what its mode uses."""
    asked: dict[str, Any] = {"mode": request.mode, "region": request.region}
    if request.mode == "drill":
        asked |= {"minutes": request.minutes, "parts": list(request.parts), "leave": list(request.leave)}
        asked |= {"rate": request.rate_per_s}
    return asked | {"force": request.force, "reason": request.reason}


def approval(stage: Stage, request: Request) -> str:
    """What lets this run go on without a token; empty where nothing does."""
    if request.mode == "drill" and stage.failover.approve_drills:
        return f"failover.approve_drills of {stage.shown_file}"
    return ""


def expected_frame(plan: Plan) -> pd.DataFrame:
    """What shall be true afterwards, a row each."""
    return pd.DataFrame(plan.estimates["expected"], columns=["what", "expected"])


def needs_frame(plan: Plan) -> pd.DataFrame:
    """What each step depends on, a row each."""
    return pd.DataFrame(plan.estimates["needs"], columns=["step", "service", "plane", "region", "note"])


def second_way_frame(plan: Plan) -> pd.DataFrame:
    """Route 53's control plane: the command, its undoing, and when it is of no use."""
    return pd.DataFrame(plan.estimates["second_way"], columns=["what", "command or warning"])


# --- steps -------------------------------------------------------------------------------------------------------


def _evacuate(stage: Stage, request: Request, found: Preflight) -> list[Step]:
    ways, standing = flag.ways(stage, request.region), found.flags[request.region].flag
    through = f"PutItem through {ways[0]}, else {', else '.join(ways[1:])}"
    name = f"evacuation flag of {request.region}"
    if standing is not None:
        before = {"since": standing.since, "by": standing.by, "reason": standing.reason}
        first = Step(action="run", resource=name, region=ways[0], detail=f"set since {standing.since}", before=before)
    else:
        after = {"region": request.region, "reason": request.reason}
        first = Step(action="create", resource=name, region=ways[0], detail=through, after=after)
    return [
        first,
        Step(
            action="run",
            resource="watch DNS answers",
            detail=f"until no city is answered by {request.region}; {bound_s(stage):.0f} s expected",
        ),
    ]


def _drill(stage: Stage, request: Request, found: Preflight) -> list[Step]:
    del found
    away = f"{', '.join(request.parts)} for {request.minutes:g} min"
    steps = [
        Step(action="run", resource="load", detail=f"{request.rate_per_s:g} events/s through the edge, from 4 cities"),
        Step(
            action="run",
            resource="experiment",
            region=request.region,
            detail=f"takes away {away}; ends by itself",
            after={"parts": list(request.healed), "leave": list(request.leave), "minutes": request.minutes},
        ),
        Step(action="run", resource="proof", detail="every event answered 202 is in every replica, once"),
    ]
    if request.leave:
        note = f"{', '.join(request.leave)} not given back at the end; heals with: {experiments.healing_command(stage)}"
        steps.insert(2, Step(action="run", resource="left broken", region=request.region, detail=note))
    return steps


def _failback(stage: Stage, request: Request, found: Preflight) -> list[Step]:
    ways, standing = flag.ways(stage, request.region), found.flags[request.region].flag
    watched = f"/status well for {stage.failover.stable_s} s without a break"
    first = Step(action="run", resource="checks", region=request.region, detail=f"{watched}; queues; divergence")
    if standing is None:
        return [first.model_copy(update={"action": "keep", "detail": "not evacuated: nothing to come back from"})]
    before = {"since": standing.since, "by": standing.by, "run": standing.run, "reason": standing.reason}
    return [
        first,
        Step(
            action="delete",
            resource=f"evacuation flag of {request.region}",
            region=ways[0],
            detail=f"DeleteItem through {ways[0]}, else {', else '.join(ways[1:])}",
            before=before,
        ),
        Step(action="run", resource="watch DNS answers", detail=f"until {request.region} answers again"),
    ]


# --- what it depends on ------------------------------------------------------------------------------------------


def needs(stage: Stage, request: Request) -> list[Need]:
    """What each step of the run depends on."""
    left, ways = request.region, flag.ways(stage, request.region)
    peer, survivors = ways[0], ", ".join(request.survivors(stage))
    route53 = [
        Need("DNS moves", "Route 53 health checkers", "data", "global", f"ask {peer} GET /evacuated/{left}"),
        Need("DNS moves", "API Gateway, Lambda, DynamoDB", "data", peer, "answer the health checkers"),
        Need("DNS moves", "Route 53 DNS", "data", "global"),
    ]
    watch = Need("watch", "HTTPS to the edge", "data", "global", "asked per city, /status of each region besides")
    own = f"nothing of {left} is waited for: what it does not answer is said"
    if request.mode == "evacuate":
        return [
            Need("preflight", "CloudFormation, CloudWatch, DynamoDB, FIS", "control", survivors, f"reads; {own}"),
            Need("set the flag", "DynamoDB", "data", peer, f"PutItem; then {', '.join(ways[1:])}, each by itself"),
            *route53,
            watch,
        ]
    if request.mode == "failback":
        everywhere = ", ".join(stage.regions)
        return [
            Need("checks", "SQS, CloudWatch, CloudFormation", "control", everywhere, "reads"),
            Need("checks", "DynamoDB", "data", everywhere, "every replica is scanned by the divergence check"),
            Need("clear the flag", "DynamoDB", "data", peer, f"DeleteItem; then {', '.join(ways[1:])}"),
            Need(
                "clear the flag", "DynamoDB replication", "data", f"{peer} to {left}", f"{left}'s own /status reads it"
            ),
            *route53,
            watch,
        ]
    return [
        Need("load", "the issuer of tokens, Secrets Manager", "data", "any", "before the outage; renewed besides"),
        Need(
            "outage",
            "FIS",
            "control",
            left,
            f"starts it; it ends by itself, or by {experiments.healing_command(stage)}",
        ),
        Need("DNS moves", "Route 53 health checkers and DNS", "data", "global", f"/status of {left} fails"),
        watch,
        Need("proof", "DynamoDB", "data", ", ".join(stage.regions), "every replica is asked for every event"),
    ]


def second_way(cloud: Cloud, request: Request) -> list[dict[str, str]]:
    """How the same is done by Route 53's control plane, as far as it tells which health check it is.

    A disabled health check counts as healthy, and inverted as unhealthy, whatever the region says:
    https://docs.aws.amazon.com/Route53/latest/APIReference/API_UpdateHealthCheck.html
    """
    check, why = "", ""
    try:
        zones = find_zones(cloud)
        records = find_records(cloud, zones[0]) if zones else {}
        check = next((r["health_check"] or "" for r in records.values() if r["region"] == request.region), "")
        why = "" if check else f"{cloud.stage.dns.record} has no record of {request.region} with a health check"
    except (ClientError, BotoCoreError) as error:
        why = f"Route 53's control plane gives no answer ({type(error).__name__})"
    shown = check or "<id of the health check of the region's record>"
    command = f"aws route53 update-health-check --health-check-id {shown}"
    lines = [("leave", f"{command} --disabled --inverted"), ("come back", f"{command} --no-disabled --no-inverted")]
    if why:
        lines.append(("the id is missing", why))
    depends = f"it needs Route 53's control plane, which is in {ROUTE53_CONTROL}"
    if request.region == ROUTE53_CONTROL:
        depends += ", the region that is left: do not count on it"
    return [{"what": what, "command or warning": text} for what, text in [*lines, ("depends on", depends)]]


# --- what is expected --------------------------------------------------------------------------------------------


def _expected(stage: Stage, request: Request, answers: Mapping[str, Answer]) -> list[dict[str, str]]:
    left, survivors = request.region, request.survivors(stage)
    goal = survivors[0] if len(survivors) == 1 else f"the nearest of {', '.join(survivors)}"
    mine = [city for city, answer in answers.items() if answer.region == left]
    others = [f"{city} ({answer.region})" for city, answer in answers.items() if answer.region != left]
    bound = f"within {bound_s(stage):.0f} s: {_bound_text(stage)}"
    if request.mode == "failback":
        rows = [
            ("comes back", f"cities nearest to {left} are answered by it {bound}"),
            ("before that", f"well for {stage.failover.stable_s} s, queues drained, DLQs empty, replicas equal"),
        ]
        return _rows(rows)
    moves = request.mode == "evacuate" or "api" in request.parts
    rows = [
        ("moves", f"{', '.join(mine) or 'no city'}: from {left} to {goal}" if moves else "nobody: the API stays"),
        ("stays", ", ".join(others) or "no city"),
        ("RTO", bound if moves else "0 s: no request fails"),
    ]
    if request.mode == "drill":
        cut = "replication" in request.parts
        rows += [
            ("RPO", "what was not replicated when it was cut; 0 lost after healing" if cut else "replication goes on"),
            ("lost", f"0 events{_unless(request)}"),
            ("doubled", "0 events"),
            ("afterwards", "traffic as before, queues drained, DLQs empty, replicas equal"),
        ]
    else:
        rows += [("RPO", "0: nothing is taken away"), ("lost", "0 events"), ("afterwards", f"failback of {left}")]
    return _rows(rows)


def _unless(request: Request) -> str:
    if "replication" not in request.leave:
        return ""
    return ", but replication is left broken: the proof fails, and names what is missing where"


def _rows(rows: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"what": what, "expected": text} for what, text in rows]


def _bound_text(stage: Stage) -> str:
    health = stage.health_check
    return f"health check {health.interval_s} s * {health.failure_threshold} + TTL {stage.dns.ttl_s} s"


def _duration_s(stage: Stage, request: Request) -> float:
    moves = bound_s(stage)
    if request.mode == "evacuate":
        return moves
    if request.mode == "failback":
        return stage.failover.stable_s + moves + 30
    return BASELINE_S + request.minutes * 60 + moves + stage.failover.stable_s + 30


def _cost_usd(request: Request, duration_s: float) -> float:
    """FIS bills an action by the minute; an event is delivered, and kept in the journal."""
    actions = len(request.parts) * math.ceil(request.minutes) * FIS_ACTION_USD_PER_MINUTE
    return actions + request.rate_per_s * duration_s * 2 * CUSTOM_EVENT_USD


def _warnings(stage: Stage, request: Request, found: Preflight, duration_s: float) -> list[str]:
    lines = [f"gone past, because force is true: {one}" for one in found.forced]
    lines += [f"not known: {one}" for one in found.findings if one.verdict == "unknown"]
    if duration_s + AFTERWARDS_S > USUAL_TIMEOUT_S:
        lines.append(f"it may take longer than a run may: add --timeout {math.ceil(duration_s + 2 * AFTERWARDS_S)}")
    if request.mode == "drill":
        longest = experiments.longest_drill_s(stage, request.parts)
        if request.minutes * 60 > longest:
            lines.append(
                f"processing is away for more than {longest} s: messages may end in a DLQ, and the proof misses them"
            )
        ramp = experiments.ramp_up_s(stage, request.parts)
        if ramp >= request.minutes * 60:
            lines.append(f"FIS may take {ramp} s until all is away: the drill may show nothing; raise minutes")
    return lines
