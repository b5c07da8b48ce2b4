"""The form of a runbook's parameters: typed, checked, kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops import parameters
from ops.errors import UsageError
from ops.lab.form import Form
from ops.lab.progress import Progress, counted
from ops.runbooks import Runbook
from ops.stage import stage_names

CELL = """stage: str = "local"  # stage to look at
window: str = "1h"  # from
most: int = 5  # how many
rate: float = 0.5  # a share
deep: bool = False  # look deeper
regions: list[str] = []  # empty: all
mode: Literal["scan", "probe"] = "scan"  # how
webhook_secret: str = ""  # by reference
"""
BOOK = Runbook("look", "Look", "", parameters.parse_cell(CELL, "look"), Path("look.ipynb"))
Opened = Callable[..., tuple[Form, dict[str, Any]]]


@pytest.fixture
def opened() -> Opened:
    """A form over the variables that the parameters cell leaves, with what was edited in it; and these."""

    def form(earlier: Form | None = None, **edited: Any) -> tuple[Form, dict[str, Any]]:
        variables = {one.name: one.default for one in BOOK.parameters} | edited
        made = Form(BOOK, variables)
        made.fill(earlier)
        return made, variables

    return form


def put(form: Form, name: str, value: Any) -> None:
    form.fields[name].widget.value = value


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("window", "2h", "2h"),
        ("most", " 12 ", 12),
        ("rate", "1e-3", 0.001),
        ("deep", True, True),
        ("regions", "us-east-1, ap-south-1", ["us-east-1", "ap-south-1"]),
        ("mode", "probe", "probe"),
        ("stage", "prod", "prod"),
        ("webhook_secret", "ssm:/atoll/webhook", "ssm:/atoll/webhook"),
    ],
)
def test_field_when_filled_in_is_the_notebooks_variable(opened: Opened, name: str, typed: Any, value: Any) -> None:
    form, variables = opened()
    put(form, name, typed)
    assert variables[name] == value
    form.check()


@pytest.mark.parametrize(
    ("name", "typed", "problem"),
    [
        ("most", "many", "'many' is not a whole number"),
        ("rate", "nan", "'nan' is not a number"),
        ("webhook_secret", "hunter2", "looks like a secret given by value"),
    ],
)
def test_field_when_it_cannot_be_accepted_says_so_and_keeps_the_run_from_beginning(
    opened: Opened, name: str, typed: str, problem: str
) -> None:
    form, variables = opened()
    before = dict(variables)

    put(form, name, typed)

    assert variables == before
    assert problem.replace("'", "&#x27;") in form.fields[name].said.value
    with pytest.raises(UsageError, match=f"^{name}: .*{problem}"):
        form.check()
    put(form, name, parameters.as_text(before[name]))
    form.check()
    assert "alert" not in form.fields[name].said.value


def test_form_when_all_cells_run_again_keeps_what_was_filled_in(opened: Opened) -> None:
    first, _ = opened()
    put(first, "most", "12")
    put(first, "window", "3h")

    again, variables = opened(first)

    assert (variables["most"], variables["window"]) == (12, "3h")
    assert again.fields["most"].widget.value == "12"


def test_form_when_the_parameters_cell_was_edited_takes_what_it_says_now(opened: Opened) -> None:
    first, _ = opened()
    put(first, "most", "12")
    put(first, "window", "3h")

    _, variables = opened(first, most=7)

    assert (variables["most"], variables["window"]) == (7, "3h")


def test_form_when_a_problem_was_left_keeps_it_in_sight(opened: Opened) -> None:
    first, _ = opened()
    put(first, "most", "many")
    again, variables = opened(first)
    assert variables["most"] == 5
    assert again.problems == ["most: 'many' is not a whole number"]


def test_stage_when_shown_is_chosen_among_those_there_are(opened: Opened) -> None:
    form, _ = opened()
    assert list(form.fields["stage"].widget.options) == stage_names()


@given(st.text(max_size=40))
def test_field_when_anything_is_typed_agrees_with_the_command_line(text: str) -> None:
    variables = {one.name: one.default for one in BOOK.parameters}
    form = Form(BOOK, variables)
    form.fill(None)
    form.fields["most"].widget.value = text
    try:
        accepted = parameters.typed(BOOK.parameters, {"most": text}, "look")["most"]
    except UsageError:
        assert form.problems
        assert variables["most"] == 5
    else:
        assert variables["most"] == accepted


@pytest.mark.parametrize(
    ("line", "share"),
    [
        ("120 of 400 events", 0.3),
        ("1,000 of 2,000 items, 3 of 8 files", 0.5),
        ("9 of 8", 1.0),
        ("0 of 0 files", None),
        ("nothing to count", None),
    ],
)
def test_counted_when_a_line_counts_says_what_share_is_done(line: str, share: float | None) -> None:
    assert counted(line) == share


def test_progress_when_lines_come_shows_the_last_ones_and_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("ops.lab.progress.display", shown.append)
    progress = Progress()
    progress.say("<begun>")
    assert progress.fraction is None
    for number in range(1, 9):
        progress.say(f"{number} of 8 <files>")
    assert progress.fraction == 1.0
    assert len(shown) == 1
    assert progress._said.value.count("<br>") == 4
    assert "8 of 8 &lt;files&gt;" in progress._said.value
