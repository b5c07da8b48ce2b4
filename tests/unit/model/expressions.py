"""DynamoDB's expressions, as far as the handlers use them: conditions, filters, key conditions and updates.

Whatever else an expression holds is refused with ``NotImplementedError``, never guessed: a handler that starts to use
more fails here, and ``test_stand_in.py`` holds what is there equal to moto.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

Item = Mapping[str, Mapping[str, Any]]
_TOKEN = re.compile(r"\s*(<=|>=|<>|[=<>(),]|[#:]?\w+)")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "<>": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


class Expression:
    """One expression with its names and values, evaluated on an item."""

    def __init__(self, text: str, names: Mapping[str, str] | None, values: Mapping[str, Any] | None) -> None:
        self._names = names or {}
        self._values = values or {}
        self._tokens = _tokens(text)
        self._at = 0

    def holds(self, item: Item) -> bool:
        """Whether a condition is true of an item (of ``{}`` when there is none)."""
        self._at = 0
        result = self._either(item)
        if self._at != len(self._tokens):
            raise NotImplementedError(f"expression: {self._tokens[self._at :]} was not understood")
        return result

    def begins_for(self, item: Item, name: str) -> bool:
        """Whether an item meets the condition's beginning, which is ``name = :value``."""
        first, operator, value, *_ = self._tokens
        if (self._name(first), operator) != (name, "="):
            raise NotImplementedError(f"key condition: {self._tokens}")
        return item.get(name) == self._values[value]

    def update(self, item: Item) -> dict[str, Any]:
        """The item as an update expression leaves it."""
        changed: dict[str, Any] = dict(item)
        action, self._at = "", 0
        while self._at < len(self._tokens):
            if self._peek() in ("SET", "ADD"):
                action = self._take()
            elif self._peek() == ",":
                self._take()
            name = self._name(self._take())
            if action == "SET":
                self._expect("=")
                changed[name] = self._value(self._take())
            elif action == "ADD":
                changed[name] = _added(item.get(name), self._value(self._take()))
            else:
                raise NotImplementedError(f"update expression: {self._tokens}")
        return changed

    # --- grammar ------------------------------------------------------------------------------------------------

    def _either(self, item: Item) -> bool:
        result = self._both(item)
        while self._peek() == "OR":
            self._take()
            result = self._both(item) or result
        return result

    def _both(self, item: Item) -> bool:
        result = self._one(item)
        while self._peek() == "AND":
            self._take()
            result = self._one(item) and result
        return result

    def _one(self, item: Item) -> bool:
        token = self._take()
        if token == "(":
            result = self._either(item)
            self._expect(")")
            return result
        if token in ("attribute_exists", "attribute_not_exists"):
            self._expect("(")
            found = self._name(self._take()) in item
            self._expect(")")
            return found == (token == "attribute_exists")
        if token == "begins_with":
            self._expect("(")
            whole = self._operand(item)
            self._expect(",")
            start = self._operand(item)
            self._expect(")")
            return whole is not None and start is not None and str(whole["S"]).startswith(start["S"])
        self._at -= 1
        return self._comparison(item)

    def _comparison(self, item: Item) -> bool:
        left, operator = self._operand(item), self._take()
        if operator == "BETWEEN":
            low = self._operand(item)
            self._expect("AND")
            high = self._operand(item)
            return _compared(">=", left, low) and _compared("<=", left, high)
        return _compared(operator, left, self._operand(item))

    def _operand(self, item: Item) -> Any:
        token = self._take()
        return self._value(token) if token.startswith(":") else item.get(self._name(token))

    def _name(self, token: str) -> str:
        return self._names[token] if token.startswith("#") else token

    def _value(self, token: str) -> Any:
        return self._values[token]

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise NotImplementedError(f"expression: expected {token} in {self._tokens}")


@cache
def _tokens(text: str) -> tuple[str, ...]:
    at, found = 0, []
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotImplementedError(f"expression: {text[at:]!r} was not understood")
        at = match.end()
        found.append(match.group(1))
    return tuple(found)


def _compared(operator: str, left: Any, right: Any) -> bool:
    """Values of different types, and absent ones, compare false."""
    if left is None or right is None or left.keys() != right.keys():
        return False
    ((kind, a),), ((_, b),) = left.items(), right.items()
    if kind == "N":
        return _COMPARE[operator](Decimal(a), Decimal(b))
    if kind == "S":
        return _COMPARE[operator](a.encode(), b.encode())
    raise NotImplementedError(f"comparing {kind}")


def _added(held: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    ((kind, content),) = more.items()
    if kind == "N":
        return {"N": str(Decimal(held["N"] if held else 0) + Decimal(content))}
    if kind == "BS":
        return {"BS": sorted({bytes(member) for member in [*(held["BS"] if held else ()), *content]})}
    raise NotImplementedError(f"ADD of {kind}")
