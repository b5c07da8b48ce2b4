"""Grants of ``replay`` and ``redrive``."""

from __future__ import annotations

from collections.abc import Iterator

from ops.bucket import KEYS_HEARD, QUARANTINE
from ops.policies.grant import NO_RESOURCE, Grant, Names
from ops.policies.shared import keys, reading_items
from ops.provision.desired import INDEXES


def replay(names: Names) -> Iterator[Grant]:
    indexes = names.everywhere("dynamodb", *(f"{names.table}/index/{index}" for index in INDEXES))
    yield Grant("Preview", ("dynamodb:Scan",), indexes)
    yield from reading_items(names)
    reads = ("events:ListReplays", "events:TestEventPattern", "sqs:ListQueues")
    yield Grant("ReplayPreview", reads, ("*",), NO_RESOURCE)
    # Of a queue that receives, a dry run reads whether a selection's temporary rules may send to it.
    depths = ("sqs:GetQueueUrl", "sqs:GetQueueAttributes")
    receiving = (*map(names.stage.queue, names.stage.processor_names), *names.besides.queues)
    yield Grant("Queues", depths, names.everywhere("sqs", *receiving))
    yield Grant("DlqDepths", depths, names.everywhere("sqs", *names.stage.dlqs), changes=True)
    yield from _replay_changes(names)


def _replay_changes(names: Names) -> Iterator[Grant]:
    stage, own = names.stage, f"{names.stage.prefix}-replay-*"
    replays = names.everywhere("events", f"replay/{stage.prefix}-*")
    why = "a replay's name has its plan's token in it"
    buses = names.everywhere("events", *(f"event-bus/{bus}" for bus in names.buses))
    started = (*names.archives, *buses, *replays)
    yield Grant("StartReplay", ("events:StartReplay",), started, why, changes=True)
    yield Grant("CancelReplay", ("events:CancelReplay",), replays, why, changes=True)
    yield Grant("Proof", ("dynamodb:Scan",), names.everywhere("dynamodb", names.table), changes=True)
    # What is missing afterwards is looked for where messages end that nobody could take.
    dlqs = names.everywhere("sqs", *stage.dlqs, *names.besides.queues)
    yield Grant("DeadKeys", ("sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"), dlqs, changes=True)
    temporary = "what is there for as long as a replay runs has the plan's token in its name"
    rules = names.everywhere("events", *(f"rule/{bus}/{own}" for bus in names.buses))
    actions = ("PutRule", "PutTargets", "RemoveTargets", "DeleteRule")
    yield Grant("TemporaryRules", tuple(f"events:{one}" for one in actions), rules, temporary, changes=True)
    actions = ("CreateQueue", "ReceiveMessage", "DeleteMessage", "DeleteQueue")
    queues = names.everywhere("sqs", own)
    yield Grant("Tap", tuple(f"sqs:{one}" for one in actions), queues, temporary, changes=True)
    heard = names.kept(f"{KEYS_HEARD}/*")
    why = "the keys of a slice are kept under its plan's token"
    yield Grant("KeysHeard", ("s3:GetObject", "s3:PutObject"), heard, why, changes=True)


def redrive(names: Names) -> Iterator[Grant]:
    """Who feeds the DLQs, what is in them, and whether what failed would take it now."""
    stage = names.stage
    yield Grant("Buses", ("events:DescribeEventBus",), names.everywhere("events", *_of_buses(names)))
    functions = names.everywhere("lambda", *(f"function:{stage.function(one)}" for one in stage.function_names))
    actions = ("lambda:GetFunctionConfiguration", "lambda:ListFunctionEventInvokeConfigs")
    yield Grant("FailureDestinations", actions, functions)
    yield Grant("Mappings", ("lambda:ListEventSourceMappings",), ("*",), NO_RESOURCE)
    yield Grant("Queues", ("sqs:ListQueues",), ("*",), NO_RESOURCE)
    why = "every queue of the stage is asked which DLQ it has"
    asked = ("sqs:GetQueueUrl", "sqs:GetQueueAttributes")
    yield Grant("RedrivePolicies", asked, names.everywhere("sqs", f"{stage.prefix}-*", *names.besides.queues), why)
    dlqs = names.everywhere("sqs", *stage.dlqs, *names.besides.queues)
    yield Grant("LookIntoDlqs", ("sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"), dlqs)
    yield from keys(names, "MessagesKey", ("kms:Decrypt",), behind="sqs:ReceiveMessage")
    why = "a message's key is its queue, its day and its id"
    yield Grant("Quarantined", ("s3:GetObject",), names.kept(f"{QUARANTINE}/*"), why)
    if names.besides.queues:
        yield from _redrive_discovery(names)
    yield from _redrive_changes(names)


def _redrive_discovery(names: Names) -> Iterator[Grant]:
    """Of a queue that is not the stage's: which bus, rule, function or queue sends its failures there."""
    yield Grant("AnyBusAndFunction", ("events:ListEventBuses", "lambda:ListFunctions"), ("*",), NO_RESOURCE)
    why = "each in the region is asked whether the queue is its DLQ"
    buses = names.everywhere("events", "event-bus/*")
    yield Grant("AnyBus", ("events:DescribeEventBus",), buses, why)
    rules = names.everywhere("events", "rule/*")
    yield Grant("AnyRule", ("events:ListTargetsByRule",), rules, why)
    actions = ("lambda:GetFunctionConfiguration", "lambda:ListFunctionEventInvokeConfigs")
    yield Grant("AnyFunction", actions, names.everywhere("lambda", "function:*"), why)
    queues = names.everywhere("sqs", *names.besides.queues)
    yield Grant("Sources", ("sqs:ListDeadLetterSourceQueues",), queues)


def _redrive_changes(names: Names) -> Iterator[Grant]:
    """Each message to what failed with it, off its DLQ, and the proof."""
    stage = names.stage
    dlqs = names.everywhere("sqs", *stage.dlqs, *names.besides.queues)
    yield Grant("EmptyDlqs", ("sqs:DeleteMessage",), dlqs, changes=True)
    queues = names.everywhere("sqs", *map(stage.queue, stage.processor_names), *names.besides.queues)
    yield Grant("ToQueues", ("sqs:SendMessage",), queues, changes=True)
    using = ("kms:Decrypt", "kms:GenerateDataKey")
    yield from keys(names, "SendKey", using, behind="sqs:SendMessage", changes=True)
    functions = names.everywhere("lambda", *(f"function:{stage.function(one)}" for one in stage.function_names))
    yield Grant("ToFunctions", ("lambda:InvokeFunction",), functions, changes=True)
    yield Grant("ToBuses", ("events:PutEvents",), names.everywhere("events", *_of_buses(names)), changes=True)
    tasks = ("sqs:StartMessageMoveTask", "sqs:ListMessageMoveTasks", "sqs:CancelMessageMoveTask")
    moved = names.everywhere("sqs", *map(stage.dlq, stage.processor_names), *names.besides.queues)
    yield Grant("MoveTasks", tasks, moved, changes=True)
    table = names.everywhere("dynamodb", names.table)
    yield Grant("Proof", ("dynamodb:BatchGetItem", "dynamodb:Query"), table, changes=True)
    yield from keys(names, "TableKey", ("kms:Decrypt",), behind="dynamodb:BatchGetItem", changes=True)


def _of_buses(names: Names) -> list[str]:
    return [f"event-bus/{bus}" for bus in names.buses]
