"""A small platform on the local cloud, made with plain boto3: what tests of the cloud itself need, no deployment."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from ops.local.cloud import LocalCloud
from ops.stage import LocalCloudSettings, Stage, load_stage

ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/handler"

HANDLERS = """
import json, os, time
import boto3

events = boto3.client("events")
dynamodb = boto3.client("dynamodb")

def metric(name, value):
    metrics = [{"Name": name, "Unit": "Count"}]
    directive = {"Namespace": "Atoll", "Dimensions": [["stage", "service"]], "Metrics": metrics}
    document = {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}}
    print(json.dumps(document | {"stage": "local", "service": "test", name: value}))

def api(event, context):
    path = event["rawPath"]
    if path == "/fail":
        raise RuntimeError("on purpose")
    if path == "/missing":
        return {"statusCode": 404, "body": "{}"}
    if path == "/send":
        answer = events.put_events(Entries=[
            {"Source": "atoll.events", "DetailType": "test", "Detail": event["body"], "EventBusName": "bus"}])
        metric("Sent", 1)
        return {"statusCode": 202, "body": json.dumps({"failed": answer["FailedEntryCount"]})}
    answer = {"region": os.environ["AWS_REGION"], "path": path, "query": event["rawQueryString"],
              "headers": event["headers"], "endpoint": os.environ["AWS_ENDPOINT_URL"],
              "secrets": sorted(v for k, v in os.environ.items() if k.startswith("AWS_") and "REAL" in v)}
    return {"statusCode": 200, "headers": {"x-handler": "yes"}, "body": json.dumps(answer)}

def store(event, context):
    for record in event["Records"]:
        key = json.loads(record["body"])["detail"]["key"]
        dynamodb.put_item(TableName="items", Item={"pk": {"S": key}})
    metric("Stored", len(event["Records"]))
    return {"batchItemFailures": []}

def sleep(event, context):
    time.sleep(60)
"""


def stage_on(port: int, **settings: Any) -> Stage:
    """The local stage, on a port of the test's own."""
    stage = load_stage("local")
    # The functions made here have a role that grants nothing; what enforcement does is tested on the real platform.
    section = LocalCloudSettings(port=port, replication_lag_ms=200, enforce_iam=False).model_copy(update=settings)
    return stage.model_copy(update={"local_cloud": section})


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    """Poll until ``condition`` is true; fail with ``what`` when it does not become so."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain: {what}"
        time.sleep(0.02)
    return found


class Aws:
    """boto3 clients on a local cloud, one a service and region."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self._clients: dict[tuple[str, str], Any] = {}

    def __call__(self, service: str, region: str) -> Any:
        if (service, region) not in self._clients:
            self._clients[service, region] = boto3.client(
                service,  # type: ignore[call-overload]
                region_name=region,
                endpoint_url=self.cloud.endpoint_url,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10),
            )
        return self._clients[service, region]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def global_table(self, name: str, home: str, *replicas: str) -> None:
        self("dynamodb", home).create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        for region in replicas:
            self.add_replica(name, home, region)

    def add_replica(self, name: str, home: str, region: str) -> None:
        updates = [{"Create": {"RegionName": region}}]
        self("dynamodb", home).update_table(TableName=name, ReplicaUpdates=updates)

    def put(self, table: str, region: str, key: str, value: str = "") -> None:
        self("dynamodb", region).put_item(TableName=table, Item={"pk": {"S": key}, "value": {"S": value}})

    def delete(self, table: str, region: str, key: str) -> None:
        self("dynamodb", region).delete_item(TableName=table, Key={"pk": {"S": key}})

    def items(self, table: str, region: str) -> dict[str, str]:
        found = self("dynamodb", region).scan(TableName=table)["Items"]
        return {item["pk"]["S"]: item.get("value", {}).get("S", "") for item in found}

    def function(self, region: str, name: str) -> str:
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("handlers_under_test.py", HANDLERS)
        answer = self("lambda", region).create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=ROLE,
            Handler=f"handlers_under_test.{name}",
            Code={"ZipFile": code.getvalue()},
            Timeout=90,
        )
        return str(answer["FunctionArn"])

    def http_api(self, region: str, function_arn: str) -> str:
        api = self("apigatewayv2", region)
        api_id = api.create_api(Name="test", ProtocolType="HTTP")["ApiId"]
        integration = api.create_integration(
            ApiId=api_id, IntegrationType="AWS_PROXY", IntegrationUri=function_arn, PayloadFormatVersion="2.0"
        )["IntegrationId"]
        api.create_route(ApiId=api_id, RouteKey="$default", Target=f"integrations/{integration}")
        api.create_stage(ApiId=api_id, StageName="$default", AutoDeploy=True)
        return str(api_id)

    def queue_behind_bus(self, region: str, function_arn: str) -> None:
        """bus -> rule -> queue -> function, as the regional stack has it."""
        self("events", region).create_event_bus(Name="bus")
        arn = self.queue(region, "store", f"arn:aws:events:{region}:{ACCOUNT}:rule/bus/to-store")
        self.rule(region, "to-store", arn)
        self("lambda", region).create_event_source_mapping(
            EventSourceArn=arn,
            FunctionName=function_arn,
            BatchSize=10,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )

    def queue(self, region: str, name: str, rule_arn: str) -> str:
        """A queue that takes what a rule sends; returns its ARN."""
        arn = f"arn:aws:sqs:{region}:{ACCOUNT}:{name}"
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self("sqs", region).create_queue(QueueName=name, Attributes={"Policy": policy})
        return arn

    def role_may_put_events_on(self, bus_arn: str) -> None:
        """Make the role of rules, with the right to put events on one bus."""
        iam, name = self("iam", "us-east-1"), ROLE.rpartition("/")[2]
        trust = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole"}
        with suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        allowed = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": bus_arn}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_role_policy(RoleName=name, PolicyName="put-events", PolicyDocument=document)

    def rule(self, region: str, name: str, target_arn: str) -> None:
        pattern = json.dumps({"source": ["atoll.events"]})
        self("events", region).put_rule(Name=name, EventBusName="bus", EventPattern=pattern)
        target = {"Id": "t", "Arn": target_arn} | ({"RoleArn": ROLE} if ":event-bus/" in target_arn else {})
        self("events", region).put_targets(Rule=name, EventBusName="bus", Targets=[target])

    def latency_records(self, zone: str, record: str, apis: dict[str, str]) -> None:
        """What the provision runbook writes: a health check on /status and a latency CNAME a region."""
        route53 = self("route53", "us-east-1")
        zone_id = route53.create_hosted_zone(Name=zone, CallerReference=record)["HostedZone"]["Id"]
        for region, api_id in apis.items():
            host = f"{api_id}.execute-api.{region}.amazonaws.com"
            check = route53.create_health_check(
                CallerReference=region,
                HealthCheckConfig={
                    "Type": "HTTPS",
                    "FullyQualifiedDomainName": host,
                    "Port": 443,
                    "ResourcePath": "/status",
                    "RequestInterval": 10,
                    "FailureThreshold": 1,
                },
            )["HealthCheck"]
            change = {
                "Name": record,
                "Type": "CNAME",
                "SetIdentifier": region,
                "Region": region,
                "TTL": 1,
                "ResourceRecords": [{"Value": host}],
                "HealthCheckId": check["Id"],
            }
            route53.change_resource_record_sets(
                HostedZoneId=zone_id, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": change}]}
            )

    def metric_sum(self, region: str, namespace: str, name: str, dimensions: dict[str, str]) -> float:
        """The sum over the last hour."""
        now = time.time()
        points = self("cloudwatch", region).get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=now - 3600,
            EndTime=now + 60,
            Period=86400,
            Statistics=["Sum"],
        )["Datapoints"]
        return sum(point["Sum"] for point in points)


def processes_of(state_dir: Path) -> set[int]:
    """Every process that belongs to the local cloud in ``state_dir``: children by their TMPDIR, supervisor by its
    arguments. Zombies are left out: they have ended."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            mine = f"TMPDIR={state_dir}/".encode() in (entry / "environ").read_bytes()
            supervisor = (
                b"ops.local.supervisor" in (line := (entry / "cmdline").read_bytes())
                and str(state_dir).encode() in line
            )
            state = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if (mine or supervisor) and state != "Z":
            found.add(int(entry.name))
    return found
