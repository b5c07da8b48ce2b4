"""Mode ``export``: point-in-time exports of each replica in S3, compared without any capacity of the tables.

::

    requesting   plans exports of one second, has them made and waits     manifests   what an export says of itself
    locating     which export is of which replica                        streaming   a data file, as it comes from S3
    surveying    from the files to the keys that differ                  reading     all files, in threads

``plan`` says what making exports takes; ``make`` makes them; ``survey`` compares exports that are there, whoever made
them.
"""

from __future__ import annotations

from ops.divergence.exports.requesting import make, plan
from ops.divergence.exports.surveying import survey

__all__ = ["make", "plan", "survey"]
