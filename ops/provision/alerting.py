"""Plan and write the platform's topic and alarms; ``alarms`` says what they are."""

from __future__ import annotations

import json
from typing import Any

from ops.aws import Cloud
from ops.errors import OpsError
from ops.plan import Step
from ops.provision.alarms import (
    DIMENSION,
    METRIC,
    METRICS_REGION,
    NAMESPACE,
    desired_alarms,
    desired_topic,
    find_alarms,
    find_topic,
    topic_arn,
    topic_name,
)
from ops.provision.healthchecks import current_checks, desired_checks, find_health_checks, names_of
from ops.provision.steps import step_for
from ops.provision.waiting import Waits
from ops.provision.world import World, find_domains
from ops.stage import Stage


def alarm_steps(stage: Stage, world: World) -> list[Step]:
    """The topic, what looks at health checks, the composite over it, and what is not wanted any more, in this order."""
    domains = {region: state.domain for region, state in world.regions.items() if state.domain}
    if len(domains) < len(stage.regions):
        return []  # refused already: the checks that alarms look at cannot be made
    topic = {"policy": world.topic.policy} if world.topic else None
    wanted_topic = desired_topic(stage, world.account)
    steps = [
        step_for(f"topic {topic_name(stage)}", METRICS_REGION, topic, wanted_topic, "alarms of this stage publish")
    ]
    names = names_of(stage, current_checks(world.health_checks, desired_checks(stage, domains)))
    wanted = desired_alarms(stage, world.account)
    for name, spec in wanted.items():
        found = world.alarms.get(name)
        before = _named(found.spec, names) if found else None
        detail = f"watches health check {spec['health_check']}" if "health_check" in spec else spec["rule"]
        steps.append(step_for(f"alarm {name}", METRICS_REGION, before, spec, detail))
    return steps + [
        Step(action="delete", resource=f"alarm {name}", region=METRICS_REGION, before=world.alarms[name].spec)
        for name in sorted(world.alarms.keys() - wanted.keys())
    ]


def _named(spec: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    if "health_check" not in spec:
        return spec
    return spec | {"health_check": names.get(spec["health_check"], spec["health_check"])}


def write_topic(cloud: Cloud, step: Step, waits: Waits) -> str:
    wanted, found = desired_topic(cloud.stage, cloud.account), find_topic(cloud)
    if found is not None and found.policy == wanted["policy"]:
        return "already so"
    sns: Any = cloud.client("sns", METRICS_REGION)
    if found is None:
        sns.create_topic(Name=topic_name(cloud.stage), Attributes={"Policy": json.dumps(wanted["policy"])})
        return "created"
    sns.set_topic_attributes(TopicArn=found.arn, AttributeName="Policy", AttributeValue=json.dumps(wanted["policy"]))
    return "changed"


def delete_topic(cloud: Cloud, step: Step, waits: Waits) -> str:
    if find_topic(cloud) is None:
        return "already so"
    cloud.client("sns", METRICS_REGION).delete_topic(TopicArn=topic_arn(cloud.stage, cloud.account))
    return "deleted"


def write_alarm(cloud: Cloud, step: Step, waits: Waits) -> str:
    name = step.resource.partition(" ")[2]
    if step.action == "delete":
        return delete_alarm(cloud, step, waits)
    found, wanted = find_alarms(cloud).get(name), desired_alarms(cloud.stage, cloud.account)[name]
    cloudwatch: Any = cloud.client("cloudwatch", METRICS_REGION)
    common = {
        "AlarmName": name,
        "AlarmDescription": wanted["description"],
        "ActionsEnabled": True,
        "AlarmActions": wanted["actions"],
        "OKActions": wanted["actions"],
    }
    if "rule" in wanted:
        if found is not None and found.spec == wanted:
            return "already so"
        cloudwatch.put_composite_alarm(AlarmRule=wanted["rule"], **common)
        return "changed" if found else "created"
    check = _watched(cloud, wanted["health_check"])
    if found is not None and found.spec == wanted | {"health_check": check}:
        return "already so"
    cloudwatch.put_metric_alarm(
        Namespace=NAMESPACE,
        MetricName=METRIC,
        Dimensions=[{"Name": DIMENSION, "Value": check}],
        Statistic=wanted["statistic"],
        Period=wanted["period_s"],
        EvaluationPeriods=wanted["periods"],
        ComparisonOperator=wanted["comparison"],
        Threshold=wanted["threshold"],
        TreatMissingData=wanted["without_data"],
        **common,
    )
    return "changed" if found else "created"


def _watched(cloud: Cloud, name: str) -> str:
    """The id of the check of this name, which the steps before have made or kept."""
    current = current_checks(find_health_checks(cloud), desired_checks(cloud.stage, find_domains(cloud)))
    ids = {known: identifier for identifier, known in names_of(cloud.stage, current).items()}
    if name not in ids:
        raise OpsError(f"health check {name}: it has gone since the plan")
    return ids[name]


def delete_alarm(cloud: Cloud, step: Step, waits: Waits) -> str:
    """Delete one alarm: a composite by itself, as CloudWatch wants it."""
    name = step.resource.partition(" ")[2]
    if name not in find_alarms(cloud):
        return "already so"
    cloud.client("cloudwatch", METRICS_REGION).delete_alarms(AlarmNames=[name])
    return "deleted"
