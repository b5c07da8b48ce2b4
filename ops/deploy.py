"""Deploy the regional stack with the Serverless Framework, region by region in the stage's waves.

1. Check what the stage file says of AWS's own networks; a mistake there would show only when functions reach nothing.
2. Package every region; all packages must hold the same code, or nothing is deployed.
3. Deploy wave by wave; the regions of a wave side by side. Each region must come up: its stack complete and its
   API accepting for that region.
4. A red region stops the rollout, and every region touched by it goes back to what it ran before.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ops import network, stack, token
from ops.aws import Cloud, explained
from ops.errors import OpsError, RefusedError, UsageError
from ops.fanout import each
from ops.stage import ROOT, SERVICE, Stage, state_dir
from ops.token import Tokens

Progress = Callable[[str], None]
# What sls reads of the project; linked into each region's workspace.
LINKED = ("deploy", "handlers", "sketch", "package.json", "node_modules", ".venv")
SLS = ROOT / "node_modules" / ".bin" / "sls"
SLS_TIMEOUT_S = 1800
BATCH = "application/cloudevents-batch+json"
# How long a regional domain name that was just made may take until resolvers know it.
NEW_NAME_S = 120.0
NEW_NAME_POLL_S = 2.0


@dataclass(frozen=True)
class Package:
    """What ``sls package`` made for one region, in its ``workspace``. ``code_sha256`` is of all Lambda artifacts."""

    region: str
    workspace: Path
    code_sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Deployment:
    """One region after a rollout: ``deployed``, ``unchanged``, ``rolled back``, ``failed`` or ``not reached``."""

    region: str
    outcome: str
    seconds: float
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome in ("deployed", "unchanged")


def deploy(cloud: Cloud, regions: list[str] | None = None, progress: Progress = lambda _: None) -> list[Deployment]:
    """Deploy ``regions`` (all of the stage by default). Never raises for a red region: the outcomes say it.

    Raises:
        UsageError: a region is not in the stage, the Serverless Framework is not installed, or there is no token for
            the check of a region; nothing was deployed.
        RefusedError: another rollout of the stage runs from this checkout, or a prefix list is not DynamoDB's.
        OpsError: packaging failed; nothing was deployed.
    """
    wanted = [cloud.stage.require_region(region) for region in regions] if regions else cloud.stage.regions
    tokens = token.for_stage(cloud)
    tokens.get()  # a region that could not be asked afterwards is not deployed
    with _alone(cloud.stage):
        network.check_prefix_lists(cloud, wanted)
        try:
            packages = {package.region: package for package in package_regions(cloud.stage, wanted, progress)}
            return _in_waves(cloud, packages, tokens, progress)
        finally:
            for region in wanted:
                shutil.rmtree(_workspaces(cloud.stage) / region, ignore_errors=True)


@contextmanager
def _alone(stage: Stage) -> Iterator[None]:
    """Hold the workspaces of a stage: two rollouts from one checkout would take each other's files."""
    directory = _workspaces(stage)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError(
                f"stage {stage.stage!r} is being deployed from this checkout already", hint="Wait for it to end."
            ) from error
        yield


def _workspaces(stage: Stage) -> Path:
    return state_dir() / "deploy" / stage.stage


def _in_waves(cloud: Cloud, packages: dict[str, Package], tokens: Tokens, progress: Progress) -> list[Deployment]:
    waves = [[region for region in wave if region in packages] for wave in cloud.stage.deploy_waves]
    done: list[Deployment] = []
    previous: dict[str, str | None] = {}
    for wave in filter(None, waves):
        for region in wave:
            previous[region] = _latest_deployment(cloud, region)
        outcomes = each(wave, lambda region: _deploy_region(cloud, packages[region], tokens, progress)).values()
        done += outcomes
        if not all(outcome.ok for outcome in outcomes):
            done = [
                _roll_back(cloud, outcome, previous[outcome.region], packages[outcome.region].workspace, progress)
                for outcome in done
            ]
            reached = {outcome.region for outcome in done}
            return done + [Deployment(region, "not reached", 0.0) for region in packages if region not in reached]
    return done


def package_regions(stage: Stage, regions: list[str], progress: Progress = lambda _: None) -> list[Package]:
    """Package each region in a workspace of its own; needs neither an account nor a network.

    Raises:
        OpsError: packaging failed, or the regions' code differs.
    """
    packages = []
    for region in regions:
        workspace = _workspace(stage, region)
        progress(f"{region}: packaging")
        _sls(["package", "--package", "package"], stage, region, workspace)
        # The functions' common one, and those of functions that have their own.
        artifacts = {path.name: path.read_bytes() for path in sorted((workspace / "package").glob("*.zip"))}
        if f"{SERVICE}.zip" not in artifacts:
            raise OpsError(f"{region}: sls package made no {SERVICE}.zip")
        digests = "".join(f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in artifacts.items())
        size_bytes = sum(map(len, artifacts.values()))
        packages.append(Package(region, workspace, hashlib.sha256(digests.encode()).hexdigest(), size_bytes))
    if len({package.code_sha256 for package in packages}) > 1:
        shown = ", ".join(f"{package.region} {package.code_sha256[:12]}" for package in packages)
        raise OpsError(
            f"the packaged code differs between regions: {shown}", hint="Was a file saved meanwhile? Repeat."
        )
    return packages


def _workspace(stage: Stage, region: str) -> Path:
    """A fresh directory with links to the project: sls keeps scratch files where it runs; regions run side by side."""
    # Always the same place: sls takes another path for a change.
    workspace = _workspaces(stage) / region
    shutil.rmtree(workspace, ignore_errors=True)
    (workspace / ".atoll").mkdir(parents=True)
    # sls does not find its configuration through a link.
    shutil.copy(ROOT / "serverless.yml", workspace)
    for name in LINKED:
        (workspace / name).symlink_to(ROOT / name)
    cache = ROOT / ".atoll" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (workspace / ".atoll" / "cache").symlink_to(cache)
    return workspace


def _deploy_region(cloud: Cloud, package: Package, tokens: Tokens, progress: Progress) -> Deployment:
    started = time.monotonic()
    progress(f"{package.region}: deploying")
    try:
        output = _sls(["deploy", "--package", "package"], cloud.stage, package.region, package.workspace)
        smoke(cloud, package.region, tokens)
    except OpsError as error:
        progress(f"{package.region}: failed")
        return Deployment(package.region, "failed", time.monotonic() - started, str(error))
    outcome = "unchanged" if "No changes to deploy" in output else "deployed"
    progress(f"{package.region}: {outcome}")
    return Deployment(package.region, outcome, time.monotonic() - started)


def smoke(cloud: Cloud, region: str, tokens: Tokens) -> None:
    """Ask the region's API to accept an empty batch: API and ingest work, and nothing is written or counted as failed.

    Raises:
        OpsError: no answer, or one that is not this region's.
    """
    with explained(f"{region}: reading stack {cloud.stage.stack}"):
        regional = stack.read(cloud, region)
    if regional.api_id is None:
        raise OpsError(f"{region}: the stack has no API")
    url = f"{cloud.api_url(regional.api_id, region)}/events"
    try:
        answer = _post_empty_batch(url, regional.outputs.get("RegionalDomainTarget"), tokens)
        body: Any = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise OpsError(f"{region}: {url} gives no usable answer: {error}") from error
    if answer.status_code != 202 or not isinstance(body, dict) or body.get("region") != region:
        raise OpsError(f"{region}: {url} answers {answer.status_code}, not as region {region}: {answer.text[:200]}")


def _post_empty_batch(url: str, target: str | None, tokens: Tokens) -> httpx.Response:
    """Ask the API under its name; where that is a name of the stage's, at ``target``: DNS may not have it yet."""
    headers = {"content-type": BATCH, "authorization": f"Bearer {tokens.get()}"}
    extensions: dict[str, Any] = {}
    patience_s = 0.0
    if target is not None:
        name = httpx.URL(url).host
        headers["host"], extensions["sni_hostname"] = name, name
        url = str(httpx.URL(url).copy_with(host=target))
        patience_s = NEW_NAME_S
    end = time.monotonic() + patience_s
    with httpx.Client(timeout=30.0) as client:
        while True:
            try:
                return client.post(url, content=b"[]", headers=headers, extensions=extensions)
            except httpx.ConnectError:
                if time.monotonic() >= end:
                    raise
                time.sleep(NEW_NAME_POLL_S)


def _roll_back(cloud: Cloud, done: Deployment, previous: str | None, workspace: Path, progress: Progress) -> Deployment:
    if done.outcome == "unchanged":
        return done
    if previous is None:
        detail = f"{done.detail}; it ran nothing before: remove it with npx sls remove".lstrip("; ")
        return Deployment(done.region, "failed", done.seconds, detail)
    progress(f"{done.region}: rolling back")
    try:
        _sls(["rollback", "--timestamp", previous], cloud.stage, done.region, workspace)
    except OpsError as error:
        return Deployment(
            done.region, "failed", done.seconds, f"{done.detail}; rollback failed too: {error}".lstrip("; ")
        )
    return Deployment(done.region, "rolled back", done.seconds, done.detail)


def _latest_deployment(cloud: Cloud, region: str) -> str | None:
    """The timestamp (ms) of what the region runs, as ``sls rollback`` names it; None before the first deployment."""
    prefix = f"serverless/{SERVICE}/{cloud.stage.stage}/"
    with explained(f"{region}: listing earlier deployments"):
        bucket = stack.read(cloud, region).outputs.get("ServerlessDeploymentBucketName")
        if bucket is None:
            return None
        pages = cloud.client("s3", region).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    stamps = {match[1] for key in keys if (match := re.match(rf"{re.escape(prefix)}(\d+)-", key))}
    return max(stamps, default=None)


def _sls(arguments: list[str], stage: Stage, region: str, workspace: Path) -> str:
    if not SLS.exists():
        raise UsageError("the Serverless Framework is not installed", hint="Run: make setup")
    command = [str(SLS), *arguments, "--stage", stage.stage, "--region", region]
    environment = {**os.environ, "SLS_NOTIFICATIONS_MODE": "off", "NO_COLOR": "1", "NODE_NO_WARNINGS": "1"}
    try:
        result = subprocess.run(
            command, cwd=workspace, env=environment, capture_output=True, text=True, timeout=SLS_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise OpsError(f"{region}: sls {arguments[0]} gave no end in {SLS_TIMEOUT_S} s") from error
    output = result.stdout + result.stderr
    if result.returncode != 0:
        tail = "\n".join(line for line in output.splitlines() if line.strip())[-2000:]
        raise OpsError(
            f"{region}: sls {arguments[0]} failed:\n{tail}",
            hint=f"Try it alone: npx sls {arguments[0]} --stage {stage.stage} --region {region}",
        )
    return output
