"""Doing the same thing in several regions at once. Results come back by key, in the order asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")


def each(keys: Iterable[Key], function: Callable[[Key], Result], workers: int = 16) -> dict[Key, Result]:
    """``{key: function(key)}``, computed in threads; the first failure, in the order of keys, is raised."""
    ordered = list(dict.fromkeys(keys))
    if not ordered:
        return {}
    with ThreadPoolExecutor(max_workers=min(workers, len(ordered)), thread_name_prefix="atoll") as pool:
        futures = {key: pool.submit(function, key) for key in ordered}
        return {key: future.result() for key, future in futures.items()}
