from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ops import markup, page

RESULT: dict[str, Any] = {
    "runbook": "replay",
    "stage": "local",
    "account": "000000000000",
    "regions": ["us-east-1", "ap-south-1"],
    "started": "2026-03-01T12:00:00.000Z",
    "finished": "2026-03-01T12:03:20.000Z",
    "verdict": "pass",
    "checks": [],
    "figures": {},
    "plan": None,
}
EVIL = "<img src=https://evil.example/x onerror=alert(1)>"


def code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "source": source,
        "outputs": list(outputs),
        "metadata": {"papermill": {"duration": 1.25}},
    }


def text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source, "metadata": {}}


def notebook(*cells: dict[str, Any], parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {"papermill": {"parameters": parameters or {}}}}


def test_render_when_a_run_failed_says_so_first() -> None:
    checks = [{"name": "equal", "ok": True, "detail": "yes"}, {"name": "count", "ok": False, "detail": "2 keys differ"}]
    html = page.render(notebook(text("# Replay\n\nDoes a thing.")), {**RESULT, "verdict": "fail", "checks": checks})
    assert html.index("Fail") < html.index("2 keys differ") < html.index("Does a thing.") or "<title>Fail:" in html
    assert "1 of 2 checks is not ok." in html
    assert "3 min 20 s" in html


@pytest.mark.parametrize("verdict", ["pass", "fail", "refused", "error"])
def test_render_when_of_any_verdict_is_self_contained(verdict: str) -> None:
    html = page.render(notebook(text("# T"), code("1", _html("<p>x</p>"))), {**RESULT, "verdict": verdict})
    assert "default-src 'none'" in html
    assert "<script" not in html
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", html)
    assert not re.search(r"@import|url\(", html)


def test_render_when_outputs_hold_markup_escapes_text_and_streams() -> None:
    cells = [
        code(
            "print()",
            {"output_type": "stream", "name": "stdout", "text": EVIL},
            {"output_type": "execute_result", "data": {"text/plain": EVIL}, "metadata": {}},
            {"output_type": "error", "ename": "ValueError", "evalue": EVIL, "traceback": [f"\x1b[0;31m{EVIL}\x1b[0m"]},
        ),
        text(EVIL),
        code(f"# {EVIL}"),
    ]
    checks = [{"name": EVIL, "ok": False, "detail": EVIL}]
    html = page.render(
        notebook(*cells, parameters={EVIL: EVIL}),
        {**RESULT, "verdict": "fail", "checks": checks, "figures": {EVIL: EVIL}},
    )
    assert "<img" not in html
    assert "\x1b" not in html


def test_render_when_cells_tell_what_the_page_shows_itself_leaves_it_out() -> None:
    mimes = (markup.OPENING_MIME, markup.FIGURES_MIME, markup.PLAN_MIME, markup.CHECKS_MIME, markup.VERDICT_MIME)
    hidden = [_html("<p>twice</p>", mime) for mime in mimes]
    html = page.render(notebook(text("# T\n\nx"), text("## A"), code("a", *hidden), text("## B"), code("b")), RESULT)
    assert "twice" not in html
    assert ">A</h2>" not in html
    assert "Setup code" not in html or html.index("Setup code") > 0


def test_render_when_a_section_shows_only_what_stands_elsewhere_has_no_heading_for_it() -> None:
    plan = code("run.plan(plan)", _html("<p>twice</p>", markup.PLAN_MIME))
    cells = [
        text("# T"),
        text("## A"),
        code("a", _html("<p>x</p>")),
        text("## Plan\n\nWords."),
        plan,
        text("## Prose\n\nY"),
    ]
    html = page.render(notebook(*cells), RESULT)
    assert ">A</h2>" in html
    assert ">Plan</h2>" not in html
    assert ">Prose</h2>" in html
    assert "plan" in html[html.index(">A</h2>") :]


def test_render_when_a_cell_prints_much_folds_it_into_one_log() -> None:
    def said(lines: int) -> dict[str, Any]:
        outputs = [{"output_type": "stream", "name": "stdout", "text": f"line {n}\n"} for n in range(lines)]
        return code("x()", *outputs, _html("<p>result</p>"))

    short, long = (page.render(notebook(text("# T"), text("## A"), said(n)), RESULT) for n in (2, 40))
    assert "<pre>line 0\nline 1</pre>" in short
    assert "Log," not in short
    assert "<summary>Log, 40 lines</summary><pre>line 0\n" in long


def test_render_when_all_is_there_leads_with_verdict_checks_and_figures() -> None:
    result = {**RESULT, "checks": [{"name": "equal", "ok": True, "detail": "yes"}], "figures": {"lag_ms": 3}}
    html = page.render(notebook(text("# T"), text("## Charts"), code("a", _html("<p>x</p>"))), result)
    places = [html.index(mark) for mark in ('aria-label="Verdict"', 'id="checks"', 'id="figures"', ">Charts</h2>")]
    assert places == sorted(places)


def test_render_when_a_cell_raised_shows_the_message_and_folds_the_traceback() -> None:
    raised = {"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": ["line 1", "line 2"]}
    html = page.render(notebook(text("# T"), text("## A"), code("a", raised)), {**RESULT, "verdict": "error"})
    assert "KeyError: &#x27;x&#x27;" in html
    assert "<summary>Traceback</summary><pre>line 1\nline 2</pre>" in html


def test_render_when_made_by_hand_needs_no_notebook() -> None:
    html = page.render(None, {**RESULT, "figures": {"lag_ms": 3}})
    assert "Run by hand" in html
    assert "run.ipynb" not in html


def test_clean_when_a_terminal_was_meant_keeps_the_words() -> None:
    assert page.clean("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07") == "red link"
    assert page.clean("10%\r50%\r100%\r\ndone\x00") == "100%\ndone"


def test_write_when_done_leaves_only_the_page(tmp_path: Path) -> None:
    page.write(tmp_path, json.loads(json.dumps(notebook(text("# T")))), RESULT)
    assert [path.name for path in tmp_path.iterdir()] == ["run.html"]


def _html(html: str, *mimes: str) -> dict[str, Any]:
    data: dict[str, Any] = {"text/html": html, **{mime: {} for mime in mimes}}
    return {"output_type": "display_data", "data": data, "metadata": {}}
