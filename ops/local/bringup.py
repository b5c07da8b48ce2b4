"""From nothing to a platform that runs on this machine: processes, regional stacks, global resources. Idempotent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from ops import deploy, runbooks
from ops.aws import Cloud, connect
from ops.errors import InterruptedRunError, OpsError, UsageError
from ops.local import cloud as local_cloud
from ops.local import identity
from ops.stage import Stage

Progress = Callable[[str], None]
EDGE_DEADLINE_S = 60.0
EDGE_POLL_S = 0.2


def require_local(stage: Stage) -> None:
    """Raise UsageError when the stage is not one that runs on the local cloud."""
    if stage.local_cloud is None:
        raise UsageError(
            f"stage: {stage.stage!r} runs on AWS, not on the local cloud; accepted: a stage file with `local_cloud`",
            hint=f"To deploy it: ops deploy --stage {stage.stage}",
        )


def start(stage: Stage, progress: Progress) -> Cloud:
    """Start the local cloud's processes unless they run, point this process at them, and let it issue tokens."""
    require_local(stage)
    local_cloud.activate(local_cloud.up(stage, progress))
    cloud = connect(stage)
    identity.ensure(cloud, progress)
    return cloud


@contextmanager
def ended_if_interrupted(progress: Progress) -> Iterator[None]:
    """When the operator stops the block, end the local cloud, unless it was up before the block."""
    was_up = local_cloud.current() is not None
    try:
        yield
    except (KeyboardInterrupt, InterruptedRunError):
        if not was_up:
            local_cloud.down(progress)
        raise


def deploy_regions(cloud: Cloud, progress: Progress) -> list[deploy.Deployment]:
    """Deploy every region with sls.

    Raises:
        OpsError: a region did not come up.
    """
    outcomes = deploy.deploy(cloud, progress=progress)
    red = [outcome for outcome in outcomes if not outcome.ok]
    if red:
        raise OpsError("\n".join(f"{outcome.region}: {outcome.outcome}: {outcome.detail}" for outcome in red))
    return outcomes


def provision_global(stage: Stage, progress: Progress) -> list[runbooks.RunOutcome]:
    """Execute the ``provision`` runbook: its plan, and then its apply when there is something to change.

    Raises:
        OpsError: a run did not pass.
    """
    planned = run_passing("provision", stage, {}, progress)
    if not planned.result["figures"]["changes"]:
        progress("global resources: nothing to change")
        return [planned]
    return [planned, run_passing("provision", stage, {}, progress, token=planned.result["plan"]["token"])]


def await_edge(cloud: Cloud, progress: Progress) -> None:
    """Wait until the edge has every region's record and finds it healthy, as a resolver does within a time to live.

    A region that stays unhealthy is said and not waited for any longer: a fault may be in place.
    """
    end = time.monotonic() + EDGE_DEADLINE_S
    while True:
        found = httpx.get(f"{cloud.edge_url}/_edge/explain", timeout=10).json().get("candidates", [])
        healthy = {one["region"] for one in found if one["healthy"]}
        missing = [region for region in cloud.stage.regions if region not in healthy]
        if not missing:
            return
        if time.monotonic() >= end:
            progress(f"the edge does not find healthy: {', '.join(missing)}; see: ops fault list, ops status")
            return
        time.sleep(EDGE_POLL_S)


def run_passing(
    name: str, stage: Stage, parameters: dict[str, str], progress: Progress, token: str = ""
) -> runbooks.RunOutcome:
    """Run one runbook and insist on its verdict.

    Raises:
        OpsError: the verdict is not ``pass``; the message has the failed checks.
    """
    book = runbooks.find(name)
    outcome = runbooks.run(
        book, stage, runbooks.validate(book, parameters), token, progress=lambda event: progress(str(event))
    )
    if outcome.exit_status != 0:
        failed = "; ".join(f"{c['name']}: {c['detail']}" for c in outcome.result["checks"] if not c["ok"])
        raise OpsError(f"{name}: {outcome.result['verdict']}: {failed}", hint=f"Its page: {outcome.page}")
    return outcome
