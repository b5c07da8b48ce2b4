"""CloudWatch's metric math, as far as Atoll's alarms and dashboards use it, evaluated on recorded series.

A series is a list with a value a period, None where there was no data. As CloudWatch does, a result has a value only
where all of its operands have one; FILL gives one to the others. An expression that uses more is refused.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence

Series = list[float | None]

_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def evaluate(expression: str, series: Mapping[str, Sequence[float | None]]) -> Series:
    """The series of an expression; every metric in it must be given, all of the same length."""
    length = len(next(iter(series.values())))
    tree = ast.parse(expression, mode="eval").body
    return [_value(tree, {name: values[at] for name, values in series.items()}) for at in range(length)]


def names(expression: str) -> set[str]:
    """The ids of the metrics that an expression uses."""
    tree = ast.parse(expression, mode="eval")
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in called}


def _value(node: ast.expr, at: Mapping[str, float | None]) -> float | None:  # noqa: PLR0911 a return a construct
    match node:
        case ast.Constant(int() | float() as number):
            return float(number)
        case ast.Name(name):
            return at[name]
        case ast.BinOp(left, kind, right) | ast.Compare(left, [kind], [right]) if type(kind) in _OPERATORS:
            one, other = _value(left, at), _value(right, at)
            if one is None or other is None or (isinstance(kind, ast.Div) and other == 0):
                return None
            return float(_OPERATORS[type(kind)](one, other))
        case ast.Call(ast.Name("FILL"), [metric, ast.Constant(int() | float() as filler)]):
            found = _value(metric, at)
            return float(filler) if found is None else found
        case ast.Call(ast.Name("IF"), [condition, then, otherwise]):
            decided = _value(condition, at)
            return None if decided is None else _value(then if decided else otherwise, at)
        case ast.Call(ast.Name("SUM" | "MAX" as name), [ast.List(members)]):
            values = [value for value in (_value(member, at) for member in members) if value is not None]
            return None if not values else (sum if name == "SUM" else max)(values)
    raise ValueError(f"{ast.unparse(node)}: not metric math that this evaluator knows")
