"""Starting and stopping the local cloud: twice, at once, half-way, and after every kind of sudden end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.errors import InterruptedRunError, OpsError, RefusedError
from ops.local import cloud as local_cloud
from ops.local.cloud import LocalCloud
from ops.local.processes import choose_port
from ops.local.supervisor import LOCK_FILE, STATE_FILE, write_atomically
from ops.stage import ROOT
from tests.local.platform import Aws, processes_of, stage_on, wait_until


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    local_cloud.down(state_dir=tmp_path)
    wait_until(lambda: not processes_of(tmp_path), "everything to end", timeout_s=1)


def free_port() -> int:
    return choose_port(0, {0})


def start_worker(cloud: LocalCloud) -> None:
    """Have the emulator start a worker process that is busy for longer than any test."""
    aws = Aws(cloud)
    aws.function("us-east-1", "sleep")
    aws("lambda", "us-east-1").invoke(FunctionName="sleep", InvocationType="Event")
    aws.close()


def test_up_is_idempotent_and_down_leaves_no_process(state_dir: Path) -> None:
    said: list[str] = []
    stage = stage_on(free_port())
    cloud = local_cloud.up(stage, said.append, state_dir=state_dir)
    assert local_cloud.up(stage, said.append, state_dir=state_dir) == cloud
    assert said[-1].startswith("local cloud is already up")
    assert local_cloud.current(state_dir) == cloud
    start_worker(cloud)
    wait_until(lambda: len(processes_of(state_dir)) == 4, "supervisor, two children and a worker")
    stopped = local_cloud.down(state_dir=state_dir)
    assert [one.split()[0] for one in stopped] == ["proxy", "emulator", "edge"]
    wait_until(lambda: not processes_of(state_dir), "everything to end", timeout_s=1)
    assert local_cloud.current(state_dir) is None
    assert not (state_dir / "tmp").exists()
    assert local_cloud.down(state_dir=state_dir) == []


def test_two_ups_at_once_start_one_cloud(state_dir: Path) -> None:
    stage = stage_on(free_port())
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: local_cloud.up(stage, state_dir=state_dir), range(2))
    assert one == other


def test_up_with_its_port_in_use_takes_another_and_says_so(state_dir: Path) -> None:
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cloud = local_cloud.up(stage_on(port), said.append, state_dir=state_dir)
    assert cloud.ports["proxy"] != port
    assert f"port {port} is in use: proxy takes {cloud.ports['proxy']}" in said


def test_two_clouds_that_start_at_once_with_the_same_port_take_different_ones(state_dir: Path) -> None:
    stage, directories = stage_on(free_port()), [state_dir / "one", state_dir / "other"]
    try:
        with ThreadPoolExecutor(2) as pool:
            clouds = list(pool.map(lambda path: local_cloud.up(stage, state_dir=path), directories))
        ports = [port for cloud in clouds for port in cloud.ports.values()]
        assert len(ports) == len(set(ports)) == 6
    finally:
        for path in directories:
            local_cloud.down(state_dir=path)


def test_up_for_another_stage_is_refused_while_one_is_up(state_dir: Path) -> None:
    stage = stage_on(free_port())
    local_cloud.up(stage, state_dir=state_dir)
    with pytest.raises(RefusedError, match="is up for stage 'local', not 'other'"):
        local_cloud.up(stage.model_copy(update={"stage": "other"}), state_dir=state_dir)


def test_up_with_a_child_that_fails_shows_the_end_of_its_log_and_leaves_nothing(state_dir: Path) -> None:
    stage = stage_on(free_port(), replication_lag_ms="many")
    with pytest.raises(OpsError, match=r"emulator ended with status 2(.|\n)*invalid float value: 'many'"):
        local_cloud.up(stage, state_dir=state_dir)
    wait_until(lambda: not processes_of(state_dir), "everything to end", timeout_s=1)
    assert local_cloud.current(state_dir) is None


def test_up_interrupted_leaves_nothing_and_says_so(state_dir: Path) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InterruptedRunError, match="nothing is left running"):
            local_cloud.up(stage_on(taken.getsockname()[1]), interrupt, state_dir=state_dir)
    wait_until(lambda: not processes_of(state_dir), "everything to end", timeout_s=1)


def test_caller_that_vanishes_while_starting_leaves_nothing(state_dir: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from ops.local import cloud; from tests.local.platform import stage_on\n"
        "cloud.up(stage_on(int(sys.argv[1])), state_dir=Path(sys.argv[2]))"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(free_port()), str(state_dir)], cwd=ROOT) as caller:
        wait_until(lambda: len(processes_of(state_dir)) >= 2, "the start to be under way")
        caller.kill()
    wait_until(lambda: not processes_of(state_dir), "everything to end")


@pytest.mark.parametrize("victim", ["supervisor", "emulator", "edge"])
def test_killed_process_takes_all_others_with_it(state_dir: Path, victim: str) -> None:
    stage = stage_on(free_port())
    cloud = local_cloud.up(stage, state_dir=state_dir)
    start_worker(cloud)
    wait_until(lambda: len(processes_of(state_dir)) == 4, "a busy worker")
    os.kill(process_of(cloud, state_dir, victim), signal.SIGKILL)
    wait_until(lambda: not processes_of(state_dir), f"everything to end with {victim}")
    assert local_cloud.current(state_dir) is None
    if victim == "supervisor":  # only then was nobody left to remove the state
        said: list[str] = []
        again = local_cloud.up(stage, said.append, state_dir=state_dir)
        assert again.supervisor_pid != cloud.supervisor_pid
        assert "removed the state of a local cloud that is no longer running" in said
    else:
        assert not (state_dir / STATE_FILE).exists()


def test_stale_state_with_the_process_id_of_another_process_is_not_believed(state_dir: Path) -> None:
    cloud = LocalCloud("local", "us-east-1", "http://x", "http://x", "http://x", os.getpid(), {}, "then")
    write_atomically(state_dir / STATE_FILE, cloud.to_json())
    (state_dir / LOCK_FILE).write_text(str(os.getpid()), encoding="utf-8")
    assert local_cloud.current(state_dir) is None


def process_of(cloud: LocalCloud, state_dir: Path, name: str) -> int:
    if name == "supervisor":
        return cloud.supervisor_pid
    for pid in processes_of(state_dir):
        if f"ops.local.{name}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError(f"{name} does not run")
