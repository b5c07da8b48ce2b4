"""A form for the parameters of a runbook that is run by hand: what is typed is checked as it is typed.

What always holds: a value that is accepted is the notebook's own variable at once; one that is not is said so beside
its field, and the run cannot begin until it is mended; running the cells again keeps what was filled in, unless the
cell of the parameters itself was edited, which then counts.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from ops import parameters
from ops.errors import OpsError, UsageError
from ops.parameters import Parameter
from ops.runbooks import Runbook
from ops.stage import stage_names

_WIDE = widgets.Layout(width="min(46rem, 100%)")
_LABEL = {"description_width": "11rem"}


@dataclass
class _Field:
    """One parameter: its widget, what is said beside it, and what was in the notebook when it was filled in."""

    parameter: Parameter
    widget: Any
    said: Any
    in_notebook: Any
    value: Any
    problem: str = ""


@dataclass
class Form:
    """The form of one runbook, over the variables of the notebook it is in."""

    runbook: Runbook
    variables: MutableMapping[str, Any]
    fields: dict[str, _Field] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """What cannot be accepted, a line a parameter."""
        return [f"{name}: {one.problem}" for name, one in self.fields.items() if one.problem]

    def check(self) -> None:
        """Raise UsageError with all problems; the variables are as they last were accepted."""
        if self.problems:
            raise UsageError("\n".join(self.problems), hint="Mend it in the form above, and run this cell again.")

    def fill(self, earlier: Form | None) -> None:
        """Make the fields: what was filled in ``earlier`` stays, but for what was edited in the notebook since."""
        for parameter in self.runbook.parameters:
            now = self.variables.get(parameter.name, parameter.default)
            before = earlier.fields.get(parameter.name) if earlier else None
            kept = before is not None and before.in_notebook == now
            text = before.widget.value if kept and before is not None else _shown(parameter, now)
            made = _Field(parameter, _widget(parameter, text), widgets.HTML(), now, now)
            self.fields[parameter.name] = made
            self._take(made, made.widget.value)
            made.widget.observe(self._listener(made), names="value")

    def _listener(self, one: _Field) -> Callable[[Any], None]:
        return lambda change: self._take(one, change["new"])

    def _take(self, one: _Field, given: Any) -> None:
        try:
            value = _value(one.parameter, given)
            parameters.refuse_secrets((one.parameter,), {one.parameter.name: value})
        except (ValueError, OpsError) as error:
            one.problem = str(error).removeprefix(f"{one.parameter.name}: ")
            one.said.value = f'<span role="alert" style="color:#d55e00">✘ {escape(one.problem)}</span>'
            return
        one.problem, one.value = "", value
        one.said.value = f'<span style="opacity:.75">{escape(one.parameter.help)}</span>'
        self.variables[one.parameter.name] = value

    def show(self) -> None:
        """Show it as the output of the cell."""
        rows = [widgets.VBox([one.widget, one.said]) for one in self.fields.values()]
        display(widgets.VBox(rows))  # type: ignore[no-untyped-call]


def _value(parameter: Parameter, given: Any) -> Any:
    return given if isinstance(given, bool) else parameters.from_text(parameter, str(given))


def _shown(parameter: Parameter, value: Any) -> Any:
    return value if parameter.kind == "bool" and isinstance(value, bool) else parameters.as_text(value)


def _widget(parameter: Parameter, value: Any) -> Any:
    options: list[str] = []
    if parameter.kind == "choice":
        options = [parameters.as_text(choice) for choice in parameter.choices]
    elif parameter.name == "stage":
        options = stage_names()
    look = {"description": parameter.name, "layout": _WIDE, "style": _LABEL}
    if parameter.kind == "bool":
        return widgets.Checkbox(value=bool(value), indent=True, **look)
    if options and value in options:
        return widgets.Dropdown(value=value, options=options, **look)
    return widgets.Text(value=str(value), continuous_update=True, placeholder=parameter.default_text, **look)
