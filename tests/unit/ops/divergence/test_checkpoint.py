"""What is kept comes back as it was; what is damaged or another's is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.divergence.checkpoint import Half, State, Tally, load, save
from ops.errors import RefusedError, UsageError

SUBJECT = {"replicas": ["us: t", "ap: t"], "ignore": [], "only": None}

tallies = st.builds(
    Tally,
    pages=st.integers(0, 10**9),
    size_bytes=st.integers(0, 10**15),
    read_units=st.floats(0, 1e12, allow_nan=False),
)
halves = st.builds(
    Half,
    sketch=st.binary(max_size=60),
    after=st.none() | st.binary(min_size=1, max_size=30),
    finished=st.booleans(),
    tally=tallies,
)
states = st.builds(
    State,
    subject=st.just(SUBJECT),
    differences=st.just({"labels": ["us", "ap"]}),
    segments=st.integers(1, 10**6),
    round=st.integers(0, 3),
    wanted=st.none() | st.lists(st.integers(0, 1000)),
    done=st.sets(st.integers(0, 1000)),
    opened=st.dictionaries(st.integers(0, 1000), st.tuples(halves, halves), max_size=4),
    tallies=st.lists(tallies, min_size=2, max_size=2),
    started=st.floats(0, 1e10),
    spent_s=st.floats(0, 1e6),
)


@given(state=states)
def test_load_after_save_gives_the_same(state: State, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("state") / "deeper" / "t.checkpoint"
    save(path, state)
    assert load(path, SUBJECT) == state
    assert [one.name for one in path.parent.iterdir()] == ["t.checkpoint"]


STATE = State(SUBJECT, {}, 4, opened={1: (Half(b"sketch", b"{}", False, Tally(1)),) * 2}, tallies=[Tally(), Tally()])


def test_load_of_no_file_is_none(tmp_path: Path) -> None:
    assert load(tmp_path / "none", SUBJECT) is None


def test_load_of_another_comparison_names_what_differs(tmp_path: Path) -> None:
    save(tmp_path / "c", STATE)
    with pytest.raises(
        RefusedError, match=r"another comparison: ignore was \[\] and is \['ttl'\]; segments was None and is 4"
    ):
        load(tmp_path / "c", SUBJECT | {"ignore": ["ttl"], "segments": 4})


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_load_of_a_damaged_file_is_refused(
    where: float, bit: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "c"
    save(path, STATE)
    raw = bytearray(path.read_bytes())
    at = int(where * len(raw))
    if cut:
        del raw[at:]
    else:
        raw[at] ^= 1 << bit
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=r"is damaged|is no checkpoint"):
        load(path, SUBJECT)


def test_save_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        save(tmp_path / "file" / "c", STATE)


def test_save_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    save(tmp_path / "c", STATE)
    (tmp_path / "c.part").mkdir()
    with pytest.raises(UsageError):
        save(tmp_path / "c", State(SUBJECT, {}, 5))
    assert load(tmp_path / "c", SUBJECT) == STATE
