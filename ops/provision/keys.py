"""Which key encrypts what: the stage's own of each region, and that of a table or an archive that exists. Read-only."""

from __future__ import annotations

from dataclasses import dataclass

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code

# What DynamoDB and EventBridge use unless told otherwise: a key of theirs, which no account sees.
AWS_OWNED = "AWS's own key"
# alias/aws/dynamodb: in the account, but AWS's; replicas get theirs without naming it.
AWS_MANAGED = "the key that AWS manages in this account"


@dataclass(frozen=True)
class Key:
    """A key of the stage's own. ``state`` is KMS's: only one that is ``Enabled`` encrypts."""

    arn: str
    state: str

    @property
    def usable(self) -> bool:
        return self.state == "Enabled"


def find_key(cloud: Cloud, region: str) -> Key | None:
    """The stage's own key; None where the stage asks for none, or where it is not there yet."""
    if cloud.stage.key_alias is None:
        return None
    try:
        found = cloud.client("kms", region).describe_key(KeyId=cloud.stage.key_alias)["KeyMetadata"]
    except ClientError as error:
        if error_code(error) == "NotFoundException":
            return None
        raise
    return Key(found["Arn"], found["KeyState"])


def identify(cloud: Cloud, region: str, identifier: str | None) -> str:
    """The ARN of the key that a table or an archive names, whichever way it names it, or one of the two constants.

    A key that cannot be looked at (another account's, or one that has gone) stays as it is named.
    """
    if not identifier:
        return AWS_OWNED
    try:
        found = cloud.client("kms", region).describe_key(KeyId=identifier)["KeyMetadata"]
    except ClientError as error:
        if error_code(error) in ("NotFoundException", "AccessDeniedException"):
            return identifier
        raise
    return AWS_MANAGED if found.get("KeyManager") == "AWS" else str(found["Arn"])
