"""Which implementation reads pages: the native core where it was built, else the reference, which says so.

``ATOLL_SKETCH=reference`` forces the latter; ``ATOLL_SKETCH=native`` makes a core that was not built an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from sketch import reference
from sketch.layout import Layout
from sketch.reference import Outcome
from sketch.table import Table

VARIABLE = "ATOLL_SKETCH"
_CHOICES = ("", "native", "reference")

Reader = Callable[[int, bytes | bytearray | memoryview, Layout, Table], Outcome]


def _choose() -> tuple[str, str, Reader]:
    choice = os.environ.get(VARIABLE, "")
    if choice not in _CHOICES:
        raise ValueError(f"{VARIABLE}={choice}: accepted are native and reference")
    if choice == "reference":
        return "reference", f"{VARIABLE}=reference asks for pure Python", reference.read
    try:
        from sketch import _native
    except ImportError as missing:
        if choice == "native":
            raise ImportError(f"{VARIABLE}=native, but the native core was not built: {missing}") from missing
        why = "the native core was not built (`make setup` needs a C compiler): pages are read about 40 times slower"
        return "reference", why, reference.read

    def native(kind: int, body: bytes | bytearray | memoryview, layout: Layout, table: Table) -> Outcome:
        return Outcome(*_native.read(kind, body, layout.packed, table.third, table.counts, table.cells))

    return "native", "", native


_implementation, _reason, read = _choose()


def implementation() -> str:
    """``native`` or ``reference``."""
    return _implementation


def reason() -> str:
    """Why pages are not read natively, in one line; empty when they are."""
    return _reason
