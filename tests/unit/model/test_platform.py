"""The platform under random histories, and proof that the histories find mistakes."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.model import mutations
from tests.unit.model.machine import LossyPlatform, Platform
from tests.unit.model.profiles import profile

TestPlatform = Platform.TestCase
TestPlatform.settings = profile()

TestLossyPlatform = LossyPlatform.TestCase
TestLossyPlatform.settings = profile(0.3)


# A run ends with the first failure, so that a mistake takes a few examples, and only one that is missed takes all.
@pytest.mark.parametrize("mutation", mutations.PLATFORM, ids=lambda mutation: mutation.__name__)
def test_mistake_is_found(mutation: mutations.Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Platform, settings=settings(profile(5), phases=[Phase.generate]))
