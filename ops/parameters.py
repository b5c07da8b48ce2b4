"""The parameters of a runbook: what they are, and turning what an operator typed into typed values.

They are declared once, in the notebook's cell tagged ``parameters``, as annotated assignments with a literal default
and a trailing comment as help. The cell is read, never run. What it does not declare cannot be passed: unknown names,
wrong types and secrets given by value are refused before a kernel starts.
"""

from __future__ import annotations

import ast
import difflib
import io
import math
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ops.errors import OpsError, RefusedError, UsageError

Kind = Literal["str", "int", "float", "bool", "list[str]", "choice"]

# Set by the runner from --stage and --apply, never with -p.
RESERVED = {"stage": "--stage", "apply": "--apply"}

# Not every key is a secret: an event key, or the keys of items, are what runbooks are about.
_SECRET_NAME = re.compile(
    r"secret|password|passwd|passphrase|credential|token|(api|access|private|signing|encryption)_?keys?(_|$)",
    re.IGNORECASE,
)
# A Secrets Manager or SSM ARN, a CloudFormation-style dynamic reference, or the path of an SSM parameter.
_REFERENCE = re.compile(
    r"arn:aws[a-z-]*:(secretsmanager|ssm):\S+"
    r"|\{\{resolve:(secretsmanager|ssm|ssm-secure):[^}\s]+\}\}"
    r"|(ssm:|secretsmanager:)[\w./@+=-]+"
    r"|/[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+"
)


@dataclass(frozen=True)
class Parameter:
    """One parameter. ``choices`` is empty unless ``kind`` is ``choice``."""

    name: str
    kind: Kind
    default: Any
    help: str = ""
    choices: tuple[Any, ...] = ()

    @property
    def type_text(self) -> str:
        """The type as an operator reads it: ``int``, or ``one of: hour, day``."""
        return f"one of: {', '.join(map(str, self.choices))}" if self.kind == "choice" else self.kind

    @property
    def default_text(self) -> str:
        """The default as it would be typed after ``-p name=``; an empty text as ``""``."""
        return as_text(self.default) or '""'

    @property
    def secret(self) -> bool:
        """Whether the name says that the value is a secret, to be given by reference only."""
        return self.name not in RESERVED and _SECRET_NAME.search(self.name) is not None

    def describe(self) -> str:
        return f"{self.name} ({self.type_text}, default {self.default_text})"


def as_text(value: Any) -> str:
    """A typed value as it would be typed after ``-p name=``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


def parse_cell(source: str, where: str) -> tuple[Parameter, ...]:
    """Read the parameters that a cell declares, in order. ``where`` names the notebook in errors.

    Raises:
        OpsError: the cell holds something else than assignments of literals to names.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise OpsError(f"{where}: the parameters cell is not Python: line {error.lineno}: {error.msg}") from error
    comments = _comments(source)
    return tuple(_parameter(node, comments, where) for node in tree.body)


def _comments(source: str) -> dict[int, str]:
    """The comment of each line that has one, by line number."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


def _parameter(node: ast.stmt, comments: Mapping[int, str], where: str) -> Parameter:
    target: ast.expr | None = None
    if isinstance(node, ast.AnnAssign):
        target = node.target
    elif isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    if not isinstance(node, (ast.AnnAssign, ast.Assign)) or not isinstance(target, ast.Name) or node.value is None:
        raise OpsError(f"{where}: parameters cell, line {node.lineno}: expected `name: type = default  # help`")
    try:
        default = ast.literal_eval(node.value)
    except ValueError as error:
        raise OpsError(f"{where}: parameter {target.id!r}: the default must be a literal") from error
    annotation = node.annotation if isinstance(node, ast.AnnAssign) else None
    kind, choices = _kind(annotation, default, f"{where}: parameter {target.id!r}")
    parameter = Parameter(target.id, kind, default, comments.get(node.end_lineno or node.lineno, ""), choices)
    if problem := _problem(parameter, default):
        raise OpsError(f"{where}: parameter {target.id!r}: its own default {default!r} {problem}")
    return parameter


def _kind(annotation: ast.expr | None, default: Any, where: str) -> tuple[Kind, tuple[Any, ...]]:
    if annotation is None:
        text = "list[str]" if isinstance(default, list) else type(default).__name__
    elif isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in ("Literal", "typing.Literal"):
        values = ast.literal_eval(annotation.slice)
        return "choice", values if isinstance(values, tuple) else (values,)
    else:
        text = ast.unparse(annotation)
    match text:
        case "str" | "int" | "float" | "bool" | "list[str]":
            return text, ()
    raise OpsError(f"{where}: type {text} is not one of str, int, float, bool, list[str], Literal[...]")


def _problem(parameter: Parameter, value: Any) -> str:
    """What keeps a typed ``value`` from being this parameter's, or nothing."""
    good: bool
    match parameter.kind:
        case "bool":
            good = isinstance(value, bool)
        case "int":
            good = isinstance(value, int) and not isinstance(value, bool)
        case "float":
            good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        case "str":
            good = isinstance(value, str)
        case "list[str]":
            good = isinstance(value, list) and all(isinstance(item, str) for item in value)
        case "choice":
            good = value in parameter.choices
    return "" if good else f"is not {_article(parameter)}"


def _article(parameter: Parameter) -> str:
    return {
        "str": "a text",
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "list[str]": "a list, as in a,b",
        "choice": parameter.type_text,
    }[parameter.kind]


def from_text(parameter: Parameter, text: str) -> Any:
    """The typed value of what was given after ``-p name=``.

    Raises:
        ValueError: the text is not of the parameter's type; the message says what is accepted.
    """
    value: Any = text
    try:
        match parameter.kind:
            case "bool":
                value = {"true": True, "false": False}[text.strip().lower()]
            case "int":
                value = int(text.strip())
            case "float":
                value = float(text.strip())
            case "list[str]":
                value = [item.strip() for item in text.split(",") if item.strip()]
            case "choice":
                value = next(choice for choice in parameter.choices if as_text(choice) == text.strip())
    except (KeyError, ValueError, StopIteration):
        raise ValueError(f"{text!r} is not {_article(parameter)}") from None
    if problem := _problem(parameter, value):
        raise ValueError(f"{text!r} {problem}")
    return value


def typed(parameters: tuple[Parameter, ...], given: Mapping[str, str], runbook: str) -> dict[str, Any]:
    """Check and convert what an operator gave; only what was given is in the answer.

    Raises:
        UsageError: a line for each unknown name, wrong type or secret given by value.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, text in given.items():
        if name in RESERVED:
            problems.append(f"{name}: is set with {RESERVED[name]}, not with -p")
        elif name not in known:
            problems.append(f"{name}: {runbook} has no such parameter{did_you_mean(name, known)}")
        else:
            try:
                values[name] = from_text(known[name], text)
            except ValueError as error:
                # The text of a secret is not repeated: it may be one.
                detail = f"is not {_article(known[name])}" if known[name].secret else str(error)
                problems.append(f"{name}: {detail}{f'; {known[name].help}' if known[name].help else ''}")
    if problems:
        raise UsageError("\n".join(problems), hint=f"Parameters of {runbook}: {listing(parameters)}")
    refuse_secrets(parameters, values)
    return values


def checked(parameters: tuple[Parameter, ...], values: Mapping[str, Any], runbook: str) -> dict[str, Any]:
    """Hold typed values (of a recorded plan, or of a caller) against the declared parameters.

    Raises:
        UsageError: a name is unknown or a value has the wrong type.
    """
    known = {parameter.name: parameter for parameter in parameters}
    problems = [f"{n}: {runbook} has no such parameter{did_you_mean(n, known)}" for n in values if n not in known]
    for name in values.keys() & known.keys():
        if problem := _problem(known[name], values[name]):
            problems.append(f"{name}: {'it' if known[name].secret else repr(values[name])} {problem}")
    if problems:
        raise UsageError("\n".join(problems), hint=f"Parameters of {runbook}: {listing(parameters)}")
    refuse_secrets(parameters, values)
    return dict(values)


def refuse_secrets(parameters: tuple[Parameter, ...], values: Mapping[str, Any]) -> None:
    """Let a parameter whose name says "secret" hold nothing but a reference, so that no value is ever saved.

    Raises:
        RefusedError: it holds something else. The value is not repeated in the message.
    """
    for parameter in parameters:
        value = values.get(parameter.name, parameter.default)
        if parameter.secret and value and not all(map(_is_reference, value if isinstance(value, list) else [value])):
            raise RefusedError(
                f"{parameter.name}: looks like a secret given by value; a saved notebook would keep it",
                hint=("Give its reference: an SSM parameter (/atoll/prod/webhook) or a Secrets Manager ARN."),
            )


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def listing(parameters: tuple[Parameter, ...]) -> str:
    """The parameters that ``-p`` can set, with types and defaults, on one line."""
    return "; ".join(p.describe() for p in parameters if p.name not in RESERVED) or "it has none"


def did_you_mean(name: str, known: Mapping[str, Any] | list[str]) -> str:
    """`` (did you mean 'region'?)``, or nothing when no name is near."""
    near = difflib.get_close_matches(name, [n for n in known if n not in RESERVED], n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
