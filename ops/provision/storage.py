"""Plan, write and delete the operations buckets; ``buckets`` says what they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.errors import OpsError
from ops.plan import Step
from ops.provision.buckets import bucket_of, desired_bucket, find_bucket, lifecycle_rules
from ops.provision.desired import desired_encryption
from ops.provision.keys import AWS_OWNED
from ops.provision.steps import region_of, step
from ops.provision.table.planning import own_key
from ops.provision.table.writers import own_key as own_key_now
from ops.provision.waits import Waits
from ops.provision.world import World
from ops.stage import Stage

# The tags last: they say that the rest is there.
_SETTINGS = ("ownership", "public_access", "versioning", "encryption", "policy", "lifecycle", "tags")

# DeleteObjects takes as many, and ListObjectVersions gives as many.
_PAGE, _MOST_PAGES = 1000, 10_000


def bucket_steps(stage: Stage, world: World) -> list[Step]:
    """A step a region; refused where the name is not ours to use."""
    steps = []
    for region in stage.regions:
        state = world.regions[region]
        if state.domain is None:
            continue  # the stack, which makes the key, is refused already
        found, resource = state.bucket, f"bucket {stage.operations_bucket(world.account, region)}"
        if found is not None and (found.foreign or found.region != region):
            detail = (
                "the name is taken by another account, or these credentials lack s3:ListBucket on it; nothing is "
                "written there: have that bucket deleted, or name the stage otherwise"
                if found.foreign
                else f"it is in {found.region}; move what it holds, delete it, then plan again"
            )
            steps.append(Step(action="refuse", resource=resource, region=region, detail=detail))
            continue
        wanted, before = desired_bucket(stage, world.account, region), found.spec if found else None
        wanted["encryption"] = desired_encryption(own_key(stage, state), found.encryption if found else None)
        unfinished = before is not None and before["tags"] != wanted["tags"]
        kept = stage.divergence
        detail = (
            "for the ledgers of replays, redrives and repairs, and quarantined messages; findings and images of "
            f"repairs for {kept.findings_days} days, exports for {kept.exports_days}"
        )
        steps.append(step(resource, region, before, wanted, detail, unfinished=unfinished))
    return steps


def write_bucket(cloud: Cloud, step: Step, waits: Waits) -> str:
    region = region_of(step)
    s3: Any = cloud.client("s3", region)
    found, done = find_bucket(cloud, region), "already so"
    if found is None:
        elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != "us-east-1" else {}
        name = cloud.stage.operations_bucket(cloud.account, region)
        _put(waits, step, lambda: s3.create_bucket(Bucket=name, **elsewhere))
        waits.until(f"{step.resource} in {region}", lambda: find_bucket(cloud, region) is not None)
        found, done = find_bucket(cloud, region), "created"
    if found is None or found.foreign or found.region != region:
        raise OpsError(f"{step.resource} in {region}: since the plan it is another's, or has gone; plan again")
    wanted = desired_bucket(cloud.stage, cloud.account, region)
    wanted["encryption"] = desired_encryption(own_key_now(cloud, region), found.encryption)
    differing = [name for name in _SETTINGS if found.spec[name] != wanted[name]]
    for name in differing:
        _put(waits, step, partial(_WRITERS[name], s3, bucket_of(cloud, region), wanted[name]))
    return done if done == "created" or not differing else "changed"


def _put(waits: Waits, step: Step, call: Callable[[], object]) -> None:
    """Make a call that S3 may put off, while it carries out another on the same bucket.

    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html (OperationAborted)
    """

    def done() -> bool:
        try:
            call()
        except ClientError as error:
            if error_code(error) == "OperationAborted":
                return False
            raise
        return True

    waits.until(f"{step.resource} in {step.region}", done)


def _write_ownership(s3: Any, named: dict[str, str], wanted: str) -> None:
    s3.put_bucket_ownership_controls(**named, OwnershipControls={"Rules": [{"ObjectOwnership": wanted}]})


def _write_public_access(s3: Any, named: dict[str, str], wanted: Mapping[str, bool]) -> None:
    s3.put_public_access_block(**named, PublicAccessBlockConfiguration=wanted)


def _write_versioning(s3: Any, named: dict[str, str], wanted: str) -> None:
    s3.put_bucket_versioning(**named, VersioningConfiguration={"Status": wanted})


def _write_encryption(s3: Any, named: dict[str, str], wanted: str) -> None:
    chosen = {"SSEAlgorithm": "AES256"}
    if wanted != AWS_OWNED:
        chosen = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": wanted}
    # With a bucket key, S3 asks KMS once for many objects.
    rule = {"ApplyServerSideEncryptionByDefault": chosen, "BucketKeyEnabled": wanted != AWS_OWNED}
    s3.put_bucket_encryption(**named, ServerSideEncryptionConfiguration={"Rules": [rule]})


def _write_policy(s3: Any, named: dict[str, str], wanted: Mapping[str, Any]) -> None:
    s3.put_bucket_policy(**named, Policy=json.dumps(wanted))


def _write_lifecycle(s3: Any, named: dict[str, str], wanted: Mapping[str, Any]) -> None:
    s3.put_bucket_lifecycle_configuration(**named, LifecycleConfiguration={"Rules": lifecycle_rules(wanted)})


def _write_tags(s3: Any, named: dict[str, str], wanted: Mapping[str, str]) -> None:
    """Tags are put all at once; those of others stay."""
    try:
        held = s3.get_bucket_tagging(**named)["TagSet"]
    except ClientError as error:
        if error_code(error) != "NoSuchTagSet":
            raise
        held = []
    both = {tag["Key"]: tag["Value"] for tag in held} | dict(wanted)
    s3.put_bucket_tagging(**named, Tagging={"TagSet": [{"Key": key, "Value": text} for key, text in both.items()]})


_WRITERS: dict[str, Callable[[Any, dict[str, str], Any], None]] = {
    "ownership": _write_ownership,
    "public_access": _write_public_access,
    "versioning": _write_versioning,
    "encryption": _write_encryption,
    "policy": _write_policy,
    "lifecycle": _write_lifecycle,
    "tags": _write_tags,
}


# --- the way back ------------------------------------------------------------------------------------------------


def held(cloud: Cloud, region: str) -> list[str]:
    """The folders in which there is any object, or an earlier version of one, or the mark of a deleted one."""
    s3: Any = cloud.client("s3", region)
    page = s3.list_object_versions(**bucket_of(cloud, region), Delimiter="/")
    found = [one["Prefix"] for one in page.get("CommonPrefixes", [])]
    found += [one["Key"] for kind in ("Versions", "DeleteMarkers") for one in page.get(kind, [])]
    return sorted({"".join(name.partition("/")[:2]) for name in found})


def end_steps(stage: Stage, world: World, holding: Mapping[str, list[str]], discard_data: bool) -> Iterator[Step]:
    """What a destroy does about the buckets; ``holding`` says in which folders of which regions there is something."""
    for region, state in world.regions.items():
        resource = f"bucket {stage.operations_bucket(world.account, region)}"
        if state.bucket is None:
            continue
        if state.bucket.foreign or state.bucket.region != region:
            yield Step(action="keep", resource=resource, region=region, detail="it is another's, or elsewhere")
        elif region in holding and not discard_data:
            detail = (
                f"it holds {', '.join(holding[region])}, and nobody else has them; with -p discard_data=true they are "
                "deleted"
            )
            yield Step(action="refuse", resource=resource, region=region, detail=detail)
        else:
            before = {"discard_data": discard_data}
            yield Step(action="delete", resource=resource, region=region, before=before)


def delete_bucket(cloud: Cloud, step: Step, waits: Waits) -> str:
    """Delete the bucket, with every version in it where the plan says so."""
    region = region_of(step)
    s3: Any = cloud.client("s3", region)
    named, found = bucket_of(cloud, region), find_bucket(cloud, region)
    if found is None:
        return "already so"
    if step.before["discard_data"]:
        _empty(s3, named, step)
    elif held(cloud, region):
        raise OpsError(
            f"{step.resource} in {region}: since the plan it holds objects",
            hint="Keep what they say; to delete them: -p destroy=true -p discard_data=true",
        )
    _put(waits, step, lambda: s3.delete_bucket(**named))
    waits.until(f"the end of {step.resource} in {region}", lambda: find_bucket(cloud, region) is None)
    return "deleted"


def _empty(s3: Any, named: dict[str, str], step: Step) -> None:
    """Delete every version, a page at a time from the first that is left."""
    for _ in range(_MOST_PAGES):
        page = s3.list_object_versions(**named, MaxKeys=_PAGE)
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if not found:
            return
        versions = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
        answer = s3.delete_objects(**named, Delete={"Objects": versions, "Quiet": True})
        for error in answer.get("Errors", []):
            raise OpsError(f"{step.resource} in {step.region}: {error['Key']}: {error['Code']}: {error['Message']}")
    raise OpsError(f"{step.resource} in {step.region}: it still holds objects; something goes on writing there")
