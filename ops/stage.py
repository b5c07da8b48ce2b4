"""A stage: the one description of what is deployed where, read from ``deploy/stages/<stage>.yml``.

serverless.yml reads the same file, so the regional stack and the toolkit cannot disagree. Every key is checked when
the file is read; a mistake is refused with the file, the key and the reason. Resource names are derived from the
stage name here, and in serverless.yml by the same rule: ``atoll-<stage>[-<part>]``.
"""

from __future__ import annotations

import ipaddress
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from ops.cron import Cron
from ops.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
STAGES_DIR = ROOT / "deploy" / "stages"
SERVICE = "atoll"


def state_dir() -> Path:
    """Where scratch files and the local cloud's state are: ``.atoll/`` of the project, or ``ATOLL_STATE_DIR``."""
    return Path(os.environ.get("ATOLL_STATE_DIR") or ROOT / ".atoll").resolve()


Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
StageName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,19}$")]
DomainName = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*$")]
HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https://[^\s/]+(/[^\s]*)?$")]
TopicArn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$")]
BucketUri = Annotated[str, StringConstraints(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?$")]
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_/+=.@-]{1,512}$")]
# The operations bucket, where a setting names one.
OPERATIONS = "operations"
RouteKey = Annotated[str, StringConstraints(pattern=r"^(GET|POST) /[a-z_{}/.]+$")]
CertificateArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]+$")
]
PrefixListId = Annotated[str, StringConstraints(pattern=r"^pl-[0-9a-f]{8,17}$")]
SuiteName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,29}$")]
# What an outage takes away: the API, the toolkit's own AWS calls, the processing of queues, replication.
OutagePart = Literal["api", "calls", "processing", "replication"]
# What CloudWatch Logs accepts.
RetentionDays = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LambdaSettings(_Section):
    """What every function of the regional stack shares."""

    memory_mb: int = Field(ge=128, le=10240)
    architecture: Literal["x86_64", "arm64"]
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    log_retention_days: RetentionDays


class ProcessorSettings(_Section):
    """How queues feed the processors (store, activity)."""

    batch_size: int = Field(ge=1, le=10)
    max_concurrency: int = Field(ge=2, le=1000, description="SQS allows 2 to 1,000 per event source mapping")
    max_receive_count: int = Field(ge=1, le=1000)
    visibility_timeout_s: int = Field(ge=1, le=43200)


class Scaling(_Section):
    """Between which capacity units autoscaling moves, to keep their use at ``target_percent``.

    DynamoDB takes targets of 20 to 90 %:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/AutoScaling.html
    """

    min: int = Field(ge=1)
    max: int = Field(ge=1)
    target_percent: int = Field(ge=20, le=90)
    initial: int | None = Field(
        default=None, ge=1, description="what a table begins with when it leaves on demand: its peak; null: min"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Scaling:
        if self.max < self.min:
            raise ValueError(f"max: {self.max} is less than min: {self.min}")
        if self.initial is not None and not self.min <= self.initial <= self.max:
            raise ValueError(f"initial: {self.initial} is not between min: {self.min} and max: {self.max}")
        return self

    @property
    def first(self) -> int:
        return self.min if self.initial is None else self.initial


class CapacitySettings(_Section):
    """Provisioned capacity of the table and of each of its indexes. Reads may differ by replica; writes cannot, because
    every replica takes every write."""

    read: Scaling
    read_in: dict[Region, Scaling] = {}
    write: Scaling

    def read_of(self, region: str) -> Scaling:
        return self.read_in.get(region, self.read)


# Where a table may be strongly consistent across regions: within one of these.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_HowItWorks.html (MRSC), and
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-dynamodb-globaltable-globaltablewitness.html
REGION_SETS: dict[str, tuple[str, ...]] = {
    "US": ("us-east-1", "us-east-2", "us-west-2"),
    "EU": ("eu-west-1", "eu-west-2", "eu-west-3", "eu-central-1"),
    "AP": ("ap-northeast-1", "ap-northeast-2", "ap-northeast-3"),
}
STRONG_REGIONS = 3


class TableSettings(_Section):
    """The global table; provisioned by the ``provision`` runbook, never by the regional stack."""

    event_retention_days: int = Field(ge=1, le=3650)
    point_in_time_recovery: bool
    deletion_protection: bool
    capacity: CapacitySettings | None = Field(default=None, description="null: on demand")
    autoscaling: bool = Field(default=True, description="false for a cloud without Application Auto Scaling")
    consistency: Literal["eventual", "strong"] = Field(
        default="eventual", description="across regions; a table keeps the one that its replicas were made with"
    )
    witness: Region | None = Field(default=None, description="the third region of a strong table with two replicas")

    @model_validator(mode="after")
    def _hold_together(self) -> TableSettings:
        if self.capacity is not None and not self.autoscaling:
            raise ValueError(
                "capacity: a global table's provisioned capacity is autoscaled, and autoscaling is false here"
            )
        if self.witness is not None and self.consistency != "strong":
            raise ValueError(f"witness: {self.witness!r}, but only a table whose consistency is strong has one")
        return self

    def require_regions(self, regions: list[str]) -> None:
        """Raise ValueError when ``regions`` cannot have this table."""
        if self.capacity is not None and (strangers := sorted(set(self.capacity.read_in) - set(regions))):
            raise ValueError(f"table: capacity: read_in: {', '.join(strangers)}: not one of regions {regions}")
        if self.consistency != "strong":
            return
        members = [*regions, *([self.witness] if self.witness else [])]
        listed = "; ".join(f"{name}: {', '.join(of)}" for name, of in REGION_SETS.items())
        if self.witness in regions:
            raise ValueError(f"table: witness: {self.witness!r} is one of regions, and a witness holds no replica")
        if len(members) != STRONG_REGIONS:
            count = f"{len(regions)} region{'' if len(regions) == 1 else 's'}"
            raise ValueError(
                f"table: consistency: strong needs exactly {STRONG_REGIONS} regions, or 2 and a witness; "
                f"the stage has {count} and {'a' if self.witness else 'no'} witness"
            )
        if not any(set(members) <= set(of) for of in REGION_SETS.values()):
            raise ValueError(
                f"table: consistency: strong needs all of {', '.join(members)} in one set of regions ({listed})"
            )


class IdempotencySettings(_Section):
    """The regional record of what was already accepted."""

    window_s: int = Field(ge=60, le=604_800)
    in_progress_timeout_s: int = Field(ge=1, le=900)


class ArchiveSettings(_Section):
    """The archive of each region's bus."""

    retention_days: int = Field(ge=0, le=3650, description="0 keeps events for ever")


class HealthSettings(_Section):
    """The Route 53 health check of each region's ``/status``."""

    interval_s: Literal[10, 30]
    failure_threshold: int = Field(ge=1, le=10)


class DnsSettings(_Section):
    """Latency routing over the regions."""

    zone: DomainName
    record: DomainName
    ttl_s: int = Field(ge=0, le=86400)

    @model_validator(mode="after")
    def _record_in_zone(self) -> DnsSettings:
        if self.record != self.zone and not self.record.endswith("." + self.zone):
            raise ValueError(f"record {self.record!r} is not inside zone {self.zone!r}")
        return self


class Throttle(_Section):
    """What the API takes before it answers 429 (token bucket)."""

    rate_per_s: int = Field(ge=1, le=10_000)
    burst: int = Field(ge=1, le=5_000)


class Scopes(_Section):
    """The OAuth scopes a token needs; Cognito's begin with the resource server's name: ``atoll/events:read``."""

    write: str = Field(min_length=1, max_length=256)
    read: str = Field(min_length=1, max_length=256)


class AccessSettings(_Section):
    """Who may call the API: the JSON Web Tokens of one issuer, the same in every region."""

    issuer: HttpsUrl
    audience: Annotated[list[str], Field(min_length=1, max_length=50)]
    scopes: Scopes
    token_url: Annotated[str, StringConstraints(pattern=r"^(https://|\{endpoint_url\}/)")]
    client_secret: str = Field(
        pattern=r"^[A-Za-z0-9/_+=.@-]{1,512}$",
        description="name of the Secrets Manager secret, in the home region, that holds `ops`' own client",
    )
    throttle: Throttle
    routes: dict[RouteKey, Throttle] = {}


class DomainSettings(_Section):
    """The API under its own name, ``dns.record``, and under ``<region>.<dns.record>`` in each region."""

    certificates: dict[Region, CertificateArn]


_PRIVATE = [ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


class NetworkSettings(_Section):
    """The VPC of each region: private subnets only, no way to the internet."""

    cidr: Annotated[str, StringConstraints(pattern=r"^(10|172|192)\.\d{1,3}\.\d{1,3}\.0/2[0-4]$")]
    zones: Literal[2, 3]
    endpoint_zones: Literal[1, 2, 3] = Field(description="zones with interface endpoints: billed per zone and hour")
    flow_log_retention_days: RetentionDays
    dynamodb_prefix_lists: dict[Region, PrefixListId] = Field(
        description="AWS's own id, a region, of its list of DynamoDB's addresses: the functions may reach these"
    )
    s3_prefix_lists: dict[Region, PrefixListId] = Field(
        description="the same of S3's addresses: functions that a drill can take away read there whether it does"
    )

    @field_validator("cidr")
    @classmethod
    def _private_block(cls, cidr: str) -> str:
        try:
            network = ipaddress.IPv4Network(cidr)
        except ValueError as error:
            raise ValueError(str(error)) from error
        if not any(network.subnet_of(block) for block in _PRIVATE):
            raise ValueError(f"{cidr} is not inside {', '.join(map(str, _PRIVATE))} (RFC 1918)")
        return cidr

    @model_validator(mode="after")
    def _endpoints_in_zones(self) -> NetworkSettings:
        if self.endpoint_zones > self.zones:
            raise ValueError(f"endpoint_zones: {self.endpoint_zones} is more than zones: {self.zones}")
        return self

    def require_prefix_lists(self, regions: list[str]) -> None:
        """Raise ValueError when one of ``regions`` has no prefix list; say how to find the first that is missing."""
        for service, ids in self.prefix_lists.items():
            without = [region for region in regions if region not in ids]
            if without:
                raise ValueError(
                    f"network: {service}_prefix_lists: none for {', '.join(without)}; `aws ec2 "
                    f"describe-managed-prefix-lists --region {without[0]}` has it as "
                    f"com.amazonaws.{without[0]}.{service}"
                )

    @property
    def prefix_lists(self) -> dict[str, dict[str, str]]:
        """Service -> region -> id."""
        return {"dynamodb": self.dynamodb_prefix_lists, "s3": self.s3_prefix_lists}


class EncryptionSettings(_Section):
    """Whose keys encrypt what rests: AWS's own, or one customer-managed key a region."""

    customer_managed_key: bool


class ConcurrencySettings(_Section):
    """Reserved concurrency a function: what it is sure to have, and what it cannot exceed at the account's expense."""

    ingest: int = Field(ge=1)
    query: int = Field(ge=1)
    status: int = Field(ge=1)
    store: int = Field(ge=2)
    activity: int = Field(ge=2)
    sketch: int | None = Field(default=None, ge=1, description="null where divergence.fleet is off")


class AlarmSettings(_Section):
    """From where on a region counts as unhealthy, in three of five periods. docs/alarms.md explains each."""

    period_s: Literal[10, 30, 60, 300] = Field(description="AWS's own metrics come by the minute: 60 or more there")
    combined: bool = Field(description="metric math and composite alarms; false for a cloud without them")
    min_requests: int = Field(ge=1, description="a period with fewer has no error rate")
    error_rate_percent: float = Field(gt=0, le=100)
    p99_latency_ms: int = Field(ge=1)
    function_errors: int = Field(ge=1)
    throttles: int = Field(ge=1)
    queue_age_s: int = Field(ge=1)
    dlq_depth: int = Field(ge=1)
    replication_latency_ms: int = Field(ge=1)


class TracingSettings(_Section):
    """X-Ray. ``rate`` is the share of requests traced beyond the first ``reservoir_per_s`` of each second."""

    enabled: bool
    rate: float = Field(ge=0, le=1)
    reservoir_per_s: int = Field(ge=0, le=1000)

    @model_validator(mode="after")
    def _nothing_sampled_when_off(self) -> TracingSettings:
        if not self.enabled and (self.rate or self.reservoir_per_s):
            raise ValueError("rate and reservoir_per_s: must be 0 where tracing is not enabled")
        return self


class JournalSettings(_Section):
    """Each region's accepted events, kept in the archive of the next region's journal bus."""

    retention_days: int = Field(ge=0, le=3650, description="0 keeps events for ever")
    bus_policy: bool = Field(default=True, description="whether the journal bus has a resource policy")


class FailoverSettings(_Section):
    """How a region is left and taken back, and what a drill may break."""

    approve_drills: bool = Field(description="whether a drill runs without a token: the stage is there to be broken")
    parts: list[OutagePart] = Field(description="what a drill can take away; none: no drills on this stage")
    load_per_s: float = Field(gt=0, le=1000, description="events a second that a drill sends through the edge")
    stable_s: int = Field(ge=1, le=86_400, description="how long a region has to be well before traffic goes back")
    max_replication_lag_ms: int = Field(ge=1, description="more than this stands in the way of leaving a region")
    lambda_extension: Annotated[str, StringConstraints(pattern=r"^\d+\.x\.x$")] | None = Field(
        default=None,
        description="FIS's extension of the functions that a drill takes away, as its public parameter calls its "
        "version; null where no function has it",
    )

    @field_validator("parts")
    @classmethod
    def _each_once(cls, parts: list[str]) -> list[str]:
        if len(set(parts)) != len(parts):
            raise ValueError(f"a part is named twice: {', '.join(parts)}")
        return parts


class RecoverySettings(_Section):
    """How replays and redrives treat the processors, unless a run says otherwise."""

    max_queue_age_s: int = Field(ge=1, le=86_400, description="a replay pauses while a queue's oldest event is older")
    max_dlq_growth: int = Field(ge=0, description="a replay pauses when the DLQs hold that many more than before it")
    redrive_per_s: int = Field(ge=1, le=100_000, description="messages a second that a redrive takes to their targets")


class DivergenceSettings(_Section):
    """How the ``divergence`` runbook's mode ``fleet`` reads the replicas: a function a segment, in each region.

    A function has one processor at 1,769 MB, and runs for 900 s at most:
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html,
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html
    """

    fleet: bool = Field(description="whether the regional stack has the state machine and the function")
    fleet_concurrency: int = Field(ge=1, le=1000, description="segments of a region that are read at once")
    fleet_memory_mb: int = Field(ge=128, le=10240)
    fleet_timeout_s: int = Field(ge=60, le=900, description="of one invocation; a longer segment takes several")
    findings_days: int = Field(
        default=90, ge=1, le=3650, description="findings, and items as they were before a repair: as long as `undo` can"
    )
    exports_days: int = Field(
        default=14, ge=1, le=3650, description="exports of the replicas, which are as large as they"
    )


NO_FLEET = DivergenceSettings(fleet=False, fleet_concurrency=1, fleet_memory_mb=128, fleet_timeout_s=60)


class ScheduledSuite(_Section):
    """When a suite of runbooks is run. Times are local to ``time_zone``, whatever daylight saving does there.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """

    cron: str = Field(description="cron(minutes hours day-of-month month day-of-week year)")
    time_zone: str = Field(default="UTC", description="a name of the IANA database")

    @field_validator("cron")
    @classmethod
    def _comes_due(cls, text: str) -> str:
        Cron.parse(text)
        return text

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is no time zone; accepted: names of the IANA database, such as Asia/Kolkata")
        return name


class ReportSource(_Section):
    """Where a scheduled report has the project from: the repository and the branch or tag that operates the stage.

    https://docs.aws.amazon.com/codebuild/latest/APIReference/API_ProjectSource.html
    """

    type: Literal["GITHUB", "GITHUB_ENTERPRISE", "GITLAB", "BITBUCKET", "CODECOMMIT", "S3"]
    location: str = Field(min_length=1, description="the repository's URL; of S3, bucket/key.zip")
    version: str = Field(default="", description="branch, tag or commit; empty: the default branch")
    connection: Annotated[str, StringConstraints(pattern=r"^arn:aws:codeconnections:")] | None = Field(
        default=None, description="for a private repository: the connection that CodeBuild reads it by"
    )


class ScheduleSettings(_Section):
    """Reports that AWS makes by itself: EventBridge Scheduler starts a CodeBuild project of the home region's stack."""

    suites: Annotated[dict[SuiteName, ScheduledSuite], Field(min_length=1)]
    source: ReportSource
    timeout_minutes: int = Field(default=60, ge=5, le=480, description="of one report, with installing the project")


class ReportSettings(_Section):
    """What becomes of the records of reports, and who is told of a verdict that is another than before."""

    records: Literal["operations"] | BucketUri | None = Field(
        default=None,
        description="beside the folder of reports: the home region's operations bucket, or s3://bucket/prefix",
    )
    keep_days: int = Field(default=90, ge=1, le=3650, description="records of older runs are deleted")
    topic_arn: TopicArn | None = Field(default=None, description="an SNS topic that is told")
    webhook_secret: SecretName | None = Field(
        default=None, description="the secret in Secrets Manager that holds a webhook's https:// address"
    )


class Objective(_Section):
    """What share is to be good over ``window_days``; over ``threshold_ms`` is bad (availability has none)."""

    objective: float = Field(ge=0.5, lt=1)
    window_days: int = Field(default=30, ge=1, le=90)
    threshold_ms: int = Field(default=0, ge=0, le=3_600_000)

    @property
    def window(self) -> timedelta:
        return timedelta(days=self.window_days)


class ServiceLevelSettings(_Section):
    """What the platform promises: docs/service-levels.md."""

    availability: Objective
    latency: Objective
    freshness: Objective
    min_events: int = Field(default=100, ge=1, description="events in a window below which it is not judged")
    period_s: Literal[10, 30, 60] = Field(default=60, description="of the fine data; AWS services publish each minute")
    settle_s: int = Field(
        default=120, ge=0, le=900, description="how long after its end CloudWatch may still add to a period"
    )

    @model_validator(mode="after")
    def _times_have_thresholds(self) -> ServiceLevelSettings:
        for name in ("latency", "freshness"):
            if not getattr(self, name).threshold_ms:
                raise ValueError(f"{name}: threshold_ms: it is needed, in milliseconds")
        if self.availability.threshold_ms:
            raise ValueError("availability: threshold_ms: it has none; what is slow is of latency")
        return self

    @property
    def objectives(self) -> tuple[tuple[str, Objective], ...]:
        return (("availability", self.availability), ("latency", self.latency), ("freshness", self.freshness))


class LocalCloudSettings(_Section):
    """Present only in a stage that runs on the local cloud (``ops up``)."""

    port: int = Field(ge=1024, le=65535)
    replication_lag_ms: int = Field(ge=0, le=60_000)
    enforce_iam: bool = Field(description="whether a function may do only what its role grants, as on AWS")


class Stage(_Section):
    """One stage file. ``regions`` is in deployment order; ``home_region`` creates the global table."""

    stage: StageName
    account: Annotated[str, StringConstraints(pattern=r"^\d{12}$")] | None
    home_region: Region
    regions: Annotated[list[Region], Field(min_length=1)]
    waves: list[list[Region]] = []
    lambda_: LambdaSettings = Field(alias="lambda")
    processors: ProcessorSettings
    table: TableSettings
    idempotency: IdempotencySettings
    archive: ArchiveSettings
    journal: JournalSettings
    access: AccessSettings
    network: NetworkSettings | None = None
    encryption: EncryptionSettings
    concurrency: ConcurrencySettings | None = None
    alarms: AlarmSettings
    tracing: TracingSettings
    domain: DomainSettings | None = None
    health_check: HealthSettings
    dns: DnsSettings
    failover: FailoverSettings
    recovery: RecoverySettings
    divergence: DivergenceSettings = NO_FLEET
    reports: ReportSettings = ReportSettings()
    schedule: ScheduleSettings | None = None
    service_levels: ServiceLevelSettings | None = None
    api_url: Annotated[str, StringConstraints(pattern=r"^(https://|\{endpoint_url\}/).*\{api_id\}")] | None = None
    local_cloud: LocalCloudSettings | None = None

    @model_validator(mode="after")
    def _regions_agree(self) -> Stage:
        if len(set(self.regions)) != len(self.regions):
            raise ValueError("regions: a region is named twice")
        if self.home_region not in self.regions:
            raise ValueError(f"home_region: {self.home_region!r} is not one of regions {self.regions}")
        waved = [region for wave in self.waves for region in wave]
        if waved and sorted(waved) != sorted(self.regions):
            raise ValueError(f"waves: they must name each of regions {self.regions} exactly once, and name {waved}")
        if self.domain is not None and self.api_url is not None:
            raise ValueError("api_url: with a domain, a region's API answers under the domain only")
        if self.domain is not None and set(self.domain.certificates) != set(self.regions):
            raise ValueError(f"domain: certificates: they must be named for each of regions {self.regions}")
        if self.network is not None:
            self.network.require_prefix_lists(self.regions)
        self.table.require_regions(self.regions)
        if self.table.consistency == "strong" and self.local_cloud is not None:
            raise ValueError("table: consistency: strong: the local cloud replicates eventually only")
        return self

    @model_validator(mode="after")
    def _processors_have_what_their_queues_ask_for(self) -> Stage:
        # A queue that invokes more than the function may run gets its messages back throttled, and each such delivery
        # counts towards the DLQ. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
        asked = self.processors.max_concurrency
        for name in self.processor_names if self.concurrency else ():
            reserved = getattr(self.concurrency, name)
            if reserved < asked:
                raise ValueError(
                    f"concurrency: {name}: {reserved} is less than processors.max_concurrency, {asked}; "
                    "the queue would invoke more than the function may run"
                )
        return self

    @model_validator(mode="after")
    def _fleet_has_what_its_map_asks_for(self) -> Stage:
        # What is throttled is tried again by the state machine, a bounded number of times.
        wanted = self.divergence.fleet_concurrency if self.divergence.fleet else 0
        reserved = self.concurrency.sketch if self.concurrency else wanted
        if wanted > (reserved or 0):
            raise ValueError(
                f"concurrency: sketch: {reserved} is less than divergence.fleet_concurrency, {wanted}; "
                "the state machine would invoke more than the function may run"
            )
        return self

    @model_validator(mode="after")
    def _calls_are_broken_locally_only(self) -> Stage:
        if "calls" in self.failover.parts and self.local_cloud is None:
            raise ValueError(
                "failover: parts: 'calls' can be taken away on the local cloud only; no API of AWS does it"
            )
        return self

    @model_validator(mode="after")
    def _drills_have_what_they_need(self) -> Stage:
        # Beside the layer and the alarms, deploy/resources/drills.yml has what FIS needs.
        failover, local = self.failover, self.local_cloud is not None
        functions = [part for part in failover.parts if part in ("api", "processing")]
        if local and failover.lambda_extension is not None:
            raise ValueError(
                "failover: lambda_extension: the local cloud has no layers, and takes functions away itself"
            )
        if not local and functions and failover.lambda_extension is None:
            raise ValueError(
                f"failover: lambda_extension: {' and '.join(functions)} can be taken away only by FIS's extension in "
                "the functions; set it to 1.x.x, or take them out of failover.parts"
            )
        if not local and failover.parts and not self.alarms.combined:
            raise ValueError(
                "failover: parts: a drill is stopped by composite alarms; set alarms.combined, or parts: []"
            )
        return self

    @property
    def has_drill_resources(self) -> bool:
        """Whether the regional stack has what FIS needs for a drill: its role, its bucket, its stop conditions."""
        return bool(self.failover.parts) and self.alarms.combined

    @property
    def deploy_waves(self) -> list[list[str]]:
        """The regions in deployment order, a list a wave: as in the file, else one region first and then the rest."""
        return self.waves or [wave for wave in (self.regions[:1], self.regions[1:]) if wave]

    # --- names of what is deployed -----------------------------------------------------------------------------

    @property
    def prefix(self) -> str:
        """``atoll-<stage>``: the CloudFormation stack, the bus, its archive and the global table bear it."""
        return f"{SERVICE}-{self.stage}"

    @property
    def stack(self) -> str:
        return self.prefix

    @property
    def bus(self) -> str:
        return self.prefix

    @property
    def archive_name(self) -> str:
        return self.prefix

    @property
    def journal_bus(self) -> str:
        """The bus that takes the events of the region before this one; its archive bears the same name."""
        return f"{self.prefix}-journal"

    def operations_bucket(self, account: str, region: str) -> str:
        """Where a region's ledgers and quarantined messages are kept."""
        return f"{self.prefix}-ops-{account}-{region}"

    def journal_region(self, region: str) -> str | None:
        """Where the events of ``region`` are kept besides: the next region of the file, in a ring; None if alone."""
        if len(self.regions) == 1:
            return None
        return self.regions[(self.regions.index(region) + 1) % len(self.regions)]

    def journaled_region(self, region: str) -> str | None:
        """Whose events the journal of ``region`` holds: the region before it in the ring; None if alone."""
        return next((other for other in self.regions if self.journal_region(other) == region), None)

    @property
    def table_name(self) -> str:
        return self.prefix

    @property
    def key_alias(self) -> str | None:
        """The alias of the stage's own KMS key in each region; None where AWS's own keys encrypt."""
        return f"alias/{self.prefix}" if self.encryption.customer_managed_key else None

    @property
    def idempotency_table(self) -> str:
        return f"{self.prefix}-idempotency"

    @property
    def processor_names(self) -> tuple[str, ...]:
        return ("store", "activity")

    @property
    def function_names(self) -> tuple[str, ...]:
        return ("ingest", "query", "status", *self.processor_names)

    @property
    def stack_functions(self) -> tuple[str, ...]:
        """Every function of the regional stack; :attr:`function_names` are those that events go through."""
        return (*self.function_names, *(("sketch",) if self.divergence.fleet else ()))

    def queue(self, processor: str) -> str:
        return f"{self.prefix}-{processor}"

    @property
    def fleet(self) -> str:
        """The state machine of a region that reads its replica segment by segment."""
        return f"{self.prefix}-fleet"

    def dlq(self, part: str) -> str:
        """The DLQ of a processor, of the ``journal`` rule or of ``async`` invocations."""
        return f"{self.prefix}-{part}-dlq"

    @property
    def dlqs(self) -> tuple[str, ...]:
        """Every DLQ of a region."""
        parts = (*self.processor_names, "async", "bus", *(("journal",) if len(self.regions) > 1 else ()))
        return tuple(self.dlq(part) for part in parts)

    def function(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    @property
    def shown_file(self) -> str:
        """The stage file, as messages name it."""
        return _shown(stage_file(self.stage))

    # --- where it answers ----------------------------------------------------------------------------------------

    def regional_host(self, region: str) -> str | None:
        """The API's own name in ``region``, or None without a domain."""
        return f"{region}.{self.dns.record}" if self.domain is not None else None

    def require_region(self, region: str) -> str:
        """Return ``region``; raise UsageError when the stage does not have it."""
        if region not in self.regions:
            raise UsageError(
                f"region: {region!r} is not in stage {self.stage!r}; accepted: {', '.join(self.regions)}",
                hint=f"Regions are listed in {self.shown_file}.",
            )
        return region


def stage_file(name: str, directory: Path = STAGES_DIR) -> Path:
    return directory / f"{name}.yml"


def stage_names(directory: Path = STAGES_DIR) -> list[str]:
    """The stages that have a file, sorted."""
    return sorted(path.stem for path in directory.glob("*.yml"))


def load_stage(name: str, directory: Path = STAGES_DIR) -> Stage:
    """Read and check one stage file.

    Raises:
        UsageError: there is no such stage, or its file is not valid; the message has a line for each mistake.
    """
    known = stage_names(directory)
    if not re.fullmatch(r"[a-z][a-z0-9]{0,19}", name) or name not in known:
        raise UsageError(
            f"stage: {name!r} has no file; accepted: {', '.join(known)}",
            hint=f"A stage is a file {_shown(directory)}/<stage>.yml.",
        )
    path = stage_file(name, directory)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UsageError(f"{_shown(path)}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{_shown(path)}: expected a mapping of settings, found {type(data).__name__}")
    try:
        stage = Stage.model_validate(data)
    except ValidationError as error:
        lines = [f"{_shown(path)}: {_explain(detail)}" for detail in error.errors()]
        raise UsageError("\n".join(lines), hint="Correct the stage file; nothing was changed.") from error
    if stage.stage != name:
        raise UsageError(f"{_shown(path)}: stage: says {stage.stage!r}, but the file is named {name!r}")
    return stage


def _explain(detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if detail["type"] == "missing":
        return f"{key}: missing"
    return f"{key}: {message} (is {detail['input']!r})" if key else message


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
