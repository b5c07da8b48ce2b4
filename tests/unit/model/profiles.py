"""How much the model checker explores: a profile of Hypothesis, chosen by ``ATOLL_MODEL_PROFILE``.

``atoll-ci`` (default) is the same on every machine and in every run; ``atoll-long`` explores at random for minutes and
remembers what it found in ``.hypothesis``.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_ANY = {"deadline": None, "print_blob": True, "suppress_health_check": list(HealthCheck)}

settings.register_profile("atoll-ci", max_examples=50, stateful_step_count=30, derandomize=True, database=None, **_ANY)
settings.register_profile("atoll-long", max_examples=2000, stateful_step_count=50, **_ANY)

PROFILE = os.environ.get("ATOLL_MODEL_PROFILE", "atoll-ci")


def profile(examples: float = 1) -> settings:
    """The chosen profile, with ``examples`` times its number of examples."""
    chosen = settings.get_profile(PROFILE)
    return settings(chosen, max_examples=round(chosen.max_examples * examples))
