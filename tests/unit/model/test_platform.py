"""The platform under random histories."""

from __future__ import annotations

from tests.unit.model.machine import Platform
from tests.unit.model.profiles import profile

TestPlatform = Platform.TestCase
TestPlatform.settings = profile()
