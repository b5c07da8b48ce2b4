"""The record of what is broken in the local cloud: ``faults.json`` beside ``local.json``, and its lock.

What is recorded is the truth: whoever changes it holds the lock, writes first, and then has the emulator compute from
the whole record what is to break (``ops.local.effects``). So any process can list and heal what another injected, and
a process that is killed half-way leaves nothing that is not listed. Two kinds of owners write here: ``ops fault``,
whose faults have no owner, and the experiments of the played Fault Injection Service, whose faults carry the
experiment's id and the time at which it ends.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ops.local.supervisor import FAULTS_FILE, write_atomically

LOCK_FILE = "faults.lock"

Part = Literal["api", "calls", "processing"]
PARTS: tuple[str, ...] = get_args(Part)
How = Literal["reset", "timeout", "throttle"]
HOWS: tuple[str, ...] = get_args(How)

_OF_CALLS = {"reset": "reset", "timeout": "left without an answer", "throttle": "throttled"}


@dataclass(frozen=True)
class Fault:
    """One thing that is broken. ``id`` names it for ``heal``.

    ``parts`` and ``how`` are of *region-down* (no parts: all of them), ``functions`` and ``prevent`` of
    *function-error* and *function-delay*. ``owner`` is the experiment that it belongs to, and ``until`` when that ends
    it (RFC 3339); both None when an operator injected it.
    """

    id: str
    kind: str
    since: str
    region: str | None = None
    other_region: str | None = None
    service: str | None = None
    rate: float = 1.0
    latency_ms: float | None = None
    lose: bool = False
    parts: tuple[str, ...] = ()
    how: str = "reset"
    functions: tuple[str, ...] = ()
    prevent: bool = True
    owner: str | None = None
    until: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fault:
        """One entry of the record.

        Raises:
            TypeError: a field is unknown or missing.
        """
        lists = {name: tuple(data[name]) for name in ("parts", "functions") if name in data}
        return cls(**{**data, **lists})

    def __str__(self) -> str:
        end = f"until {self.until}, by experiment {self.owner}" if self.owner else f"since {self.since}"
        return f"{self.id}: {self._what()} ({end})"

    def _what(self) -> str:
        where = f" in {self.region}" if self.region else ""
        names = ", ".join(self.functions)
        loss = ", what is written meanwhile is lost" if self.lose else ""
        ran = "" if self.prevent else " after they ran"
        calls = f"{self.rate:.0%} of calls to {self.service}{where}"
        invocations = f"{self.rate:.0%} of invocations of {names}{where}"
        match self.kind:
            case "region-down":
                what = self._region_down()
            case "replication-cut":
                what = f"replication between {self.region} and {self.other_region} is cut{loss}"
            case "latency":
                what = f"{calls} take {self.latency_ms:.0f} ms longer"
            case "function-error":
                what = f"{invocations} fail{ran}"
            case "function-delay":
                what = f"{invocations} start {self.latency_ms:.0f} ms later"
            case _:
                what = f"{calls} are {_OF_CALLS[self.kind]}"
        return what

    def _region_down(self) -> str:
        broken = {
            "api": "its APIs answer 503",
            "calls": f"AWS calls to it are {_OF_CALLS[self.how]}",
            "processing": "its queues and streams are not read",
        }
        parts = self.parts or PARTS
        state = "is down" if set(parts) == set(PARTS) else "is partly down"
        return f"{self.region} {state}: " + ", ".join(broken[part] for part in PARTS if part in parts)


class Record:
    """The faults of the local cloud whose files are in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def held(self) -> Iterator[None]:
        """One change at a time, whichever process or thread makes it; blocks until it is this one's turn."""
        with (self._directory / LOCK_FILE).open("a", encoding="utf-8") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def read(self) -> list[Fault]:
        """What is broken, oldest first."""
        try:
            data = json.loads((self._directory / FAULTS_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        return [Fault.from_json(one) for one in data]

    def write(self, faults: Iterable[Fault]) -> None:
        """Replace the whole record; the caller holds the lock."""
        write_atomically(self._directory / FAULTS_FILE, [asdict(fault) for fault in faults])
