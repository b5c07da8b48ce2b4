"""The local cloud from outside: start it, stop it, find it.

``up`` starts processes and deploys nothing; it is idempotent and safe to run twice at once. ``down`` discards
everything the cloud held. Whether it is up is asked of the lock that its supervisor holds, so a stale state file, a
recycled process id or a crash is recognised and cleaned, with a message. All files are under ``.atoll/``.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ops.aws import ENVIRONMENT_FILE
from ops.errors import InterruptedRunError, OpsError, RefusedError, UsageError
from ops.local.cities import require_region
from ops.local.processes import TEST_CREDENTIALS, last_lines
from ops.local.supervisor import FAULTS_FILE, LOCK_FILE, POLL_S, STATE_FILE, Settings
from ops.stage import ROOT, Stage
from ops.stage import state_dir as default_state_dir

UP_LOCK_FILE = "up.lock"
STOP_TIMEOUT_S = 10.0
UP_TIMEOUT_S = 90.0

# An operator's shell may carry these; they would win over, or clash with, what ``environment`` sets.
FOREIGN_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")

Progress = Callable[[str], None]


def _quiet(_: str) -> None:
    """Progress that nobody reads."""


@dataclass(frozen=True)
class LocalCloud:
    """A running local cloud, as ``local.json`` describes it."""

    stage: str
    home_region: str
    endpoint_url: str
    emulator_url: str
    edge_url: str
    supervisor_pid: int
    ports: dict[str, int]
    started: str
    state_dir: Path = Path()

    def to_json(self) -> dict[str, Any]:
        """What ``local.json`` holds."""
        data = asdict(self)
        del data["state_dir"]
        return data


def environment(cloud: LocalCloud) -> dict[str, str]:
    """The variables that point any AWS SDK, ``sls`` and the toolkit's clients at the local cloud."""
    return {
        **TEST_CREDENTIALS,
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        "AWS_DEFAULT_REGION": cloud.home_region,
        "AWS_REGION": cloud.home_region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "ATOLL_EDGE_URL": cloud.edge_url,
        # sls asks for the progress of a stack this often (ms); here nothing is gained by waiting.
        "SLS_AWS_MONITORING_FREQUENCY": "250",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def activate(cloud: LocalCloud, environ: MutableMapping[str, str] | None = None) -> None:
    """Set ``environment`` in ``environ`` (default: this process) and drop what would win over it."""
    target = os.environ if environ is None else environ
    for name in FOREIGN_VARIABLES:
        target.pop(name, None)
    target.update(environment(cloud))


def current(state_dir: Path | None = None) -> LocalCloud | None:
    """The local cloud that is up, or None."""
    directory = state_dir or default_state_dir()
    if _supervisor_pid(directory) is None:
        return None
    try:
        data = json.loads((directory / STATE_FILE).read_text(encoding="utf-8"))
        return LocalCloud(**data, state_dir=directory)
    except (FileNotFoundError, ValueError, TypeError):
        return None  # still starting, or just ending


def up(
    stage: Stage,
    progress: Progress = _quiet,
    *,
    state_dir: Path | None = None,
    handlers_through_proxy: bool = True,
) -> LocalCloud:
    """Start the local cloud for ``stage``, or return the one that is up.

    Parameters
    ----------
    handlers_through_proxy : let the functions' own AWS calls pass the proxy too, so that API faults reach them.

    Raises:
        UsageError: the stage runs on AWS, or a region of it is on no map.
        RefusedError: the local cloud is up for another stage.
        OpsError: a process did not start; the message ends with its log.
        InterruptedRunError: Ctrl-C; nothing is left running.
    """
    if stage.local_cloud is None:
        raise UsageError(
            f"stage: {stage.stage!r} has no local_cloud section: it runs on AWS, and there is nothing to start",
            hint="Use --stage local.",
        )
    for region in stage.regions:
        require_region(region)
    directory = state_dir or default_state_dir()
    (directory / "logs").mkdir(parents=True, exist_ok=True)
    with _starting(directory, progress):
        cloud = current(directory)
        if cloud is not None:
            if cloud.stage != stage.stage:
                raise RefusedError(
                    f"the local cloud is up for stage {cloud.stage!r}, not {stage.stage!r}",
                    hint="Run `ops down` first: it discards what that cloud holds.",
                )
            progress(f"local cloud is already up: {cloud.endpoint_url}")
            return cloud
        for message in _clean(directory):
            progress(message)
        settings = Settings(
            state_dir=str(directory),
            stage=stage.stage,
            home_region=stage.home_region,
            zone=stage.dns.zone,
            record=stage.dns.record,
            port=stage.local_cloud.port,
            lag_ms=stage.local_cloud.replication_lag_ms,
            enforce_iam=stage.local_cloud.enforce_iam,
            handlers_through_proxy=handlers_through_proxy,
        )
        cloud = _start(settings, directory, progress)
        # Lets a notebook that was not started by `ops` find its stage.
        (directory / ENVIRONMENT_FILE.format(stage=stage.stage)).write_text(json.dumps(environment(cloud)))
    progress(f"local cloud is up: AWS endpoint {cloud.endpoint_url}, edge {cloud.edge_url}")
    return cloud


def down(progress: Progress = _quiet, *, state_dir: Path | None = None) -> list[str]:
    """Stop the local cloud and discard what it held; returns what was stopped or cleaned. Idempotent.

    Raises:
        OpsError: a process could not be ended.
    """
    directory = state_dir or default_state_dir()
    if not directory.is_dir():
        return []
    pid, cloud = _supervisor_pid(directory), current(directory)
    if pid is not None:
        progress("stopping the local cloud")
        if not _end(pid, directory):
            raise OpsError(
                f"the supervisor (process {pid}) could not be ended",
                hint=f"End it by hand: kill -9 {pid}; the rest ends with it.",
            )
        ports = cloud.ports if cloud else {}
        return [f"{name} (port {port})" for name, port in ports.items()] or ["a cloud that was starting"]
    cleaned = _clean(directory)
    for message in cleaned:
        progress(message)
    return cleaned


@contextmanager
def _starting(directory: Path, progress: Progress) -> Iterator[None]:
    """One ``up`` at a time in a directory."""
    with (directory / UP_LOCK_FILE).open("a", encoding="utf-8") as handle:
        deadline, told = time.monotonic() + UP_TIMEOUT_S, False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OpsError(
                        f"another start of the local cloud has been going on for {UP_TIMEOUT_S:.0f} s",
                        hint="Look for another `ops up`, end it, and try again.",
                    ) from None
                if not told:
                    progress("another `ops up` is starting the local cloud: waiting for it")
                    told = True
                time.sleep(POLL_S)
        yield


def _start(settings: Settings, directory: Path, progress: Progress) -> LocalCloud:
    reading, writing = os.pipe()
    log_path = directory / "logs" / "supervisor.log"
    pid: int | None = None
    failure = ""
    try:
        with log_path.open("ab") as log, os.fdopen(reading, encoding="utf-8") as report:
            try:
                subprocess.run(
                    [sys.executable, "-m", "ops.local.supervisor", json.dumps(asdict(settings)), str(writing)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=ROOT,
                    pass_fds=(writing,),
                    start_new_session=True,  # Ctrl-C at this terminal is ours to handle
                    check=True,
                )
            finally:
                os.close(writing)
            for line in report:
                message = json.loads(line)
                pid = message.get("pid", pid)
                if "say" in message:
                    progress(message["say"])
                elif "error" in message:
                    failure = message["error"]  # raised when the supervisor has ended too, which closes the report
                elif "ready" in message:
                    return LocalCloud(**message["ready"], state_dir=directory)
    except KeyboardInterrupt:
        if pid is not None:
            _end(pid, directory)
        raise InterruptedRunError("interrupted: the local cloud was not started, and nothing is left running") from None
    if failure:
        raise OpsError(f"the local cloud did not start: {failure}", hint=f"Logs: {directory / 'logs'}")
    raise OpsError(
        f"the supervisor ended before the local cloud was up; its log ends with:\n{last_lines(log_path)}",
        hint=f"Logs: {directory / 'logs'}",
    )


def _supervisor_pid(directory: Path) -> int | None:
    """The process that holds the supervisor's lock, or None."""
    try:
        with (directory / LOCK_FILE).open(encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = handle.read().strip()
                return int(text) if text.isdigit() else None
    except FileNotFoundError:
        pass
    return None


def _end(pid: int, directory: Path) -> bool:
    """Ask the supervisor to stop, then insist; answers whether its lock is free."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_TIMEOUT_S
        if _supervisor_pid(directory) == pid:  # never signal an id that is no longer the supervisor's
            os.kill(pid, number)
        while time.monotonic() < deadline:
            if _supervisor_pid(directory) is None:
                _clean(directory)
                return True
            time.sleep(POLL_S)
    return False


def _clean(directory: Path) -> list[str]:
    """Remove what a cloud that is gone has left; says so when it had not ended by itself."""
    messages = []
    if (directory / STATE_FILE).exists():
        messages.append("removed the state of a local cloud that is no longer running")
    for name in (STATE_FILE, FAULTS_FILE):
        (directory / name).unlink(missing_ok=True)
    for path in directory.glob(ENVIRONMENT_FILE.format(stage="*")):
        path.unlink()
    shutil.rmtree(directory / "tmp", ignore_errors=True)
    return messages
