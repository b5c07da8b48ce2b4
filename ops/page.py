"""The page of one run: its verdict, checks and plan first, then what the runbook showed, with the code folded away.

A page stands alone: one file, no script, nothing fetched, readable on a phone, on paper, in light and dark. Text that
cells printed is escaped; the page's own policy keeps anything an output may hold from running or calling out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from ops import markup, tables
from ops.files import write_whole
from ops.parameters import as_text

TEMPLATES = Path(__file__).resolve().parent / "templates"
PAGE = "run.html"
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])|[\x00-\x08\x0b-\x1f\x7f]")
# Outputs that the page shows in a place of its own.
_ELSEWHERE = {
    markup.OPENING_MIME,
    markup.FIGURES_MIME,
    markup.PLAN_MIME,
    markup.CHECKS_MIME,
    markup.VERDICT_MIME,
}
# Of what a cell printed, as many are shown unfolded.
LOG_LINES = 3
_SAYING = {
    "refused": "The run was declined, and nothing was changed.",
    "error": "The run did not come to its end; what it found until then is below.",
}


def write(directory: Path, notebook: Mapping[str, Any] | None, result: Mapping[str, Any]) -> Path:
    """Write ``run.html`` into a run's directory, in one step.

    ``notebook`` is the executed notebook as JSON, already free of secrets; None when the run was made by hand.
    """
    return write_whole(directory / PAGE, render(notebook, result))


def render(notebook: Mapping[str, Any] | None, result: Mapping[str, Any]) -> str:
    """The page's HTML."""
    heading, summary, sections = _read(notebook["cells"]) if notebook else ("", "", [])
    failing = [check for check in result["checks"] if not check["ok"]]
    seconds = markup.seconds_between(result["started"], result["finished"])
    facts = {
        "Stage": result["stage"],
        "Account": result["account"] or markup.NOTHING,
        "Regions": ", ".join(result["regions"]),
        "Started": markup.moment(result["started"]),
        "Took": markup.duration(seconds),
    }
    setup = [] if not sections or sections[0]["parts_html"] else sections.pop(0)["code_html"]
    given = notebook["metadata"].get("papermill", {}).get("parameters", {}) if notebook else {}
    return (
        environment()
        .get_template("run.html.j2")
        .render(
            result=result,
            heading=heading or result["runbook"],
            summary_html=summary,
            word=markup.VERDICT_WORDS[result["verdict"]],
            icon_html=markup.icon(result["verdict"]),
            saying=_SAYING.get(result["verdict"]) or _counted(len(failing), len(result["checks"])),
            started=markup.moment(result["started"]),
            failing=failing,
            facts=facts.items(),
            figures_html=markup.figures(result["figures"]) if result["figures"] else "",
            checks_html=tables.checks_table(result["checks"], "").html,
            plan_html=_plan(result, given),
            sections=sections,
            parameters_html=_parameters(given) if given else "",
            setup_html=setup,
            by_hand=notebook is None,
        )
    )


@cache
def environment() -> Environment:
    """The templates, with everything escaped except what is named ``_html``."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["style_css"] = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    return made


def clean(text: str) -> str:
    """Text without terminal escapes and control characters; what a carriage return overwrote is gone."""
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    return _ANSI.sub("", "\n".join(lines))


def _counted(failing: int, total: int) -> str:
    if failing:
        return f"{failing} of {total} check{'' if total == 1 else 's'} {'is' if failing == 1 else 'are'} not ok."
    if not total:
        return "The runbook came to its end; it had nothing to check."
    return {1: "The one check is ok.", 2: "Both checks are ok."}.get(total, f"All {total} checks are ok.")


def _plan(result: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    plan = result["plan"]
    return tables.plan_table(plan, applied=given.get("apply") == plan["token"]).html if plan else ""


def _parameters(given: Mapping[str, Any]) -> str:
    rows = [{"name": name, "value": as_text(value) or "(empty)"} for name, value in given.items()]
    return tables.table(rows, "").html


def _read(cells: list[Mapping[str, Any]]) -> tuple[str, str, list[dict[str, Any]]]:
    """The title, the HTML of what stands under it, and the sections with their parts."""
    title, summary = "", ""
    sections = [_section("start", "", 2)]
    for cell in cells:
        source = _joined(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = re.match(r"(#{1,6})\s+(.+)", source.strip())
            rest = source.strip()[heading.end() :].strip() if heading else source.strip()
            if heading and not title:
                title, summary = heading[2].strip(), _markdown(rest)
                continue
            if heading:
                level = max(2, min(3, len(heading[1])))
                identifier = f"s{len(sections)}-{re.sub(r'[^a-z0-9]+', '-', heading[2].lower()).strip('-')}"
                sections.append(_section(identifier, heading[2].strip(), level))
            if rest:
                sections[-1]["parts_html"].append(_markdown(rest))
        elif cell["cell_type"] == "code" and source.strip():
            shown = _outputs(cell)
            sections[-1]["parts_html"] += shown
            sections[-1]["shows"] |= bool(shown) or not cell.get("outputs")
            sections[-1]["code_html"].append(_highlighted(source))
            sections[-1]["seconds"] += cell["metadata"].get("papermill", {}).get("duration") or 0.0
    return title, summary, _merged(sections)


def _section(identifier: str, title: str, level: int) -> dict[str, Any]:
    empty: dict[str, Any] = {"parts_html": [], "code_html": [], "seconds": 0.0, "shows": False}
    return {"id": identifier, "title": title, "level": level, **empty}


def _merged(sections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sections that show something; the code of one that does not goes to the one before it.

    A section all of whose outputs the page shows in a place of its own, such as the checks, shows nothing.
    """
    merged: list[dict[str, Any]] = []
    for section in sections:
        elsewhere = section["code_html"] and not section["shows"]
        if (section["parts_html"] and not elsewhere) or not merged:
            merged.append(section)
        else:
            merged[-1]["code_html"] += section["code_html"]
            merged[-1]["seconds"] += section["seconds"]
    for section in merged:
        section["took"] = f" · {markup.duration(section['seconds'])}" if section["seconds"] >= 0.05 else ""
    return merged


def _outputs(cell: Mapping[str, Any]) -> list[str]:
    """A cell's outputs as HTML; what it printed line by line is one text."""
    parts: list[str] = []
    for printed, group in itertools.groupby(cell.get("outputs", []), lambda output: output["output_type"] == "stream"):
        if printed:
            parts.append(_printed("".join(_joined(output["text"]) for output in group)))
        else:
            parts += map(_output, group)
    return [html for html in parts if html]


def _printed(text: str) -> str:
    """What a cell printed, folded when it is long: it is progress, and the result stands below it."""
    text = clean(text).strip("\n")
    if not text.strip():
        return ""
    pre, lines = f"<pre>{escape(text)}</pre>", text.count("\n") + 1
    return pre if lines <= LOG_LINES else f"<details><summary>Log, {lines:,} lines</summary>{pre}</details>"


def _output(output: Mapping[str, Any]) -> str:
    """One output as HTML; empty for what the page shows in its own place."""
    kind = output["output_type"]
    if kind == "error":
        trace = escape(clean("\n".join(output["traceback"])))
        name = escape(clean(f"{output['ename']}: {output['evalue']}"))
        head = f'<div class="at-stop at-error"><strong>{markup.icon("error")}{name}</strong></div>'
        return f"{head}<details><summary>Traceback</summary><pre>{trace}</pre></details>"
    data = output.get("data", {})
    return "" if data.keys() & _ELSEWHERE else _rich(data)


def _rich(data: Mapping[str, Any]) -> str:
    if "text/html" in data:
        html = _joined(data["text/html"])
        return (
            f'<div class="at-scroll" tabindex="0">{html}</div>'
            if "<table" in html and "at-scroll" not in html
            else html
        )
    if "image/svg+xml" in data:
        return f'<figure class="at-chart">{_joined(data["image/svg+xml"])}</figure>'
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            encoded = re.sub(r"\s", "", _joined(data[kind]))
            return (
                f'<figure class="at-chart"><img alt="" src="data:{kind};base64,{escape(encoded, quote=True)}"></figure>'
            )
    if "text/markdown" in data:
        return _markdown(_joined(data["text/markdown"]))
    text = clean(_joined(data.get("text/plain", ""))).strip("\n")
    return f"<pre>{escape(text)}</pre>" if text else ""


def _joined(text: Any) -> str:
    """A notebook's text, which a file may hold as a list of lines."""
    return "".join(text) if isinstance(text, list) else str(text)


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _markdown(text: str) -> str:
    return str(_parser().render(text))


def _highlighted(source: str) -> str:
    from pygments import highlight  # type: ignore[import-untyped]
    from pygments.formatters.html import HtmlFormatter  # type: ignore[import-untyped]
    from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]

    return str(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True))).rstrip("\n")
