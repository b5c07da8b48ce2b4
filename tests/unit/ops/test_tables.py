from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from ops.plan import Plan, Step
from ops.tables import checks_table, plan_table, table


@dataclass(frozen=True)
class Row:
    region: str
    lag_ms: float | None
    ok: bool


def test_table_when_given_dataclasses_shows_units_numbers_and_truth() -> None:
    shown = table([Row("us-east-1", 1234.5, True), Row("ap-south-1", None, False)], "Lag")
    assert "<caption>Lag</caption>" in shown.html
    assert '<th scope="col" class="at-num">lag (ms)</th>' in shown.html
    assert '<td class="at-num">1,234</td>' in shown.html
    assert "not ok</span>" in shown.html
    assert shown.text.splitlines()[0] == "Lag"
    assert "us-east-1   1,234" in shown.text


def test_table_when_a_value_holds_markup_escapes_it() -> None:
    shown = table([{"<i>": "<script>alert(1)</script>"}], '"><script>')
    assert "<script" not in shown.html
    assert "<i>" not in shown.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown.html


def test_table_when_given_a_frame_shows_missing_values_as_nothing() -> None:
    frame = pd.DataFrame(
        {
            "when": [datetime(2026, 3, 1, 12, tzinfo=UTC), pd.NaT],
            "count": pd.array([1, None], dtype="Int64"),
            "share": [0.25, float("nan")],
            "kind": ["x", None],
        }
    )
    shown = table(frame)
    assert "2026-03-01 12:00:00 UTC" in shown.html
    assert shown.html.count("\N{EN DASH}</td>") == 4


def test_table_when_columns_are_chosen_shows_these_in_order_with_their_headings() -> None:
    shown = table([{"a": 1, "b": 2, "c": 3}], columns={"c": "Third", "a": "First"})
    assert re.findall(r"<th[^>]*>([^<]+)", shown.html) == ["Third", "First"]


def test_table_when_there_are_no_rows_says_so() -> None:
    assert "no divergent keys" in table([], "Keys", empty="no divergent keys").html
    assert "no divergent keys" in table(pd.DataFrame({"a": []}), "Keys", empty="no divergent keys").html


def test_table_when_it_is_long_says_how_much_is_left_out() -> None:
    shown = table([{"n": n} for n in range(1200)], max_rows=100)
    assert shown.html.count("<tr>") == 101
    assert "1,100 more rows" in shown.html
    assert "1,100 more rows" in shown.text


def test_checks_table_when_some_fail_puts_them_first() -> None:
    checks = [{"name": "one", "ok": True, "detail": "fine"}, {"name": "two", "ok": False, "detail": "gone"}]
    html = checks_table(checks).html
    assert html.index("two") < html.index("one")


def test_plan_table_when_it_changes_something_shows_the_command_that_applies_it() -> None:
    steps = [
        Step(action="create", resource="table <x>", region="us-east-1", detail="new"),
        Step(action="keep", resource="zone"),
    ]
    plan = Plan(
        runbook="provision",
        stage="local",
        account="1",
        regions=[],
        steps=steps,
        estimates={"duration_s": 3},
        warnings=["<w>"],
    )
    shown = plan_table(plan)
    assert f"ops run provision --stage local --apply {plan.token}" in shown.html
    assert "Plan: 1 change" in shown.html
    assert "1 resource as they should be" not in shown.html
    assert "1 resource is as it should be already" in shown.html
    assert "zone" not in shown.html
    assert "<x>" not in shown.html
    assert "<w>" not in shown.html
    assert plan_table(plan.record()).html == shown.html


def test_plan_table_when_nothing_would_change_offers_nothing_to_apply() -> None:
    plan = Plan(runbook="p", stage="local", account="1", regions=[], steps=[Step(action="keep", resource="zone")])
    assert "--apply" not in plan_table(plan).html
    assert "zone" in plan_table(plan).html
