"""Grants of ``failover`` and of what starts and ends drills."""

from __future__ import annotations

from collections.abc import Iterator

from ops.policies.grant import GENERATED, Grant, Names
from ops.policies.looking import drills
from ops.policies.shared import alarms


def starting_drills(names: Names) -> Iterator[Grant]:
    """What starts a drill, for whoever may also end it (:func:`experiments`)."""
    templates, running = names.everywhere("fis", "experiment-template/*"), names.everywhere("fis", "experiment/*")
    stage = {"StringEquals": {"aws:RequestTag/atoll:stage": [names.stage.stage]}}
    made = f"an experiment's or template's id: {GENERATED}"
    actions = names.everywhere("fis", "action/*")
    yield Grant(
        "ActionsOfFis", ("fis:CreateExperimentTemplate",), actions, "the role limits what it does", changes=True
    )
    yield Grant("DrillTemplate", ("fis:CreateExperimentTemplate",), templates, made, changes=True, condition=stage)
    yield Grant("StartDrill", ("fis:StartExperiment",), (*templates, *running), made, changes=True)
    yield Grant(
        "TagDrill",
        ("fis:TagResource",),
        (*templates, *running),
        made,
        behind="fis:CreateExperimentTemplate",
        changes=True,
    )
    roles = tuple(f"arn:aws:iam::{names.account}:role/{names.stage.prefix}-drill-{one}" for one in names.stage.regions)
    yield Grant(
        "DrillRole",
        ("iam:PassRole",),
        roles,
        behind="fis:CreateExperimentTemplate",
        changes=True,
        condition={"StringEquals": {"iam:PassedToService": ["fis.amazonaws.com"]}},
    )
    # FIS's own role, which watches the alarms that stop a drill: made with the account's first experiment.
    # https://docs.aws.amazon.com/fis/latest/userguide/using-service-linked-roles.html
    service = "fis.amazonaws.com"
    yield Grant(
        "FirstExperiment",
        ("iam:CreateServiceLinkedRole",),
        (f"arn:aws:iam::{names.account}:role/aws-service-role/{service}/AWSServiceRoleForFIS",),
        behind="fis:StartExperiment",
        changes=True,
        condition={"StringEquals": {"iam:AWSServiceName": [service]}},
    )


def experiments(names: Names) -> Iterator[Grant]:
    """What drills run, and their end (`ops drill`)."""
    yield from drills(names)
    running = names.everywhere("fis", "experiment/*")
    ours = {"StringEquals": {"aws:ResourceTag/atoll:stage": [names.stage.stage]}}
    why = f"an experiment's id: {GENERATED}; the condition names the stage by its tag"
    yield Grant("StopExperiment", ("fis:StopExperiment",), running, why, changes=True, condition=ours)
    templates = names.everywhere("fis", "experiment-template/*")
    yield Grant("ForgetTemplate", ("fis:DeleteExperimentTemplate",), templates, why, changes=True, condition=ours)


def failover(names: Names) -> Iterator[Grant]:
    """What leaves a region, comes back and drills: the flag, what is looked at before, and what proves it after."""
    table = names.everywhere("dynamodb", names.table)
    yield Grant("ReadFlag", ("dynamodb:GetItem",), table)
    yield from alarms(names)
    yield Grant("WriteFlag", ("dynamodb:PutItem", "dynamodb:DeleteItem"), table, changes=True)
    index = names.everywhere("dynamodb", f"{names.table}/index/by_time")
    yield Grant("FindEvents", ("dynamodb:Query",), index, changes=True)
    yield Grant("FindCounts", ("dynamodb:Query",), table, changes=True)
