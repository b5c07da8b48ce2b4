"""The operations bucket of each region: what it is to be, and what is there. ``ops.bucket`` says what it is for.

What always holds: it is private, versioned, encrypted and closed to plain HTTP; its access is a matter of policies,
not of ACLs; nothing in it expires but uploads that were never finished, earlier versions of the ledger's entries and
what comparisons and repairs leave, after the stage's own days: what is quarantined stays. A bucket's name is the
whole world's: one that another account has is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.bucket import EXPORTS, FINDINGS, FLEET, LEASES, LEDGER, REPAIR, REPORTS
from ops.provision.keys import AWS_MANAGED, AWS_OWNED, identify
from ops.provision.steps import tags
from ops.stage import Stage

UPLOAD_DAYS = 7
# An entry is rewritten as its run goes on; each earlier version is a moment of that run.
EARLIER_ENTRIES_DAYS = 30
# What the run that asked for them did not delete; no run takes longer than a day.
SKETCHES_DAYS = 2
PUBLIC_ACCESS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
# HEAD has no body to name an error in.
_ABSENT, _FORBIDDEN = ("404", "NoSuchBucket", "NotFound"), ("403", "AccessDenied", "Forbidden")


@dataclass(frozen=True)
class Bucket:
    """A bucket of the stage's name. ``spec`` is in the terms in which it is desired; empty when the bucket is
    ``foreign``: another account's, or hidden from these credentials. ``region`` is where it is."""

    region: str
    spec: dict[str, Any] = field(default_factory=dict)
    foreign: bool = False

    @property
    def encryption(self) -> str:
        return str(self.spec["encryption"])


def desired_bucket(stage: Stage, account: str, region: str) -> dict[str, Any]:
    """The region's bucket. Its key is another question: ``desired_encryption``. The tags, which are put last, say that
    it is finished."""
    arn = f"arn:aws:s3:::{stage.operations_bucket(account, region)}"
    return {
        "ownership": "BucketOwnerEnforced",
        "public_access": dict.fromkeys(PUBLIC_ACCESS, True),
        "versioning": "Enabled",
        "policy": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "OnlyOverTls",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [arn, f"{arn}/*"],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ],
        },
        "lifecycle": {
            "unfinished-uploads": {
                "Status": "Enabled",
                "Prefix": "",
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOAD_DAYS},
            },
            "earlier-entries": {
                "Status": "Enabled",
                "Prefix": f"{LEDGER}/",
                "NoncurrentVersionExpiration": {"NoncurrentDays": EARLIER_ENTRIES_DAYS},
            },
            "earlier-leases": {
                "Status": "Enabled",
                "Prefix": f"{LEASES}/",
                "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            },
            "reports": _expiring(REPORTS, stage.reports.keep_days),
            "sketches": _expiring(FLEET, SKETCHES_DAYS),
            "findings": _expiring(FINDINGS, stage.divergence.findings_days),
            "images": _expiring(REPAIR, stage.divergence.findings_days),
            "exports": _expiring(EXPORTS, stage.divergence.exports_days),
        },
        "tags": {tag["Key"]: tag["Value"] for tag in tags(stage)},
    }


def _expiring(folder: str, days: int) -> dict[str, Any]:
    """A rule that ends what is below ``folder``; the bucket is versioned, so that what ended goes a day later."""
    return {
        "Status": "Enabled",
        "Prefix": f"{folder}/",
        "Expiration": {"Days": days},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }


def find_bucket(cloud: Cloud, region: str) -> Bucket | None:
    """What bears the name of the region's bucket; another account's is not looked into."""
    s3: Any = cloud.client("s3", region)
    named = bucket_of(cloud, region)
    try:
        where = s3.head_bucket(**named).get("BucketRegion") or region
    except ClientError as error:
        if error_code(error) in _ABSENT:
            return None
        if error_code(error) in _FORBIDDEN:
            return Bucket(region, foreign=True)
        raise
    ours = {tag["Key"] for tag in tags(cloud.stage)}

    def read(call: Callable[..., Any], absent: str) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = call(**named)
        except ClientError as error:
            if error_code(error) != absent:
                raise
            return {}
        return found

    ownership = read(s3.get_bucket_ownership_controls, "OwnershipControlsNotFoundError").get("OwnershipControls", {})
    access = read(s3.get_public_access_block, "NoSuchPublicAccessBlockConfiguration")
    policy = read(s3.get_bucket_policy, "NoSuchBucketPolicy").get("Policy")
    encryption = read(s3.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError")
    rules = read(s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration").get("Rules", [])
    tagged = read(s3.get_bucket_tagging, "NoSuchTagSet").get("TagSet", [])
    blocked = access.get("PublicAccessBlockConfiguration", {})
    return Bucket(
        where,
        {
            "ownership": next((rule["ObjectOwnership"] for rule in ownership.get("Rules", [])), "ObjectWriter"),
            "public_access": {name: bool(blocked.get(name)) for name in PUBLIC_ACCESS},
            "versioning": s3.get_bucket_versioning(**named).get("Status", "never enabled"),
            "policy": json.loads(policy) if policy else None,
            "lifecycle": dict(map(_rule, rules)),
            "tags": {tag["Key"]: tag["Value"] for tag in tagged if tag["Key"] in ours},
            "encryption": _key(cloud, region, encryption),
        },
    )


def bucket_of(cloud: Cloud, region: str) -> dict[str, str]:
    """The parameters of every call on the region's bucket: S3 refuses it when the bucket is another account's.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
    """
    return {
        "Bucket": cloud.stage.operations_bucket(cloud.account, region),
        "ExpectedBucketOwner": cloud.account,
    }


def lifecycle_rules(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rules of a bucket's ``lifecycle`` as S3 takes them."""
    return [
        {"ID": name, "Filter": {"Prefix": rule["Prefix"]}} | {part: rule[part] for part in rule if part != "Prefix"}
        for name, rule in spec.items()
    ]


def _rule(found: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    rest = {name: value for name, value in found.items() if name not in ("ID", "Filter", "Prefix")}
    limits = dict(found.get("Filter") or {"Prefix": found.get("Prefix", "")})
    prefix = limits.pop("Prefix", "")
    return found.get("ID", ""), {"Prefix": prefix} | rest | ({"Filter": limits} if limits else {})


def _key(cloud: Cloud, region: str, found: Mapping[str, Any]) -> str:
    """What encrypts an object that does not say so itself: S3's own key unless the bucket says otherwise."""
    for rule in found.get("ServerSideEncryptionConfiguration", {}).get("Rules", []):
        chosen = rule.get("ApplyServerSideEncryptionByDefault", {})
        if chosen.get("SSEAlgorithm", "AES256") != "AES256":
            return identify(cloud, region, chosen["KMSMasterKeyID"]) if chosen.get("KMSMasterKeyID") else AWS_MANAGED
    return AWS_OWNED
