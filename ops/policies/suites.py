"""What the role of the scheduled reports may do: what the runbooks of the stage's suites look at, and nothing else.

``python -m ops.policies.suites STAGE [DIRECTORY]`` prints the policies as JSON, for deploy/schedule.cjs: as many as the
statements take, with CloudFormation's word for the account, which packaging does not know.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from ops.policies import grants
from ops.policies.documents import Document, Statement, document_of, parts
from ops.report.suites import find
from ops.stage import STAGES_DIR, Stage, load_stage

ACCOUNT = "${AWS::AccountId}"


def documents(stage: Stage, runbooks: Iterable[str], account: str = ACCOUNT) -> list[Document]:
    """The policies of these runbooks and of ``ops report`` itself together, each statement once; nothing that an apply
    needs."""
    statements: list[Statement] = []
    for name in ("report", *runbooks):
        for grant in grants(name, stage, account):
            statement = grant.statement()
            if statement not in statements:
                statements.append(statement)
    return parts(document_of(statements))


def scheduled(stage: Stage) -> list[str]:
    """The runbooks of the suites that the stage schedules, each once."""
    named = stage.schedule.suites if stage.schedule else {}
    return list(dict.fromkeys(task.runbook for suite in named for task in find(suite).runbooks))


if __name__ == "__main__":
    asked = load_stage(sys.argv[1], *map(Path, sys.argv[2:3]) or [STAGES_DIR])
    sys.stdout.write(json.dumps(documents(asked, scheduled(asked))))
