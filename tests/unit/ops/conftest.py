"""A cloud of moto's, with what moto lacks (global tables) added by botocore hooks, and a record of every call made."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.moto_api import state_manager
from moto.s3.models import FakeBucket

from ops.aws import Cloud
from ops.stage import Stage, stage_file
from tests.unit.ops import patterns
from tests.unit.ops.divergence.answered import by_boto3
from tests.unit.queues import one_call_at_a_time

READ_ONLY = re.compile(r"^(Get|List|Describe|Head|BatchGet|(Query|Scan|TestEventPattern)@)")
SETTINGS: dict[str, Any] = {
    "stage": "unit",
    "account": None,
    "home_region": "us-east-1",
    "regions": ["us-east-1", "ap-south-1"],
    "lambda": {
        "memory_mb": 256,
        "architecture": "x86_64",
        "log_level": "INFO",
        "log_retention_days": 1,
    },
    "processors": {"batch_size": 10, "max_concurrency": 2, "max_receive_count": 3, "visibility_timeout_s": 60},
    "table": {"event_retention_days": 30, "point_in_time_recovery": True, "deletion_protection": True},
    "idempotency": {"window_s": 86400, "in_progress_timeout_s": 30},
    "archive": {"retention_days": 7},
    "journal": {"retention_days": 5},
    "access": {
        "issuer": "https://login.atoll.example/",
        "audience": ["https://api.atoll.example"],
        "scopes": {"write": "events:write", "read": "events:read"},
        "token_url": "https://login.atoll.example/oauth2/token",
        "client_secret": "atoll/unit/client",
        "throttle": {"rate_per_s": 100, "burst": 200},
    },
    "health_check": {"interval_s": 10, "failure_threshold": 2},
    "dns": {"zone": "atoll.example", "record": "api.atoll.example", "ttl_s": 10},
    "failover": {
        "approve_drills": False,
        "parts": ["api", "processing", "replication"],
        "load_per_s": 5,
        "stable_s": 60,
        "max_replication_lag_ms": 5000,
        "lambda_extension": "1.x.x",
    },
}
# What the toolkit's tests do not look at is as the local stage has it.
SETTINGS |= {
    name: section
    for name, section in yaml.safe_load(stage_file("local").read_text(encoding="utf-8")).items()
    if name in ("encryption", "alarms", "tracing", "recovery")
}
# As on AWS: a drill needs composite alarms, which stop it.
SETTINGS["alarms"] = SETTINGS["alarms"] | {"combined": True}
QUEUES = ("store", "store-dlq", "activity", "activity-dlq", "async-dlq", "bus-dlq", "journal-dlq")


@dataclass(frozen=True)
class Asked:
    """A call as it was asked for: botocore's model of the operation, where, and with which parameters."""

    model: Any
    region: str
    parameters: dict[str, Any]


@dataclass
class Calls:
    """Every call in order, as ``service:Operation@region``; ``on`` runs a function at a call, before or after it.

    ``asked`` has them with their parameters; ``watch`` is told of each writing call before it is made.
    """

    made: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    hooks: dict[tuple[str, str], Callable[[], Any]] = field(default_factory=dict)
    watch: Callable[[str], None] | None = None

    @property
    def mutating(self) -> list[str]:
        return [call for call in self.made if not READ_ONLY.match(call.split(":")[1])]

    def on(self, moment: str, operation: str, function: Callable[[], Any]) -> None:
        self.hooks[moment, operation] = function

    def clear(self) -> None:
        self.made.clear()
        self.asked.clear()
        self.hooks.clear()

    def ask(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        self.asked.append(Asked(model, context["client_region"], params))

    def before(self, model: Any, context: dict[str, Any], **_: Any) -> Any:
        call = f"{model.service_model.service_name}:{model.name}@{context['client_region']}"
        self.made.append(call)
        if self.watch is not None and not READ_ONLY.match(call.split(":")[1]):
            self.watch(call)
        return self.hooks.get(("before", model.name), lambda: None)()

    def after(self, model: Any, **_: Any) -> None:
        self.hooks.get(("after", model.name), lambda: None)()


class GlobalTables:
    """ReplicaUpdates, Replicas and changes of keys: a replica is a table of moto's elsewhere; data is not copied.

    Refused as DynamoDB does: a replica of a table whose writes are provisioned and not autoscaled, removing one that is
    protected, and what a strongly consistent group cannot be. ``status`` is of the others than the home region.

    ``keys``: what a table was brought under after it was made. DynamoDB takes its time over that, and leaves the table
    ACTIVE meanwhile: each region tells of the new key at the third question.
    """

    def __init__(self, client: Callable[[str, str], Any]) -> None:
        self.client = client
        self.status: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.changing: dict[str, int] = {}
        self.strong = False
        self.witness: str | None = None

    def update_table(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> Any:
        request, home = json.loads(params["body"]), context["client_region"]
        name, refusal, updates = request["TableName"], None, request.get("ReplicaUpdates", [])
        self._bill(request)
        if "SSESpecification" in request:
            refusal = "Customer Managed CMKs can only be updated through ReplicaUpdates" if self.status else None
            if refusal is None:
                self._take({home: request["SSESpecification"]["KMSMasterKeyId"]})
        elif not updates:
            return None
        elif keys := {u["Update"]["RegionName"]: u["Update"]["KMSMasterKeyId"] for u in updates if "Update" in u}:
            refusal = self._take_everywhere(name, home, keys)
        created = [update["Create"] for update in updates if "Create" in update]
        refusal = refusal or self._refusal(request, home, created)
        for create in [] if refusal else created:
            region, key = create["RegionName"], create.get("KMSMasterKeyId")
            if (key is None) != (self.key(home, name) is None) or (key and f":{region}:" not in key):
                refusal = "KMSMasterKeyId must be specified for each replica."
            else:
                self._create(name, home, region, key)
        if created and not refusal:
            self._join(request)
        deleted = [update["Delete"]["RegionName"] for update in updates if "Delete" in update]
        witness = [w["Delete"]["RegionName"] for w in request.get("GlobalTableWitnessUpdates", []) if "Delete" in w]
        if deleted and self.strong and set(deleted) | set(witness) == {*self.status, *filter(None, [self.witness])}:
            self.strong, self.witness = False, None
        for region in [] if refusal else deleted:
            refusal = self._delete(name, region)
        if refusal:
            return SimpleNamespace(status_code=400), {"Error": {"Code": "ValidationException", "Message": refusal}}
        return SimpleNamespace(status_code=200), {"TableDescription": {}}

    def _take_everywhere(self, name: str, home: str, keys: dict[str, str]) -> str | None:
        now = {region: self.key(region, name) for region in {home, *self.status}}
        if set(keys) != set(now) or keys == now:
            return "KMSMasterKeyId must be specified for each replica."
        self._take(keys)
        return None

    def _bill(self, request: dict[str, Any]) -> None:
        """A change of billing is the whole group's."""
        change = {part: value for part, value in request.items() if part != "TableName"}
        for region in self.status if "BillingMode" in request else ():
            self.client("dynamodb", region).update_table(TableName=request["TableName"], **change)

    def _join(self, request: dict[str, Any]) -> None:
        self.strong = request.get("MultiRegionConsistency") == "STRONG"
        self.witness = next((w["Create"]["RegionName"] for w in request.get("GlobalTableWitnessUpdates", [])), None)

    def _delete(self, name: str, region: str) -> str | None:
        client = self.client("dynamodb", region)
        if self.strong:
            return "A single replica cannot be deleted from an MRSC global table"
        if client.describe_table(TableName=name)["Table"].get("DeletionProtectionEnabled"):
            return "Resource cannot be deleted as it is currently protected against deletion."
        client.delete_table(TableName=name)
        del self.status[region]
        return None

    def _refusal(self, request: dict[str, Any], home: str, created: list[dict[str, Any]]) -> str | None:
        """Why no replica can be made."""
        client, name = self.client("dynamodb", home), request["TableName"]
        table = client.describe_table(TableName=name)["Table"]
        if not created:
            return None
        if table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED") == "PROVISIONED":
            policies = self.client("application-autoscaling", home).describe_scaling_policies(
                ServiceNamespace="dynamodb", ResourceId=f"table/{name}"
            )["ScalingPolicies"]
            if "dynamodb:table:WriteCapacityUnits" not in {policy["ScalableDimension"] for policy in policies}:
                return "Table write capacity should either be Pay-Per-Request or AutoScaled."
        if request.get("MultiRegionConsistency") == "STRONG":
            ttl = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"]
            witnesses = request.get("GlobalTableWitnessUpdates", [])
            if self.status or len(created) + len(witnesses) != 2 or ttl != "DISABLED":
                return "MRSC global tables have exactly three Regions and no time to live"
            if client.scan(TableName=name)["Count"]:
                return "The table must be empty"
        elif self.strong:
            return "A replica cannot be added to an MRSC global table"
        return None

    def _take(self, keys: dict[str, str]) -> None:
        self.keys |= keys
        self.changing |= dict.fromkeys(keys, 2)

    def key(self, region: str, name: str) -> str | None:
        """What the table is under, or soon will be."""
        table = self.client("dynamodb", region).describe_table(TableName=name)["Table"]
        return self.keys.get(region) or table.get("SSEDescription", {}).get("KMSMasterKeyArn")

    def _create(self, name: str, home: str, region: str, key: str | None) -> None:
        table = self.client("dynamodb", home).describe_table(TableName=name)["Table"]
        indexes = [
            {part: index[part] for part in ("IndexName", "KeySchema", "Projection")}
            for index in table["GlobalSecondaryIndexes"]
        ]
        replica = self.client("dynamodb", region)
        billing: dict[str, Any] = {"BillingMode": "PAY_PER_REQUEST"}
        if table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED") == "PROVISIONED":
            units = {f"{kind}CapacityUnits": 5 for kind in ("Read", "Write")}
            billing = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units}
            indexes = [index | {"ProvisionedThroughput": units} for index in indexes]
        replica.create_table(
            TableName=name,
            AttributeDefinitions=table["AttributeDefinitions"],
            KeySchema=table["KeySchema"],
            GlobalSecondaryIndexes=indexes,
            **billing,
            StreamSpecification=table["StreamSpecification"],
            **({"SSESpecification": {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}} if key else {}),
        )
        ttl = self.client("dynamodb", home).describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        if ttl["TimeToLiveStatus"] == "ENABLED":
            replica.update_time_to_live(
                TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": ttl["AttributeName"]}
            )
        self.status.setdefault(region, "ACTIVE")

    def describe_table(self, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        if "Table" not in parsed:
            return
        table, region = parsed["Table"], context["client_region"]
        if self.status:
            table["Replicas"] = [{"RegionName": r, "ReplicaStatus": s} for r, s in self.status.items()]
            table["MultiRegionConsistency"] = "STRONG" if self.strong else "EVENTUAL"
        if self.status and self.witness:
            table["GlobalTableWitnesses"] = [{"RegionName": self.witness, "WitnessStatus": "ACTIVE"}]
        if self.changing.get(region):
            self.changing[region] -= 1
            table["SSEDescription"] = table.get("SSEDescription", {}) | {"Status": "UPDATING", "SSEType": "KMS"}
        elif region in self.keys:
            table["SSEDescription"] = {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": self.keys[region]}


class ArchiveKeys:
    """KmsKeyIdentifier of archives, which moto drops: what is left out is EventBridge's own key."""

    def __init__(self) -> None:
        self.keys: dict[tuple[str, str], str] = {}

    def write(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        request = json.loads(params["body"])
        self.keys[context["client_region"], request["ArchiveName"]] = request.get("KmsKeyIdentifier", "")

    def describe(self, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        if key := self.keys.get((context["client_region"], parsed.get("ArchiveName", ""))):
            parsed["KmsKeyIdentifier"] = key


@contextmanager
def slow_experiments() -> Iterator[None]:
    """FIS's experiments of moto pass from state to state at every third question, instead of at every one."""
    state_manager.set_transition("fis::experiment", {"progression": "manual", "times": 3})
    try:
        yield
    finally:
        state_manager.unset_transition("fis::experiment")


class Composites:
    """Composite alarms, which moto has not: kept as they were asked for, told and deleted with the others."""

    def __init__(self) -> None:
        self.alarms: dict[str, dict[str, Any]] = {}
        self.asked: dict[str, Any] = {}

    def ask(self, params: dict[str, Any], **_: Any) -> None:
        self.asked = params

    def put(self, **_: Any) -> Any:
        self.alarms[self.asked["AlarmName"]] = dict(self.asked)
        return SimpleNamespace(status_code=200), {}

    def delete(self, **_: Any) -> Any:
        names = self.asked["AlarmNames"]
        watched = [one for one, alarm in self.alarms.items() for name in names if f'"{name}"' in alarm["AlarmRule"]]
        if watched and not set(watched) & set(names):
            error = {"Code": "ValidationError", "Message": f"Cannot delete: {watched} depend on it"}
            return SimpleNamespace(status_code=400), {"Error": error}
        if not set(names) & set(self.alarms):
            return None
        for name in names:
            self.alarms.pop(name, None)
        return SimpleNamespace(status_code=200), {}

    def describe(self, parsed: dict[str, Any], **_: Any) -> None:
        if self.alarms:
            parsed["CompositeAlarms"] = list(self.alarms.values())


class Stacks:
    """CloudFormation as far as it is asked here: which regional stacks there are, and what they put out."""

    def __init__(self) -> None:
        self.status: dict[str, str] = {}
        self.outputs: dict[str, dict[str, str]] = {}

    def describe_stacks(self, context: dict[str, Any], **_: Any) -> Any:
        status = self.status.get(context["client_region"])
        if status is None:
            error = {"Code": "ValidationError", "Message": "Stack with id atoll-unit does not exist"}
            return SimpleNamespace(status_code=400), {"Error": error}
        outputs = {"ApiId": "a1b2c3d4e5", **self.outputs.get(context["client_region"], {})}
        listed = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
        stack = {"StackStatus": status, "Outputs": listed}
        return SimpleNamespace(status_code=200), {"Stacks": [stack]}


class Hub:
    """Leads botocore's hooks to the running test's parts, so that clients are made once for all tests."""

    def __init__(self) -> None:
        self.session = boto3.Session("test", "test", region_name="us-east-1")
        self.clients: dict[tuple[str, str], Any] = {}
        # What AWS does behind a call is no call of ours.
        self.unseen = functools.cache(boto3.Session("test", "test").client)
        self.renew()
        events = self.session.events
        # Earlier than before-call, whose first answer keeps the others from hearing of the call.
        events.register_first("before-parameter-build", self._to("calls", "before"))
        events.register("provide-client-params", self._to("calls", "ask"))
        events.register("after-call", self._to("calls", "after"))
        events.register("before-call.dynamodb.UpdateTable", self._to("tables", "update_table"))
        events.register("after-call.dynamodb.DescribeTable", self._to("tables", "describe_table"))
        for operation in ("CreateArchive", "UpdateArchive"):
            events.register(f"before-call.eventbridge.{operation}", self._to("archive_keys", "write"))
        events.register("after-call.eventbridge.DescribeArchive", self._to("archive_keys", "describe"))
        events.register("before-call.eventbridge.TestEventPattern", patterns.answer)
        for operation, method in (("PutCompositeAlarm", "put"), ("DeleteAlarms", "delete")):
            events.register(f"provide-client-params.cloudwatch.{operation}", self._to("composites", "ask"))
            events.register(f"before-call.cloudwatch.{operation}", self._to("composites", method))
        events.register("after-call.cloudwatch.DescribeAlarms", self._to("composites", "describe"))
        events.register("before-call.cloudformation.DescribeStacks", self._to("stacks", "describe_stacks"))

    def _to(self, part: str, method: str) -> Callable[..., Any]:
        # Looked up at each call: the part is another in each test.
        def forward(**call: Any) -> Any:
            return getattr(getattr(self, part), method)(**call)

        return forward

    def renew(self) -> None:
        self.calls, self.tables, self.stacks = Calls(), GlobalTables(self.unseen), Stacks()
        self.archive_keys, self.composites = ArchiveKeys(), Composites()

    def client(self, service: str, region: str) -> Any:
        if (service, region) not in self.clients:
            self.clients[service, region] = self.session.client(service, region)
        return self.clients[service, region]


@pytest.fixture(scope="session", autouse=True)
def steady_queues() -> Iterator[None]:
    with one_call_at_a_time():
        yield


@pytest.fixture(scope="session")
def shared_hub() -> Hub:
    return Hub()


def permission_over_tls(bucket: FakeBucket, action: str, resource: str) -> PermissionResult:
    """What a bucket's policy says of a call over TLS, as all of these count. Moto heeds no condition of a denial."""
    policy = json.loads(bucket.policy or '{"Statement": []}')
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    left = [statement for statement in policy["Statement"] if statement.get("Condition") != plain]
    return IAMPolicy(json.dumps({"Statement": left})).is_action_permitted(action, resource)


@pytest.fixture
def hub(shared_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    shared_hub.renew()
    monkeypatch.setattr(FakeBucket, "get_permission", permission_over_tls)
    with mock_aws():
        yield shared_hub


@pytest.fixture
def stage() -> Stage:
    return Stage.model_validate(SETTINGS)


@pytest.fixture
def calls(hub: Hub) -> Calls:
    return hub.calls


@pytest.fixture
def global_tables(hub: Hub) -> GlobalTables:
    return hub.tables


@pytest.fixture
def archive_keys(hub: Hub) -> ArchiveKeys:
    return hub.archive_keys


@pytest.fixture
def stacks(hub: Hub) -> Stacks:
    return hub.stacks


@pytest.fixture
def account(stage: Stage, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """An account in which nothing is deployed yet. Scan pages come through its boto3 clients, too."""
    cloud = Cloud(stage, "123456789012", hub.session)
    cloud.client = hub.client  # type: ignore[method-assign]
    by_boto3(monkeypatch, lambda region: hub.client("dynamodb", region))
    return cloud


@pytest.fixture
def deployed(account: Cloud, stacks: Stacks, calls: Calls) -> Cloud:
    """An account with the regional stack's bus and queues in every region."""
    for region in account.stage.regions:
        stacks.status[region] = "CREATE_COMPLETE"
        for bus in (account.stage.bus, account.stage.journal_bus):
            account.client("events", region).create_event_bus(Name=bus)
        for name in QUEUES:
            account.client("sqs", region).create_queue(QueueName=f"atoll-unit-{name}")
    calls.clear()
    return account
