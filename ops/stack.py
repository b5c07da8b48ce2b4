"""The regional stack as CloudFormation describes it: its status and its outputs."""

from __future__ import annotations

from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from ops.aws import Cloud

MISSING = "MISSING"
# A stack in one of these states serves; in any other it is being changed or never came to be.
_SERVING = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"}


@dataclass(frozen=True)
class Stack:
    """One region's stack; ``status`` is MISSING and ``outputs`` are empty where it is not deployed."""

    status: str = MISSING
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def serving(self) -> bool:
        return self.status in _SERVING

    @property
    def api_id(self) -> str | None:
        return self.outputs.get("ApiId")


def is_missing(error: ClientError) -> bool:
    """Whether the stack is not there, for which CloudFormation has no error of its own."""
    return bool(error.response["Error"]["Code"] == "ValidationError" and "does not exist" in str(error))


def read(cloud: Cloud, region: str) -> Stack:
    """The stage's stack in ``region``.

    Raises:
        ClientError: CloudFormation did not answer.
    """
    try:
        found = cloud.client("cloudformation", region).describe_stacks(StackName=cloud.stage.stack)["Stacks"]
    except ClientError as error:
        if is_missing(error):
            return Stack()
        raise
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found[0].get("Outputs", [])}
    return Stack(found[0]["StackStatus"], outputs)
