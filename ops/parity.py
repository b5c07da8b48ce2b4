"""Are the regions identical? Templates, code, configuration, queues, rules, routes and archives, held side by side.

What a stack consists of is read from the stack itself, so that a resource nobody thought of is compared too. Values
that must differ (region names, account, API and deployment identifiers, time stamps in artifact keys) are replaced by
placeholders before they are compared; what is the same text everywhere is equal, whichever regions it names (the alarms
on each peer are in every region's template, and a condition leaves out the region's own). What always holds: nothing is
written, and no code is downloaded; two functions have the same code when Lambda's own SHA-256 of their packages is the
same.

A notebook calls ``compare(cloud)`` and shows ``.summary()``, ``.frame()`` and ``.checks()``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pandas as pd
from botocore.exceptions import ClientError

from ops.aws import Cloud, explained
from ops.errors import OpsError
from ops.fanout import each
from ops.provision.desired import bus_arn
from ops.record import Check
from ops.stage import Stage

ABSENT = "(absent)"
SHOWN = 160

# What differs by its nature, or is told by another aspect.
_FUNCTION_FIELDS = (
    "Runtime", "Handler", "Timeout", "MemorySize", "Architectures", "PackageType", "Environment", "Layers",
    "TracingConfig", "EphemeralStorage", "LoggingConfig", "DeadLetterConfig", "VpcConfig", "SnapStart", "Role",
)  # fmt: skip
_MAPPING_FIELDS = (
    "EventSourceArn", "FunctionArn", "BatchSize", "MaximumBatchingWindowInSeconds", "State", "FunctionResponseTypes",
    "ScalingConfig", "FilterCriteria", "MaximumRetryAttempts", "BisectBatchOnFunctionError",
)  # fmt: skip
_QUEUE_SKIPPED = re.compile(r"^(Approximate|Created|LastModified)")
_ROUTE_FIELDS = ("AuthorizationType", "AuthorizationScopes", "ApiKeyRequired")
_INTEGRATION_FIELDS = ("IntegrationType", "PayloadFormatVersion", "TimeoutInMillis", "IntegrationUri")


@dataclass(frozen=True)
class Row:
    """One thing compared: equal in all regions, or what each of them has. ``ahead`` was modified last."""

    aspect: str
    resource: str
    equal: bool
    values: dict[str, str]
    ahead: str


@dataclass(frozen=True)
class Parity:
    """The comparison of all regions; ``rows`` is in order of aspect and resource."""

    regions: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def differing(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.equal)

    @property
    def equal(self) -> bool:
        return not self.differing

    def frame(self, only_differing: bool = False) -> pd.DataFrame:
        """A row a resource (or, where it differs, a field), a column a region."""
        rows = [
            {"aspect": r.aspect, "resource": r.resource, "equal": r.equal} | r.values | {"ahead": r.ahead}
            for r in (self.differing if only_differing else self.rows)
        ]
        return pd.DataFrame(rows, columns=["aspect", "resource", "equal", *self.regions, "ahead"])

    def summary(self) -> pd.DataFrame:
        """A row an aspect: how much was compared, and how much of it differs."""
        aspects = list(dict.fromkeys(row.aspect for row in self.rows))
        counted = [
            (a, sum(r.aspect == a for r in self.rows), sum(r.aspect == a and not r.equal for r in self.rows))
            for a in aspects
        ]
        return pd.DataFrame(counted, columns=["aspect", "compared", "differing"])

    def figures(self) -> dict[str, Any]:
        return {"compared": len(self.rows), "differing": len(self.differing)}

    def checks(self) -> list[Check]:
        """One check an aspect."""
        checks = []
        for aspect in dict.fromkeys(row.aspect for row in self.rows):
            rows = [row for row in self.rows if row.aspect == aspect]
            wrong = [row for row in rows if not row.equal]
            if not wrong:
                checks.append(Check(f"{aspect} equal", True, f"{len(rows)} compared in {', '.join(self.regions)}"))
                continue
            ahead = {row.ahead for row in wrong if row.ahead}
            names = "; ".join(f"{r.resource}: {' / '.join(f'{k} {v}' for k, v in r.values.items())}" for r in wrong[:5])
            more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
            first = f"; modified last in {', '.join(sorted(ahead))}" if ahead else ""
            checks.append(Check(f"{aspect} equal", False, f"{names}{more}{first}"))
        return checks


@dataclass(frozen=True)
class _Thing:
    """One resource as one region has it, normalised. ``modified`` is empty when the service does not say.

    ``literal`` is a digest of it with its region names as they are: a text that names regions and is the same in all
    of them (the alarms on each peer, a dashboard across regions) is equal, whichever of them it is read in.
    """

    fields: Any
    modified: str = ""
    literal: str = ""


# aspect -> resource -> thing
Snapshot = dict[str, dict[str, _Thing]]


def compare(cloud: Cloud, progress: Callable[[str], None] = lambda line: None) -> Parity:
    """Read every region of the stage and hold them side by side; reads only.

    Raises:
        OpsError: a region could not be read.
    """
    regions = cloud.stage.regions
    with explained("reading the regional stacks"):
        snapshots = each(regions, lambda region: snapshot(cloud, region))
    progress(f"read {', '.join(regions)}")
    return Parity(tuple(regions), tuple(_rows(regions, snapshots)))


def _rows(regions: list[str], snapshots: Mapping[str, Snapshot]) -> Iterator[Row]:
    aspects = dict.fromkeys(aspect for snap in snapshots.values() for aspect in snap)
    for aspect in aspects:
        for resource in sorted({name for snap in snapshots.values() for name in snap.get(aspect, {})}):
            things = {region: snapshots[region].get(aspect, {}).get(resource) for region in regions}
            yield from _compare(aspect, resource, things)


def _compare(aspect: str, resource: str, things: Mapping[str, _Thing | None]) -> Iterator[Row]:
    present = {region: thing for region, thing in things.items() if thing is not None}
    stamps = {region: thing.modified for region, thing in present.items() if thing.modified}
    ahead = max(stamps, key=lambda region: stamps[region]) if len(set(stamps.values())) > 1 else ""
    if len(present) < len(things):
        shown = {region: ABSENT if thing is None else "present" for region, thing in things.items()}
        yield Row(aspect, resource, False, shown, ahead)
        return
    literal = {thing.literal for thing in present.values()}
    if len(literal) == 1 and "" not in literal:
        yield Row(aspect, resource, True, dict.fromkeys(present, literal.pop()), "")
        return
    flat = {region: dict(_flatten("", thing.fields)) for region, thing in present.items()}
    paths = sorted({path for fields in flat.values() for path in fields})
    differing = [path for path in paths if len({fields.get(path, ABSENT) for fields in flat.values()}) > 1]
    if not differing:
        yield Row(aspect, resource, True, {region: _digest(thing.fields) for region, thing in present.items()}, "")
    for path in differing:
        values = {region: _short(fields.get(path, ABSENT)) for region, fields in flat.items()}
        yield Row(aspect, f"{resource} {path}".rstrip(), False, values, ahead)


def _flatten(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Leaves by path; an empty map or list is a leaf, because it is not the same as an absent one."""
    if isinstance(value, dict) and value:
        for name in value:
            yield from _flatten(f"{path}.{name}" if path else str(name), value[name])
    elif isinstance(value, list) and value:
        for index, member in enumerate(value):
            yield from _flatten(f"{path}[{index}]", member)
    else:
        yield path, json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return f"{sha256(text.encode()).hexdigest()[:12]}"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({sha256(text.encode()).hexdigest()[:8]})"


# --- normalising -------------------------------------------------------------------------------------------------


class Normaliser:
    """Replaces what must differ between regions by a placeholder; everything else stays as it is."""

    def __init__(self, region: str, account: str, identifiers: Mapping[str, str], regions: Sequence[str] = ()) -> None:
        """``identifiers`` are values of this region (an API's id, a bucket's name) and their placeholders.

        ``regions`` are all of the stage: where they are named together, in order, they are the same everywhere.
        """
        self._regions = list(regions)
        self._together = ",".join(regions) if len(self._regions) > 1 else ""
        names = sorted(identifiers, key=len, reverse=True)
        self._exact = [(name, identifiers[name]) for name in names if name]
        self._patterns = [
            # serverless/<service>/<stage>/<epoch ms>-<time>/<artifact>.zip
            (re.compile(r"\b\d{13}-\d{4}-\d\d-\d\dT[\d:.]+Z"), "<deployment>"),
            (re.compile(r"serverlessdeploymentbucket-[a-z0-9]+"), "serverlessdeploymentbucket-<id>"),
            # The framework names a published version after the hash of its code, which is compared by itself.
            (re.compile(r"(LambdaVersion)[A-Za-z0-9+/=]{16,}"), r"\1<hash>"),
            (re.compile(rf"\b{re.escape(region)}(?=\b|[a-f]\b)"), "<region>"),
        ]
        if account:
            self._patterns.append((re.compile(rf"\b{re.escape(account)}\b"), "<account>"))

    def text(self, text: str) -> str:
        if self._together:
            text = text.replace(self._together, "<regions>")
        for value, placeholder in self._exact:
            text = text.replace(value, placeholder)
        for pattern, placeholder in self._patterns:
            text = pattern.sub(placeholder, text)
        return text

    def value(self, value: Any) -> Any:
        """The same for texts anywhere inside maps and lists, names included; JSON in a text is taken apart."""
        if isinstance(value, dict):
            return {self.text(str(name)): self.value(content) for name, content in value.items()}
        if isinstance(value, list | tuple):
            return "<regions>" if list(value) == self._regions else [self.value(member) for member in value]
        return self._parsed(value) if isinstance(value, str) else value

    def _parsed(self, text: str) -> Any:
        if text[:1] in ("{", "["):
            try:
                return self.value(json.loads(text))
            except ValueError:
                return self.text(text)
        return self.text(text)


# --- reading one region ------------------------------------------------------------------------------------------


def snapshot(cloud: Cloud, region: str) -> Snapshot:
    """Everything of the regional stack in one region, normalised."""
    stack = cloud.stage.stack
    try:
        described = cloud.client("cloudformation", region).describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        # The other regions' resources then stand against nothing, each in a row of its own.
        return {"stack": {}}
    resources = _resources(cloud, region)
    identifiers = _identifiers(resources) | _configured(cloud.stage, region) | _neighbours(cloud, region)
    normal = Normaliser(region, cloud.account, identifiers, cloud.stage.regions)
    modified = _time(described.get("LastUpdatedTime") or described.get("CreationTime"))
    read = _Reader(cloud, region, normal, resources)
    return {
        "stack": {stack: _Thing({"status": _settled(described["StackStatus"])}, modified)},
        "template": read.template(modified),
        "function code": read.code(),
        "function configuration": read.functions(),
        "event source mapping": read.mappings(),
        "queue": read.queues(),
        "rule": read.rules(),
        "API": read.apis(),
        "archive": read.archives(),
    }


def _settled(status: str) -> str:
    # One region created a minute ago and another updated ten times are in the same state: deployed.
    return "deployed" if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE") else status


def _resources(cloud: Cloud, region: str) -> dict[str, list[tuple[str, str]]]:
    """Type -> [(logical id, physical id)] of the stack."""
    found: dict[str, list[tuple[str, str]]] = {}
    pages = cloud.client("cloudformation", region).get_paginator("list_stack_resources")
    for page in pages.paginate(StackName=cloud.stage.stack):
        for resource in page["StackResourceSummaries"]:
            entry = (resource["LogicalResourceId"], resource.get("PhysicalResourceId", ""))
            found.setdefault(resource["ResourceType"], []).append(entry)
    return found


def _identifiers(resources: dict[str, list[tuple[str, str]]]) -> dict[str, str]:
    """Generated names that differ by region: those that a person did not choose."""
    generated = (
        "AWS::ApiGatewayV2::",
        "AWS::S3::Bucket",
        "AWS::IAM::Role",
        "AWS::Cognito::",
        "AWS::EC2::",
        "AWS::KMS::",
    )
    return {
        physical: f"<{logical}>"
        for kind, entries in resources.items()
        if kind.startswith(generated)
        for logical, physical in entries
        # A short identifier might occur inside other text.
        if len(physical) >= 7 and not physical.startswith("$")
    }


def _configured(stage: Stage, region: str) -> dict[str, str]:
    """What the stage file says with a region in it: one issuer for all regions, and a certificate for each."""
    certificates = {stage.domain.certificates[region]: "<certificate>"} if stage.domain else {}
    return {stage.access.issuer: "<issuer>"} | certificates


def _neighbours(cloud: Cloud, region: str) -> dict[str, str]:
    """What a region says of the next one in the ring of journals; another region there is a difference."""
    following = cloud.stage.journal_region(region)
    if following is None:
        return {}
    return {bus_arn(cloud.account, following, cloud.stage.journal_bus): "<journal bus of the next region>"}


def _time(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return str(value or "")


class _Reader:
    """Reads the parts of one region's stack."""

    def __init__(
        self, cloud: Cloud, region: str, normal: Normaliser, resources: dict[str, list[tuple[str, str]]]
    ) -> None:
        self.cloud = cloud
        self.region = region
        self.normal = normal
        self.resources = resources

    def physical(self, kind: str) -> list[str]:
        return [physical for _, physical in self.resources.get(kind, [])]

    def pick(self, found: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
        return {name: self.normal.value(found[name]) for name in names if found.get(name) is not None}

    def template(self, modified: str) -> dict[str, _Thing]:
        """The template by resource; its other sections as one thing each."""
        answer = self.cloud.client("cloudformation", self.region).get_template(StackName=self.cloud.stage.stack)
        body: Any = answer["TemplateBody"]
        template = json.loads(body) if isinstance(body, str) else json.loads(json.dumps(body, default=str))
        found = {}
        for logical, resource in template.pop("Resources", {}).items():
            # The code has an aspect of its own, by content.
            properties = resource.get("Properties", {})
            if resource.get("Type") == "AWS::Lambda::Version":
                properties.pop("CodeSha256", None)
            found[self.normal.text(logical)] = self._described(resource, modified)
        for section, content in template.items():
            # A mapping is keyed by region: it must name the same ones everywhere.
            same = _Thing(content, modified) if section == "Mappings" else self._described(content, modified)
            found[f"[{section}]"] = same
        return found

    def _described(self, content: Any, modified: str) -> _Thing:
        return _Thing(self.normal.value(content), modified, _digest(content))

    def code(self) -> dict[str, _Thing]:
        return {
            name: _Thing(
                {"sha256": found.get("CodeSha256"), "size_bytes": found.get("CodeSize")}, found["LastModified"]
            )
            for name, found in self._functions().items()
        }

    def functions(self) -> dict[str, _Thing]:
        return {
            name: _Thing(self.pick(found, _FUNCTION_FIELDS) | self._concurrency(name), found["LastModified"])
            for name, found in self._functions().items()
        }

    def _functions(self) -> dict[str, Any]:
        names = self.physical("AWS::Lambda::Function")
        return each(names, self._function, workers=4)

    def _function(self, name: str) -> dict[str, Any]:
        client: Any = self.cloud.client("lambda", self.region)
        found: dict[str, Any] = client.get_function_configuration(FunctionName=name)
        # Lambda puts the reason where the environment would be, the same in every region: equal, and unread.
        if error := found.get("Environment", {}).get("Error"):
            raise OpsError(
                f"{self.region}: the environment of {name} cannot be read: {error['ErrorCode']}: {error['Message']}",
                hint=f"What the comparison needs to be allowed: ops policy parity --stage {self.cloud.stage.stage}",
            )
        # The one layer is AWS's own (FIS's extension): it has another account and version in each region.
        return found | {"Layers": [_layer(layer["Arn"]) for layer in found.get("Layers", [])]}

    def _concurrency(self, name: str) -> dict[str, Any]:
        found = self.cloud.client("lambda", self.region).get_function_concurrency(FunctionName=name)
        return {"ReservedConcurrency": found.get("ReservedConcurrentExecutions")}

    def mappings(self) -> dict[str, _Thing]:
        client: Any = self.cloud.client("lambda", self.region)
        found = {}
        for identifier in self.physical("AWS::Lambda::EventSourceMapping"):
            mapping = client.get_event_source_mapping(UUID=identifier)
            fields = self.pick(mapping, _MAPPING_FIELDS)
            source, function = (str(mapping.get(n, "")).rpartition(":")[2] for n in ("EventSourceArn", "FunctionArn"))
            found[f"{source} to {function}"] = _Thing(fields, _time(mapping.get("LastModified")))
        return found

    def queues(self) -> dict[str, _Thing]:
        client: Any = self.cloud.client("sqs", self.region)
        found = {}
        for url in self.physical("AWS::SQS::Queue"):
            attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            fields = {name: value for name, value in attributes.items() if not _QUEUE_SKIPPED.match(name)}
            stamp = attributes.get("LastModifiedTimestamp", "")
            modified = _time(datetime.fromtimestamp(int(stamp), UTC)) if stamp else ""
            found[url.rpartition("/")[2]] = _Thing(self.normal.value(fields), modified)
        return found

    def rules(self) -> dict[str, _Thing]:
        client: Any = self.cloud.client("events", self.region)
        # A physical id is "<bus>|<rule>" for a rule on a bus of its own.
        names = {name.rpartition("|")[2].rpartition("/")[2] for name in self.physical("AWS::Events::Rule")}
        found = {}
        for bus in (self.cloud.stage.bus, self.cloud.stage.journal_bus):
            for page in client.get_paginator("list_rules").paginate(EventBusName=bus):
                for rule in page["Rules"]:
                    if rule["Name"] not in names:
                        continue
                    targets = client.list_targets_by_rule(Rule=rule["Name"], EventBusName=bus)["Targets"]
                    fields = self.pick(rule, ("EventPattern", "ScheduleExpression", "State", "Description"))
                    ordered = sorted(targets, key=lambda target: str(target["Id"]))
                    found[rule["Name"]] = _Thing(fields | {"Targets": self.normal.value(ordered)})
        return found

    def apis(self) -> dict[str, _Thing]:
        client: Any = self.cloud.client("apigatewayv2", self.region)
        found = {}
        for identifier in self.physical("AWS::ApiGatewayV2::Api"):
            api = client.get_api(ApiId=identifier)
            name = api["Name"]
            fields = self.pick(api, ("ProtocolType", "CorsConfiguration", "DisableExecuteApiEndpoint"))
            found[name] = _Thing(fields)
            integrations = {
                i["IntegrationId"]: self.pick(i, _INTEGRATION_FIELDS)
                for page in client.get_paginator("get_integrations").paginate(ApiId=identifier)
                for i in page["Items"]
            }
            for page in client.get_paginator("get_routes").paginate(ApiId=identifier):
                for route in page["Items"]:
                    target = integrations.get(str(route.get("Target", "")).rpartition("/")[2])
                    described = self.pick(route, _ROUTE_FIELDS) | {"Integration": target}
                    found[f"{name} {route['RouteKey']}"] = _Thing(described)
            for page in client.get_paginator("get_stages").paginate(ApiId=identifier):
                for stage in page["Items"]:
                    fields = self.pick(stage, ("AutoDeploy", "DefaultRouteSettings", "RouteSettings", "StageVariables"))
                    found[f"{name} stage {stage['StageName']}"] = _Thing(fields, _time(stage.get("LastUpdatedDate")))
        return found

    def archives(self) -> dict[str, _Thing]:
        client: Any = self.cloud.client("events", self.region)
        found = {}
        for bus in (self.cloud.stage.bus, self.cloud.stage.journal_bus):
            source = bus_arn(self.cloud.account, self.region, bus)
            for summary in client.list_archives(EventSourceArn=source)["Archives"]:
                archive = client.describe_archive(ArchiveName=summary["ArchiveName"])
                found[summary["ArchiveName"]] = _Thing(self.pick(archive, ("EventPattern", "RetentionDays", "State")))
        return found


def _layer(arn: str) -> str:
    """The name of a layer: of ``arn:aws:lambda:<region>:<account>:layer:<name>:<version>``."""
    return arn.split(":")[6]
