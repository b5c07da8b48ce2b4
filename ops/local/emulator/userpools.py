"""User pools whose ids are known in advance: a stage file names issuer and audience before there is either."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ops.local.emulator.scopes import here


class UserPools:
    """Pools and their clients get ids that follow from their names; one whose id is taken gets another, as ever.

    Cognito's handlers run on the loop that serves requests, one at a time.
    """

    def __init__(self) -> None:
        self._cognito = importlib.import_module("ministack.services.cognito")
        self._create_pool = self._cognito._create_user_pool
        self._create_client = self._cognito._create_user_pool_client

    def create_pool(self, data: dict[str, Any]) -> Any:
        """Stands in for ``_create_user_pool``."""
        name = f"{here().region}_{data.get('PoolName')}"
        with self._drawing("_pool_id", name if name not in self._cognito._user_pools else None):
            return self._create_pool(data)

    def create_client(self, data: dict[str, Any]) -> Any:
        """Stands in for ``_create_user_pool_client``."""
        name = data.get("ClientName")
        taken = any(name in pool["_clients"] for pool in self._cognito._user_pools.all_values())
        with self._drawing("_client_id", name if name and not taken else None):
            return self._create_client(data)

    @contextmanager
    def _drawing(self, factory: str, wanted: str | None) -> Iterator[None]:
        """Let the module's ``factory`` of ids give ``wanted`` inside the block."""
        original = getattr(self._cognito, factory)
        if wanted is not None:
            setattr(self._cognito, factory, lambda: wanted)
        try:
            yield
        finally:
            setattr(self._cognito, factory, original)
