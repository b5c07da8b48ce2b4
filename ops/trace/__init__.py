"""Everything that happened to an event, in all regions: from its key, a correlation id or a trace id.

Logs, tables, dead-letter queues, archives, replays and X-Ray are read; nothing is changed, but that a dead letter is
hidden for a moment. What always holds: what did not answer is named, and never taken for an absence; no event's data is
read or shown.

A notebook calls ``collect(cloud, subject(event_key=...), start, end)`` and shows what that has.
"""

from ops.trace.collecting import Clock, collect
from ops.trace.subject import Subject, subject
from ops.trace.traced import Trace

__all__ = ["Clock", "Subject", "Trace", "collect", "subject"]
