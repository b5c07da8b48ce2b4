"""Least privilege of the runbooks, proved both ways: each call is granted by its policy, and each grant is used."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource
from moto import mock_aws
from moto.events.models import ReplayState, events_backends
from pydantic import TypeAdapter

from ops import (
    aws,
    bucket,
    cost,
    divergence,
    edge,
    lease,
    ledger,
    metrics,
    parity,
    policies,
    provision,
    redrive,
    replay,
    runbooks,
    stack,
    token,
    trace,
)
from ops import status as status_module
from ops.aws import Cloud
from ops.cli import app
from ops.divergence import beating, exports, fleet, probing, repair
from ops.errors import InterruptedRunError, OpsError, UsageError
from ops.failover import experiments, flag, planning
from ops.failover.preflight import preflight
from ops.failover.proof import prove
from ops.failover.request import request as failover_request
from ops.load import EDGE, Attempt, LoadRecord
from ops.metrics import marks
from ops.plan import Plan
from ops.policies import COMPOSITES, GENERATED, NO_RESOURCE, Document, Grant, Statement, shared
from ops.policies import divergence as grants_of_divergence
from ops.provision.alarms import topic_arn
from ops.provision.waits import Waits
from ops.provision.world import observe
from ops.replay import Waits as ReplayWaits
from ops.replay import pausing
from ops.report import notify
from ops.report import records as report_records
from ops.stage import ReportSettings, Stage, load_stage, stage_names
from tests import iam
from tests.unit.ops.conftest import QUEUES, READ_ONLY, Asked, Hub, slow_experiments
from tests.unit.ops.divergence import exported
from tests.unit.ops.divergence.workflows import workflows
from tests.unit.ops.redrive.letters import given_up
from tests.unit.ops.redrive.platform import answering
from tests.unit.ops.replay.stored import store
from tests.unit.ops.test_ledger import ENTRY
from tests.unit.ops.test_parity import region_of
from tests.unit.ops.test_provision import domain_of, make_key, with_keys
from tests.unit.ops.test_provision_table import CAPACITY, with_table
from tests.unit.ops.trace import made as traced

ACCOUNT, US, AP, EU = "123456789012", "us-east-1", "ap-south-1", "eu-west-1"
GLOBAL = "aws-global"  # what botocore calls the region of Route 53
QUICK = ReplayWaits(quiet_s=0, drain_s=0, replay_s=5, listen_s=0, sleep=lambda seconds: None)
# Every experiment of these tests is this stage's.
RUNNING_TAGS = {"aws:ResourceTag/atoll:stage": ["unit"]}
# Actions that change nothing and are not called so.
# A message of a queue is seen by hiding it for a moment, and shown again.
LOOKS = {"sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"}
READS = {"apigateway:GET", "kms:Decrypt", "logs:FilterLogEvents", "route53:TestDNSAnswer", *LOOKS}


class Need(NamedTuple):
    """What IAM is asked when a call is made."""

    action: str
    resource: str
    context: str  # JSON

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


def needs(asked: list[Asked], aliases: Mapping[str, list[str]] | None = None) -> set[Need]:
    found = set()
    for one in asked:
        tags = RUNNING_TAGS if one.model.service_model.service_name == "fis" else {}
        context = json.dumps(tags | iam.context_of(one.model, one.parameters, aliases), sort_keys=True)
        for resource in iam.addressed(one.model, one.parameters, one.region, ACCOUNT):
            found.add(Need(iam.action_of(one.model), resource, context))
    return found


def problems(granted: list[Grant], needed: set[Need]) -> list[str]:
    """Where the grants and the need for them differ, a line each; none when they are the same."""
    statements = [grant.statement() for grant in granted]
    called = {need.action for need in needed}
    lines = [
        f"needed and not granted: {need}"
        for need in needed
        if not iam.allows(statements, need.action, need.resource, json.loads(need.context))
    ]
    for grant in granted:
        if grant.behind:
            lines += [] if grant.behind in called else [f"granted for {grant.behind}, which nobody calls: {grant.sid}"]
            continue
        lines += [
            f"granted and never used: {action} on {resource} ({grant.sid})"
            for action in grant.actions
            for resource in grant.resources
            if not any(need.action == action and iam.matches(resource, need.resource) for need in needed)
        ]
    return sorted(lines)


# --- the calls that each makes -----------------------------------------------------------------------------------


class World:
    """A stage with a domain, in an account in which every call is recorded; what moto lacks is answered here."""

    def __init__(self, cloud: Cloud, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cloud, self.hub, self.calls = cloud, hub, hub.calls
        self.answers: dict[tuple[str, str, str], Any] = {}
        self.keys: list[str] = []
        monkeypatch.setattr(status_module, "probe", lambda url: status_module.Health(200))
        for region in cloud.stage.regions:
            own = {
                f"{name}DomainTarget": f"d-{name}.execute-api.{region}.amazonaws.com" for name in ("Shared", "Regional")
            }
            hub.stacks.outputs[region] = own

    def with_keys(self) -> World:
        self.cloud.stage = with_keys(self.cloud.stage)
        self.keys = [make_key(self.cloud, region) for region in self.cloud.stage.regions]
        return self

    def provisioned(self) -> World:
        plan = provision.plan(self.cloud)
        provision.apply(self.cloud, plan, plan.token, waits=Waits(sleep=lambda seconds: None))
        return self

    def unprotected(self) -> World:
        table = self.cloud.stage.table.model_copy(update={"deletion_protection": False})
        self.cloud.stage = self.cloud.stage.model_copy(update={"table": table})
        return self

    def with_rules(self) -> World:
        for region in self.cloud.stage.regions:
            for bus in (self.cloud.stage.bus, self.cloud.stage.journal_bus):
                events = self.cloud.client("events", region)
                events.put_rule(Name=f"{bus}-store", EventBusName=bus, EventPattern='{"source": ["atoll.events"]}')
                queues = [f"arn:aws:sqs:{region}:{ACCOUNT}:atoll-unit-{one}" for one in ("store", "activity")]
                targets: Any = [{"Id": arn[-5:], "Arn": arn} for arn in queues]
                events.put_targets(Rule=f"{bus}-store", EventBusName=bus, Targets=targets)
        return self

    def answer(self, model: Any, context: dict[str, Any], **_: Any) -> Any:
        key = (model.service_model.service_name, model.name, context["client_region"])
        return (SimpleNamespace(status_code=200), copy.deepcopy(self.answers[key])) if key in self.answers else None


@pytest.fixture
def world(deployed: Cloud, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    deployed.stage = deployed.stage.model_copy(update={"domain": domain_of(deployed.stage)})
    made = World(deployed, hub, monkeypatch)
    clients = [
        hub.client(service, region)
        for service in ("apigatewayv2", "cloudformation", "dynamodb", "lambda", "route53", "sqs", "xray")
        for region in deployed.stage.regions
    ]
    for client in clients:
        client.meta.events.register("before-call", made.answer, unique_id="policies")
    try:
        yield made
    finally:
        for client in clients:
            client.meta.events.unregister("before-call", unique_id="policies")


def _divergence(world: World, apply: bool = False) -> Iterator[None]:
    world.provisioned()
    store(world.cloud, 1, "order.placed", datetime.now(UTC))
    item: Any = {"pk": {"S": "EVENT#2"}, "sk": {"S": "EVENT"}}
    world.cloud.client("dynamodb", US).put_item(TableName="atoll-unit", Item=item)
    arns = _exported(world, item)
    yield
    for regions in ([US, AP], [AP, US]):
        found = divergence.compare(world.cloud, "", regions, sleep=lambda seconds: None)
        assert len(found.differences) == 1
    _probe(world, apply)
    _fleet(world, apply)
    _export(world, arns, apply)
    if apply:
        _findings(world, found)


def _divergence_applied(world: World) -> Iterator[None]:
    yield from _divergence(world, apply=True)


def _findings(world: World, found: divergence.Comparison) -> None:
    run, stage = "20260301T120000Z-divergence", world.cloud.stage
    with tempfile.TemporaryDirectory() as directory:
        # They go to another region's bucket where the home region's does not take them.
        for region in stage.regions:
            world.cloud.stage = stage.model_copy(update={"home_region": region})
            made = found.findings(run, stage.stage, ACCOUNT)
            assert divergence.findings.save(world.cloud, made, Path(directory)) == run
    world.cloud.stage = stage


def _exported(world: World, item: Any) -> list[str]:
    """Exports in the operations buckets, of which one lacks an item, that moto has not heard of. Returns their ARNs."""
    stage, client, now = world.cloud.stage, world.cloud.client, datetime.now(UTC)
    made = exported.World(stage.regions, table=stage.table_name, prefix=bucket.EXPORTS)
    for region in stage.regions:
        made.write(region, exported.files([item] if region == US else [], count=1))
        place = bucket.place(world.cloud, region)
        for key, body in made.bucket.objects.items():
            client("s3", region).put_object(Bucket=place.bucket, Key=key, Body=body)
        told = {
            "ExportArn": f"{made.arn(region)}/export/{region}",
            "ExportStatus": "COMPLETED",
            "S3Bucket": place.bucket,
            "ExportManifest": f"{made.folder(region)}/manifest-summary.json",
        }
        for call in ("ExportTableToPointInTime", "DescribeExport"):
            world.answers["dynamodb", call, region] = {"ExportDescription": told}
        # moto's window is the moment when it was asked for, another one in each region.
        window = {"EarliestRestorableDateTime": now - timedelta(days=1), "LatestRestorableDateTime": now}
        recovery = {"PointInTimeRecoveryStatus": "ENABLED"} | window
        told = {"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery}
        world.answers["dynamodb", "DescribeContinuousBackups", region] = {"ContinuousBackupsDescription": told}
    return [f"{made.arn(region)}/export/{region}" for region in stage.regions]


def _export(world: World, arns: list[str], apply: bool) -> None:
    cloud = world.cloud
    replicas = divergence.resolve(cloud)
    described = divergence.describe(cloud, replicas)
    schema, _ = divergence.agree(described)
    plan = exports.plan(cloud, replicas, described)
    if apply:
        assert exports.make(cloud, plan, plan.token) == arns
    assert len(exports.survey(cloud, replicas, schema, described, arns).suspects) == 1


def _fleet(world: World, apply: bool) -> None:
    cloud = world.cloud
    replicas = divergence.resolve(cloud)
    described = divergence.describe(cloud, replicas)
    schema, _ = divergence.agree(described)
    with workflows(world.hub, cloud) as machines:
        plan = fleet.plan(cloud, replicas, schema, described, segments=2)
        if not apply:
            return
        quick: dict[str, Any] = {"clock": lambda: 0.0, "sleep": lambda seconds: None}
        assert len(fleet.survey(cloud, plan, plan.token, **quick).suspects) == 1
        machines.broken = {1: "broken"}
        for region in cloud.stage.regions:
            machines.broken_in = [region]
            with pytest.raises(OpsError):
                fleet.survey(cloud, plan, plan.token, **quick)
        machines.each_look = _interrupt
        with pytest.raises(InterruptedRunError):
            fleet.survey(cloud, plan, plan.token, **quick)


def _probe(world: World, apply: bool) -> None:
    cloud = world.cloud
    found = {one: table for one, table in divergence.describe(cloud, divergence.resolve(cloud)).items() if table}
    # What moto's replicas tell of each other is told by one of them only.
    assert len(probing.probe(cloud, found).latencies) == len(cloud.stage.regions)
    _heartbeats(cloud, apply)


def _heartbeats(cloud: Cloud, apply: bool) -> None:
    found = {one: table for one, table in divergence.describe(cloud, divergence.resolve(cloud)).items() if table}
    schema, _ = divergence.agree(found)
    plan = beating.plan(cloud, schema, found, rounds=1, deadline_s=1.0)
    if apply:
        beats = beating.apply(
            cloud, plan, plan.token, schema, found, rounds=1, deadline_s=1.0, sleep=lambda seconds: None
        )
        assert beats.left == ()


def _repair(world: World, apply: bool = False) -> Iterator[None]:
    """Repair and undo, with records kept in each region in turn, as where the home region is another one."""
    world.provisioned()
    cloud, stage = world.cloud, world.cloud.stage
    options: dict[str, Any] = {"sleep": lambda seconds: None}
    key: Any = {"pk": {"S": "EVENT#3"}, "sk": {"S": "EVENT"}}
    for region in stage.regions:
        item = key | {"held_by": {"S": region}}
        cloud.client("dynamodb", region).put_item(TableName=stage.table_name, Item=item)
    lone: Any = {"pk": {"S": "EVENT#2"}, "sk": {"S": "EVENT"}}
    cloud.client("dynamodb", US).put_item(TableName=stage.table_name, Item=lone)
    found = divergence.compare(cloud, "", [US, AP], **options)
    runs = {}
    for number, region in enumerate(stage.regions):
        cloud.stage = stage.model_copy(update={"home_region": region})
        for right in range(len(stage.regions)):
            run = f"20260301T1200{number}{right}Z-divergence"
            runs[region, right] = run
            with tempfile.TemporaryDirectory() as directory:
                divergence.findings.save(cloud, found.findings(run, stage.stage, ACCOUNT), Path(directory))
        # A repair that was killed before it kept its plan.
        entry = dataclasses.replace(ENTRY, runbook="divergence", token="0" * 16)
        body = TypeAdapter(ledger.Entry).dump_json(entry)
        where = {"Bucket": bucket.place(cloud, region).bucket, "Key": f"ledger/divergence/{entry.token}.json"}
        cloud.client("s3", region).put_object(Body=body, **where)
    cloud.stage = stage
    yield
    for region in stage.regions:
        cloud.stage = stage.model_copy(update={"home_region": region})
        with pytest.raises(UsageError, match="no repair was applied"):
            repair.plan_undo(cloud, "0" * 16)
        for number, right in enumerate(stage.regions):
            findings = divergence.findings.load(cloud, runs[region, number])
            made = repair.plan(cloud, findings, f"region:{right}", settle_s=0.1, **options)
            assert made.estimates["items"] == 2
            if apply:
                done = repair.apply(cloud, made, made.token, **options)
                # Moto's replicas do not replicate, so that each can have its own again.
                back = repair.plan_undo(cloud, made.token, force="replication", **options)
                assert repair.prove(cloud, done, **options).checks()[0].ok
                assert repair.apply(cloud, back, back.token, **options).checks()[0].ok
    cloud.stage = stage


def _repair_applied(world: World) -> Iterator[None]:
    yield from _repair(world, apply=True)


def _metrics(world: World, apply: bool = False) -> Iterator[None]:
    with slow_experiments():
        world.provisioned()
        _with_drills(world)
        yield
        now = datetime.now(UTC)
        metrics.collect(world.cloud, now - timedelta(hours=1))
        assert marks.collect(world.cloud, now - timedelta(hours=1), now).unread == {}
        _heartbeats(world.cloud, apply)


def _metrics_applied(world: World) -> Iterator[None]:
    yield from _metrics(world, apply=True)


def _cost(world: World) -> Iterator[None]:
    world.provisioned()
    yield
    assert cost.bill(cost.collect(world.cloud, datetime.now(UTC) - timedelta(hours=1))).total_usd > 0


def _parity(world: World) -> Iterator[None]:
    stage = world.provisioned().with_rules().cloud.stage
    for region in stage.regions:
        answers = region_of(region)
        kinds = {kind: [] for kind in ("Lambda::Function", "SQS::Queue", "Events::Rule")}  # type: ignore[var-annotated]
        kinds["Lambda::Function"] = [stage.function(name) for name in stage.stack_functions]
        sqs = world.cloud.client("sqs", region)
        kinds["SQS::Queue"] = [sqs.get_queue_url(QueueName=f"atoll-unit-{name}")["QueueUrl"] for name in QUEUES]
        kinds["Events::Rule"] = [f"{bus}|{bus}-store" for bus in (stage.bus, stage.journal_bus)]
        kinds |= {
            "Lambda::EventSourceMapping": ["00000000-0000-0000-0000-000000000000"],
            "ApiGatewayV2::Api": ["a1b2c3d4e5"],
        }
        answers["list_stack_resources"]["StackResourceSummaries"] = [
            {"ResourceType": f"AWS::{kind}", "LogicalResourceId": f"{kind}{number}", "PhysicalResourceId": physical}
            for kind, names in kinds.items()
            for number, physical in enumerate(names)
        ]
        for service in ("apigatewayv2", "cloudformation", "lambda", "sqs"):
            for name in world.cloud.client(service, region).meta.service_model.operation_names:  # type: ignore[call-overload]
                if name != "DescribeStacks" and xform_name(name) in answers:
                    world.answers[service, name, region] = answers[xform_name(name)]
    yield
    assert {row.aspect for row in parity.compare(world.cloud).rows} >= {"queue", "rule", "API", "archive"}


def _provision(world: World) -> Iterator[None]:
    world.provisioned()
    scale(world, US, AP)  # policies of scaling are looked for where there is a target
    yield
    provision.plan(world.cloud)
    provision.verify(world.cloud)


def scale(world: World, *regions: str) -> None:
    """Leave targets behind, as a table that was provisioned may."""
    for region in regions:
        world.cloud.client("application-autoscaling", region).register_scalable_target(
            ServiceNamespace="dynamodb",
            ResourceId="table/atoll-unit",
            ScalableDimension="dynamodb:table:ReadCapacityUnits",
            MinCapacity=1,
            MaxCapacity=2,
        )


def _provision_applied(world: World) -> Iterator[None]:
    scale(world, US, AP)
    yield
    cloud = world.cloud
    _provision_now(world)
    # What a later apply finds changed.
    sns, cloudwatch = world.hub.unseen("sns", US), world.hub.unseen("cloudwatch", US)
    sns.set_topic_attributes(TopicArn=topic_arn(cloud.stage, ACCOUNT), AttributeName="Policy", AttributeValue="{}")
    cloudwatch.put_metric_alarm(
        AlarmName="atoll-unit-global-eu-west-1",
        Namespace="AWS/Route53",
        MetricName="HealthCheckStatus",
        Statistic="Minimum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
    )
    cloud.stage = cloud.stage.model_copy(
        update={
            "archive": cloud.stage.archive.model_copy(update={"retention_days": 8}),
            "journal": cloud.stage.journal.model_copy(update={"retention_days": 8}),
            "health_check": cloud.stage.health_check.model_copy(update={"failure_threshold": 9}),
        }
    )
    _provision_now(world)
    slower = cloud.stage.health_check.model_copy(update={"interval_s": 30})
    cloud.stage = cloud.stage.model_copy(update={"health_check": slower})
    _provision_now(world)
    assert len(observe(cloud).health_checks) == 7


def _provision_now(world: World) -> None:
    world.provisioned()
    assert [check for check in provision.verify(world.cloud) if not check.ok] == []


def _destroy(world: World) -> Iterator[None]:
    world.unprotected().provisioned()
    scale(world, US, AP)
    item: Any = {"pk": {"S": "EVENT#2"}, "sk": {"S": "EVENT"}}
    world.cloud.client("dynamodb", US).put_item(TableName="atoll-unit", Item=item)
    yield
    assert provision.plan(world.cloud, destroy=True).refusals


def _destroy_applied(world: World) -> Iterator[None]:
    world.unprotected().provisioned()
    scale(world, US, AP)
    for region in world.cloud.stage.regions:
        bucket.put(world.cloud, bucket.place(world.cloud, region), "quarantine/x", b"{}")
    yield
    plan = provision.plan(world.cloud, destroy=True, discard_data=True)
    provision.apply(world.cloud, plan, plan.token)
    assert all(check.ok for check in provision.verify(world.cloud, plan))


def _replay(world: World, apply: bool = False) -> Iterator[None]:
    world.provisioned().with_rules()
    cloud = world.cloud
    for region in cloud.stage.regions:
        ledger.write(cloud, bucket.place(cloud, region), ENTRY)
    yield
    assert len(replay.archives(cloud)) == 4
    assert len(ledger.history(cloud, "replay")) == len(cloud.stage.regions)
    for region in cloud.stage.regions:
        for archive in (cloud.stage.archive_name, cloud.stage.journal_bus):
            assert replay.plan(cloud, region, archive=archive, types=["order.placed"]).steps
            plan = replay.plan(cloud, region, archive=archive)
            if apply:
                _apply_replay(world, plan, region, archive)


def _replay_applied(world: World) -> Iterator[None]:
    yield from _replay(world, apply=True)


def _apply_replay(world: World, plan: Plan, region: str, bus: str) -> None:
    """A replay that is stopped, gone on with, and applied once more, of an event that ended in a DLQ."""
    cloud, sqs = world.cloud, world.hub.unseen("sqs", region)
    backend = events_backends[ACCOUNT][region]
    detail = {"event_key": str(uuid.uuid4()), "event": {"type": "order.placed"}}
    envelope: Any = {"id": "1", "time": 1.7e9, "source": "atoll.events", "detail": detail}
    backend.archives[bus].events.append(envelope)
    for name in cloud.stage.dlqs:
        sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], MessageBody="{}")

    def stop() -> None:
        for one in backend.replays.values():
            one.state = ReplayState.RUNNING
        raise KeyboardInterrupt

    world.calls.on("after", "StartReplay", stop)
    with pytest.raises(InterruptedRunError, match="nothing temporary is left"):
        replay.apply(cloud, plan, plan.token, waits=QUICK)
    world.calls.hooks.clear()
    assert replay.apply(cloud, plan, plan.token, waits=QUICK).state == "COMPLETED"
    assert replay.apply(cloud, plan, plan.token, waits=QUICK).started == 0
    # A queue that is not empty makes a replay ask for its age.
    url = sqs.get_queue_url(QueueName="atoll-unit-store")["QueueUrl"]
    assert sqs.send_message(QueueUrl=url, MessageBody="{}")
    queues = pausing.queues_of(cloud, [f"arn:aws:sqs:{region}:{ACCOUNT}:atoll-unit-store"])
    assert pausing.Gate(cloud, queues, dict, max_age_s=-1, max_growth=0).look().wait


def _redrive(world: World, apply: bool = False) -> Iterator[None]:
    with answering(world.cloud) as platform:
        for region in world.cloud.stage.regions:
            platform.journal(region)
        world.provisioned()
        for region in world.cloud.stage.regions:
            platform.deploy(region)
            platform.keep(region)
            platform.fail_everywhere(region)
        yield
        for region in world.cloud.stage.regions:
            looked = redrive.look(world.cloud, regions=[region])
            ledger.history(world.cloud, "redrive", [region])
            redrive.quarantine_frame(world.cloud, [region])
            plan = redrive.plan(world.cloud, regions=[region], looked=looked)
            assert plan.estimates["messages_to_stay"] == 0
            assert len(plan.changes) == 5
            if not apply:
                continue
            redriven = redrive.apply(world.cloud, plan, plan.token)
            assert redriven.figures()["not_taken"] == 0
            redrive.prove(world.cloud, redriven.moved_keys, deadline_s=0, sleep=lambda seconds: None)
            platform.move_tasks(region)


def _redrive_applied(world: World) -> Iterator[None]:
    yield from _redrive(world, apply=True)


def _trace(world: World) -> Iterator[None]:
    """An event that is everywhere and that X-Ray is asked for, and a dead letter of it in every queue."""
    cloud = world.provisioned().cloud
    tracing = cloud.stage.tracing.model_copy(update={"enabled": True})
    cloud.stage = cloud.stage.model_copy(update={"tracing": tracing})
    with answering(cloud) as platform:
        for region in cloud.stage.regions:
            world.hub.unseen("dynamodb", region).create_table(
                TableName=cloud.stage.idempotency_table,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            for name in cloud.stage.dlqs:
                platform.send(given_up(), name, region)
            world.answers["xray", "BatchGetTraces", region] = {"Traces": [], "UnprocessedTraceIds": []}
        traced.everywhere(cloud)
        yield
        now = datetime.now(UTC)
        seen = trace.collect(cloud, trace.subject(traced.KEY), now - timedelta(hours=1), now, settle_s=0)
        assert (seen.unread, seen.segments.asked) == ((), True)
        assert len(seen.letters.buried) == len(cloud.stage.regions) * len(cloud.stage.dlqs)


def _edge(world: World) -> Iterator[None]:
    world.provisioned()
    answer = {"RecordData": [], "ResponseCode": "NOERROR", "Nameserver": "ns-1.example"}
    world.answers["route53", "TestDNSAnswer", GLOBAL] = answer
    world.answers["route53", "GetHealthCheckStatus", GLOBAL] = {"HealthCheckObservations": []}
    yield
    assert len(edge.explain(world.cloud)["candidates"]) == 2


def _token(world: World) -> Iterator[None]:
    yield
    # No region has it: each is asked.
    with pytest.raises(UsageError, match="Secrets Manager has none"):
        token.read_client(world.cloud, world.cloud.stage.access.client_secret)


def _send(world: World) -> Iterator[None]:
    yield from _token(world)
    for region in world.cloud.stage.regions:
        assert stack.read(world.cloud, region).api_id


def _report(world: World) -> Iterator[None]:
    """A suite's run: its lease, its records, and who is told."""
    cloud = world.provisioned().cloud
    topic = cloud.client("sns", US).create_topic(Name="told")["TopicArn"]
    cloud.client("secretsmanager", US).create_secret(Name="hook", SecretString="nowhere")
    settings = ReportSettings(records="operations", keep_days=1, topic_arn=topic, webhook_secret="hook")
    cloud.stage = cloud.stage.model_copy(update={"reports": settings})
    yield
    place = report_records.remote(cloud, cloud.stage)
    assert place is not None
    with tempfile.TemporaryDirectory() as folder, lease.hold(cloud, "report-daily"):
        assert bucket.exists(cloud, bucket.place(cloud, US))
        with pytest.raises(lease.HeldError), lease.hold(cloud, "report-daily"):
            pass
        run = Path(folder) / "unit" / "suites" / "20200101T000000Z-daily"
        run.mkdir(parents=True)
        (run / "suite.json").write_text("{}")
        assert report_records.send(cloud, place, Path(folder), [run]) == 1
        assert report_records.fetch(cloud, place, "unit", "daily", Path(folder) / "other") == 1
        assert report_records.expire_remote(cloud, place, cloud.stage) == 1
        assert notify.send(cloud, cloud.stage, ("one", "two")) == [
            "the webhook was not told: secret hook holds no https:// address"
        ]


def _status(world: World) -> Iterator[None]:
    yield
    assert len(status_module.status(world.cloud).regions) == 2


def _drill(world: World, apply: bool = False) -> Iterator[None]:
    with slow_experiments():
        _with_drills(world)
        yield
        if apply:
            assert len(experiments.stop_all(world.cloud, sleep=lambda seconds: None).ended) == 2
        else:
            assert len(experiments.find(world.cloud)) == 2


def _drill_applied(world: World) -> Iterator[None]:
    yield from _drill(world, apply=True)


def _with_drills(world: World) -> None:
    for region in world.cloud.stage.regions:
        role = f"arn:aws:iam::{ACCOUNT}:role/atoll-unit-drill-{region}"
        world.hub.stacks.outputs[region]["DrillRoleArn"] = role
        experiments.start(world.cloud, region, ["api"], 60, "unit", sleep=lambda seconds: None)


def _with_replicas(world: World) -> None:
    """The table in every region, without provision, and a zone."""
    names = ("pk", "sk", "gsi_pk", "gsi_sk")
    keys: list[Any] = [{"AttributeName": n, "KeyType": k} for n, k in zip(names, ("HASH", "RANGE") * 2, strict=True)]
    for region in world.cloud.stage.regions:
        world.cloud.client("dynamodb", region).create_table(
            TableName=world.cloud.stage.table_name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            KeySchema=keys[:2],
            GlobalSecondaryIndexes=[
                {"IndexName": "by_time", "KeySchema": keys[2:], "Projection": {"ProjectionType": "ALL"}}
            ],
        )
    world.cloud.client("route53", US).create_hosted_zone(Name=world.cloud.stage.dns.zone, CallerReference="unit")


def _failover(world: World) -> Iterator[None]:
    with slow_experiments():
        _with_replicas(world)
        _with_drills(world)
        yield
        asked = failover_request(world.cloud.stage, "drill", US, minutes=1)
        found = preflight(world.cloud, asked)
        # The issuer is not there: which secret holds the client is asked of every region.
        assert {one.name for one in found.reasons} >= {"access token", "experiments"}
        planning.second_way(world.cloud, asked)


def _failover_applied(world: World) -> Iterator[None]:
    yield from _failover(world)
    with slow_experiments():
        _failover_now(world)


def _failover_now(world: World) -> None:
    cloud, regions = world.cloud, world.cloud.stage.regions
    for region in regions:
        written = flag.set_flag(cloud, region, reason="unit", by="unit", run="unit")
        assert written.flag is not None
        flag.clear_flag(cloud, written.flag)
        experiments.start(cloud, region, ["processing"], 60, "drill", sleep=lambda seconds: None)
    experiments.stop_all(cloud, sleep=lambda seconds: None)
    at = datetime.now(UTC).timestamp()
    key = "00000000-0000-5000-8000-000000000000"
    sent = Attempt("/drills/unit/london", "1", key, "London", 1, EDGE, US, 202, at, at + 0.1, at)
    texts = {"pk": f"EVENT#{key}", "sk": "EVENT", "tenant": "acme", "event_key": key, "source": sent.source, "id": "1"}
    for region in regions:
        item: Any = {name: {"S": text} for name, text in texts.items()} | {"here": {"S": region}}
        cloud.client("dynamodb", region).put_item(TableName="atoll-unit", Item=item)
    record = LoadRecord("unit", (sent,))
    assert prove(cloud, record, regions, deadline_s=0, sleep=lambda seconds: None).differing == [key]
    for order in (regions, regions[::-1]):
        assert len(divergence.compare(cloud, "", order, sleep=lambda seconds: None).differences) == 1


Way = Callable[[World], Iterator[None]]
# Each makes its preparations, yields, and then does what the runbook or command does.
DRY: dict[str, Way] = {
    "cost": _cost,
    "divergence": _divergence,
    "divergence-repair": _repair,
    "failover": _failover,
    "metrics": _metrics,
    "parity": _parity,
    "provision": _provision,
    "provision-destroy": _destroy,
    "redrive": _redrive,
    "replay": _replay,
    "drill": _drill,
    "edge": _edge,
    "report": _report,
    "send": _send,
    "status": _status,
    "token": _token,
    "trace": _trace,
}
APPLIED: dict[str, Way] = {
    "divergence": _divergence_applied,
    "divergence-repair": _repair_applied,
    "metrics": _metrics_applied,
    "provision": _provision_applied,
    "provision-destroy": _destroy_applied,
    "redrive": _redrive_applied,
    "replay": _replay_applied,
    "drill": _drill_applied,
    "failover": _failover_applied,
}
CASES = [(name, False) for name in DRY] + [(name, True) for name in APPLIED]


def recorded(world: World, name: str, apply: bool) -> set[Need]:
    """What IAM is asked in a run, its opening included."""
    stage = world.cloud.stage
    path = (APPLIED if apply else DRY)[name](world)
    next(path)
    world.calls.clear()
    assert aws.connect(stage, world.hub.session).account == ACCOUNT
    assert next(path, None) is None
    return needs(world.calls.asked, {arn: [str(stage.key_alias)] for arn in world.keys})


# --- both ways ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "apply"), CASES)
def test_policy_grants_exactly_what_is_called_and_its_check_bites(world: World, name: str, apply: bool) -> None:
    _hold_both_ways(world, name, apply)


@pytest.mark.parametrize(("name", "apply"), CASES)
def test_policy_of_a_stage_with_keys_of_its_own_grants_their_use_too(world: World, name: str, apply: bool) -> None:
    _hold_both_ways(world.with_keys(), name, apply)


def _hold_both_ways(world: World, name: str, apply: bool) -> None:
    needed = recorded(world, name, apply)
    stage = world.cloud.stage
    granted = policies.grants(name, stage, ACCOUNT, apply)

    assert problems(granted, needed) == []
    assert len(needed) >= 3
    for index, grant in enumerate(granted):
        if grant.behind:
            continue
        for action in grant.actions:
            less = [*granted]
            less[index] = _with(grant, actions=tuple(one for one in grant.actions if one != action))
            found = problems(less, needed)
            assert found, f"{action} of {grant.sid} was taken away, and nothing is reported"
            assert all(line.startswith(f"needed and not granted: {action} on ") for line in found)
        more = [*granted, _with(grant, actions=(f"{grant.actions[0].split(':')[0]}:TagResource",))]
        assert problems(more, needed)[0].startswith("granted and never used: ")
        elsewhere = [*granted, _with(grant, resources=("arn:aws:x:eu-west-1:1:y",))]
        assert problems(elsewhere, needed)[0].startswith("granted and never used: ")


def _with(grant: Grant, **changes: Any) -> Grant:
    return Grant(**{**{name: getattr(grant, name) for name in Grant.__dataclass_fields__}, **changes})


@pytest.mark.parametrize("apply", [False, True])
def test_policy_for_a_region_that_is_left_grants_what_removing_its_replica_calls(world: World, apply: bool) -> None:
    cloud, stage = world.cloud, world.cloud.stage
    more = {"regions": [US, AP, EU], "domain": None, "table": stage.table.model_copy(update={"autoscaling": True})}
    cloud.stage = stage.model_copy(update=more)
    world.hub.stacks.status[EU] = "CREATE_COMPLETE"
    for bus in (stage.bus, stage.journal_bus):
        cloud.client("events", EU).create_event_bus(Name=bus)
    world.provisioned()
    cloud.stage = stage
    world.provisioned()
    cloud.client("dynamodb", EU).update_table(TableName="atoll-unit", DeletionProtectionEnabled=False)
    item: Any = {"pk": {"S": "EVENT#2"}, "sk": {"S": "EVENT"}}
    cloud.client("dynamodb", US).put_item(TableName="atoll-unit", Item=item)
    scale(world, EU)
    world.calls.clear()
    plan = provision.plan(cloud, [EU], sleep=lambda seconds: None)
    if apply:
        provision.apply(cloud, plan, plan.token, waits=Waits(sleep=lambda seconds: None))
    needed = needs(world.calls.asked)
    leaving = policies.grants("provision", stage, ACCOUNT, apply, [EU])
    without = policies.grants("provision", stage, ACCOUNT, apply)

    assert [line for line in problems(leaving, needed) if line.startswith("needed")] == []
    # What is granted for that region alone is used, and missed without it.
    there = [grant for grant in leaving if grant not in without]
    assert {grant.sid for grant in there} == {
        "LeavingTables",
        "ComparedItems",
        *(("DeleteReplicas", "EndScaling") if apply else ()),
    }
    assert [line for line in problems(there, needed) if line.startswith("granted")] == []
    assert len([line for line in problems(without, needed) if line.startswith("needed")]) >= 6
    with pytest.raises(UsageError, match="for regions that stage 'unit' no longer has"):
        policies.grants("provision", stage, ACCOUNT, apply, [US])
    with pytest.raises(UsageError, match="--leaving: eu-west-1: for provision"):
        policies.grants("parity", stage, ACCOUNT, leaving=[EU])


def test_policy_of_a_stage_with_capacity_grants_what_scaling_it_calls(world: World) -> None:
    cloud = world.cloud
    on_demand, cloud.stage = cloud.stage, with_table(cloud.stage, capacity=CAPACITY)
    world.calls.clear()
    _provision_now(world)
    provision.plan(cloud)
    needed = needs(world.calls.asked)
    granted = policies.grants("provision", cloud.stage, ACCOUNT, True)
    scaling = [grant for grant in granted if "Scaling" in grant.sid]

    assert [line for line in problems(granted, needed) if line.startswith("needed")] == []
    assert [line for line in problems(scaling, needed) if line.startswith("granted")] == []
    assert {grant.sid for grant in scaling} == {"Scaling", "ChangeScaling", "ScalingAlarms", "ScalingRole"}
    less = policies.grants("provision", on_demand, ACCOUNT, True)
    missed = [line for line in problems(less, needed) if line.startswith("needed")]
    assert {line.split()[4].split(":")[1] for line in missed} == {"RegisterScalableTarget", "PutScalingPolicy"}


@pytest.mark.parametrize("own_keys", [False, True])
def test_fleet_is_granted_by_a_part_that_is_used_whole(world: World, own_keys: bool) -> None:
    cloud = (world.with_keys() if own_keys else world).provisioned().cloud
    cloud.client("dynamodb", US).put_item(TableName="atoll-unit", Item={"pk": {"S": "a"}, "sk": {"S": "EVENT"}})
    with workflows(world.hub, cloud) as machines:
        replicas = divergence.resolve(cloud)
        described = divergence.describe(cloud, replicas)
        schema, _ = divergence.agree(described)
        world.calls.clear()
        plan = fleet.plan(cloud, replicas, schema, described, segments=2)
        read = [*world.calls.asked]
        quick: dict[str, Any] = {"clock": lambda: 0.0, "sleep": lambda seconds: None}
        world.calls.clear()
        assert len(fleet.survey(cloud, plan, plan.token, **quick).suspects) == 1
        machines.broken = {1: "broken"}
        for region in cloud.stage.regions:
            machines.broken_in = [region]
            with pytest.raises(OpsError):
                fleet.survey(cloud, plan, plan.token, **quick)
        machines.each_look = _interrupt
        with pytest.raises(InterruptedRunError):
            fleet.survey(cloud, plan, plan.token, **quick)
        changed = world.calls.asked

    names = policies.Names(cloud.stage, ACCOUNT)
    granted = [*shared.stack(names), *grants_of_divergence.buckets(names), *grants_of_divergence.fleet(names)]
    dry = [grant for grant in granted if not grant.changes]

    assert problems(dry, needs(read)) == []
    assert problems(granted, needs([*read, *changed])) == []
    called = needs([*read, *changed])
    for index, grant in enumerate(granted):
        for action in () if grant.behind else grant.actions:
            less = [*granted]
            less[index] = _with(grant, actions=tuple(one for one in grant.actions if one != action))
            assert problems(less, called), f"{action} of {grant.sid} was taken away, and nothing is reported"
    keys = [action for grant in granted for action in grant.actions if action.startswith("kms:")]
    assert keys == (["kms:Decrypt"] * 2 if own_keys else [])
    off = cloud.stage.divergence.model_copy(update={"fleet": False})
    without = policies.Names(cloud.stage.model_copy(update={"divergence": off}), ACCOUNT)
    assert list(grants_of_divergence.fleet(without)) == []


def _interrupt(_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("own_keys", [False, True])
def test_ledger_and_quarantine_are_granted_by_parts_that_are_used_whole(world: World, own_keys: bool) -> None:
    cloud = (world.with_keys() if own_keys else world).provisioned().cloud
    read, written = [], []
    for region in cloud.stage.regions:
        kept = bucket.place(cloud, region)
        world.calls.clear()
        assert bucket.exists(cloud, kept)
        assert ledger.entries(cloud, [kept], "replay") == []
        assert ledger.read(cloud, kept, "replay", ENTRY.token) is None
        read += world.calls.asked
        world.calls.clear()
        ledger.write(cloud, kept, ENTRY)
        bucket.put(cloud, kept, f"{bucket.QUARANTINE}/atoll-unit-store-dlq/2026-03-01/1.json", b"{}")
        written += world.calls.asked

    buckets = [cloud.stage.operations_bucket(ACCOUNT, region) for region in cloud.stage.regions]
    names = policies.Names(cloud.stage, ACCOUNT)
    granted = [*shared.ledger("replay")(names), *shared.quarantine(names)]
    dry = [grant for grant in granted if not grant.changes]

    assert problems(dry, needs(read)) == []
    assert problems(granted, needs([*read, *written])) == []
    missed = problems(dry, needs([*read, *written]))
    assert len(missed) == 2 * len(cloud.stage.regions)
    assert all("needed and not granted: s3:PutObject" in line for line in missed)
    another = shared.ledger("redrive")(names)
    others = [line for line in problems(list(another), needs(read)) if line.startswith("needed")]
    entry = f"ledger/replay/{ENTRY.token}.json"
    assert {line.rpartition(" ")[2] for line in others} == {f"arn:aws:s3:::{name}/{entry}" for name in buckets}
    keys = [action for grant in granted for action in grant.actions if action.startswith("kms:")]
    assert keys == (["kms:Decrypt"] * 2 + ["kms:GenerateDataKey"] * 2 if own_keys else [])


def test_policy_of_a_strong_stage_lets_the_table_be_looked_at_for_items(stage: Stage) -> None:
    strong = stage.model_copy(update={"table": stage.table.model_copy(update={"consistency": "strong"})})
    more = [
        g
        for g in policies.grants("provision", strong, ACCOUNT)
        if g not in policies.grants("provision", stage, ACCOUNT)
    ]
    assert [(g.sid, g.actions, g.resources) for g in more] == [
        ("EmptyTable", ("dynamodb:Scan",), (f"arn:aws:dynamodb:{US}:{ACCOUNT}:table/atoll-unit",))
    ]


def test_policy_for_a_bus_besides_the_stages_names_it_its_archive_and_the_place_of_its_records(stage: Stage) -> None:
    besides = policies.Besides(
        buses=("orders",), archives=("orders-2026",), queues=("orders-dlq",), keep="s3://kept/x/"
    )
    own = flat(policies.policy("replay", stage, ACCOUNT, True))
    more = flat(policies.policy("replay", stage, ACCOUNT, True, besides=besides))

    assert {pair for pair in own if ":s3:::" not in pair[1]} <= more
    assert {resource for _, resource in more if ":s3:::" in resource} == {
        "arn:aws:s3:::kept",
        "arn:aws:s3:::kept/x/keys/replay/*",
        "arn:aws:s3:::kept/x/ledger/replay/*",
    }
    assert more - own >= {
        pair
        for region in (US, AP)
        for pair in (
            ("events:DescribeArchive", f"arn:aws:events:{region}:{ACCOUNT}:archive/orders-2026"),
            ("events:StartReplay", f"arn:aws:events:{region}:{ACCOUNT}:archive/orders-2026"),
            ("events:StartReplay", f"arn:aws:events:{region}:{ACCOUNT}:event-bus/orders"),
            ("events:ListTargetsByRule", f"arn:aws:events:{region}:{ACCOUNT}:rule/orders/*"),
            ("sqs:GetQueueAttributes", f"arn:aws:sqs:{region}:{ACCOUNT}:orders-dlq"),
        )
    }
    quarantine = shared.quarantine(policies.Names(stage, ACCOUNT, besides=besides))
    assert {resource for grant in quarantine for resource in grant.resources} == {"arn:aws:s3:::kept/x/quarantine/*"}


@pytest.mark.parametrize("apply", [False, True])
@pytest.mark.parametrize("name", ["divergence", "divergence-repair"])
def test_policy_for_a_table_besides_the_stages_grants_what_is_called_on_it_and_no_more(
    world: World, name: str, apply: bool
) -> None:
    """What is called on the stage's table, on the other one too: what is compared makes no difference to the calls."""
    needed = recorded(world, name, apply)
    stage, own = world.cloud.stage, f"table/{world.cloud.stage.table_name}"
    theirs = {one._replace(resource=one.resource.replace(own, "table/orders")) for one in needed if own in one.resource}
    granted = policies.grants(name, stage, ACCOUNT, apply, besides=policies.Besides(tables=("orders",)))

    assert theirs
    assert problems(granted, needed | theirs) == []
    assert {line.split(":")[0] for line in problems(policies.grants(name, stage, ACCOUNT, apply), needed | theirs)} == {
        "needed and not granted"
    }
    assert {line.split(":")[0] for line in problems(granted, needed)} == {"granted and never used"}


def test_policy_for_the_arn_of_a_table_covers_comparing_it_in_another_region_and_account(world: World) -> None:
    cloud, arn = world.provisioned().cloud, f"arn:aws:dynamodb:{EU}:{ACCOUNT}:table/orders"
    for region, table in ((US, "orders"), (EU, "orders")):
        cloud.client("dynamodb", region).create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    cloud.client("dynamodb", EU).put_item(TableName="orders", Item={"id": {"S": "1"}})
    world.calls.clear()
    replicas = [f"{US}/orders", arn]
    found = divergence.compare(cloud, "", (), replicas=replicas, sleep=lambda seconds: None)
    needed = needs(world.calls.asked)
    granted = policies.grants("divergence", cloud.stage, ACCOUNT, besides=policies.Besides(tables=("orders", arn)))
    elsewhere = arn.replace(ACCOUNT, "210987654321")

    assert len(found.differences) == 1
    assert arn in {need.resource for need in needed}
    assert [line for line in problems(granted, needed) if line.startswith("needed")] == []
    assert elsewhere in {
        resource
        for _, resource in flat(
            policies.policy("divergence", cloud.stage, ACCOUNT, besides=policies.Besides(tables=(elsewhere,)))
        )
    }
    beats = [
        grant
        for grant in policies.grants("divergence", cloud.stage, ACCOUNT, besides=policies.Besides(tables=(arn,)))
        if grant.sid == "Heartbeats"
    ]
    assert beats[0].condition == {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [f"atoll#heartbeat#{one}" for one in (US, AP, EU)]}
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["parity", "--bus", "orders"], "parity works on the stage's own alone; accepted for replay and redrive"),
        (["replay", "--bus", "*"], r"--bus: '\*' is no name"),
        (["replay", "--queue", f"arn:aws:sqs:{US}:{ACCOUNT}:orders"], "--queue: 'arn:.* is no name"),
        (
            ["replay", "--table", "orders"],
            "--table: replay works on the stage's table alone; accepted for divergence and",
        ),
        (["divergence", "--bus", "orders"], "--bus, .*: divergence works on the stage's own alone"),
        (["divergence", "--table", "ord*"], r"--table: 'ord\*' is no table; accepted: a name of 3 to 255 .* ARN"),
        (["divergence-repair", "--table", f"arn:aws:dynamodb:{US}:{ACCOUNT}:table/*"], "--table: 'arn:.* is no table"),
        (["divergence", "--table", f"arn:aws:dynamodb:{US}:{ACCOUNT}:table/orders/index/x"], "is no table"),
        (["replay", "--keep", "records"], "keep: 'records' is no place in S3"),
    ],
)
def test_command_when_told_of_what_it_cannot_work_on_says_so(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        app(["policy", *arguments], standalone_mode=False)


def test_every_runbook_and_no_other_has_a_policy_and_a_path() -> None:
    assert set(policies.RUNBOOKS) == {book.name for book in runbooks.catalogue()}
    assert set(DRY) == {*policies.RUNBOOKS, *policies.VARIANTS, *policies.COMMANDS}
    assert set(APPLIED) == {book.name for book in runbooks.catalogue() if book.changes} | set(policies.VARIANTS) | {
        "drill"
    }


def test_record_outside_the_stage_is_not_granted(world: World) -> None:
    needed = {need for need in recorded(world, "provision", True) if "ChangeResourceRecordSets" in need.action}
    granted = policies.grants("provision", world.cloud.stage, ACCOUNT, True)
    names = {name for need in needed for name in json.loads(need.context)[_NAMES]}
    assert names == {"api.atoll.example", f"{US}.api.atoll.example", f"{AP}.api.atoll.example"}
    statements = [grant.statement() for grant in granted]
    for key, value in ((_NAMES, "www.atoll.example"), (_TYPES, "TXT"), (_ACTIONS, "DELETE")):
        need = next(iter(needed))
        context = json.loads(need.context) | {key: [value]}
        assert not iam.allows(statements, need.action, need.resource, context)


_NAMES, _TYPES, _ACTIONS = (
    f"route53:ChangeResourceRecordSets{part}" for part in ("NormalizedRecordNames", "RecordTypes", "Actions")
)


# --- the documents -----------------------------------------------------------------------------------------------


def documents() -> Iterator[tuple[Stage, str, bool, list[Grant], Document]]:
    for name in stage_names():
        stage = load_stage(name)
        for known, apply in CASES:
            yield (
                stage,
                known,
                apply,
                policies.grants(known, stage, ACCOUNT, apply),
                policies.policy(known, stage, ACCOUNT, apply),
            )


def test_dry_run_grants_nothing_that_changes_anything() -> None:
    for stage, name, apply, granted, _ in documents():
        actions = {action for grant in granted for action in grant.actions} - READS
        changing = {one for one in actions if not READ_ONLY.match(f"{one.split(':')[1]}@")}
        # A report keeps its records and its lease, and nothing else.
        own = {"s3:PutObject", "s3:DeleteObject"} if name == "report" else set()
        assert changing >= own, (stage.stage, name)
        own |= {"kms:GenerateDataKey"} if own else set()
        assert bool(changing - own) is apply, (stage.stage, name, changing)


def test_applying_grants_what_the_dry_run_does_and_more() -> None:
    for name in APPLIED:
        stage = load_stage("prod")
        dry, apply = policies.grants(name, stage, ACCOUNT), policies.grants(name, stage, ACCOUNT, True)
        assert [grant for grant in apply if not grant.changes] == dry
        assert len(apply) > len(dry)


def test_every_wildcard_has_its_reason_and_every_region_its_arns() -> None:
    for stage, name, _, granted, _ in documents():
        for grant in granted:
            wild = any(set(resource) & {"*", "?"} for resource in grant.resources)
            assert bool(grant.why) is wild, (name, grant)
            assert (grant.why.startswith((NO_RESOURCE, COMPOSITES))) is (grant.resources == ("*",))
            assert not any("*" in action for action in grant.actions)
        regions = {arn.split(":")[3] for grant in granted for arn in grant.resources if arn.count(":") >= 5} - {""}
        assert regions in (set(stage.regions), set()), name
        # A report has ARNs of regions where the stage has keys of its own.
        assert name == "report" or bool(regions) is (name != "edge")


def test_keys_are_granted_by_their_alias_and_their_use_only_through_the_service_that_asks() -> None:
    of_the_stage = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": ["alias/atoll-prod"]}}
    for name, service in (("parity", "lambda"), ("divergence", "dynamodb"), ("replay", "dynamodb"), ("provision", "")):
        found = [
            grant
            for grant in policies.grants(name, load_stage("prod"), ACCOUNT)
            if grant.actions[0].startswith("kms:")
            # S3's, and not the table's; and what asks for a key's state, and does not use it.
            and not grant.sid.startswith(("ReadLedgerKey", "ReplicaKey", "ReadExportsKey"))
        ]
        assert [grant.condition for grant in found] == [
            of_the_stage
            | ({"StringEquals": {"kms:ViaService": [f"{service}.{region}.amazonaws.com"]}} if service else {})
            for region in load_stage("prod").regions
        ]
        assert all(GENERATED in grant.why for grant in found)


def test_actions_and_resources_are_those_that_aws_defines() -> None:
    """Held against the service authorization reference, as cfn-lint carries it."""
    known = load_resource(AdditionalSpecs, "Policies.json")
    for _, name, _, granted, _ in documents():
        for grant in granted:
            for action in grant.actions:
                service, operation = action.lower().split(":")
                kinds = known[service]["Actions"][operation].get("Resources", [])
                formats = [text for kind in kinds for text in known[service]["Resources"][kind.lower()]["ARNFormats"]]
                if grant.resources == ("*",):
                    assert not kinds or action in ("cloudwatch:GetMetricData", "cloudwatch:DescribeAlarms"), (
                        name,
                        action,
                    )
                    continue
                for arn in grant.resources:
                    assert any(_has_form(arn, text) for text in formats), (name, action, arn, formats)


def _has_form(arn: str, form: str) -> bool:
    parts = re.split(r"(\$\{\w+\}|\.\*)", form)
    return (
        re.fullmatch("".join({".*": ".*"}.get(p, "[^:]*" if p[:1] == "$" else re.escape(p)) for p in parts), arn)
        is not None
    )


def test_iam_takes_every_document() -> None:
    with mock_aws():
        client = Hub().session.client("iam")
        for stage, name, apply, _, document in documents():
            sids = [statement["Sid"] for statement in document["Statement"]]
            assert len(set(sids)) == len(sids)
            assert all(sid.isalnum() for sid in sids)
            made = client.create_policy(PolicyName=f"{stage.stage}-{name}-{apply}", PolicyDocument=json.dumps(document))
            assert made["Policy"]["Arn"]
        document["Statement"][0]["Resource"] = ["atoll-prod"]
        with pytest.raises(ClientError, match="MalformedPolicyDocument"):
            client.create_policy(PolicyName="wrong", PolicyDocument=json.dumps(document))


# --- size --------------------------------------------------------------------------------------------------------


def flat(document: Document) -> set[tuple[str, str]]:
    return {(a, r) for one in document["Statement"] for a in one["Action"] for r in one["Resource"]}


@pytest.mark.parametrize("limit", [policies.MANAGED_POLICY_CHARACTERS, 900])
def test_parts_when_too_large_for_one_grant_the_same_in_several_that_fit(stage: Stage, limit: int) -> None:
    regions = [f"{place}-{number}" for place in ("us-east", "eu-west", "ap-south") for number in range(1, 4)]
    document = policies.policy("parity", stage.model_copy(update={"regions": regions}), ACCOUNT)
    several = policies.parts(document, limit)
    assert len(several) > 1
    assert all(policies.size(one) <= limit for one in several)
    assert sum(len(flat(one)) for one in several) == len(flat(document))
    assert set().union(*map(flat, several)) == flat(document)
    sids = [one["Sid"] for part in several for one in part["Statement"]]
    assert len(set(sids)) == len(sids)


def test_parts_when_it_fits_is_the_document_itself() -> None:
    fits = [policies.size(one) <= policies.MANAGED_POLICY_CHARACTERS for *_, one in documents()]
    assert sum(fits) > len(fits) / 2
    for *_, document in documents():
        several = policies.parts(document)
        assert (several == [document]) is (policies.size(document) <= policies.MANAGED_POLICY_CHARACTERS)


def test_parts_when_one_resource_is_too_large_says_of_which_statement(stage: Stage) -> None:
    with pytest.raises(ValueError, match="WhoseCredentials: one resource"):
        policies.parts(policies.policy("token", stage, ACCOUNT), 50)


# --- the command -------------------------------------------------------------------------------------------------


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    app(["policy", *arguments], standalone_mode=False)
    shown = capsys.readouterr()
    return json.loads(shown.out), shown.err


def test_command_prints_the_policy_of_the_stages_own_account(capsys: pytest.CaptureFixture[str]) -> None:
    document, said = printed(capsys, "replay", "--stage", "local", "--apply")
    assert document == policies.policy("replay", load_stage("local"), "000000000000", True)
    assert said == ""


def test_command_when_the_stage_names_no_account_asks_whose_the_credentials_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(aws, "connect", lambda stage: asked.append(stage.stage) or SimpleNamespace(account="9" * 12))
    assert load_stage("prod").account is None
    document, _ = printed(capsys, "metrics", "--stage", "prod")
    assert asked == ["prod"]
    assert document == policies.policy("metrics", load_stage("prod"), "9" * 12)


def test_command_when_one_policy_is_too_large_says_how_to_make_several(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies.parts, "__defaults__", (1200,))
    whole, said = printed(capsys, "parity", "--stage", "local")
    count = len(policies.parts(whole))
    assert f"make {count} of it, with --part 1 to --part {count}" in " ".join(said.split())
    found: list[Statement] = []
    for number in range(1, count + 1):
        part, said = printed(capsys, "parity", "--stage", "local", "--part", str(number))
        assert said == ""
        found += part["Statement"]
    assert flat({"Statement": found}) == flat(whole)
    with pytest.raises(UsageError, match=f"accepted: 1 to {count}"):
        printed(capsys, "parity", "--stage", "local", "--part", str(count + 1))


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (
            ["pairty"],
            r"no 'pairty' with a policy \(did you mean 'parity'\?\); accepted: the runbooks cost, divergence, ",
            "ops list",
        ),
        (
            ["deploy"],
            "accepted: the runbooks .*, and the commands drill, edge, report, send, status, token",
            "CloudFormation",
        ),
        (["parity", "--apply"], "--apply: parity changes nothing", ""),
    ],
)
def test_command_when_asked_for_what_there_is_not_says_what_there_is(
    arguments: list[str], said: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        app(["policy", *arguments], standalone_mode=False)
    assert hint in caught.value.hint
