from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ops import record
from ops.plan import Plan, Step
from ops.record import RUN_DIR_VARIABLE, Record, new_run_directory, read_result, write_result
from ops.stage import load_stage

NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    monkeypatch.setenv(RUN_DIR_VARIABLE, str(tmp_path))
    return Record.begin("parity", load_stage("local"), "000000000000")


def test_begin_when_the_runner_gave_a_directory_uses_it(opened: Record, tmp_path: Path) -> None:
    assert opened.directory == tmp_path
    assert opened.regions == load_stage("local").regions
    assert datetime.fromisoformat(opened.started).tzinfo == UTC
    assert opened.started.endswith("Z")


def test_begin_when_a_notebook_runs_by_hand_makes_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUN_DIR_VARIABLE, raising=False)
    monkeypatch.setattr(record, "REPORTS", tmp_path)
    made = Record.begin("parity", load_stage("local"), "000000000000").directory
    assert made.is_dir()
    assert made.parent == tmp_path / "local"
    assert made.name.endswith("Z-parity")


@pytest.mark.parametrize(
    ("outcomes", "verdict"), [([], "pass"), ([True, True], "pass"), ([True, False], "fail"), ([False], "fail")]
)
def test_verdict_when_checks_are_made_is_fail_as_soon_as_one_is_not_ok(
    opened: Record, outcomes: list[bool], verdict: str
) -> None:
    for number, ok in enumerate(outcomes):
        opened.check(f"check {number}", ok, "seen")
    assert opened.verdict == verdict


def test_check_when_given_a_numpy_truth_keeps_a_plain_one(opened: Record) -> None:
    assert opened.check("equal", np.bool_(True), "yes").ok is True  # type: ignore[arg-type]


def test_finish_when_called_writes_what_it_returns(opened: Record) -> None:
    opened.check("equal", False, "2 keys differ")
    opened.figures["items"] = 3
    opened.plan = Plan(
        runbook="parity", stage="local", account="1", regions=[], steps=[Step(action="keep", resource="zone")]
    )
    result = opened.finish()
    assert read_result(opened.directory) == result
    assert (result["verdict"], result["figures"]) == ("fail", {"items": 3})
    assert result["checks"] == [{"name": "equal", "ok": False, "detail": "2 keys differ"}]
    assert result["plan"]["token"] == opened.plan.token
    assert result["started"] <= result["finished"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (NAN, None),
        (INFINITY, None),
        (-INFINITY, None),
        (np.float64("nan"), None),
        (np.float32(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(False), False),
        (np.array([1.0, NAN]), [1.0, None]),
        (np.datetime64("NaT"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Timestamp("2026-03-01T12:00", tz="UTC"), "2026-03-01T12:00:00+00:00"),
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00+00:00"),
        (Decimal("1.5"), 1.5),
        (Decimal("NaN"), None),
        ({1: {"lag_ms": NAN}}, {"1": {"lag_ms": None}}),
        ((1, [INFINITY, "x"]), [1, [None, "x"]]),
        (Path("a/b"), "a/b"),
        (True, True),
        (None, None),
    ],
    ids=repr,
)
def test_write_result_when_a_value_is_not_of_json_writes_what_json_has(
    tmp_path: Path, value: Any, written: Any
) -> None:
    assert write_result(tmp_path, {"figures": {"it": value}}) == {"figures": {"it": written}}
    text = (tmp_path / "result.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")) == {
        "figures": {"it": written}
    }


def test_write_result_when_done_leaves_no_other_file(tmp_path: Path) -> None:
    write_result(tmp_path, {"verdict": "pass"})
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_write_result_when_it_cannot_be_finished_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_result(tmp_path, {"verdict": "pass"})

    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        write_result(tmp_path, {"verdict": "fail"})
    assert read_result(tmp_path) == {"verdict": "pass"}


@pytest.mark.parametrize("content", ["", "{", "[]", "3"])
def test_read_result_when_there_is_none_to_read_is_none(tmp_path: Path, content: str) -> None:
    assert read_result(tmp_path) is None
    (tmp_path / "result.json").write_text(content)
    assert read_result(tmp_path) is None


def test_new_run_directory_when_made_twice_in_a_second_gives_each_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Still(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Still:
            return cls(2026, 3, 1, 12, 0, 5, tzinfo=tz)

    monkeypatch.setattr(record, "datetime", Still)
    made = [new_run_directory("prod", "replay", tmp_path) for _ in range(3)]
    names = ["20260301T120005Z-replay", "20260301T120005Z-replay-2", "20260301T120005Z-replay-3"]
    assert [str(path.relative_to(tmp_path)) for path in made] == [f"prod/{name}" for name in names]
