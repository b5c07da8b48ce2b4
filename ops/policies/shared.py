"""Grants that several runbooks and commands share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ops.bucket import LEDGER, QUARANTINE
from ops.policies.grant import COMPOSITES, GENERATED, NO_RESOURCE, ZONES, Grant, Names, Part


def opening(_: Names) -> Iterator[Grant]:
    """Whose credentials these are: the first call of every command."""
    yield Grant("WhoseCredentials", ("sts:GetCallerIdentity",), ("*",), NO_RESOURCE)


def stack(names: Names) -> Iterator[Grant]:
    """The regional stack's status and outputs."""
    stacks = names.everywhere("cloudformation", f"stack/{names.stage.stack}/*")
    yield Grant("StackOutputs", ("cloudformation:DescribeStacks",), stacks, f"a stack's id: {GENERATED}")


def depths(names: Names) -> Iterator[Grant]:
    yield Grant("QueueDepths", ("sqs:GetQueueUrl", "sqs:GetQueueAttributes"), names.queues)


def archives(names: Names) -> Iterator[Grant]:
    yield Grant("Archives", ("events:DescribeArchive",), names.archives)


def archives_of_a_bus(_: Names) -> Iterator[Grant]:
    yield Grant("ArchivesOfABus", ("events:ListArchives",), ("*",), NO_RESOURCE)


def rules(names: Names) -> Iterator[Grant]:
    yield Grant("RulesOfABus", ("events:ListRules",), ("*",), NO_RESOURCE)
    rules = names.everywhere("events", *(f"rule/{bus}/*" for bus in names.buses))
    yield Grant("Targets", ("events:ListTargetsByRule",), rules, "every rule of the stage's buses is looked at")


def tables(names: Names) -> Iterator[Grant]:
    yield Grant("Replicas", ("dynamodb:DescribeTable",), names.tables)


def records(_: Names) -> Iterator[Grant]:
    yield Grant("Zones", ("route53:ListHostedZonesByName",), ("*",), NO_RESOURCE)
    yield Grant("Records", ("route53:ListResourceRecordSets",), ZONES, f"a zone's id: {GENERATED}")


def secret(names: Names) -> Iterator[Grant]:
    """The client that asks for tokens: in the home region, and in another that has its replica."""
    secrets = names.everywhere("secretsmanager", f"secret:{names.stage.access.client_secret}-??????")
    why = "Secrets Manager ends a secret's ARN in six characters of its own"
    yield Grant("Client", ("secretsmanager:GetSecretValue",), secrets, why)


def keys(
    names: Names, sid: str, actions: tuple[str, ...], *, behind: str = "", changes: bool = False
) -> Iterator[Grant]:
    """The stage's own keys, a statement a region; where others ask ``behind`` a call, only through their service."""
    if names.stage.key_alias is None:
        return
    own: dict[str, dict[str, list[str]]] = {
        "ForAnyValue:StringEquals": {"kms:ResourceAliases": [names.stage.key_alias]}
    }
    for number, region in enumerate(names.stage.regions, start=1):
        through = {"StringEquals": {"kms:ViaService": [f"{behind.partition(':')[0]}.{region}.amazonaws.com"]}}
        yield Grant(
            f"{sid}{number}",
            actions,
            names.at(region, "kms", "key/*"),
            f"a key's id: {GENERATED}; the condition names the key by its alias",
            behind=behind,
            changes=changes,
            condition=own | (through if behind else {}),
        )


def alarms(_: Names) -> Iterator[Grant]:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
    yield Grant("Alarms", ("cloudwatch:DescribeAlarms",), ("*",), COMPOSITES)


def metrics(_: Names) -> Iterator[Grant]:
    why = f"{NO_RESOURCE}: a dataset, which it may name, is none of these metrics"
    yield Grant("Metrics", ("cloudwatch:GetMetricData",), ("*",), why)


def reading_items(names: Names) -> Iterator[Grant]:
    """DynamoDB decrypts on behalf of who reads."""
    yield from keys(names, "TableKey", ("kms:Decrypt",), behind="dynamodb:Scan")


def ledger(runbook: str) -> Part:
    """The runbook's own entries in the ledger: read for a plan, written by an apply."""

    def part(names: Names) -> Iterator[Grant]:
        # Without it, an object that is not there is a denial and no absence.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        yield Grant("Ledgers", ("s3:ListBucket",), names.kept())
        entries, why = names.kept(f"{LEDGER}/{runbook}/*"), "an entry's key ends in its plan's token"
        yield Grant("ReadLedger", ("s3:GetObject",), entries, why)
        yield from keys(names, "ReadLedgerKey", ("kms:Decrypt",), behind="s3:GetObject")
        yield Grant("WriteLedger", ("s3:PutObject",), entries, why, changes=True)
        yield from keys(names, "WriteLedgerKey", ("kms:GenerateDataKey",), behind="s3:PutObject", changes=True)

    return part


def quarantine(names: Names) -> Iterator[Grant]:
    """Messages that nothing could take: written by an apply, and never deleted. Beside :func:`ledger`, which has the
    use of the key."""
    messages = names.kept(f"{QUARANTINE}/*")
    why = "a message's key is its queue, its day and its id"
    yield Grant("Quarantine", ("s3:PutObject",), messages, why, changes=True)


def for_apply(part: Part) -> Part:
    """A part that a dry run does without."""
    return lambda names: (replace(grant, changes=True) for grant in part(names))
