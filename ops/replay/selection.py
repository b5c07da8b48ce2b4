"""Which events of a window are meant, as an event pattern, and the AND of two event patterns.

A replay takes no filter of its own, so a selection becomes the pattern of a temporary rule. What always holds: an event
whose fields have one value each matches the intersection exactly when it matches both patterns; what cannot be said
that way is refused, with the field.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.errors import UsageError

OR = "$or"
_ANY = {"exists": True}
_ABSENT = {"exists": False}


class NothingInCommonError(UsageError):
    """Two patterns that no event matches both of."""


@dataclass(frozen=True)
class Selection:
    """CloudEvents ``source``, ``type`` and ``subject``; exact, or a beginning with ``*`` behind it.

    Of one field any of the values is enough, and every field that has some must fit.

    Raises:
        UsageError: a value is empty, or has ``*`` elsewhere than at its end.
    """

    sources: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field, values in self._fields:
            for value in values:
                if not value or "*" in value[:-1]:
                    raise UsageError(
                        f"{field}: {value!r} is no selection; accepted: a whole value, or a beginning and `*`"
                    )

    @property
    def _fields(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return ("sources", self.sources), ("types", self.types), ("subjects", self.subjects)

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not any(values for _, values in self._fields)

    def pattern(self, cloudevents: bool) -> dict[str, Any]:
        """The event pattern of it alone: of ``detail.event`` where events are CloudEvents, else of the envelope."""
        source, kind, subject = (sorted_matchers(map(_matcher, values)) for _, values in self._fields)
        if cloudevents:
            event = {"source": source, "type": kind, "subject": subject}
            filled = {name: matchers for name, matchers in event.items() if matchers}
            return {"detail": {"event": filled}} if filled else {}
        found: dict[str, Any] = {"source": source, "detail-type": kind}
        found |= {"detail": {"subject": subject}} if subject else {}
        return {name: matchers for name, matchers in found.items() if matchers}

    def takes(self, source: str, kind: str, subject: str) -> bool:
        """Whether an event with these values is meant; an absent subject is empty."""
        return all(
            not values or any(_fits(value, found) for value in values)
            for (_, values), found in zip(self._fields, (source, kind, subject), strict=True)
        )


def intersect(first: Mapping[str, Any], second: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """The pattern that matches what both match.

    Raises:
        NothingInCommonError: no event matches both.
        UsageError: both restrict a field in a way that one pattern cannot express; the message names it.
    """
    for one, other in ((first, second), (second, first)):
        shared = set(_alternatives(one)) & set(other) if OR in one else set()
        if shared:
            raise UsageError(f"{within}{min(shared)}: it is restricted here and in an alternative ({OR}) as well")
    made = {**first, **second}
    for name in set(first) & set(second):
        made[name] = _both(first[name], second[name], f"{within}{name}")
    return made


def _both(first: Any, second: Any, field: str) -> Any:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return intersect(first, second, f"{field}.")
    if isinstance(first, Mapping) or isinstance(second, Mapping):
        raise UsageError(f"{field}: one pattern asks for its value, the other for fields in it")
    met = [found for one in first for other in second if (found := _meet(one, other, field)) is not None]
    if not met:
        raise NothingInCommonError(f"{field}: no value is accepted by both patterns")
    return sorted_matchers(met)


def _meet(first: Any, second: Any, field: str) -> Any:
    """The matcher of what both accept; None: there is nothing."""
    if first == second and type(first) is type(second):
        return first
    if _ABSENT in (first, second):
        # An absent field fits `anything-but` no more than a present one fits this.
        return None
    for one, other in ((first, second), (second, first)):
        if one == _ANY:
            return other
    for one, other in ((first, second), (second, first)):
        if not isinstance(one, Mapping):
            accepted = _accepts(other, one)
            if accepted is None:
                raise UsageError(f"{field}: {_text(first)} and {_text(second)} cannot be made one pattern")
            return one if accepted else None
    prefixes = [matcher.get("prefix") for matcher in (first, second)]
    if all(isinstance(prefix, str) for prefix in prefixes):
        short, long = sorted(prefixes, key=len)
        return {"prefix": long} if long.startswith(short) else None
    raise UsageError(f"{field}: {_text(first)} and {_text(second)} cannot be made one pattern")


def _accepts(matcher: Any, value: Any) -> bool | None:
    """Whether a matcher accepts a value that is given exactly; None where it is not known here."""
    if not isinstance(matcher, Mapping):
        return type(matcher) is type(value) and bool(matcher == value)
    ((operator, operand),) = matcher.items()
    if not isinstance(value, str):
        return None
    if operator == "prefix" and isinstance(operand, str):
        return value.startswith(operand)
    if operator == "suffix" and isinstance(operand, str):
        return value.endswith(operand)
    if operator == "anything-but" and not isinstance(operand, Mapping):
        return value not in (operand if isinstance(operand, list) else [operand])
    return None


def sorted_matchers(matchers: Any) -> list[Any]:
    """Each once, in an order that says nothing."""
    unique = {_text(matcher): matcher for matcher in matchers}
    return [unique[text] for text in sorted(unique)]


def _alternatives(pattern: Mapping[str, Any]) -> Iterator[str]:
    for alternative in pattern[OR]:
        yield from alternative


def _matcher(value: str) -> Any:
    if not value.endswith("*"):
        return value
    return {"prefix": value[:-1]} if value != "*" else _ANY


def _fits(value: str, found: str) -> bool:
    return found.startswith(value[:-1]) if value.endswith("*") else found == value


def _text(matcher: Any) -> str:
    return json.dumps(matcher, sort_keys=True)


def make_selection(sources: Sequence[str], types: Sequence[str], subjects: Sequence[str]) -> Selection:
    """A selection of what a run was given, in one order: the same values make the same plan."""
    return Selection(*(tuple(sorted(set(values))) for values in (sources, types, subjects)))
