"""Mending what a comparison confirmed, by plan and token, and undoing it.

``plan`` reads the found keys again and decides what each replica is to hold; ``apply`` writes that, each write under
the condition of the image that was seen; ``plan_undo`` plans the way back from the images that were kept before.
"""

from __future__ import annotations

from ops.divergence.repair.applying import apply
from ops.divergence.repair.decisions import template
from ops.divergence.repair.orders import RepairPlan
from ops.divergence.repair.outcome import Repaired
from ops.divergence.repair.planning import plan
from ops.divergence.repair.proof import Proof, prove
from ops.divergence.repair.undo import plan_undo

__all__ = ["Proof", "RepairPlan", "Repaired", "apply", "plan", "plan_undo", "prove", "template"]
