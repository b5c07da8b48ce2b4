"""A redrive in a process of its own, which a test can kill: ``python -m tests.local.redriver REGION QUEUE RATE``."""

from __future__ import annotations

import sys
from typing import Any

from ops.aws import adopt_environment, connect
from ops.plan import Plan, Step
from ops.redrive.apply import apply
from ops.redrive.queues import find
from ops.stage import load_stage


def main(region: str, name: str, rate_per_s: str) -> None:
    """Make the plan of one queue, and carry it out."""
    stage = load_stage("local")
    adopt_environment(stage)
    cloud = connect(stage)
    (queue,) = find(cloud, [region], [name])
    after = {"region": region, "queue": name, "url": queue.url, "engine": "client"}
    lists: dict[str, Any] = {filter_: [] for filter_ in ("queues", "error_codes", "handlers", "types", "keys")}
    plan = Plan(
        runbook="redrive",
        stage=stage.stage,
        account=cloud.account,
        regions=[region],
        parameters={
            **lists,
            "older_than": "",
            "younger_than": "",
            "rate_per_s": int(rate_per_s),
            "limit": 0,
            "engine": "client",
            "on_second_failure": "quarantine",
            "keep": "",
        },
        steps=[Step(action="run", resource=f"redrive of {name}", region=region, after=after)],
    )
    done = apply(cloud, plan, plan.token, _say)
    _say(str(done.figures()))
    if any(not check.ok for check in done.checks()):
        sys.exit(f"{done.checks()}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
