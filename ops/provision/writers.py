"""One function for each kind of resource: it reads what is there now, and writes what is still needed."""

from __future__ import annotations

import json
from collections.abc import Callable

from ops.aws import Cloud
from ops.plan import Step
from ops.provision.alerting import write_alarm, write_topic
from ops.provision.desired import desired_archives, desired_encryption
from ops.provision.dns import write_health_check, write_name, write_record, write_zone
from ops.provision.keys import AWS_OWNED
from ops.provision.steps import region_of as _region
from ops.provision.storage import write_bucket
from ops.provision.table.writers import TABLE_WRITERS
from ops.provision.table.writers import own_key as _own_key
from ops.provision.waits import Waits
from ops.provision.world import find_archive


def _write_archive(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, region, name = cloud.stage, _region(step), step.resource.partition(" ")[2]
    events, wanted = cloud.client("events", region), desired_archives(stage, cloud.account, region)[name]
    found, pattern, days = find_archive(cloud, region, name), json.dumps(wanted["pattern"]), wanted["retention_days"]
    wanted |= {"encryption": desired_encryption(_own_key(cloud, region), found.encryption if found else None)}
    # Left out, it means EventBridge's own key: an update of anything else names the key that is there.
    key = {} if wanted["encryption"] == AWS_OWNED else {"KmsKeyIdentifier": wanted["encryption"]}
    if found is None:
        events.create_archive(
            ArchiveName=name,
            EventSourceArn=wanted["bus"],
            Description=f"Platform events of bus {name}, for the replay runbook",
            EventPattern=pattern,
            RetentionDays=days,
            **key,
        )
        done = "created"
    elif found.shape() != wanted:
        events.update_archive(ArchiveName=name, EventPattern=pattern, RetentionDays=days, **key)
        done = "changed"
    else:
        return "already so"

    def enabled() -> bool:
        archive = find_archive(cloud, region, name)
        return archive is not None and archive.state == "ENABLED"

    waits.until(f"archive {name} in {region}", enabled)
    return done


WRITERS: dict[str, Callable[[Cloud, Step, Waits], str]] = {
    **TABLE_WRITERS,
    "archive": _write_archive,
    "bucket": write_bucket,
    "zone": write_zone,
    "health-check": write_health_check,
    "name": write_name,
    "record": write_record,
    "topic": write_topic,
    "alarm": write_alarm,
}
