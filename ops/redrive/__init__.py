"""Redrive: what is in the dead-letter queues, and back to the target that failed; to that one only.

What always holds: looking and planning change nothing but for how long a message stays hidden; a message is deleted
from its DLQ only after its target has taken it; what comes back a second time is kept with its reason.

A notebook calls ``found, seen = look(cloud, ...)``, ``plan(cloud, ..., looked=(found, seen))``,
``targets_frame(plan)``, ``quarantine_frame(cloud)``, ``apply(cloud, plan, token)`` and, of what that moved,
``prove(cloud, redriven.keys(seen))``.
"""

from ops.redrive.apply import apply
from ops.redrive.estimates import figures, targets_frame
from ops.redrive.outcome import Redriven
from ops.redrive.planning import look, plan
from ops.redrive.proof import Proof, prove
from ops.redrive.quarantined import frame as quarantine_frame

__all__ = ["Proof", "Redriven", "apply", "figures", "look", "plan", "prove", "quarantine_frame", "targets_frame"]
