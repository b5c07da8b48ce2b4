"""Provisioned capacity that follows use: a scalable target with a target-tracking policy for reads and for writes, of
the table and of each of its indexes, in each region.

DynamoDB takes a global table with provisioned capacity only where autoscaling moves its writes, with the same limits
in every replica; reads are each replica's own.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_HowItWorks.html
https://docs.aws.amazon.com/autoscaling/application/userguide/services-that-can-integrate-dynamodb.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.prices import HOURS_PER_MONTH, READ_CAPACITY_USD_PER_HOUR, WRITE_CAPACITY_USD_PER_HOUR
from ops.provision.desired import INDEXES
from ops.stage import Stage

NAMESPACE = "dynamodb"
KINDS = {"read": "Read", "write": "Write"}

Settings = dict[str, dict[str, Any]]  # "table read", "index by_time write", ... -> what it is set to


@dataclass(frozen=True)
class Target:
    """One scalable target. ``policy`` is the configuration of its target tracking, and ``name`` the policy's."""

    low: int
    high: int
    suspended: bool
    name: str | None
    policy: dict[str, Any]

    def settings(self) -> dict[str, Any]:
        moves = not self.suspended and not self.policy.get("DisableScaleIn", False)
        percent = self.policy.get("TargetValue")
        return {
            "min": self.low,
            "max": self.high,
            "target_percent": None if percent is None else round(percent),
            "moves": moves and self.name is not None,
        }


def desired_scaling(stage: Stage, region: str) -> Settings | None:
    """As :func:`find_scaling` tells of what is there; None where the table is on demand."""
    capacity = stage.table.capacity
    if capacity is None:
        return None
    wanted = {"read": capacity.read_of(region), "write": capacity.write}
    return {
        f"{part} {kind}": {
            "min": wanted[kind].min,
            "max": wanted[kind].max,
            "target_percent": wanted[kind].target_percent,
            "moves": True,
        }
        for part in _parts(stage)
        for kind in KINDS
    }


def find_scaling(cloud: Cloud, region: str) -> Settings | None:
    """The capacity that is autoscaled; None where none is, or where the stage's cloud knows no autoscaling."""
    if not cloud.stage.table.autoscaling:
        return None
    return {part: target.settings() for part, target in _find(cloud, region).items()} or None


def write_scaling(cloud: Cloud, region: str) -> bool:
    """Bring the targets and policies of a region to the stage file; whether anything had to be written."""
    wanted, found = desired_scaling(cloud.stage, region) or {}, _find(cloud, region)
    client, changed = cloud.client("application-autoscaling", region), False
    for part, settings in wanted.items():
        held = found.get(part)
        if held is not None and held.settings() == settings:
            continue
        changed = True
        address = _address(cloud.stage, part)
        if held is None or held.suspended or (held.low, held.high) != (settings["min"], settings["max"]):
            client.register_scalable_target(
                **address,
                MinCapacity=settings["min"],
                MaxCapacity=settings["max"],
                SuspendedState={
                    "DynamicScalingInSuspended": False,
                    "DynamicScalingOutSuspended": False,
                    "ScheduledScalingSuspended": False,
                },
            )
        # A policy made by hand is taken over, name and pauses too: two that track one metric are refused.
        policy = held.policy if held else {}
        metric = f"DynamoDB{KINDS[part.split()[-1]]}CapacityUtilization"
        client.put_scaling_policy(
            PolicyName=(held.name if held else None) or f"{cloud.stage.prefix} {part}",
            **address,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=policy
            | {
                "TargetValue": float(settings["target_percent"]),
                "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
                "DisableScaleIn": False,
            },
        )
    return changed


def remove_scaling(cloud: Cloud, region: str) -> bool:
    """Take the targets away, and with each its policies; whether there were any."""
    found = _find(cloud, region)
    for part in found:
        try:
            cloud.client("application-autoscaling", region).deregister_scalable_target(**_address(cloud.stage, part))
        except ClientError as error:
            # DynamoDB takes those of a global table away itself when it becomes on demand.
            if error_code(error) != "ObjectNotFoundException":
                raise
    return bool(found)


def usd_per_month(settings: Settings | None) -> float:
    """What the capacity costs at its least."""
    hourly = {"read": READ_CAPACITY_USD_PER_HOUR, "write": WRITE_CAPACITY_USD_PER_HOUR}
    units = {part: int(target["min"]) for part, target in (settings or {}).items()}
    return sum(HOURS_PER_MONTH * hourly[part.split()[-1]] * least for part, least in units.items())


def first_capacity(stage: Stage) -> dict[str, int]:
    """What the table and each index begin with until autoscaling moves it: enough for every region."""
    capacity = stage.table.capacity
    if capacity is None:
        raise ValueError(f"stage {stage.stage}: its table is on demand")
    reads = max(capacity.read_of(region).first for region in stage.regions)
    return {"ReadCapacityUnits": reads, "WriteCapacityUnits": capacity.write.first}


def _parts(stage: Stage) -> Iterator[str]:
    yield "table"
    yield from (f"index {index}" for index in INDEXES)


def _address(stage: Stage, part: str) -> dict[str, str]:
    """What Application Auto Scaling calls ``table read`` or ``index by_time write``."""
    what, *index, kind = part.split()
    resource = f"table/{stage.table_name}" + (f"/index/{index[0]}" if index else "")
    dimension = f"{NAMESPACE}:{what}:{KINDS[kind]}CapacityUnits"
    return {"ServiceNamespace": NAMESPACE, "ResourceId": resource, "ScalableDimension": dimension}


def _find(cloud: Cloud, region: str) -> dict[str, Target]:
    client, stage = cloud.client("application-autoscaling", region), cloud.stage
    known = {
        (address["ResourceId"], address["ScalableDimension"]): part
        for part in (f"{part} {kind}" for part in _parts(stage) for kind in KINDS)
        for address in [_address(stage, part)]
    }
    resources = sorted({resource for resource, _ in known})
    found, policies = {}, {}
    pages = client.get_paginator("describe_scalable_targets").paginate(
        ServiceNamespace=NAMESPACE, ResourceIds=resources
    )
    targets = [target for page in pages for target in page["ScalableTargets"]]
    for resource in sorted({target["ResourceId"] for target in targets}):
        pages = client.get_paginator("describe_scaling_policies").paginate(
            ServiceNamespace=NAMESPACE, ResourceId=resource
        )
        for policy in (policy for page in pages for policy in page["ScalingPolicies"]):
            if policy["PolicyType"] == "TargetTrackingScaling":
                policies[resource, policy["ScalableDimension"]] = policy
    for target in targets:
        key = (target["ResourceId"], target["ScalableDimension"])
        if key not in known:
            continue
        policy = policies.get(key, {})
        state = target.get("SuspendedState", {})
        found[known[key]] = Target(
            low=target["MinCapacity"],
            high=target["MaxCapacity"],
            suspended=any(state.get(f"DynamicScaling{way}Suspended", False) for way in ("In", "Out")),
            name=policy.get("PolicyName"),
            policy=policy.get("TargetTrackingScalingPolicyConfiguration", {}),
        )
    return found
