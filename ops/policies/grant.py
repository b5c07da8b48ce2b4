"""What one statement of a policy grants and why, and the names of what it grants it on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ops.bucket import parse
from ops.divergence.replicas import TABLE, TABLE_ARN
from ops.errors import UsageError
from ops.policies.documents import Statement
from ops.provision.desired import desired_archives
from ops.stage import Stage

NO_RESOURCE = "AWS knows no resource for it"
COMPOSITES = "composite alarms are told of only to who may see all alarms"
GENERATED = "AWS chooses the identifier when it is made"
ZONES, CHECKS = ("arn:aws:route53:::hostedzone/*",), ("arn:aws:route53:::healthcheck/*",)


@dataclass(frozen=True)
class Grant:
    """One statement of a policy.

    Attributes
    ----------
    why
        Why a resource has a wildcard; empty where none has one.
    behind
        The call, as IAM names it, in whose course AWS itself asks for these actions; empty where the toolkit makes the
        calls.
    changes
        Whether it is needed for an apply only.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    why: str = ""
    behind: str = ""
    changes: bool = False
    condition: Mapping[str, Mapping[str, list[str]]] | None = None

    def statement(self) -> Statement:
        made = {"Sid": self.sid, "Effect": "Allow", "Action": sorted(self.actions), "Resource": list(self.resources)}
        return made if self.condition is None else made | {"Condition": self.condition}


# Of a bus, of an archive or of a queue. Only names of partner buses have slashes.
_NAME = re.compile(r"[A-Za-z0-9._/-]{1,256}")
_TABLE = re.compile(rf"{TABLE}|{TABLE_ARN}")


@dataclass(frozen=True)
class Besides:
    """What is not the stage's and that a runbook is to work on too: by name, in the stage's regions.

    Attributes
    ----------
    queues
        DLQs, and the queues that their messages go back to.
    keep
        ``s3://bucket/prefix``, where records are kept in the place of the operations buckets.
    tables
        To compare and to repair: names, or ARNs, which may be of other regions and accounts.
    """

    buses: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    keep: str = ""
    tables: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError for what is no name: a pattern, which would grant more than it seems to, or an ARN
        of what is to be named."""
        for option, given in (("--bus", self.buses), ("--archive", self.archives), ("--queue", self.queues)):
            for name in given:
                if not _NAME.fullmatch(name):
                    raise UsageError(f"{option}: {name!r} is no name; accepted: letters, digits, '.', '-', '_' and '/'")
        for name in self.tables:
            if not _TABLE.fullmatch(name):
                raise UsageError(
                    f"--table: {name!r} is no table; accepted: a name of 3 to 255 letters, digits and '_.-', or a "
                    "table's ARN"
                )
        if self.keep:
            parse(self.keep)


NOTHING_BESIDES = Besides()


@dataclass(frozen=True)
class Names:
    """The ARNs of a stage's resources, where several: of every region; with what a role may use ``besides``.

    ``leaving`` are regions that the stage file no longer names and whose replica a role may remove.
    """

    stage: Stage
    account: str
    leaving: tuple[str, ...] = ()
    besides: Besides = NOTHING_BESIDES

    def at(self, region: str, service: str, *resources: str) -> tuple[str, ...]:
        return tuple(f"arn:aws:{service}:{region}:{self.account}:{resource}" for resource in resources)

    def everywhere(self, service: str, *resources: str) -> tuple[str, ...]:
        return tuple(arn for region in self.stage.regions for arn in self.at(region, service, *resources))

    @property
    def table(self) -> str:
        return f"table/{self.stage.table_name}"

    @property
    def tables(self) -> tuple[str, ...]:
        """The stage's table, and those that are compared and repaired besides."""
        given = dict.fromkeys(self.besides.tables)
        named = (f"table/{name}" for name in given if not name.startswith("arn:"))
        arns = (name for name in given if name.startswith("arn:"))
        return tuple(dict.fromkeys((*self.everywhere("dynamodb", self.table, *named), *arns)))

    @property
    def regions(self) -> tuple[str, ...]:
        """Where those tables are."""
        return tuple(dict.fromkeys((*self.stage.regions, *(arn.split(":")[3] for arn in self.tables))))

    @property
    def buses(self) -> tuple[str, ...]:
        return self.stage.bus, self.stage.journal_bus, *self.besides.buses

    @property
    def archives(self) -> tuple[str, ...]:
        """Of every region: those that the stage file asks for."""
        return tuple(
            arn
            for region in self.stage.regions
            for name in (*desired_archives(self.stage, self.account, region), *self.besides.archives)
            for arn in self.at(region, "events", f"archive/{name}")
        )

    @property
    def queues(self) -> tuple[str, ...]:
        own = (self.stage.queue(processor) for processor in self.stage.processor_names)
        return self.everywhere("sqs", *own, *self.stage.dlqs, *self.besides.queues)

    def kept(self, *keys: str) -> tuple[str, ...]:
        """The operations buckets, or these keys in them. S3's ARNs have neither region nor account."""
        buckets = [self.stage.operations_bucket(self.account, region) for region in self.stage.regions]
        places = [parse(self.besides.keep)] if self.besides.keep else [(bucket, "") for bucket in buckets]
        if not keys:
            return tuple(f"arn:aws:s3:::{bucket}" for bucket, _ in places)
        below = [
            f"arn:aws:s3:::{bucket}/{prefix}/" if prefix else f"arn:aws:s3:::{bucket}/" for bucket, prefix in places
        ]
        return tuple(f"{start}{key}" for start in below for key in keys)

    @property
    def records(self) -> list[str]:
        """What DNS knows the API by, as Route 53 normalises names."""
        hosts = [self.stage.dns.record, *(self.stage.regional_host(region) for region in self.stage.regions)]
        return [host.lower() for host in hosts if host is not None]


Part = Callable[[Names], Iterator[Grant]]
