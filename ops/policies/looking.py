"""Grants of what only looks at the platform: ``parity``, and the commands ``status`` and ``edge``."""

from __future__ import annotations

from collections.abc import Iterator

from ops.failover.flag import PK as EVACUATIONS
from ops.policies.grant import CHECKS, GENERATED, NO_RESOURCE, Grant, Names
from ops.policies.shared import keys


def parity(names: Names) -> Iterator[Grant]:
    stage, stacks = names.stage, names.everywhere("cloudformation", f"stack/{names.stage.stack}/*")
    actions = ("cloudformation:ListStackResources", "cloudformation:GetTemplate")
    yield Grant("StackContents", actions, stacks, f"a stack's id: {GENERATED}")
    functions = names.everywhere("lambda", *(f"function:{stage.function(one)}" for one in stage.stack_functions))
    yield Grant("Functions", ("lambda:GetFunctionConfiguration", "lambda:GetFunctionConcurrency"), functions)
    mappings = names.everywhere("lambda", "event-source-mapping:*")
    yield Grant("Mappings", ("lambda:GetEventSourceMapping",), mappings, f"a mapping's id: {GENERATED}")
    yield Grant("QueueSettings", ("sqs:GetQueueAttributes",), names.queues)
    # The API's routes, integrations and stages are below it. API Gateway's ARNs have no account.
    apis = tuple(f"arn:aws:apigateway:{region}::/apis/*" for region in stage.regions)
    yield Grant("Apis", ("apigateway:GET",), apis, f"an API's id: {GENERATED}")
    # Without it, Lambda answers with an error in the place of the environment, the same in every region.
    yield from keys(names, "EnvironmentKey", ("kms:Decrypt",), behind="lambda:GetFunctionConfiguration")


def happened(names: Names) -> Iterator[Grant]:
    """Deployments, replays and evacuations, which are marked on the axes of time; drills: :func:`experiments`."""
    stacks = names.everywhere("cloudformation", f"stack/{names.stage.stack}/*")
    yield Grant("StackEvents", ("cloudformation:DescribeStackEvents",), stacks, f"a stack's id: {GENERATED}")
    yield Grant("Replays", ("events:ListReplays",), ("*",), NO_RESOURCE)
    flags = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [EVACUATIONS]}}
    yield Grant("Evacuations", ("dynamodb:GetItem",), names.everywhere("dynamodb", names.table), condition=flags)


def drills(names: Names) -> Iterator[Grant]:
    """What drills run or ran."""
    yield Grant("Experiments", ("fis:ListExperiments",), ("*",), NO_RESOURCE)
    ours = {"StringEquals": {"aws:ResourceTag/atoll:stage": [names.stage.stage]}}
    why = f"an experiment's id: {GENERATED}; the condition names the stage by its tag"
    yield Grant("Experiment", ("fis:GetExperiment",), names.everywhere("fis", "experiment/*"), why, condition=ours)


def status(names: Names) -> Iterator[Grant]:
    buses = names.everywhere("events", f"event-bus/{names.stage.bus}")
    yield Grant("Buses", ("events:DescribeEventBus",), buses)
    # The journal's archive is asked for in a stage of one region too, where there is none.
    archives = names.everywhere("events", f"archive/{names.stage.archive_name}", f"archive/{names.stage.journal_bus}")
    yield Grant("Archives", ("events:DescribeArchive",), archives)


def edge(_: Names) -> Iterator[Grant]:
    yield Grant("Answers", ("route53:TestDNSAnswer",), ("*",), NO_RESOURCE)
    actions = ("route53:GetHealthCheck", "route53:GetHealthCheckStatus")
    yield Grant("Health", actions, CHECKS, f"a health check's id: {GENERATED}")
