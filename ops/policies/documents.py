"""IAM policy documents: their size as IAM counts it, and one document as few as fit."""

from __future__ import annotations

import json
from typing import Any

# Of a managed policy, without white space; the policies within one role may have 10,240 together.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MANAGED_POLICY_CHARACTERS = 6144


Statement = dict[str, Any]
Document = dict[str, Any]


def size(document: Document) -> int:
    """The characters that IAM counts: all but white space."""
    return len(json.dumps(document, separators=(",", ":")))


def parts(document: Document, limit: int = MANAGED_POLICY_CHARACTERS) -> list[Document]:
    """The policy as few policies as it takes, in order, each of at most ``limit`` characters; a role takes them all.

    A statement that is too large by itself is cut by its resources, and its Sid numbered.
    """
    packed: list[list[Statement]] = [[]]
    for statement in document["Statement"]:
        for piece in _pieces(statement, limit):
            if packed[-1] and size(document_of([*packed[-1], piece])) > limit:
                packed.append([])
            packed[-1].append(piece)
    return [document_of(statements) for statements in packed]


def _pieces(statement: Statement, limit: int) -> list[Statement]:
    resources = statement["Resource"]
    for count in range(1, len(resources) + 1):
        length = -(-len(resources) // count)
        cut = [resources[start : start + length] for start in range(0, len(resources), length)]
        sids = [statement["Sid"] if count == 1 else f"{statement['Sid']}Part{n}" for n in range(1, len(cut) + 1)]
        made = [statement | {"Sid": sid, "Resource": part} for sid, part in zip(sids, cut, strict=True)]
        if all(size(document_of([piece])) <= limit for piece in made):
            return made
    raise ValueError(f"{statement['Sid']}: one resource of it is more than a policy of {limit} characters holds")


def document_of(statements: list[Statement]) -> Document:
    return {"Version": "2012-10-17", "Statement": statements}
