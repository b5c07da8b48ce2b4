"""Grants of ``ops report`` itself, beside those of the runbooks that it runs."""

from __future__ import annotations

from collections.abc import Iterator

from ops.bucket import LEASES, REPORTS, parse
from ops.policies.grant import Grant, Names
from ops.policies.shared import keys
from ops.stage import OPERATIONS


def reporting(names: Names) -> Iterator[Grant]:
    """One run of a suite at a time, its records, and who is told."""
    reports = names.stage.reports
    home = names.stage.operations_bucket(names.account, names.stage.home_region)
    objects = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")
    own = f"arn:aws:s3:::{home}"
    yield Grant("LeaseOfASuite", objects, (f"{own}/{LEASES}/report-*.json",), "a lease is named after its suite")
    yield from keys(names, "ReportKey", ("kms:Decrypt", "kms:GenerateDataKey"), behind="s3:PutObject")
    listed = {own}
    if reports.records is not None:
        bucket, prefix = (home, REPORTS) if reports.records == OPERATIONS else parse(reports.records)
        listed.add(f"arn:aws:s3:::{bucket}")
        below = f"{prefix}/{names.stage.stage}" if prefix else names.stage.stage
        why = "records are named after their runs"
        yield Grant("Records", objects, (f"arn:aws:s3:::{bucket}/{below}/*",), why)
    yield Grant("ReportBuckets", ("s3:ListBucket",), tuple(sorted(listed)))
    if reports.topic_arn is not None:
        yield Grant("TellTopic", ("sns:Publish",), (reports.topic_arn,))
    if reports.webhook_secret is not None:
        secret = names.at(names.stage.home_region, "secretsmanager", f"secret:{reports.webhook_secret}-??????")
        why = "Secrets Manager ends a secret's ARN in six characters of its own"
        yield Grant("Webhook", ("secretsmanager:GetSecretValue",), secret, why)
