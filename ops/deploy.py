"""Deploy the regional stack with the Serverless Framework, region by region in the stage's waves.

1. Package every region; all packages must hold the same code, or nothing is deployed.
2. Deploy wave by wave; the regions of a wave side by side. Each region must come up: its stack complete and its
   API accepting for that region.
3. A red region stops the rollout, and every region touched by it goes back to what it ran before.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ops import stack
from ops.aws import Cloud, explained
from ops.errors import OpsError, UsageError
from ops.stage import ROOT, SERVICE, Stage

Progress = Callable[[str], None]
PACKAGES = ROOT / ".atoll" / "packages"
SLS = ROOT / "node_modules" / ".bin" / "sls"
SLS_TIMEOUT_S = 1800
BATCH = "application/cloudevents-batch+json"


@dataclass(frozen=True)
class Package:
    """What ``sls package`` made for one region. ``code_sha256`` is the digest of the Lambda artifact."""

    region: str
    directory: Path
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
        UsageError: a region is not in the stage, or the Serverless Framework is not installed.
        OpsError: packaging failed; nothing was deployed.
    """
    wanted = [cloud.stage.require_region(region) for region in regions] if regions else cloud.stage.regions
    packages = {package.region: package for package in package_regions(cloud.stage, wanted, progress)}
    waves = [[region for region in wave if region in packages] for wave in cloud.stage.deploy_waves]
    done: list[Deployment] = []
    previous: dict[str, str | None] = {}
    for wave in filter(None, waves):
        for region in wave:
            previous[region] = _latest_deployment(cloud, region)
        with ThreadPoolExecutor(max_workers=len(wave)) as pool:
            outcomes = list(pool.map(lambda region: _deploy_region(cloud, packages[region], progress), wave))
        done += outcomes
        if not all(outcome.ok for outcome in outcomes):
            done = [_roll_back(cloud, outcome, previous[outcome.region], progress) for outcome in done]
            reached = {outcome.region for outcome in done}
            done += [Deployment(region, "not reached", 0.0) for region in wanted if region not in reached]
            break
    return done


def package_regions(stage: Stage, regions: list[str], progress: Progress = lambda _: None) -> list[Package]:
    """Package each region into ``.atoll/packages/<stage>/<region>/``; needs neither an account nor a network.

    Raises:
        OpsError: packaging failed, or the regions' code differs.
    """
    packages = []
    for region in regions:
        directory = PACKAGES / stage.stage / region
        shutil.rmtree(directory, ignore_errors=True)
        progress(f"{region}: packaging")
        _sls(["package", "--package", str(directory)], stage, region)
        artifact = directory / f"{SERVICE}.zip"
        packages.append(
            Package(region, directory, hashlib.sha256(artifact.read_bytes()).hexdigest(), artifact.stat().st_size)
        )
    if len({package.code_sha256 for package in packages}) > 1:
        shown = ", ".join(f"{package.region} {package.code_sha256[:12]}" for package in packages)
        raise OpsError(
            f"the packaged code differs between regions: {shown}", hint="Was a file saved meanwhile? Repeat."
        )
    return packages


def _deploy_region(cloud: Cloud, package: Package, progress: Progress) -> Deployment:
    started = time.monotonic()
    progress(f"{package.region}: deploying")
    try:
        output = _sls(["deploy", "--package", str(package.directory)], cloud.stage, package.region)
        smoke(cloud, package.region)
    except OpsError as error:
        progress(f"{package.region}: failed")
        return Deployment(package.region, "failed", time.monotonic() - started, str(error))
    outcome = "unchanged" if "No changes to deploy" in output else "deployed"
    progress(f"{package.region}: {outcome}")
    return Deployment(package.region, outcome, time.monotonic() - started)


def smoke(cloud: Cloud, region: str) -> None:
    """Ask the region's API to accept an empty batch: API and ingest work, and nothing is written or counted as failed.

    Raises:
        OpsError: no answer, or one that is not this region's.
    """
    with explained(f"{region}: reading stack {cloud.stage.stack}"):
        api_id = stack.read(cloud, region).api_id
    if api_id is None:
        raise OpsError(f"{region}: the stack has no API")
    url = f"{cloud.api_url(api_id, region)}/events"
    try:
        answer = httpx.post(url, content=b"[]", headers={"content-type": BATCH}, timeout=30.0)
        body: Any = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise OpsError(f"{region}: {url} gives no usable answer: {error}") from error
    if answer.status_code != 202 or not isinstance(body, dict) or body.get("region") != region:
        raise OpsError(f"{region}: {url} answers {answer.status_code}, not as region {region}: {answer.text[:200]}")


def _roll_back(cloud: Cloud, done: Deployment, previous: str | None, progress: Progress) -> Deployment:
    if done.outcome == "unchanged":
        return done
    if previous is None:
        detail = f"{done.detail}; it ran nothing before: remove it with npx sls remove".lstrip("; ")
        return Deployment(done.region, "failed", done.seconds, detail)
    progress(f"{done.region}: rolling back")
    try:
        _sls(["rollback", "--timestamp", previous], cloud.stage, done.region)
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


def _sls(arguments: list[str], stage: Stage, region: str) -> str:
    if not SLS.exists():
        raise UsageError("the Serverless Framework is not installed", hint="Run: make setup")
    command = [str(SLS), *arguments, "--stage", stage.stage, "--region", region]
    environment = {**os.environ, "SLS_NOTIFICATIONS_MODE": "off", "NO_COLOR": "1", "NODE_NO_WARNINGS": "1"}
    try:
        result = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SLS_TIMEOUT_S, check=False
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
