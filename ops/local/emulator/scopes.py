"""Where something in the emulated AWS belongs: ministack keeps all state by account and region."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True, slots=True)
class Scope:
    """An account in a region."""

    account: str
    region: str


def here() -> Scope:
    """That of the request which is served, or of the block that was ``entered``."""
    responses = _responses()
    return Scope(responses.get_account_id(), responses.get_region())


def entered(scope: Scope) -> AbstractContextManager[None]:
    """Have the emulator act there inside the block."""
    context: AbstractContextManager[None] = _responses().request_scope(scope.account, scope.region)
    return context


def _responses() -> ModuleType:
    return importlib.import_module("ministack.core.responses")
