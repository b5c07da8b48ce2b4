"""The launcher refuses an emulator that it was not written for, with every difference at once."""

from __future__ import annotations

from typing import Any

import pytest

from ops.local.emulator import compatibility
from ops.local.emulator.compatibility import IncompatibleEmulatorError, check_compatible, resolve


def test_check_compatible_with_the_pinned_version_passes() -> None:
    check_compatible()


def test_check_compatible_with_another_emulator_lists_every_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    dynamodb = __import__("ministack.services.dynamodb", fromlist=["_replicate_write"])

    def other_parameters(table: Any, event: Any) -> None:
        """Stands for an internal that has changed."""

    monkeypatch.setattr(dynamodb, "_replicate_write", other_parameters)
    monkeypatch.delattr(dynamodb, "_create_replica")
    monkeypatch.setattr(compatibility, "MINISTACK_VERSION", "9.9.9")
    with pytest.raises(IncompatibleEmulatorError) as caught:
        check_compatible()
    message = str(caught.value)
    assert "version is 1.5.33, expected 9.9.9" in message
    assert "_replicate_write takes (table, event), expected (table, event_name, old_item, new_item)" in message
    assert "_create_replica is gone" in message


def test_internals_of_a_class_are_found_in_it() -> None:
    assert resolve("core.lambda_runtime.Worker._drain_stderr_bounded") is not None
    assert resolve("core.lambda_runtime.Worker._gone") is None
