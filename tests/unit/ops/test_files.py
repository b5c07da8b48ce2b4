from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.files import write_whole


def test_write_whole_makes_the_folder_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "deeper" / "one.txt", "été")
    assert path.read_bytes() == "été".encode()
    write_whole(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert [one.name for one in path.parent.iterdir()] == ["one.txt"]


def test_write_whole_by_many_at_once_is_one_of_theirs(tmp_path: Path) -> None:
    path, texts = tmp_path / "one.txt", [str(n) * 200_000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_whole(path, text), texts))
    assert path.read_text() in texts
    assert [one.name for one in tmp_path.iterdir()] == ["one.txt"]


def test_write_whole_when_it_cannot_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_whole(tmp_path / "one.txt", "before")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "after")
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["one.txt"]
