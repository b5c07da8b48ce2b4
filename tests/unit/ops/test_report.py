from __future__ import annotations

from pathlib import Path
from typing import Any

from ops.record import write_result
from ops.report import write_index


def record(root: Path, stage: str, name: str, runbook: str, verdict: str = "pass", **more: Any) -> Path:
    directory = root / stage / f"{name}-{runbook}"
    directory.mkdir(parents=True)
    time = f"{name[:4]}-{name[4:6]}-{name[6:8]}T{name[9:11]}:{name[11:13]}:{name[13:15]}.000Z"
    result = {
        **{"runbook": runbook, "stage": stage, "account": "", "regions": [], "started": time, "finished": time},
        **{"verdict": verdict, "checks": [], "figures": {}, "plan": None},
        **more,
    }
    write_result(directory, result)
    (directory / "run.html").write_text("")
    return directory


def test_write_index_when_all_latest_pass_says_so(tmp_path: Path) -> None:
    record(tmp_path, "local", "20260301T120000Z", "replay", "fail")
    record(tmp_path, "local", "20260301T130000Z", "replay", figures={"lag_p95_ms": 41})
    html = write_index(tmp_path).read_text()
    assert "All latest runs pass" in html
    assert 'href="local/20260301T130000Z-replay/run.html"' in html
    assert "lag p95 41\N{NO-BREAK SPACE}ms" in html
    assert "1 earlier run<" in html


def test_write_index_when_some_do_not_pass_names_them_first(tmp_path: Path) -> None:
    checks = [{"name": "equal", "ok": False, "detail": "2 <keys> differ"}]
    record(tmp_path, "local", "20260301T120000Z", "replay")
    record(tmp_path, "local", "20260301T120001Z", "divergence", "fail", checks=checks)
    record(tmp_path, "prod", "20260301T120002Z", "parity", "error")
    html = write_index(tmp_path).read_text()
    assert "2 of 3 latest runs do not pass: parity, divergence" in html
    assert "2 &lt;keys&gt; differ" in html
    assert html.index("at-fail") < html.index("All" if "All" in html else "replay")


def test_write_index_when_a_record_is_missing_or_broken_lists_it(tmp_path: Path) -> None:
    (tmp_path / "local" / "20260301T120000Z-replay").mkdir(parents=True)
    broken = record(tmp_path, "local", "20260301T120001Z", "parity")
    (broken / "result.json").write_text("{")
    odd = record(tmp_path, "local", "20260301T120002Z", "metrics")
    write_result(odd, {"verdict": "pass"})
    html = write_index(tmp_path).read_text()
    assert "3 of 3 latest runs do not pass" in html
    assert "still under way, or its runner was killed" in html
    assert "result.json cannot be read" in html


def test_write_index_when_there_are_no_runs_says_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    html = write_index(tmp_path / "reports").read_text()
    assert "No runs yet" in html
    assert "ops run" in html


def test_write_index_when_two_runs_share_a_second_keeps_both(tmp_path: Path) -> None:
    first = record(tmp_path, "local", "20260301T120000Z", "replay", "fail")
    first.rename(first.with_name("20260301T120000Z-replay-2"))
    record(tmp_path, "local", "20260301T120000Z", "replay")
    assert "1 earlier run<" in write_index(tmp_path).read_text()
