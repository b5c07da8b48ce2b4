"""The global resources of a stage: what no regional stack may own, brought to what the stage file says.

Covers the global table with its capacity, consistency, replicas, time to live, point-in-time recovery and deletion
protection (docs/global-table.md), the archive of each region's bus, its operations bucket, the hosted zone, the health
checks, the latency records, and the platform's alarms. What always holds: the plan is made by reading only; every step
of an apply reads again before it writes; a resource is never deleted and created anew under its readers (a health check
that cannot be changed is replaced first, then removed); a second plan after an apply has nothing to change; an apply
that was interrupted anywhere is continued by the next plan. What a plan's words mean is in ``steps``.

A notebook calls ``plan(cloud)``, then ``apply(cloud, plan, token)``, then ``verify(cloud, plan)``. With ``destroy``
the plan is to take all of it away.

Modules: ``table`` (the global table, with the following of its own); ``desired`` (what the stage file asks for),
``world`` (what is there), ``planning`` (the difference), ``writers`` (one function a kind of resource), ``applying``
and ``verifying``; ``healthchecks`` and ``dns``, ``alarms`` and ``alerting``, ``buckets`` and ``storage`` have what they
are and how they are planned and written; ``destroying`` has the way back.
"""

from __future__ import annotations

from ops.provision.applying import Applied, apply
from ops.provision.planning import plan
from ops.provision.verifying import verify

__all__ = ["Applied", "apply", "plan", "verify"]
