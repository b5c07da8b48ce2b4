from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from ops.plan import Plan, Step
from ops.tables import checks_table, plan_table, side_by_side, table


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


def test_table_when_a_column_is_a_share_shows_percent() -> None:
    shown = table([{"region": "us-east-1", "error_rate": 0.0125}, {"region": "ap-south-1", "error_rate": None}])
    assert '<td class="at-num">1.25%</td>' in shown.html
    assert "\N{EN DASH}</td>" in shown.html
    assert "1.25%" in shown.text


def test_table_when_dollars_or_minutes_are_nearly_none_says_so() -> None:
    shown = table([{"cost_usd": 3.46e-6, "duration_min": 6.6e-5, "share": 6.6e-5}])
    assert shown.html.count("&lt; 0.01") == 2
    assert "6.6e-05" in shown.html


def test_table_when_words_of_a_column_are_short_does_not_break_them() -> None:
    shown = table([{"region": "us-east-1", "detail": "a sentence that has to be broken"}])
    assert '<td class="at-short">us-east-1</td><td>a sentence' in shown.html


def test_table_when_folded_names_itself_and_its_rows() -> None:
    shown = table([{"n": 1}, {"n": 2}], "All <of them>", folded=True)
    assert "<details><summary>All &lt;of them&gt;, 2 rows</summary>" in shown.html
    assert "<caption>" not in shown.html


def test_side_by_side_when_given_rows_turns_them_and_keeps_units() -> None:
    frame = pd.DataFrame({"region": ["a", "b"], "p99_ms": [12.0, float("nan")], "error_rate": [0.5, 0.0]})
    shown = side_by_side(frame, "region", "Regions")
    assert re.findall(r"<th [^>]*>([^<]*)", shown.html) == ["", "a", "b"]
    cells = [text.replace("\N{NO-BREAK SPACE}", " ") for text in re.findall(r"<td[^>]*>([^<]+)", shown.html)]
    assert cells == ["p99", "12 ms", "no data", "error rate", "50%", "0%"]
    assert shown.html.count('class="at-num"') == 6
    assert "nothing there" in side_by_side([], "region", empty="nothing there").html


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


def test_plan_table_when_the_plan_has_parameters_offers_the_command_that_makes_it_again() -> None:
    made = {"remove_replicas": ["eu-west-1", "eu-west-2"], "archive": "a b", "repeat": False, "region": ""}
    step = Step(action="delete", resource="replica x", region="eu-west-1")
    plan = Plan(runbook="p", stage="local", account="1", regions=[], parameters=made, steps=[step])
    given = "-p remove_replicas=eu-west-1,eu-west-2 -p 'archive=a b' -p repeat=false"
    command = f"ops run p --stage local {given} --apply {plan.token}"
    assert plan_table(plan).text.endswith(f"To apply exactly this plan: {command}")


def test_plan_table_shows_what_is_left_alone_besides_what_is_as_it_should_be() -> None:
    left = Step(action="keep", resource="replica x", region="eu-west-1", before={"status": "ACTIVE"}, detail="alone")
    steps = [left, Step(action="keep", resource="zone"), Step(action="create", resource="ttl x")]
    shown = plan_table(Plan(runbook="p", stage="local", account="1", regions=[], steps=steps)).html
    assert "replica x" in shown
    assert "1 resource is as it should be already" in shown
    assert "zone" not in shown


def test_plan_table_when_nothing_would_change_offers_nothing_to_apply() -> None:
    plan = Plan(runbook="p", stage="local", account="1", regions=[], steps=[Step(action="keep", resource="zone")])
    assert "--apply" not in plan_table(plan).html
    assert "zone" in plan_table(plan).html


def test_plan_table_when_the_plan_was_applied_offers_no_command() -> None:
    plan = Plan(runbook="p", stage="local", account="1", regions=[], steps=[Step(action="create", resource="zone")])
    shown = plan_table(plan, applied=True)
    assert "--apply" not in shown.html + shown.text
    assert plan.token in shown.html
