"""The endpoint is served by the microburst that it was written for."""

from __future__ import annotations

import importlib.metadata

import pytest

from ops.local.emulator import gateway


def test_endpoint_refuses_another_microburst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.9.0")
    with pytest.raises(SystemExit, match=r"microburst 0\.9\.0 does not fit"):
        gateway.prepare_microburst()
