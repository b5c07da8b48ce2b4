"""What the processes of the local cloud inherit, and what an operator's shell cannot leak into them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.errors import UsageError
from ops.local import cloud as local_cloud
from ops.local.cloud import LocalCloud
from ops.local.processes import choose_port, clean_environment, last_lines
from ops.stage import load_stage


def test_clean_environment_drops_credentials_endpoints_and_foreign_settings() -> None:
    inherited = {
        "PATH": "/usr/bin",
        "HOME": "/home/operator",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_SECRET_ACCESS_KEY": "real",
        "AWS_SESSION_TOKEN": "real",
        "AWS_PROFILE": "production",
        "AWS_ENDPOINT_URL": "http://elsewhere",
        "GATEWAY_PORT": "1",
        "AUTH": "true",
        "LAMBDA_EXECUTOR": "docker",
        "HTTPS_PROXY": "http://proxy",
    }
    cleaned = clean_environment(inherited)
    assert cleaned == {
        "PATH": "/usr/bin",
        "HOME": "/home/operator",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.mark.enable_socket
def test_choose_port_avoids_those_already_chosen() -> None:
    first = choose_port(0, {0})
    assert choose_port(first, {first}) != first


def test_last_lines_of_a_missing_log_says_so(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none.log") == "(no log)"


def test_activate_wins_over_a_profile_of_the_operator() -> None:
    cloud = LocalCloud("local", "us-east-1", "http://a", "http://b", "http://c", 1, {}, "now")
    environ = {"AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "real", "AWS_ACCESS_KEY_ID": "AKIAREAL"}
    local_cloud.activate(cloud, environ)
    assert "AWS_PROFILE" not in environ
    assert "AWS_SESSION_TOKEN" not in environ
    assert environ["AWS_ACCESS_KEY_ID"] == "test"
    assert environ["AWS_ENDPOINT_URL"] == "http://a"
    assert environ["ATOLL_EDGE_URL"] == "http://c"


def test_up_of_a_stage_on_aws_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it runs on AWS"):
        local_cloud.up(load_stage("prod"), state_dir=tmp_path)


def test_current_and_down_without_a_cloud_do_nothing(tmp_path: Path) -> None:
    assert local_cloud.current(tmp_path) is None
    assert local_cloud.down(state_dir=tmp_path) == []
    assert local_cloud.down(state_dir=tmp_path / "absent") == []


def test_down_with_a_stale_state_file_removes_it_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "local.json").write_text('{"stage": "local", "supervisor_pid": 1}', encoding="utf-8")
    assert local_cloud.current(tmp_path) is None
    assert local_cloud.down(state_dir=tmp_path) == ["removed the state of a local cloud that is no longer running"]
    assert not (tmp_path / "local.json").exists()
