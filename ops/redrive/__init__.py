"""Redrive: what is in the dead-letter queues, and back to the target that failed; to that one only.

What always holds: looking and planning change nothing but for how long a message stays hidden; a message is deleted
from its DLQ only after its target has taken it; what comes back a second time is kept with its reason.
"""
