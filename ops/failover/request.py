"""What is asked of the runbook: a mode, a region and how; checked before anything is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ops.errors import RefusedError, UsageError
from ops.stage import Stage

Mode = Literal["evacuate", "drill", "failback"]
MODES: tuple[str, ...] = get_args(Mode)
# An action of FIS takes a minute at least. https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html
MIN_MINUTES, MAX_MINUTES = 1.0, 60.0
MAX_RATE_PER_S = 1000.0
MAX_REASON_CHARS = 200


@dataclass(frozen=True)
class Request:
    """One run. ``healed`` are the parts that come back when the drill ends, ``leave`` those that do not."""

    mode: Mode
    region: str
    minutes: float = 0.0
    parts: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    rate_per_s: float = 0.0
    force: bool = False
    reason: str = ""

    @property
    def healed(self) -> tuple[str, ...]:
        return tuple(part for part in self.parts if part not in self.leave)

    def survivors(self, stage: Stage) -> list[str]:
        """The other regions, in the order of the stage file."""
        return [region for region in stage.regions if region != self.region]


def request(
    stage: Stage,
    mode: str,
    region: str,
    *,
    minutes: float = 5,
    parts: Sequence[str] = (),
    leave: Sequence[str] = (),
    rate: float = 0,
    force: bool = False,
    reason: str = "",
) -> Request:
    """Check what was asked; what a mode does not use is left out of the answer.

    Args:
        parts: what a drill takes away; empty: all that the stage file allows.
        leave: of those, what is not given back at the end of the drill.
        rate: events a second that a drill sends; 0: the stage file's.

    Raises:
        UsageError: a parameter is wrong, or goes with another mode.
        RefusedError: the stage has one region only, or allows no drills.
    """
    if mode not in MODES:
        raise UsageError(f"mode: {mode!r} is unknown; accepted: {', '.join(MODES)}")
    if not region:
        raise UsageError(
            f"region: say which; accepted: {', '.join(stage.regions)}", hint="Example: -p region=us-east-1"
        )
    stage.require_region(region)
    if len(stage.regions) == 1:
        raise RefusedError(f"stage {stage.stage!r} has one region: there is nowhere to go")
    if force and mode != "evacuate":
        raise UsageError(f"force: a {mode} takes no chances; accepted: with mode=evacuate only")
    if len(reason) > MAX_REASON_CHARS or not reason.isprintable():
        raise UsageError(f"reason: accepted: up to {MAX_REASON_CHARS} printable characters on one line")
    if mode != "drill":
        return Request("evacuate" if mode == "evacuate" else "failback", region, force=force, reason=reason)
    chosen = _parts(stage, parts, leave)
    if not MIN_MINUTES <= minutes <= MAX_MINUTES:
        raise UsageError(f"minutes: {minutes:g} is out of range; accepted: {MIN_MINUTES:g} to {MAX_MINUTES:g}")
    if not 0 <= rate <= MAX_RATE_PER_S:
        raise UsageError(f"rate: {rate:g} is out of range; accepted: 0 (the stage file's) to {MAX_RATE_PER_S:g}")
    kept = tuple(part for part in chosen if part in leave)
    return Request("drill", region, minutes, chosen, kept, rate or stage.failover.load_per_s, reason=reason)


def _parts(stage: Stage, parts: Sequence[str], leave: Sequence[str]) -> tuple[str, ...]:
    """The parts that are taken away, in the order of the stage file."""
    allowed = stage.failover.parts
    if not allowed:
        raise RefusedError(
            f"stage {stage.stage!r} allows no drills: failover.parts is empty", hint=f"It is in {stage.shown_file}."
        )
    for name, given, accepted in (("parts", parts, allowed), ("leave", leave, [*(parts or allowed)])):
        if strange := [part for part in given if part not in accepted]:
            raise UsageError(f"{name}: {', '.join(strange)}: accepted: {', '.join(accepted)}")
        if len(set(given)) != len(given):
            raise UsageError(f"{name}: a part is named twice: {', '.join(given)}")
    return tuple(part for part in allowed if part in (parts or allowed))
