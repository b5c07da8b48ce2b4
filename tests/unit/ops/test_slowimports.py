from __future__ import annotations

import sys

import pytest

from ops.slowimports import hidden


def test_hidden_module_is_as_if_it_were_not_there_also_within_another_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with hidden("colorsys"):
        with hidden("colorsys"), pytest.raises(ImportError):
            import colorsys
        with pytest.raises(ImportError):
            import colorsys
    import colorsys

    with hidden("colorsys"):
        pass
    assert sys.modules["colorsys"] is colorsys
