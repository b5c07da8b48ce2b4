"""The launcher refuses an emulator that it was not written for, with every difference at once."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest

from ops.local import emulator, gateway


def test_check_compatible_with_the_pinned_version_passes() -> None:
    emulator.check_compatible()


def test_check_compatible_with_another_emulator_lists_every_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    dynamodb = __import__("ministack.services.dynamodb", fromlist=["_replicate_write"])

    def other_parameters(table: Any, event: Any) -> None:
        """Stands for an internal that has changed."""

    monkeypatch.setattr(dynamodb, "_replicate_write", other_parameters)
    monkeypatch.delattr(dynamodb, "_create_replica")
    monkeypatch.setattr(emulator, "MINISTACK_VERSION", "9.9.9")
    with pytest.raises(emulator.IncompatibleEmulatorError) as caught:
        emulator.check_compatible()
    message = str(caught.value)
    assert "version is 1.5.33, expected 9.9.9" in message
    assert "_replicate_write takes (table, event), expected (table, event_name, old_item, new_item)" in message
    assert "_create_replica is gone" in message


def test_every_replacement_has_a_reason() -> None:
    assert all(len(one.reason) > 40 for one in emulator.REPLACEMENTS)
    assert len({one.target for one in emulator.REPLACEMENTS}) == len(emulator.REPLACEMENTS)


def test_endpoint_refuses_another_microburst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.9.0")
    with pytest.raises(SystemExit, match=r"microburst 0\.9\.0 does not fit"):
        gateway.prepare_microburst()


def test_replacements_of_a_class_are_found_in_it() -> None:
    assert emulator._resolve("core.lambda_runtime.Worker._drain_stderr_bounded") is not None
    assert emulator._resolve("core.lambda_runtime.Worker._gone") is None
