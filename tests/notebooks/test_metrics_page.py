"""The metrics runbook from recordings: no cloud, the same page; the region that fails stands on it."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from ops import runbooks
from ops.metrics import recording
from ops.metrics.marks import Mark, Marks
from ops.metrics.recording import Recording
from ops.stage import ROOT, Stage
from tests.unit.ops.metrics.made import AP, START, US, frame, series

MINUTES = 24 * 60
# The service levels of the local stage have points of 10 s; of these, three hours.
FINE_S, FINE = 10, 1080
DOWN = 120
DEPTH = "ApproximateNumberOfMessagesVisible"


def day(*, slow: float = 1.0, failing: str = "", days: int = 0) -> Recording:
    """A day of two regions; in its last two hours ``failing`` stores nothing."""
    rows = [row for region in (US, AP) for row in shown(region, slow, region == failing)]
    levels = [row for region in (US, AP) for row in counted(region, region == failing)]
    start = START + timedelta(days=days)
    end = start + timedelta(days=1)
    window = frame(rows, periods=MINUTES, regions=(US, AP), start=start)
    fine = frame(levels, periods=FINE, period_s=FINE_S, regions=(US, AP), start=end - timedelta(seconds=FINE * FINE_S))
    fine.attrs["start"] = (end - timedelta(days=4)).isoformat()
    coarse = frame([], periods=31 * 24, period_s=3600, regions=(US, AP), start=end - timedelta(days=31))
    deployed = start + timedelta(hours=9)
    marks = Marks((Mark(deployed, "deployment", US, "update: done", deployed + timedelta(minutes=2)),))
    return Recording("local", end, window, fine, coarse, marks)


def shown(region: str, slow: float, fails: bool) -> list[tuple[int, str, str, str, str, float]]:
    """What the golden signals have of a region, a row a minute."""

    def down(n: int) -> bool:
        return fails and n >= MINUTES - DOWN

    peer = AP if region == US else US
    rows = series(region, "api", "Count", "Sum", lambda n: 120 + 20 * (n % 7), MINUTES)
    for statistic, ms in (("p50", 40.0), ("p95", 90.0), ("p99", 160.0)):
        rows += series(region, "api", "Latency", statistic, lambda n, ms=ms: slow * ms + n % 11, MINUTES)  # type: ignore[misc]
    rows += series(region, "service/ingest", "EventsAccepted", "Sum", lambda _: 100, MINUTES)
    rows += series(region, "service/store", "EndToEndLatency", "p95", lambda n: 300 + n % 40, MINUTES)
    rows += series(region, "function/store", "Invocations", "Sum", lambda _: 20, MINUTES)
    rows += series(region, "function/store", "Errors", "Sum", lambda n: 20 if down(n) else 0, MINUTES)
    rows += series(region, "dlq/store", DEPTH, "Maximum", lambda n: 30 if down(n) else 0, MINUTES)
    rows += series(region, f"replication/{peer}", "ReplicationLatency", "Average", lambda n: 700 + n % 90, MINUTES)
    return rows


def counted(region: str, fails: bool) -> list[tuple[int, str, str, str, str, float]]:
    """What the service levels count of a region, a row in 10 s; of freshness, 20 s are in time on the local stage."""

    def stored(n: int) -> float:
        return 0 if fails and n >= FINE - DOWN * 6 else 16

    rows = series(region, "api", "Count", "Sum", lambda _: 20, FINE)
    rows += series(region, "api", "Latency", "TC(:5000)", lambda _: 20, FINE)
    rows += series(region, "service/ingest", "EventsAccepted", "Sum", lambda _: 16, FINE)
    rows += series(region, "service/store", "EndToEndLatency", "TC(:20000)", stored, FINE)
    rows += series(region, "service/store", "EndToEndLatency", "TS(:20000)", lambda n: 100 * stored(n), FINE)
    return rows


@pytest.fixture
def run(stage: Stage, root: Path, tmp_path: Path) -> object:
    """Run the metrics runbook from a recording; its result and its page."""

    def run(found: Recording, **parameters: str) -> tuple[dict[str, object], str]:
        source = recording.save(found, tmp_path / "found.json.gz")
        book = runbooks.find("metrics")
        values = runbooks.validate(book, {"source": str(source), **parameters})
        outcome = runbooks.run(book, stage, values, root=root)
        return outcome.result, (outcome.directory / "run.html").read_text()

    return run


def test_metrics_from_a_recording_passes_and_keeps_the_same_recording(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result, page = run(day(), save=str(tmp_path / "kept.json.gz"))
    assert [one for one in result["checks"] if not one["ok"]] == []
    assert result["verdict"] == "pass"
    assert result["figures"]["service_levels_paging"] == 0
    assert result["figures"]["freshness_budget_left_percent"] == 100
    assert "no region behaves unlike its peers" in page
    assert page.count(">D1</text>") == 6
    assert (tmp_path / "kept.json.gz").read_bytes() == (tmp_path / "found.json.gz").read_bytes()


def test_metrics_when_a_region_stores_nothing_pages_with_the_burn_of_a_hand_computation(run) -> None:  # type: ignore[no-untyped-def]
    result, page = run(day(failing=AP))
    assert result["verdict"] == "fail"
    checks = {one["name"]: one for one in result["checks"]}
    freshness = checks[f"freshness in {AP}"]
    assert not freshness["ok"]
    # For an hour no event of 16 in 10 s was stored: all bad, and 1 / (1 - 0.99) is a burn of 100.
    assert "1h burns 100.0 times its budget (limit 14.4; in 5m 100.0)" in freshness["detail"]
    assert checks[f"freshness in {US}"]["ok"]
    assert result["figures"]["freshness_fastest_burn"] == 100
    assert result["figures"]["regions_unlike_their_peers"] == AP
    banner = page[page.index("<body") :][:3000]
    assert f"freshness in {AP}" in banner
    assert "failed invocations of store" in page


def test_metrics_compared_with_a_week_before_tells_what_changed(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    before = recording.save(day(), tmp_path / "before.json")
    result, page = run(day(slow=1.6, days=7), compare=str(before))
    assert result["verdict"] == "pass"
    changed = page[page.index("What changed since") :][:6000]
    assert "p95" in changed
    assert "compared with" in page
    assert json.dumps(result)  # plain values only


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"compare": "7d"}, "compare: '7d' is asked of CloudWatch, and source is a recording"),
        ({"heartbeats": "2"}, "heartbeats: 2 would be sent now, and source is a recording; accepted: 0"),
        ({"compare": "/nowhere/none.json"}, "compare: /nowhere/none.json: No such file"),
    ],
)
def test_metrics_when_a_parameter_is_wrong_is_refused_by_its_name(
    run, parameters: dict[str, str], message: str
) -> None:  # type: ignore[no-untyped-def]
    result, page = run(day(), **parameters)
    assert result["verdict"] == "refused"
    assert message in page.replace("&#x27;", "'")


def test_metrics_from_a_recording_of_another_stage_is_refused(run, stage: Stage) -> None:  # type: ignore[no-untyped-def]
    found = day()
    other = Recording("prod", found.now, found.frame, found.fine, found.coarse, found.marks)
    result, page = run(other)
    assert result["verdict"] == "refused"
    assert "was recorded on stage" in page


def test_recording_is_shown_from_the_command_line_though_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATOLL_STATE_DIR", str(tmp_path / "no-cloud"))
    monkeypatch.setenv("ATOLL_REPORTS_DIR", str(tmp_path / "reports"))
    source = recording.save(day(), tmp_path / "found.json")
    command = [ROOT / ".venv" / "bin" / "ops", "run", "metrics", "-p", f"source={source}", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "pass"
