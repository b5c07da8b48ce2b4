"""A recording gives back what was kept, and says what is wrong with a file that is none."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.errors import UsageError
from ops.metrics import recording
from ops.metrics.marks import Mark, Marks
from ops.metrics.recording import Recording
from tests.unit.ops.metrics.made import AP, START, US, frame

FRAME = frame(
    [
        (0, US, "api", "Count", "Sum", 12.0),
        (3, US, "api", "Count", "Sum", 7.0),
        (1, AP, "api", "Latency", "p95", 41.25),
    ],
    periods=5,
)
MARKS = Marks(
    (Mark(START, "deployment", US, "update: done", START + timedelta(minutes=3)),), {"replays in ap-south-1": "denied"}
)
FOUND = Recording("local", START + timedelta(minutes=5), FRAME, FRAME, FRAME.iloc[:0].assign(), MARKS)
FOUND.coarse.attrs = dict(FRAME.attrs)


@pytest.mark.parametrize("name", ["kept.json", "deeper/kept.json.gz"])
def test_load_gives_back_what_was_saved(tmp_path: Path, name: str) -> None:
    path = recording.save(FOUND, tmp_path / name)
    back = recording.load(path, "local")
    pd.testing.assert_frame_equal(back.frame, FRAME)
    assert back.frame.attrs == FRAME.attrs
    assert back.coarse.empty
    assert (back.stage, back.now, back.marks) == (FOUND.stage, FOUND.now, MARKS)
    assert recording.save(back, tmp_path / f"again-{path.name}").read_bytes() == path.read_bytes()
    assert [one.name for one in path.parent.iterdir() if ".part" in one.name] == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 99),
            st.sampled_from([US, AP]),
            st.sampled_from(["api", "queue/store"]),
            st.sampled_from(["Count", "Latency"]),
            st.sampled_from(["Sum", "p95"]),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        unique_by=lambda row: row[:5],
    )
)
def test_load_gives_back_any_frame(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, str, str, str, float]]
) -> None:
    made = frame(rows, periods=100)
    path = recording.save(replace(FOUND, frame=made), tmp_path_factory.mktemp("kept") / "one.json")
    back = recording.load(path).frame
    keys = ["region", "resource", "metric", "statistic", "time"]
    pd.testing.assert_frame_equal(
        back.sort_values(keys, ignore_index=True), made.sort_values(keys, ignore_index=True), check_dtype=len(rows) > 0
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is no recording: the file: Invalid JSON"),
        (b'{"format": "something"}', "is no recording: format: Input should be 'atoll-metrics-1'"),
        (gzip.compress(b"{}" * 1000)[:20], "a broken gzip file"),
    ],
)
def test_load_when_it_is_no_recording_says_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        recording.load(path)


def test_load_when_there_is_none_or_it_is_another_stages_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"compare: .*none\.json: No such file"):
        recording.load(tmp_path / "none.json", parameter="compare")
    path = recording.save(FOUND, tmp_path / "kept.json")
    with pytest.raises(UsageError, match="was recorded on stage 'local', not 'prod'"):
        recording.load(path, "prod")


def test_save_when_it_cannot_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"save: .*Not a directory|save: .*File exists"):
        recording.save(FOUND, tmp_path / "file" / "kept.json")
