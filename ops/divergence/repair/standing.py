"""Whether replication between the replicas stands, so that a repair is not written where it would not arrive, or would
arrive much later over what was written since. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ops.aws import Cloud
from ops.divergence import lagging, settings
from ops.divergence.groups import members, pairs
from ops.divergence.replicas import Described, Replica
from ops.plan import Step

FORCE = "replication"
ACTIVE = "ACTIVE"
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_monitoring.html: it is usually a
# second or less, and longer for far regions; what takes minutes is a fault.
STANDS_STILL_MS = 300_000.0
_FORCED = f"to write nevertheless: -p force={FORCE}"


def refusals(cloud: Cloud, described: Mapping[Replica, Described]) -> list[Step]:
    """A step for each reason not to write now; none for tables that do not replicate to each other."""
    linked, _ = pairs(described)
    concerned = dict.fromkeys(one for pair in linked for one in pair)
    found = [step for one in concerned for step in _of_members(described[one], {other.region for other in concerned})]
    for replica, table in settings.read(cloud, {one: described[one] for one in concerned}).items():
        if table.denial and not table.denial.startswith(settings.UNKNOWN):
            why = f"the table's resource policy denies it ({table.denial}), as a drill of AWS FIS does"
            found.append(_refusal(replica.label, replica.region, why))
    for pair in lagging.read(cloud, linked, described):
        if pair.newest_ms is not None and pair.newest_ms >= STANDS_STILL_MS:
            why = f"to {pair.target} it took {pair.newest_ms / 1000:,.0f} s at {pair.newest_at:%H:%M}Z"
            region = next(one.region for one in concerned if one.label == pair.source)
            found.append(_refusal(pair.source, region, why))
    return found


def _of_members(table: Described, regions: set[str]) -> Iterator[Step]:
    replica, status = table.replica, str(table.raw.get("TableStatus", ACTIVE))
    if status not in (ACTIVE, "UPDATING"):
        yield _refusal(replica.label, replica.region, f"the table is {status}")
    for region, member in members(table).items():
        state = str(member.get("ReplicaStatus", ACTIVE))
        if region in regions and state != ACTIVE:
            yield _refusal(replica.label, replica.region, f"it sees the replica in {region} as {state}")


def _refusal(label: str, region: str, why: str) -> Step:
    resource = f"replication of {label}"
    return Step(action="refuse", resource=resource, region=region, detail=f"{why}: end that first; {_FORCED}")
