"""Mode ``fleet``: each region reduces its own replica, a function a segment, and only sketches cross regions.

The regional stack has the state machine and the function (``deploy/resources/fleet.yml``) where the stage file turns
them on. ``plan`` says what a run would take; ``survey`` starts one execution a region, watches them, fetches what they
left in the operations buckets, subtracts and peels. docs/divergence-fleet.md says why it is built so.
"""

from __future__ import annotations

from ops.divergence.fleet.planning import plan
from ops.divergence.fleet.surveying import survey

__all__ = ["plan", "survey"]
