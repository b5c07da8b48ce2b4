"""The process that keeps the local cloud: starts emulator and edge, and ends all of them together.

Always: it holds an exclusive lock on ``supervisor.lock`` for as long as it lives, so "is the cloud up" is a question to
the kernel and never to a process id that may have been recycled. When one child ends, or a signal asks for it, every
child's process group is killed (Lambda workers are in the emulator's) and the state file is removed. When this
process is killed without warning, the children see their lifeline close and end by themselves.

Started by ``ops.local.cloud.up``; ``python -m ops.local.supervisor`` takes its settings as JSON.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from ops.local.processes import HOST, LIFELINE_VARIABLE, call, choose_port, clean_environment, last_lines

START_TIMEOUT_S = 60.0
POLL_S = 0.03
WATCH_S = 0.2

STATE_FILE = "local.json"
LOCK_FILE = "supervisor.lock"
FAULTS_FILE = "faults.json"


class StartError(Exception):
    """A child did not come up; the message carries the end of its log."""


@dataclass(frozen=True)
class Settings:
    """What the supervisor needs to know of the stage."""

    state_dir: str
    stage: str
    home_region: str
    zone: str
    record: str
    port: int
    lag_ms: float
    enforce_iam: bool
    handlers_through_proxy: bool = True


@dataclass
class Supervisor:
    """Children by name, and the pipe whose write end keeps them alive."""

    settings: Settings
    report: TextIO
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)
    _lifeline: tuple[int, int] = field(default_factory=os.pipe)

    @property
    def state_dir(self) -> Path:
        return Path(self.settings.state_dir)

    def say(self, **message: Any) -> None:
        """Tell ``up``; a caller that is gone before the cloud is ready ends it (BrokenPipeError)."""
        self.report.write(json.dumps(message) + "\n")
        self.report.flush()

    def start(self) -> dict[str, Any]:
        """Start the children and wait for each to answer; returns what ``local.json`` holds.

        Raises:
            StartError: a child ended, or did not answer in time.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        with self._choosing(deadline):
            return self._start(self._ports(), deadline)

    @contextlib.contextmanager
    def _choosing(self, deadline: float) -> Iterator[None]:
        """Keep other clouds of this user from choosing ports that are chosen already and not listened on yet."""
        path = Path(tempfile.gettempdir()) / f"atoll-ports-{os.getuid()}.lock"
        with path.open("a", encoding="utf-8") as handle:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self.ended.is_set() or time.monotonic() > deadline:
                        raise StartError("another local cloud is starting, and does not come to its end") from None
                    time.sleep(POLL_S)
            yield

    def _start(self, ports: dict[str, int], deadline: float) -> dict[str, Any]:
        settings = self.settings
        emulator_url, endpoint_url, edge_url = (
            f"http://{HOST}:{ports[name]}" for name in ("emulator", "proxy", "edge")
        )
        cloud_id = uuid.uuid4().hex
        handlers_endpoint = endpoint_url if settings.handlers_through_proxy else emulator_url
        self._spawn(
            "emulator",
            *("--port", str(ports["emulator"]), "--endpoint-port", str(ports["proxy"])),
            *("--lag-ms", str(settings.lag_ms)),
            *(["--enforce-iam"] if settings.enforce_iam else []),
            *("--handlers-endpoint", handlers_endpoint, "--cloud-id", cloud_id, "--state-dir", settings.state_dir),
        )
        self._spawn(
            "edge",
            *("--port", str(ports["edge"]), "--endpoint", emulator_url, "--zone", settings.zone),
            *("--record", settings.record, "--home-region", settings.home_region),
        )
        status = self._wait("emulator", f"{emulator_url}/_atoll/status", deadline)
        if status.get("cloud_id") != cloud_id:
            raise StartError(f"port {ports['emulator']} is answered by another emulator")
        self._wait("emulator", f"{emulator_url}/_ministack/ready", deadline)
        self._wait("emulator", f"{endpoint_url}/_microburst/health", deadline)
        self._wait("edge", f"{edge_url}/_edge/ready", deadline)
        return {
            "stage": settings.stage,
            "home_region": settings.home_region,
            "endpoint_url": endpoint_url,
            "emulator_url": emulator_url,
            "edge_url": edge_url,
            "supervisor_pid": os.getpid(),
            "ports": ports,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _ports(self) -> dict[str, int]:
        ports: dict[str, int] = {}
        for offset, name in enumerate(("proxy", "emulator", "edge")):
            wanted = self.settings.port + offset
            ports[name] = choose_port(wanted, set(ports.values()))
            if ports[name] != wanted:
                self.say(say=f"port {wanted} is in use: {name} takes {ports[name]}")
        return ports

    def _spawn(self, name: str, *arguments: str) -> None:
        temporary = self.state_dir / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        environment = clean_environment(os.environ) | {
            LIFELINE_VARIABLE: str(self._lifeline[0]),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(temporary),
            # No container of the operator's Docker is any business of the emulator.
            "DOCKER_HOST": f"unix://{temporary}/no-docker.sock",
        }
        with self._log(name).open("wb") as log:
            self.children[name] = subprocess.Popen(
                [sys.executable, "-m", f"ops.local.{name}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(self._lifeline[0],),
                start_new_session=True,  # a process group of its own, which its workers join
            )

    def _log(self, name: str) -> Path:
        return self.state_dir / "logs" / f"{name}.log"

    def _wait(self, name: str, url: str, deadline: float) -> dict[str, Any]:
        while True:
            code = self.children[name].poll()
            if code is not None:
                raise StartError(f"{name} ended with status {code}; {self._log(name)} ends with:\n{self._tail(name)}")
            try:
                return dict(call("GET", url, timeout_s=5))
            except OSError:
                pass  # not listening yet, or 503 until it is ready
            if self.ended.is_set():
                raise StartError("stopped while starting")
            if time.monotonic() > deadline:
                raise StartError(
                    f"{name} did not answer {url} within {START_TIMEOUT_S:.0f} s; {self._log(name)} ends with:\n"
                    + self._tail(name)
                )
            time.sleep(POLL_S)

    def _tail(self, name: str) -> str:
        return last_lines(self._log(name))

    def watch(self) -> str:
        """Wait until a signal asks to stop or a child ends; returns why."""
        while not self.ended.wait(WATCH_S):
            for name, child in self.children.items():
                # WNOWAIT: the process id must stay taken until its group has been killed.
                if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    return f"{name} ended by itself; its log ends with:\n{self._tail(name)}"
        return "asked to stop"

    def stop(self) -> None:
        """Kill every child with its group. What they hold is discarded on purpose: the cloud keeps no state."""
        for child in self.children.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        for child in self.children.values():
            child.wait()
        for name in (STATE_FILE, FAULTS_FILE):
            (self.state_dir / name).unlink(missing_ok=True)
        shutil.rmtree(self.state_dir / "tmp", ignore_errors=True)


def take_lock(state_dir: Path, patience_s: float = 3.0) -> TextIO | None:
    """Hold the supervisor's lock, or None if another holds it. Those who only ask hold it for a moment: be patient."""
    handle = (state_dir / LOCK_FILE).open("a+", encoding="utf-8")
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                handle.close()
                return None
            time.sleep(POLL_S)
            continue
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        return handle


def write_atomically(path: Path, data: Any) -> None:
    """Replace ``path`` with ``data`` as JSON; a reader sees the old or the new file, never a part."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def run(settings: Settings, report: TextIO) -> int:
    """Live as the supervisor; returns the exit status."""
    state_dir = Path(settings.state_dir)
    lock = take_lock(state_dir)
    if lock is None:
        report.write(json.dumps({"error": "another local cloud is up in this directory"}) + "\n")
        return 1
    supervisor = Supervisor(settings, report)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.ended.set())
    try:
        cloud = supervisor.start()
        write_atomically(state_dir / STATE_FILE, cloud)
        supervisor.say(ready=cloud)
        report.close()
        reason = supervisor.watch()
        sys.stderr.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} stopping: {reason}\n")
    except StartError as error:
        supervisor.stop()
        with contextlib.suppress(BrokenPipeError):
            supervisor.say(error=str(error))
        return 1
    except BrokenPipeError:
        sys.stderr.write("the caller of up is gone: stopping\n")
        return 1
    finally:
        supervisor.stop()
        lock.close()
    return 0


def main() -> None:
    """``ops.local.supervisor SETTINGS REPORT_FD``: detach, then run."""
    settings, descriptor = Settings(**json.loads(sys.argv[1])), int(sys.argv[2])
    if os.fork():  # the caller waits for this one and keeps no child of its own
        os._exit(0)
    report = os.fdopen(descriptor, "w", encoding="utf-8")
    # The first line is on its way before anything can fail, so that a caller can always find this process.
    report.write(json.dumps({"pid": os.getpid()}) + "\n")
    report.flush()
    status = run(settings, report)
    with contextlib.suppress(BrokenPipeError):
        report.close()
    os._exit(status)


if __name__ == "__main__":
    main()
