"""What an operator's or a scheduler's role needs of AWS to run one runbook on one stage: IAM policies, as data.

A runbook's policy is made of parts that several share and of parts of its own. What always holds: actions are named one
by one; resources are the stage's own, in every region of the stage; what stands on more than that says why; nothing
that changes anything is granted for a dry run. tests/unit/ops/test_policies.py holds every grant against the calls that
the runbooks make, both ways. `ops deploy` is not here: what it needs is what CloudFormation makes of the template.

Which resources an action knows: https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ops.errors import UsageError
from ops.parameters import did_you_mean
from ops.policies.cost import cost
from ops.policies.destroying import destroy
from ops.policies.divergence import (
    buckets,
    exporting,
    findings,
    fleet,
    fleet_states,
    heartbeats,
    reading_replicas,
    repairing,
    replica_settings,
    timing_replication,
)
from ops.policies.documents import MANAGED_POLICY_CHARACTERS, Document, Statement, document_of, parts, size
from ops.policies.drills import experiments, failover, starting_drills
from ops.policies.grant import COMPOSITES, GENERATED, NO_RESOURCE, NOTHING_BESIDES, Besides, Grant, Names, Part
from ops.policies.looking import drills, edge, happened, parity, status
from ops.policies.provisioning import provision, provision_changes
from ops.policies.recovery import redrive, replay
from ops.policies.reporting import reporting
from ops.policies.shared import (
    alarms,
    archives,
    archives_of_a_bus,
    depths,
    for_apply,
    ledger,
    metrics,
    opening,
    quarantine,
    records,
    rules,
    secret,
    stack,
    tables,
)
from ops.policies.trace import trace
from ops.provision.table.leaving import check_regions
from ops.stage import Stage

__all__ = [
    "COMMANDS",
    "COMPOSITES",
    "GENERATED",
    "MANAGED_POLICY_CHARACTERS",
    "NO_RESOURCE",
    "RUNBOOKS",
    "VARIANTS",
    "Besides",
    "Document",
    "Grant",
    "Names",
    "Statement",
    "grants",
    "parts",
    "policy",
    "size",
]

RUNBOOKS: dict[str, tuple[Part, ...]] = {
    "cost": (opening, stack, metrics, alarms, tables, archives, cost),
    "divergence": (
        opening,
        tables,
        reading_replicas,
        replica_settings,
        heartbeats,
        findings,
        buckets,
        fleet_states,
        fleet,
        exporting,
    ),
    "failover": (
        opening,
        stack,
        tables,
        depths,
        status,
        records,
        secret,
        metrics,
        experiments,
        failover,
        starting_drills,
        for_apply(reading_replicas),
    ),
    "metrics": (opening, stack, metrics, happened, drills, tables, timing_replication),
    "parity": (opening, stack, archives_of_a_bus, archives, rules, parity),
    "provision": (opening, stack, tables, archives, records, provision, provision_changes),
    "redrive": (opening, rules, metrics, alarms, ledger("redrive"), quarantine, for_apply(tables), redrive),
    "replay": (
        opening,
        archives_of_a_bus,
        archives,
        rules,
        metrics,
        ledger("replay"),
        for_apply(tables),
        replay,
    ),
    "trace": (opening, archives_of_a_bus, archives, trace),
}


# Of a runbook asked for something that a role for the rest of it should not be able to do.
VARIANTS: dict[str, tuple[Part, ...]] = {
    # ops run divergence -p mode=repair, and -p mode=undo
    "divergence-repair": (opening, tables, replica_settings, ledger("divergence"), repairing),
    # ops run provision -p destroy=true
    "provision-destroy": (opening, stack, tables, archives, records, provision, destroy),
}


# Those that work on any bus and any queue of the account, and those on any table, when they are told which.
_ON_ANY_BUS = ("replay", "redrive")
_ON_ANY_TABLE = ("divergence", "divergence-repair")


COMMANDS: dict[str, tuple[Part, ...]] = {
    "drill": (opening, experiments),
    "edge": (opening, records, edge),
    "report": (opening, reporting),
    "send": (opening, stack, secret),
    "status": (opening, stack, tables, depths, status),
    "token": (opening, secret),
}


def grants(
    name: str,
    stage: Stage,
    account: str,
    apply: bool = False,
    leaving: Sequence[str] = (),
    *,
    besides: Besides = NOTHING_BESIDES,
) -> list[Grant]:
    """What a runbook or command needs on a stage, each with its reason; with ``apply``, what applying needs besides.

    Args:
        leaving: regions whose replica ``provision`` is to remove.
        besides: what is not the stage's: buses and queues for ``replay`` and ``redrive``, tables for ``divergence`` and
            ``divergence-repair``.

    Raises:
        UsageError: there is no such runbook or command, it changes nothing and so has nothing to apply, it removes
            no replica of those regions, or works on nothing besides the stage.
    """
    known = RUNBOOKS | VARIANTS | COMMANDS
    if name not in known:
        raise UsageError(
            f"runbook: there is no {name!r} with a policy{did_you_mean(name, list(known))}; accepted: the runbooks "
            f"{', '.join(RUNBOOKS)}, and the commands {', '.join(COMMANDS)}; for what is destroyed or repaired, "
            f"{', '.join(VARIANTS)}",
            hint="`ops deploy` has none: what it needs is what CloudFormation makes of the template."
            if name == "deploy"
            else "What each runbook is for: ops list",
        )
    if leaving and (name != "provision" or set(leaving) & set(stage.regions)):
        raise UsageError(
            f"--leaving: {', '.join(leaving)}: for provision, and for regions that stage {stage.stage!r} no longer has"
        )
    _check_besides(name, besides)
    names = Names(stage, account, tuple(check_regions(leaving)), besides)
    made = [grant for part in known[name] for grant in part(names)]
    if apply and not any(grant.changes for grant in made):
        raise UsageError(f"--apply: {name} changes nothing, so it has no plan to apply")
    return [grant for grant in made if apply or not grant.changes]


def _check_besides(name: str, besides: Besides) -> None:
    if replace(besides, tables=()) != NOTHING_BESIDES and name not in _ON_ANY_BUS:
        raise UsageError(
            f"--bus, --archive, --queue, --keep: {name} works on the stage's own alone; accepted for "
            f"{' and '.join(_ON_ANY_BUS)}"
        )
    if besides.tables and name not in _ON_ANY_TABLE:
        raise UsageError(
            f"--table: {name} works on the stage's table alone; accepted for {' and '.join(_ON_ANY_TABLE)}"
        )
    besides.check()


def policy(
    name: str,
    stage: Stage,
    account: str,
    apply: bool = False,
    leaving: Sequence[str] = (),
    *,
    besides: Besides = NOTHING_BESIDES,
) -> Document:
    """The same as an IAM policy document."""
    return document_of([grant.statement() for grant in grants(name, stage, account, apply, leaving, besides=besides)])
