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
    hidden = [_html("<p>twice</p>", mime) for mime in (markup.OPENING_MIME, markup.FIGURES_MIME, markup.VERDICT_MIME)]
    html = page.render(notebook(text("# T\n\nx"), text("## A"), code("a", *hidden), text("## B"), code("b")), RESULT)
    assert "twice" not in html
    assert ">A</h2>" not in html
    assert "Setup code" not in html or html.index("Setup code") > 0


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
