"""Replay archived events onto their bus: preview before, proof after.

EventBridge's replay is blind: it counts nothing, promises no order and proves nothing. Here the window is resolved to
whole minutes and shown, with what the table knows of it, before anything starts; afterwards the table is held, item by
item, against what it was. What always holds: planning only reads; a replay's name is derived from the plan's token,
so that applying one plan twice replays each slice once; every wait has a deadline; Ctrl-C cancels what runs, takes away
what is temporary, and prints the command that goes on.

A notebook calls ``archives_frame(archives(cloud))``, ``plan(cloud, ...)``, ``preview(plan)``, ``receivers(plan)``,
``apply(cloud, plan, token)`` and, of what that returns, ``.frame()`` and ``.checks()``.
"""

from ops.replay.archives import Archive, archives, archives_frame
from ops.replay.estimating import archived, chart, planned_slices, preview, receivers
from ops.replay.planning import plan
from ops.replay.replayed import Replayed
from ops.replay.running import apply
from ops.replay.slices import replay_name
from ops.replay.waits import Waits

__all__ = [
    "Archive",
    "Replayed",
    "Waits",
    "apply",
    "archived",
    "archives",
    "archives_frame",
    "chart",
    "plan",
    "planned_slices",
    "preview",
    "receivers",
    "replay_name",
]
