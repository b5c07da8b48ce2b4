"""Each row of the table says why, by what and where that is tested, and all of it is so."""

from __future__ import annotations

import inspect
from operator import attrgetter
from pathlib import Path

import pytest

from ops.local.emulator.application import Emulator
from ops.local.emulator.replacements import REPLACEMENTS, Replacement

ROOT = Path(__file__).parents[4]


def named(one: Replacement) -> str:
    return one.target


def test_every_replacement_has_a_reason_and_is_there_once() -> None:
    assert all(len(one.reason) > 40 for one in REPLACEMENTS)
    assert len({one.target for one in REPLACEMENTS}) == len(REPLACEMENTS)


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return Emulator(lag_ms=200.0, cloud_id="", state_dir=ROOT)


@pytest.mark.parametrize("one", REPLACEMENTS, ids=named)
def test_what_replaces_an_internal_takes_its_parameters(one: Replacement, emulator: Emulator) -> None:
    inspect.signature(attrgetter(one.by)(emulator)).bind(*one.parameters)


@pytest.mark.parametrize("one", REPLACEMENTS, ids=named)
def test_test_of_a_replacement_is_there(one: Replacement) -> None:
    file, _, name = one.test.partition("::")
    assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_docs_list_every_replacement_and_nothing_else() -> None:
    text = (ROOT / "docs" / "local-cloud.md").read_text(encoding="utf-8")
    table = text.partition("| replaced | because |\n|---|---|\n")[2].partition("\n\n")[0]
    listed = set()
    for row in table.splitlines():
        names = row.split("|")[1].replace("`", "").split(",")
        first = names[0].strip()
        listed |= {first, *(first.rpartition(".")[0] + one.strip() for one in names[1:])}
    targets = {one.target.removeprefix("services.").removeprefix("core.") for one in REPLACEMENTS}
    conditions = {one for one in targets if one.startswith("cloudformation.")}
    assert listed == targets - conditions | {"cloudformation.*._evaluate_conditions"}
